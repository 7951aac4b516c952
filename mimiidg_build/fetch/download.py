"""One archive from a server to its place: ask for the rest of it until it is whole, verify it, publish it.

An answer is believed only where it is exactly the rest of the version that has begun to arrive; whenever it is not, the
download starts over.
"""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING

from mimiidg_build.errors import FetchError
from mimiidg_build.fetch.http import NotFoundError, Session
from mimiidg_build.fetch.retry import TransientError, log
from mimiidg_build.fetch.transfer import Part, Wanted
from mimiidg_build.progress import OnTransfer
from mimiidg_build.storage.places import Place

if TYPE_CHECKING:
    import httpx


def _refuse_page(response: httpx.Response) -> None:
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


def _receive(session: Session, url: str, part: Part, size_bytes: int | None) -> None:
    """One attempt to get the rest of the file from ``url``. Returns when the body has ended as it should.

    Raises
    ------
    TransientError
        If the answer was not the rest of this file, or ended early.
    """
    offset = part.size_bytes
    with session.get(url, part.request_headers()) as response:
        if response.status_code == 416:  # before the body is looked at: that of an error may well be a page
            _take_416(response, url, part)
            return
        _refuse_page(response)
        if response.status_code == 206 and not part.rest_is(response):
            part.start_over()
            found = response.headers.get("content-range", "none")
            raise TransientError(f"{url} answered with Content-Range {found}, expected the rest from byte {offset}")
        if response.status_code == 200:
            _check_length(response, size_bytes)
            if offset:
                log.info("%s: the server sends the whole file (no ranges, or a new version); starting over", url)
                part.start_over()
        part.write(response, session.retries)
    # without a Content-Length any end of the connection looks like the end of the body
    if size_bytes is not None and part.size_bytes < size_bytes:
        raise TransientError(f"{url} ended after {part.size_bytes} of {size_bytes} bytes")


def _take_416(response: httpx.Response, url: str, part: Part) -> None:
    """The server has nothing after the part: because the part is the whole file, or because it is of another one."""
    offset = part.size_bytes
    if offset and response.headers.get("content-range") == f"bytes */{offset}":
        return
    part.start_over()
    # Without the range the same server most likely has an answer, so there is no reason to wait.
    raise TransientError(f"{url} has nothing from byte {offset} on (416)", 0.0 if offset else None)


def _receive_from_any(session: Session, part: Part, wanted: Wanted) -> None:
    """Try every URL in order, each with all its retries; the next one only where one answers 404."""
    missing = []
    for url in wanted.urls:
        try:
            attempt = partial(_receive, session, url, part, wanted.size_bytes)
            session.retries.run(wanted.name, attempt, lambda: part.size_bytes)
            return
        except NotFoundError as error:
            log.info("%s", error)
            missing.append(str(error))
    raise FetchError(
        f"{wanted.name} is at none of its addresses: {'; '.join(missing)}. Likely cause: the file was withdrawn."
    )


def download(session: Session, target: Place, wanted: Wanted, on_progress: OnTransfer | None) -> None:
    """Fetch one archive into place, resuming a part that an earlier run left.

    Parameters
    ----------
    session : Session
    target : Place
        Where the archive gets its name once it is verified.
    wanted : Wanted
        What must arrive, and from where.
    on_progress : OnTransfer or None
        Called about once a megabyte.

    Raises
    ------
    FetchError
        If it cannot be had, or what arrives twice is not what was published.
    Interrupted
        ``session.retries.stop`` was set.
    """
    part = Part(target, wanted, on_progress)
    _check_room(part, wanted)
    found = ""
    # Twice: a wrong byte may come from a part that an earlier run left, or from the way. A second whole transfer that
    # is wrong too means that the server has something else.
    for _ in range(2):
        # an earlier run may have been stopped between the last byte and the publication
        is_whole = part.size_bytes == wanted.size_bytes and part.md5 == wanted.md5
        if not is_whole:
            # nothing is left to ask for, and the md5 is wrong
            if wanted.size_bytes is not None and part.size_bytes >= wanted.size_bytes:
                part.start_over()
            _receive_from_any(session, part, wanted)
        if part.md5 == wanted.md5:
            part.publish(target, session.retries)
            return
        found = f"md5 {part.md5} and {part.size_bytes} bytes"
        log.warning("%s arrived with %s, expected md5 %s; starting over", wanted.name, found, wanted.md5)
        part.start_over()
    size = "" if wanted.size_bytes is None else f" and {wanted.size_bytes} bytes"
    raise FetchError(
        f"{wanted.name} arrived twice with the wrong content: expected md5 {wanted.md5}{size}, found {found}. Both "
        "copies were deleted. Likely cause: the file was replaced on the record, or something on the way changes it."
    )


def _check_room(part: Part, wanted: Wanted) -> None:
    """Refuse a download that the disk has no room for, before its first byte."""
    free_bytes = shutil.disk_usage(part.path.parent).free
    if wanted.size_bytes is not None and wanted.size_bytes - part.size_bytes > free_bytes:
        raise FetchError(
            f"{wanted.name}: {wanted.size_bytes - part.size_bytes} bytes are still to come, {part.path.parent} has "
            f"room for {free_bytes}. Free space there, or choose another root."
        )
