"""A Zenodo-shaped HTTP server on this machine, over one directory of files per record.

Used by ``mimiidg demo`` and by the tests: the same fetch code talks to it and to zenodo.org. It is bound to 127.0.0.1
and serves nothing but the files it lists.

- ``GET /api/records/<id>``: the record as JSON: title, metadata, ``files[]`` with key, size, md5 and ``links.self``.
- ``GET /api/records/<id>/files/<name>/content`` and ``GET /records/<id>/files/<name>``: the bytes. One range
  (``Range``, ``If-Range``), ``ETag``, 206 and 416 as RFC 9110 has them; several ranges at once are answered with 200.
- Rate-limit headers as Zenodo sends them, for show: nobody is turned away.

Sizes are bytes. A test makes the server misbehave through ``faults``, a function that may answer a request itself.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote, urlsplit

REQUESTS_PER_MINUTE = 60  # what Zenodo grants a guest

_RECORD = re.compile(r"^/api/records/(?P<record>[^/]+)$")
_CONTENT = re.compile(r"^/api/records/(?P<record>[^/]+)/files/(?P<name>[^/]+)/content$")
_DOWNLOAD = re.compile(r"^/records?/(?P<record>[^/]+)/files/(?P<name>[^/]+)$")
_ONE_RANGE = re.compile(r"^bytes=(?P<first>[0-9]*)-(?P<last>[0-9]*)$")


@dataclass(frozen=True)
class Asked:
    """One request as it came in: ``path`` without its query, and the headers that matter to a transfer."""

    path: str
    range: str | None
    if_range: str | None
    user_agent: str | None
    accept_encoding: str | None


def byte_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """First and last byte that a ``Range`` header asks for; None where the whole file is to be sent.

    Raises
    ------
    ValueError
        If no byte of the file lies in the range (the answer is then 416).

    Examples
    --------
    >>> byte_range("bytes=10-", 100), byte_range("bytes=0-9", 100), byte_range("bytes=-5", 100)
    ((10, 99), (0, 9), (95, 99))
    >>> byte_range(None, 100), byte_range("bytes=0-1,5-6", 100), byte_range("bytes=9-2", 100)
    (None, None, None)
    >>> byte_range("bytes=100-", 100)
    Traceback (most recent call last):
    ...
    ValueError: bytes=100- lies outside the file's 100 bytes
    """
    match = _ONE_RANGE.match(header or "")
    if match is None or (not match["first"] and not match["last"]):
        return None
    if not match["first"]:
        first, last = max(0, size_bytes - int(match["last"])), size_bytes - 1
    else:
        first, last = int(match["first"]), min(int(match["last"] or size_bytes - 1), size_bytes - 1)
        if match["last"] and int(match["last"]) < first:
            return None
    if first >= size_bytes:
        raise ValueError(f"{header} lies outside the file's {size_bytes} bytes")
    return first, last


class ZenodoHandler(BaseHTTPRequestHandler):
    """Answers one connection. ``faults`` functions get it, and may use any of its methods."""

    protocol_version = "HTTP/1.1"
    server_version = "LocalZenodo"
    server: _Server

    def do_GET(self) -> None:
        """Log the request, let ``faults`` answer it, else answer it as Zenodo would."""
        zenodo = self.server.zenodo
        asked = Asked(
            urlsplit(self.path).path,
            self.headers.get("Range"),
            self.headers.get("If-Range"),
            self.headers.get("User-Agent"),
            self.headers.get("Accept-Encoding"),
        )
        zenodo.note(asked)
        if zenodo.faults is None or not zenodo.faults(self, asked):
            self.answer(asked)

    do_HEAD = do_GET

    def answer(self, asked: Asked) -> None:
        """The well-behaved answer."""
        zenodo = self.server.zenodo
        if match := _RECORD.match(asked.path):
            record_id = unquote(match["record"])
            if record_id in zenodo.records:
                return self.send_json(200, zenodo.record_json(record_id))
        elif match := _CONTENT.match(asked.path) or _DOWNLOAD.match(asked.path):
            path = zenodo.files(unquote(match["record"])).get(unquote(match["name"]))
            if path is not None:
                return self.send_file(path, asked)
        self.send_json(404, {"status": 404, "message": f"{asked.path}: no such record or file."})

    def send_json(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        """Send ``body`` as JSON."""
        self.send_body(status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})

    def send_body(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole answer. ``headers`` come after ours, and win."""
        self.send_head(status, {"Content-Length": str(len(body)), **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status line and headers, rate-limit headers included."""
        self.send_response(status)
        for name, value in {**self.server.zenodo.rate_limit_headers(), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def send_file(self, path: Path, asked: Asked) -> None:
        """Send a file, or the part of it that was asked for."""
        stat = path.stat()
        headers = {
            "ETag": f'"{self.server.zenodo.md5(path)}"',
            "Last-Modified": formatdate(stat.st_mtime, usegmt=True),
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        unchanged = asked.if_range in (None, headers["ETag"], headers["Last-Modified"])
        try:
            wanted = byte_range(asked.range, stat.st_size) if unchanged else None
        except ValueError:
            return self.send_body(416, b"", {"Content-Range": f"bytes */{stat.st_size}"})
        first, last = wanted or (0, stat.st_size - 1)
        if wanted:
            headers["Content-Range"] = f"bytes {first}-{last}/{stat.st_size}"
        self.send_head(206 if wanted else 200, {**headers, "Content-Length": str(last - first + 1)})
        if self.command != "HEAD" and last >= first:
            self.wfile.flush()
            with path.open("rb") as file:
                self.connection.sendfile(file, first, last - first + 1)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the caller's terminal is not a server log."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    zenodo: LocalZenodo

    def __init__(self, address: tuple[str, int], zenodo: LocalZenodo) -> None:
        self.zenodo = zenodo
        self._open: set[socket.socket] = set()
        super().__init__(address, ZenodoHandler)

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks the resolver for a name that nobody needs, and may wait for it.
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that clients keep alive, so that no thread outlives the server."""
        for request in list(self._open):
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # already closed by its own thread

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up in the middle of an answer is no news."""


class LocalZenodo:
    """A local server of records; a context manager.

    Parameters
    ----------
    records : Mapping[str, Path]
        Directory of each record id. Every regular file in it whose name does not start with "." is in the record.
    titles : Mapping[str, str], optional
        Title of a record; "Record <id>" where none is given.
    faults : Callable[[ZenodoHandler, Asked], bool], optional
        Called before each answer; True if it has answered the request itself.
    port : int
        0 takes a free one.

    Attributes
    ----------
    url : str
        Base URL, ``http://127.0.0.1:<port>``.
    asked : list[Asked]
        Every request so far, in order of arrival.
    """

    def __init__(
        self,
        records: Mapping[str, str | Path],
        *,
        titles: Mapping[str, str] | None = None,
        faults: Callable[[ZenodoHandler, Asked], bool] | None = None,
        port: int = 0,
    ) -> None:
        self.records = {record_id: Path(directory) for record_id, directory in records.items()}
        self.titles = dict(titles or {})
        self.faults = faults
        self.asked: list[Asked] = []
        self._md5: dict[tuple[str, int, int], str] = {}
        self._guard = threading.Lock()
        self._server = _Server(("127.0.0.1", port), self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> LocalZenodo:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def note(self, asked: Asked) -> None:
        """Remember a request."""
        with self._guard:
            self.asked.append(asked)

    def files(self, record_id: str) -> dict[str, Path]:
        """The record's files by name, sorted; empty if there is no such record."""
        directory = self.records.get(record_id)
        if directory is None or not directory.is_dir():
            return {}
        return {p.name: p for p in sorted(directory.iterdir()) if p.is_file() and not p.name.startswith(".")}

    def md5(self, path: Path) -> str:
        """The file's md5, computed once for each state of the file (size and modification time)."""
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        with self._guard:
            if key not in self._md5:
                with path.open("rb") as file:
                    self._md5[key] = hashlib.file_digest(file, "md5").hexdigest()
            return self._md5[key]

    def content_url(self, record_id: str, name: str) -> str:
        """``links.self`` of a file."""
        return f"{self.url}/api/records/{record_id}/files/{quote(name)}/content"

    def record_json(self, record_id: str) -> dict[str, object]:
        """The record as the API answers it."""
        title = self.titles.get(record_id, f"Record {record_id}")
        files = [
            {
                "key": name,
                "size": path.stat().st_size,
                "checksum": f"md5:{self.md5(path)}",
                "links": {"self": self.content_url(record_id, name)},
            }
            for name, path in self.files(record_id).items()
        ]
        return {
            "id": int(record_id) if record_id.isdecimal() else record_id,
            "title": title,
            "metadata": {"title": title, "access_right": "open"},
            "links": {"self": f"{self.url}/api/records/{record_id}"},
            "files": files,
        }

    def rate_limit_headers(self) -> dict[str, str]:
        """What Zenodo tells a guest with every answer."""
        left = max(0, REQUESTS_PER_MINUTE - len(self.asked))
        return {
            "X-RateLimit-Limit": str(REQUESTS_PER_MINUTE),
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset": str(int(time.time()) + 60),
        }
