"""One archive from a server to its place, by way of ``<name>.part``.

What has arrived lies in ``<name>.part``, hashed as it came; ``<name>.part.json`` says of which version of the file it
is a part. A later attempt asks for the rest (``Range``) on condition that the version is the same (``If-Range``), and
starts over whenever the answer is not exactly that rest. The archive's own name appears only with every byte verified.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import httpx

from mimiidg_build.errors import FetchError
from mimiidg_build.fetch.http import Interrupted, NotFoundError, Session, TransientError, log
from mimiidg_build.fetch.lock import write_json
from mimiidg_build.storage.places import Place, deliver, local

Progress = Callable[[str, int, int | None], None]

REPORT_BYTES = 2**20  # progress is reported about once a megabyte
_CONTENT_RANGE = re.compile(r"bytes (?P<first>[0-9]{1,19})-(?P<last>[0-9]{1,19})/(?P<total>[0-9]{1,19}|\*)")

_HEADER = re.compile(r"[\x20-\x7e]*")  # what may be sent back in a request


@dataclass(frozen=True)
class Wanted:
    """What must arrive: the file's name, the places to ask, its checksum, and its size where it is known."""

    name: str
    urls: list[str]
    md5: str
    size_bytes: int | None


def continues(content_range: str | None, offset: int, size_bytes: int | None) -> bool:
    """Whether a 206 answer is exactly the rest of the file from ``offset``.

    Examples
    --------
    >>> [continues(r, 10, 100) for r in ("bytes 10-99/100", "bytes 10-99/*")]
    [True, True]
    >>> [continues(r, 10, 100) for r in ("bytes 0-99/100", "bytes 10-50/100", "bytes 10-98/99", None)]
    [False, False, False, False]
    >>> continues("bytes 10-99/100", 10, None)
    True
    """
    match = _CONTENT_RANGE.fullmatch(content_range or "")
    if match is None or int(match["first"]) != offset:
        return False
    total = int(match["total"]) if match["total"] != "*" else size_bytes
    return total is not None and int(match["last"]) == total - 1 and size_bytes in (None, total)


def hash_file(path: Place, progress: Progress | None, session: Session | None = None) -> str:
    """The md5 of a file on disk."""
    digest, done, size_bytes = hashlib.md5(usedforsecurity=False), 0, path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(4 * REPORT_BYTES):
            if session is not None and session.stop.is_set():
                raise Interrupted
            digest.update(block)
            done += len(block)
            if progress is not None:
                progress(path.name, done, size_bytes)
    return digest.hexdigest()


class Part:
    """The part of a file that has arrived, its running md5, and the version that it is a part of.

    It lies on this machine, beside the target or its counterpart: to an object nothing can be appended.
    """

    def __init__(self, target: Place, wanted: Wanted, progress: Progress | None) -> None:
        here = local(target)
        here.parent.mkdir(parents=True, exist_ok=True)
        self.path = here.with_name(f"{target.name}.part")
        self._about = here.with_name(f"{target.name}.part.json")
        self._wanted, self._progress = wanted, progress
        self._open_existing()

    def _open_existing(self) -> None:
        """Take up a part that an earlier run left, if it is of the file that is wanted now."""
        self.size_bytes, self._digest = 0, hashlib.md5(usedforsecurity=False)
        self._version: dict[str, str] = {}
        try:
            about = json.loads(self._about.read_text(encoding="utf-8"))
            version = {key: about["version"][key] for key in ("etag", "last-modified") if key in about["version"]}
            if about["md5"] != self._wanted.md5 or not all(_HEADER.fullmatch(value) for value in version.values()):
                raise ValueError("of another version")
            with self.path.open("rb") as file:
                while block := file.read(4 * REPORT_BYTES):
                    self._digest.update(block)
                    self.size_bytes += len(block)
            self._version = version
        except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
            self.start_over()

    def start_over(self) -> None:
        """Forget what has arrived."""
        self.path.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)
        self.size_bytes, self._digest, self._version = 0, hashlib.md5(usedforsecurity=False), {}

    @property
    def md5(self) -> str:
        """Of what has arrived."""
        return self._digest.hexdigest()

    def request_headers(self) -> dict[str, str]:
        """Ask for the rest, on condition that it is the rest of the same version."""
        headers = {"Accept-Encoding": "identity"}
        if self.size_bytes:
            headers["Range"] = f"bytes={self.size_bytes}-"
            etag, modified = self._version.get("etag"), self._version.get("last-modified")
            # RFC 9110 13.1.5: a weak ETag says nothing about bytes, so it must not be used here.
            if etag and not etag.startswith("W/"):
                headers["If-Range"] = etag
            elif modified:
                headers["If-Range"] = modified
        return headers

    def rest_is(self, response: httpx.Response) -> bool:
        """Whether a 206 answer is exactly the rest of the version that this is a part of."""
        etag = response.headers.get("etag")
        same = not self.size_bytes or self._version.get("etag") in (None, etag)
        return same and continues(response.headers.get("content-range"), self.size_bytes, self._wanted.size_bytes)

    def write(self, response: httpx.Response, session: Session) -> None:
        """Append a body, and keep whatever of it arrives."""
        if not self.size_bytes:
            self._version = {k: response.headers[k] for k in ("etag", "last-modified") if k in response.headers}
            write_json(self._about, {"md5": self._wanted.md5, "version": self._version, "url": str(response.url)})
        total, reported = self._wanted.size_bytes, self.size_bytes
        with self.path.open("ab") as file:
            for block in response.iter_raw():
                if session.stop.is_set():
                    raise Interrupted
                file.write(block)
                self._digest.update(block)
                self.size_bytes += len(block)
                if total is not None and self.size_bytes > total:
                    break  # a body without an end must not fill the disk
                if self._progress is not None and self.size_bytes - reported >= REPORT_BYTES:
                    reported = self.size_bytes
                    self._progress(self._wanted.name, self.size_bytes, total)
        if self._progress is not None:
            self._progress(self._wanted.name, self.size_bytes, total)

    def publish(self, target: Place, session: Session) -> None:
        """Give the whole, verified file its name, or put it into its bucket."""
        deliver(self.path, target, self._blocks(f"{target.name} to {target.parent}", session))
        self.start_over()

    def _blocks(self, title: str, session: Session) -> Iterator[bytes]:
        """What has arrived, as it is sent on to a bucket."""
        done = 0
        with self.path.open("rb") as file:
            while block := file.read(4 * REPORT_BYTES):
                if session.stop.is_set():
                    raise Interrupted
                yield block
                done += len(block)
                if self._progress is not None:
                    self._progress(title, done, self.size_bytes)


