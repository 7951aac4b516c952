"""How a Prefect server of our own starts: its database first, then its app."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mimiidg_build.flows import server


def test_a_first_start_makes_its_database(prefect_home: Path) -> None:
    """In an empty folder; the server answered, or there were no such folder."""
    assert (prefect_home / "prefect.db").stat().st_size > 0


@pytest.mark.parametrize(("migrates", "first"), [("true", ["database", "app"]), ("false", ["app"])])
def test_the_database_is_made_before_the_app_starts(
    migrates: str, first: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the app it takes half as long again."""
    from prefect.settings import temporary_settings  # a second, which other files' workers need not take

    order: list[str] = []

    class Database:
        async def create_db(self) -> None:
            order.append("database")

    def run(app: object, sockets: list[socket.socket]) -> None:
        order.append("app")
        sockets[0].detach()  # it is this test's own

    # in place of the module, whose import takes seconds
    monkeypatch.setitem(sys.modules, "prefect.server.database", SimpleNamespace(provide_database_interface=Database))
    monkeypatch.setattr("uvicorn.Server.run", run)
    monkeypatch.setattr(server, "_end_with_parent", lambda app: None)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    with temporary_settings({"server.database.migrate_on_start": migrates}), socket.socket() as listening:
        server._main(listening.fileno())
    assert order == first
