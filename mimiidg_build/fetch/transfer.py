"""A transfer under way: ``<name>.part`` is what has arrived of an archive, hashed as it came.

``<name>.part.json`` says which version of which file it is the beginning of. A later attempt asks for the rest
(``Range``) on condition that the server still has the same version (``If-Range``). The archive's own name appears only
once every byte is verified.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from mimiidg_build.fetch.lock import write_json
from mimiidg_build.fetch.retry import Retrier
from mimiidg_build.progress import OnTransfer
from mimiidg_build.schemas.fetching import PartRecord, PartVersion
from mimiidg_build.storage.places import Place, deliver, local

if TYPE_CHECKING:
    import httpx

REPORT_BYTES = 2**20  # progress is reported about once a megabyte
BLOCK_BYTES = 4 * REPORT_BYTES
# 19 digits hold the size of any file; int() raises ValueError for thousands of them
_CONTENT_RANGE = re.compile(r"bytes (?P<first>[0-9]{1,19})-(?P<last>[0-9]{1,19})/(?P<total>[0-9]{1,19}|\*)")


@dataclass(frozen=True)
class Wanted:
    """What must arrive: the file's name, the places to ask, its checksum, and its size where it is known."""

    name: str
    urls: list[str]
    md5: str
    size_bytes: int | None


def continues(content_range: str | None, offset: int, size_bytes: int | None) -> bool:
    """Whether a 206 answer is exactly the rest of the file.

    Parameters
    ----------
    content_range : str or None
        The answer's header.
    offset : int
        The first byte that is missing.
    size_bytes : int or None
        The file's size, where it is known.

    Returns
    -------
    bool

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


def hash_file(path: Place, on_progress: OnTransfer | None = None, retries: Retrier | None = None) -> str:
    """The md5 of a file on disk.

    Parameters
    ----------
    path : Place
    on_progress : OnTransfer, optional
        Called with the file's name, the bytes hashed so far and the file's size.
    retries : Retrier, optional
        Ends the work when its ``stop`` is set.

    Returns
    -------
    str
        Lower-case hexadecimal digits.

    Raises
    ------
    Interrupted
        ``retries.stop`` was set.
    """
    digest, done, size_bytes = hashlib.md5(usedforsecurity=False), 0, path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            if retries is not None:
                retries.check_stop()
            digest.update(block)
            done += len(block)
            if on_progress is not None:
                on_progress(path.name, done, size_bytes)
    return digest.hexdigest()


def version_of(headers: httpx.Headers) -> PartVersion:
    """The version that an answer names; a header that cannot be sent back as it is counts as none.

    Examples
    --------
    >>> import httpx
    >>> version_of(httpx.Headers([(b"etag", b'"1"'), (b"last-modified", b"\\xe9")]))
    PartVersion(etag='"1"', last_modified=None)
    """
    named = {name: headers[name] for name in ("etag", "last-modified") if name in headers}
    return PartVersion.model_validate(
        {k: value for k, value in named.items() if value.isascii() and value.isprintable()}
    )


class Part:
    """The part of a file that has arrived, its running md5, and the version that it is a part of.

    It lies on this machine, beside the target or its counterpart: to an object nothing can be appended.
    """

    def __init__(self, target: Place, wanted: Wanted, on_progress: OnTransfer | None) -> None:
        here = local(target)
        here.parent.mkdir(parents=True, exist_ok=True)
        self.path = here.with_name(f"{target.name}.part")
        self._about = here.with_name(f"{target.name}.part.json")
        self._wanted, self._on_progress = wanted, on_progress
        self._open_existing()

    def _open_existing(self) -> None:
        """Take up a part that an earlier run left, if it is of the file that is wanted now."""
        self._forget()
        try:
            about = PartRecord.model_validate_json(self._about.read_bytes())
            if about.md5 != self._wanted.md5:
                self.start_over()
                return
            with self.path.open("rb") as file:  # hashlib cannot save its state, so what has arrived is hashed again
                while block := file.read(BLOCK_BYTES):
                    self._digest.update(block)
                    self.size_bytes += len(block)
            self._version = about.version
        except (FileNotFoundError, ValidationError):
            # Nothing there, or nothing says what it is the beginning of: its bytes are of no use.
            self.start_over()

    def _forget(self) -> None:
        self.size_bytes, self._digest, self._version = 0, hashlib.md5(usedforsecurity=False), PartVersion()

    def start_over(self) -> None:
        """Forget what has arrived."""
        self.path.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)
        self._forget()

    @property
    def md5(self) -> str:
        """Of what has arrived."""
        return self._digest.hexdigest()

    def request_headers(self) -> dict[str, str]:
        """Ask for the rest, on condition that it is the rest of the same version."""
        # httpx asks for gzip by default, whose offsets would not be the file's
        headers = {"Accept-Encoding": "identity"}
        if self.size_bytes:
            headers["Range"] = f"bytes={self.size_bytes}-"
            etag, modified = self._version.etag, self._version.last_modified
            # RFC 9110 13.1.5: a weak ETag says nothing about bytes, so it must not be used here.
            if etag and not etag.startswith("W/"):
                headers["If-Range"] = etag
            elif modified:
                headers["If-Range"] = modified
        return headers

    def rest_is(self, response: httpx.Response) -> bool:
        """Whether a 206 answer is exactly the rest of the version that this is a part of."""
        etag = response.headers.get("etag")
        # not every server heeds If-Range: its answer's own ETag must agree
        same = not self.size_bytes or self._version.etag in (None, etag)
        return same and continues(response.headers.get("content-range"), self.size_bytes, self._wanted.size_bytes)

    def write(self, response: httpx.Response, retries: Retrier) -> None:
        """Append a body, and keep whatever of it arrives."""
        if not self.size_bytes:
            self._version = version_of(response.headers)
            # before the first byte, so that no byte of this version lies beside the record of another
            about = PartRecord(md5=self._wanted.md5, version=self._version, url=str(response.url))
            write_json(self._about, about.model_dump(by_alias=True, exclude_none=True))
        total, reported = self._wanted.size_bytes, self.size_bytes
        with self.path.open("ab") as file:
            for block in response.iter_raw():  # raw: decoding would change bytes and offsets
                retries.check_stop()
                file.write(block)
                self._digest.update(block)
                self.size_bytes += len(block)
                if total is not None and self.size_bytes > total:
                    break  # a body without an end must not fill the disk
                if self._on_progress is not None and self.size_bytes - reported >= REPORT_BYTES:
                    reported = self.size_bytes
                    self._on_progress(self._wanted.name, self.size_bytes, total)
        if self._on_progress is not None:
            self._on_progress(self._wanted.name, self.size_bytes, total)

    def publish(self, target: Place, retries: Retrier) -> None:
        """Give the whole, verified file its name, or put it into its bucket."""
        deliver(self.path, target, self._blocks(f"{target.name} to {target.parent}", retries))
        self.start_over()  # removes the record of the version

    def _blocks(self, title: str, retries: Retrier) -> Iterator[bytes]:
        """What has arrived, as it is sent on to a bucket."""
        done = 0
        with self.path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                retries.check_stop()
                yield block
                done += len(block)
                if self._on_progress is not None:
                    self._on_progress(title, done, self.size_bytes)
