"""How a Prefect server of our own starts: its database first, then its app."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mimiidg_build.flows import server
from mimiidg_build.flows.first_database import make_first_database


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


@pytest.fixture
def database(tmp_path: Path) -> SimpleNamespace:
    """What is asked of Prefect's interface to its database, with two migrations."""
    versions = tmp_path / "versions"
    versions.mkdir()
    for revision, before, work in (("1", None, 'op.execute("CREATE TABLE run (id)")'), ("2", "1", "last()")):
        (versions / f"{revision}.py").write_text(
            f"from alembic import op\nrevision, down_revision = {revision!r}, {before!r}\ndef upgrade(): {work}\n"
            'def last(): op.execute("CREATE INDEX by_id ON run (id)")\n'
        )
    config = SimpleNamespace(connection_url=f"sqlite+aiosqlite:///{tmp_path / 'prefect.db'}")
    return SimpleNamespace(
        database_config=config, orm=SimpleNamespace(versions_dir=versions), Base=SimpleNamespace(metadata=None)
    )


def named(path: Path) -> list[str]:
    """What a database holds."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return sorted(name for (name,) in connection.execute("SELECT name FROM sqlite_master"))


def test_a_first_database_has_all_migrations(database: SimpleNamespace, tmp_path: Path) -> None:
    """Under its final name, and nothing beside it."""
    make_first_database(database)
    assert {"run", "by_id", "alembic_version"} <= set(named(tmp_path / "prefect.db"))
    assert {path.name for path in tmp_path.iterdir()} == {"prefect.db", "versions"}


def test_a_database_that_is_there_is_left_to_prefect(database: SimpleNamespace, tmp_path: Path) -> None:
    """It holds what was run before."""
    (tmp_path / "prefect.db").write_bytes(b"runs")
    make_first_database(database)
    assert (tmp_path / "prefect.db").read_bytes() == b"runs"


@pytest.mark.parametrize("url", ["sqlite+aiosqlite:///:memory:", "postgresql+asyncpg://host/prefect"])
def test_a_database_that_is_no_file_is_left_to_prefect(
    url: str, database: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ``:memory:`` no file is made, either."""
    monkeypatch.chdir(tmp_path)
    database.database_config.connection_url = url
    make_first_database(database)
    assert [path.name for path in tmp_path.iterdir()] == ["versions"]


def test_a_migration_that_fails_leaves_no_database(database: SimpleNamespace, tmp_path: Path) -> None:
    """Prefect's own way comes next, and says what is wrong."""
    failing = tmp_path / "versions" / "2.py"
    failing.write_text(failing.read_text().replace("last()", "1 / 0", 1))
    make_first_database(database)
    assert [path.name for path in tmp_path.iterdir()] == ["versions"]


@pytest.mark.slow
def test_a_first_database_is_prefects_own(prefect_home: Path, tmp_path: Path) -> None:
    """Table by table and index by index, as its ``create_db`` makes them."""
    code = "import asyncio; from prefect.server.database import provide_database_interface as interface\n"
    code += "asyncio.run(interface().create_db())"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment |= {"PREFECT_HOME": str(tmp_path), "DO_NOT_TRACK": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert dump(prefect_home / "prefect.db") == dump(tmp_path / "prefect.db")


def dump(path: Path) -> list[list[str]]:
    """The statements that make a database; a table's constraints come in whatever order a set of Python's has."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return sorted(sorted(line.strip(" \t,") for line in text.splitlines()) for text in connection.iterdump())
