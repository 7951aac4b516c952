"""A Zenodo-shaped HTTP server on this machine, over one directory of files per record.

Used by ``mimiidg demo`` and by the tests: the same fetch code talks to it and to zenodo.org. It is bound to 127.0.0.1
and serves nothing but the files that it lists.

It stands on the standard library's ``http.server``. starlette (``FileResponse``) under uvicorn was tried in its place:
0.15 s to import and 0.14 s or more to start against 0.05 s and 0.02 s, 300 MB at the same rate or slower (1.5 to 2.0 s
against 1.2 to 1.4 s, where ``sendfile`` copies nothing through Python), 0.15 s or more to stop. Above all an ASGI
server refuses to misbehave: the tests need answers that end early, lie about their length or trickle for seconds, and
here ``faults`` may write any bytes to the connection. FileResponse's ETag is also of size and time, not of content, and
it answers a backwards range with 400 where RFC 9110 has it ignored.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from mimiidg_build.synthesis.served_records import ServedRecords
from mimiidg_build.synthesis.zenodo_server import Faults, Request, ZenodoServer

POLL_S = 0.05  # how soon the accepting thread notices that the server is to stop


class LocalZenodo:
    """A local server of records; a context manager.

    Parameters
    ----------
    records : mapping of str to path
        Directory of each record id. Every regular file in it whose name does not start with "." is in the record.
    titles : mapping of str to str, optional
        Title of a record; "Record <id>" where none is given.
    faults : callable, optional
        Called with the handler and the request before each answer; True if it has answered the request itself.
    port : int
        0 takes a free one.
    """

    def __init__(
        self,
        records: Mapping[str, str | Path],
        *,
        titles: Mapping[str, str] | None = None,
        faults: Faults | None = None,
        port: int = 0,
    ) -> None:
        self._server = ZenodoServer(port, ServedRecords(records, titles or {}), faults)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_S,), daemon=True)

    @property
    def url(self) -> str:
        """Base URL, ``http://127.0.0.1:<port>``."""
        return self._server.url

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in order of arrival."""
        return self._server.requests

    def __enter__(self) -> LocalZenodo:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()  # first of all: hang_up would miss a connection accepted after it
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()
