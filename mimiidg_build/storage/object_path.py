"""Paths on object storage that speaks S3: ``s3://bucket/prefix``.

An :class:`ObjectPath` does path arithmetic as pathlib does; reading and writing go through obstore. What an object
storage is good for decides what it can do:

- an object appears whole or not at all, so nothing needs a temporary name and a rename;
- a put may be conditional (:meth:`ObjectPath.write` with ``replaces``), so two writers see each other;
- there are no locks.

Sizes are bytes.
"""

from __future__ import annotations

import contextlib
import fnmatch
import io
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, BinaryIO, NamedTuple, cast

from mimiidg_build.storage.object_client import client, requests

if TYPE_CHECKING:
    import zarr.abc.store
    from obstore.store import S3Store

BLOCK_BYTES = 4 * 2**20
ABSENT = ""  # the version of an object that is not there


class ObjectStat(NamedTuple):
    """What is known of an object without reading it; named as ``os.stat`` does."""

    st_size: int
    st_mtime_ns: int


class ObjectPath(PurePosixPath):
    """A path on object storage, with as much of ``pathlib.Path`` as this program uses.

    Failures are ``OSError`` and its kin, with the path's URL as their file name.

    >>> path = ObjectPath("/bucket/variants") / "demo"
    >>> str(path), path.name, str(path.parent), path.bucket, path.key
    ('s3://bucket/variants/demo', 'demo', 's3://bucket/variants', 'bucket', 'variants/demo')
    >>> str(path.relative_to(path.parent)), path.absolute() is path
    ('demo', True)
    """

    __slots__ = ()

    def __str__(self) -> str:
        text = super().__str__()  # of an absolute path: its slash is the second one of the URL
        return f"s3:/{text}" if text.startswith("/") else text

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.parts[1]

    @property
    def key(self) -> str:
        """The object's key within its bucket, or the prefix of the objects below."""
        return "/".join(self.parts[2:])

    def absolute(self) -> ObjectPath:
        """The path itself: a URL means the same in every working directory."""
        return self

    def _requests(self) -> AbstractContextManager[S3Store]:
        return requests(self.bucket, str(self))

    @property
    def _prefix(self) -> str | None:
        """What the keys of the objects below begin with. The slash keeps out ``demo-2`` beside ``demo``."""
        return f"{self.key}/" if self.key else None

    # ---- reading -----------------------------------------------------------------------------------------------------

    def stat(self) -> ObjectStat:
        """Size and time of the last change."""
        with self._requests() as store:
            found = store.head(self.key)
        return ObjectStat(found["size"], int(found["last_modified"].timestamp() * 1e9))

    def is_file(self) -> bool:
        """Whether there is an object of this name."""
        try:
            return bool(self.key) and self.stat().st_size >= 0
        except FileNotFoundError:
            return False

    def is_dir(self) -> bool:
        """Whether there are objects below this name."""
        return next(iter(self._listed()), None) is not None  # lazy: the first batch of the listing at most

    def exists(self) -> bool:
        """Whether there is an object of this name, or objects below it."""
        return self.is_file() or self.is_dir()

    def read_bytes(self) -> bytes:
        """The object's content."""
        return self.read_version()[0]

    def read_version(self) -> tuple[bytes, str]:
        """The object's content, and its version, for :meth:`write`."""
        with self._requests() as store:
            answer = store.get(self.key)
            # Of the same answer: a second request could see another version than the content's.
            return bytes(answer.bytes()), str(answer.meta["e_tag"])

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """``n_bytes`` of the object from ``offset``, fewer at its end."""
        if n_bytes == 0:
            return b""  # an empty range is an error to S3
        with self._requests() as store:
            return bytes(store.get_range(self.key, start=offset, length=n_bytes))

    def blocks(self) -> Iterator[memoryview]:
        """The object's content, block by block as it comes."""
        with self._requests() as store:
            for block in store.get(self.key).stream(min_chunk_size=BLOCK_BYTES):
                yield memoryview(block)

    def open(self, mode: str = "rb") -> BinaryIO:
        """The object as a file to read and to seek in."""
        if mode != "rb":
            raise ValueError(f"an object can be opened for reading only, not {mode!r}")
        return cast("BinaryIO", io.BufferedReader(_ObjectFile(self), BLOCK_BYTES))

    # ---- what there is -----------------------------------------------------------------------------------------------

    def _listed(self) -> Iterator[tuple[str, int]]:
        """Key and size of every object below."""
        with self._requests() as store:
            for batch in store.list(self._prefix):
                yield from ((found["path"], found["size"]) for found in batch)

    def sizes(self) -> dict[str, int]:
        """Size of every object below, by its name from here."""
        skip = len(self._prefix or "")
        return {key[skip:]: size for key, size in self._listed()}

    def iterdir(self) -> Iterator[ObjectPath]:
        """What lies directly below: objects, and prefixes of others."""
        with self._requests() as store:
            found = store.list_with_delimiter(self._prefix)
        names = [*found["common_prefixes"], *(entry["path"] for entry in found["objects"])]
        return iter(sorted(self / name.rstrip("/").rsplit("/", 1)[-1] for name in names))

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """What matches a pattern, level by level (no ``**``)."""
        first, _, rest = pattern.partition("/")
        # A level without wildcards costs no listing.
        for path in self.iterdir() if any(c in first for c in "*?[") else [self / first]:
            if fnmatch.fnmatchcase(path.name, first):
                if rest:
                    yield from path.glob(rest)
                elif path.exists():
                    yield path

    # ---- writing -----------------------------------------------------------------------------------------------------

    def write(self, content: bytes | IO[bytes] | Iterator[bytes], *, replaces: str | None = None) -> None:
        """Put an object here, whole or not at all.

        Parameters
        ----------
        content : bytes, binary file, or blocks one after the other
        replaces : str, optional
            Only if the object that is here is of this version (of :meth:`read_version`; ``ABSENT`` for none).

        Raises
        ------
        FileExistsError
            It is of another version.
        """
        with self._requests() as store:
            if replaces is None:
                store.put(self.key, content)
            else:
                store.put(self.key, content, mode="create" if replaces == ABSENT else {"e_tag": replaces})

    def copy_within(self, target: ObjectPath) -> None:
        """Copy the object to another key of its bucket, without sending its bytes through this machine."""
        with self._requests() as store:
            store.copy(self.key, target.key)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object."""
        if not missing_ok:
            self.stat()  # S3 answers a deletion of nothing as it does any other
        with self._requests() as store, contextlib.suppress(FileNotFoundError):
            store.delete(self.key)

    def remove_below(self) -> None:
        """Remove every object below."""
        keys = [key for key, _ in self._listed()]
        with self._requests() as store:
            store.delete(keys)

    @property
    def zarr_store(self) -> zarr.abc.store.Store:
        """What zarr opens in place of a path."""
        from zarr.storage import ObjectStore

        return ObjectStore(client(self.bucket, self.key), read_only=True)


class _ObjectFile(io.RawIOBase):
    """An object, read by ranges.

    ``obstore.open_reader`` would be shorter, but zipfile cannot read from it: it gives ``obstore.Bytes``, which lack
    ``rfind`` (to find a directory behind a comment) and ``decode`` (for members' names). Its errors would need
    translating as well, and nothing that it does saves a request (obstore 0.12).
    """

    def __init__(self, path: ObjectPath) -> None:
        self._path, self._size_bytes, self._position = path, path.stat().st_size, 0
        self.name = str(path)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        if start + offset < 0:
            raise ValueError(f"negative position {start + offset}")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: object) -> int:
        room = memoryview(cast("bytearray", buffer))
        # Nothing is asked for at the end: S3 answers a range that begins there with an error.
        data = self._path.read_at(self._position, min(len(room), max(0, self._size_bytes - self._position)))
        room[: len(data)] = data
        self._position += len(data)
        return len(data)
