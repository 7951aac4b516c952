"""The HTTP side of the local record server: which request gets which answer, and the threads that give them.

- ``GET /api/records/<id>``: the record as JSON: title, metadata, ``files[]`` with key, size, md5 and ``links.self``.
- ``GET /api/records/<id>/files/<name>/content`` and ``GET /records/<id>/files/<name>``: the bytes. One range
  (``Range``, ``If-Range``), ``ETag``, 206 and 416 as RFC 9110 has them; several ranges at once are answered with 200.
- Rate-limit headers as Zenodo sends them, for show: no request is turned away.
"""

from __future__ import annotations

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
from typing import Any
from urllib.parse import unquote, urlsplit

from mimiidg_build.synthesis.served_records import ServedRecords

REQUESTS_PER_MINUTE = 60  # what Zenodo grants a guest

_RECORD = re.compile(r"^/api/records/(?P<record>[^/]+)$")
_CONTENT = re.compile(r"^/api/records/(?P<record>[^/]+)/files/(?P<name>[^/]+)/content$")
_DOWNLOAD = re.compile(r"^/records?/(?P<record>[^/]+)/files/(?P<name>[^/]+)$")
_ONE_RANGE = re.compile(r"^bytes=(?P<first>[0-9]*)-(?P<last>[0-9]*)$")


@dataclass(frozen=True)
class Request:
    """One request as it came in: ``path`` without its query, and the headers that matter to a transfer."""

    path: str
    range: str | None
    if_range: str | None
    user_agent: str | None
    accept_encoding: str | None


def byte_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """First and last byte that a ``Range`` header asks for; None where the whole file is to be sent.

    Parameters
    ----------
    header : str or None
        The header's value. Several ranges, and what is no range, ask for the whole file, as RFC 9110 allows.
    size_bytes : int
        The file's size.

    Returns
    -------
    tuple of int, or None
        Both ends belong to the range.

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
        # the last bytes; "-0" asks for none, and is refused below
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

    protocol_version = "HTTP/1.1"  # connections are kept alive, so every answer needs its Content-Length
    server_version = "LocalZenodo"
    server: ZenodoServer

    def do_GET(self) -> None:
        """Log the request, let ``faults`` answer it, else answer it as Zenodo would."""
        request = Request(
            urlsplit(self.path).path,
            self.headers.get("Range"),
            self.headers.get("If-Range"),
            self.headers.get("User-Agent"),
            self.headers.get("Accept-Encoding"),
        )
        self.server.record_request(request)
        if self.server.faults is None or not self.server.faults(self, request):
            self.answer(request)

    do_HEAD = do_GET

    def answer(self, request: Request) -> None:
        """The well-behaved answer."""
        records = self.server.records
        if match := _RECORD.match(request.path):
            record_id = unquote(match["record"])
            if record_id in records.directories:
                return self.send_json(200, records.as_json(record_id, self.server.url))
        elif match := _CONTENT.match(request.path) or _DOWNLOAD.match(request.path):
            path = records.files(unquote(match["record"])).get(unquote(match["name"]))
            if path is not None:
                return self.send_file(path, request)
        self.send_json(404, {"status": 404, "message": f"{request.path}: no such record or file."})

    def send_json(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        """Send ``body`` as JSON.

        Parameters
        ----------
        status : int
        body : object
            Anything that JSON can hold.
        headers : mapping of str to str, optional
            They override the default ones.
        """
        self.send_body(status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})

    def send_body(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole answer.

        Parameters
        ----------
        status : int
        body : bytes
        headers : mapping of str to str, optional
            They override the default ones: a test may announce another length than it sends.
        """
        self.send_head(status, {"Content-Length": str(len(body)), **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status line and headers, rate-limit headers included."""
        self.send_response(status)
        for name, value in {**self.server.rate_limit_headers(), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def send_file(self, path: Path, request: Request) -> None:
        """Send a file, or the part of it that was asked for."""
        stat = path.stat()
        headers = {
            "ETag": f'"{self.server.records.md5(path)}"',
            "Last-Modified": formatdate(stat.st_mtime, usegmt=True),
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        # a part of another version must not be continued: the whole file is sent
        is_unchanged = request.if_range in (None, headers["ETag"], headers["Last-Modified"])
        try:
            wanted = byte_range(request.range, stat.st_size) if is_unchanged else None
        except ValueError:
            return self.send_body(416, b"", {"Content-Range": f"bytes */{stat.st_size}"})
        first, last = wanted or (0, stat.st_size - 1)
        if wanted:
            headers["Content-Range"] = f"bytes {first}-{last}/{stat.st_size}"
        self.send_head(206 if wanted else 200, {**headers, "Content-Length": str(last - first + 1)})
        if self.command != "HEAD" and last >= first:
            self._send_bytes(path, first, last - first + 1)

    def _send_bytes(self, path: Path, offset: int, n_bytes: int) -> None:
        self.wfile.flush()  # the head must leave before the kernel sends the file past our buffer
        with path.open("rb") as file:
            self.connection.sendfile(file, offset, n_bytes)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: the caller's terminal is not a server log."""


Faults = Callable[[ZenodoHandler, Request], bool]
"""Called before each answer; True if it has answered the request itself."""


class ZenodoServer(ThreadingHTTPServer):
    """Accepts connections, one thread each, and keeps what the handlers of all of them share."""

    daemon_threads = True  # a thread that waits for a silent client does not keep the program from ending

    def __init__(self, port: int, records: ServedRecords, faults: Faults | None) -> None:
        self.records, self.faults = records, faults
        self.requests: list[Request] = []
        self._guard = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), ZenodoHandler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def record_request(self, request: Request) -> None:
        """Remember a request."""
        with self._guard:
            self.requests.append(request)

    def rate_limit_headers(self) -> dict[str, str]:
        """What Zenodo says to a guest with every answer."""
        left = max(0, REQUESTS_PER_MINUTE - len(self.requests))
        return {
            "X-RateLimit-Limit": str(REQUESTS_PER_MINUTE),
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset": str(int(time.time()) + 60),
        }

    def server_bind(self) -> None:
        """Bind the socket, without asking the resolver for this machine's name as HTTPServer does for seconds."""
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, and keep the connection for :meth:`hang_up`."""
        self._open.add(request)  # one set operation, which is atomic: no lock is needed
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that clients keep alive, so that no thread outlives the server."""
        for request in list(self._open):  # a copy: the handlers' threads remove theirs meanwhile
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # already closed by its own thread

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: clients that hang up in the middle of an answer are what the tests are about."""