def refuse_page(response: httpx.Response) -> None:
    """Refuse a body that is a page for people, or that was re-encoded on the way."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        raise FetchError(
            f"{response.url} answered with {kind}, expected a zip archive. Likely cause: a log-in, proxy or "
            "maintenance page; open the URL in a browser to see it."
        )
    if (encoding := response.headers.get("content-encoding", "identity")) != "identity":
        raise FetchError(f"{response.url} answered with {encoding} encoding though none was allowed: likely a proxy.")


def _check_length(response: httpx.Response, size_bytes: int | None) -> None:
    """Refuse a body that announces another length than was published, before it is fetched."""
    announced = response.headers.get("content-length", "")
    if size_bytes is not None and announced.isdecimal() and int(announced) != size_bytes:
        raise FetchError(
            f"{response.url} announces {announced} bytes, expected {size_bytes} as published. Likely cause: the file "
            "was replaced on the record, or a page stands in its place."
        )


def receive(session: Session, url: str, part: Part, size_bytes: int | None) -> None:
    """One attempt to get the rest of the file from ``url``. Returns when the body has ended as it should.

    Raises
    ------
    TransientError
        If the answer was not the rest of this file, or ended early.
    """
    offset = part.size_bytes
    with session.get(url, part.request_headers()) as response:
        if response.status_code == 416:
            if offset and response.headers.get("content-range") == f"bytes */{offset}":
                return  # the part is the whole file
            part.start_over()
            raise TransientError(f"{url} has nothing from byte {offset} on (416)", 0.0 if offset else None)
        refuse_page(response)
        if response.status_code == 206 and not part.rest_is(response):
            part.start_over()
            found = response.headers.get("content-range", "none")
            raise TransientError(f"{url} answered with Content-Range {found}, expected the rest from byte {offset}")
        if response.status_code == 200:
            _check_length(response, size_bytes)
        if response.status_code == 200 and offset:
            log.info("%s: the server sends the whole file (ranges not honoured, or a new version); starting over", url)
            part.start_over()
        part.write(response, session)
    if size_bytes is not None and part.size_bytes < size_bytes:
        raise TransientError(f"{url} ended after {part.size_bytes} of {size_bytes} bytes")


def _receive_from_any(session: Session, part: Part, wanted: Wanted) -> None:
    """Every URL in turn, each with patience; the next one only where one answers 404."""
    missing = []
    for url in wanted.urls:
        try:
            once = partial(receive, session, url, part, wanted.size_bytes)
            session.persist(wanted.name, once, lambda: part.size_bytes)
            return
        except NotFoundError as error:
            log.info("%s", error)
            missing.append(str(error))
    raise FetchError(f"{wanted.name} is nowhere to be had: {'; '.join(missing)}. Likely cause: the file was withdrawn.")


def transfer(session: Session, target: Place, wanted: Wanted, progress: Progress | None) -> None:
    """Fetch one archive into place, going on from what an earlier run left.

    Raises
    ------
    FetchError
        If it cannot be had, or what arrives twice is not what was published.
    """
    part = Part(target, wanted, progress)
    free_bytes = shutil.disk_usage(part.path.parent).free
    if wanted.size_bytes is not None and wanted.size_bytes - part.size_bytes > free_bytes:
        raise FetchError(
            f"{wanted.name}: {wanted.size_bytes - part.size_bytes} bytes are still to come, {part.path.parent} has "
            f"room for {free_bytes}. Free space there, or choose another root."
        )
    found = ""
    for _ in range(2):
        whole = part.size_bytes == wanted.size_bytes and part.md5 == wanted.md5
        if not whole:
            if wanted.size_bytes is not None and part.size_bytes >= wanted.size_bytes:
                part.start_over()
            _receive_from_any(session, part, wanted)
        if part.md5 == wanted.md5:
            part.publish(target, session)
            return
        found = f"md5 {part.md5} and {part.size_bytes} bytes"
        log.warning("%s arrived with %s, expected md5 %s; starting over", wanted.name, found, wanted.md5)
        part.start_over()
    size = "" if wanted.size_bytes is None else f" and {wanted.size_bytes} bytes"
    raise FetchError(
        f"{wanted.name} arrived twice with the wrong content: expected md5 {wanted.md5}{size}, found {found}. Nothing "
        "was kept. Likely cause: the file was replaced on the record, or something on the way changes it."
    )
