"""Places on object storage that speaks S3: ``s3://bucket/prefix``.

An :class:`ObjectPath` does path arithmetic as pathlib does; reading and writing go through obstore. What an object
storage is good for decides what it can do:

- an object appears whole or not at all, so nothing needs a temporary name and a rename;
- a put may be conditional (:meth:`ObjectPath.write` with ``replaces``), so two writers see each other;
- there are no locks.

Credentials, region and endpoint are the environment's, as every S3 program takes them: ``AWS_ACCESS_KEY_ID``,
``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``, ``AWS_REGION``, ``AWS_ENDPOINT_URL``. Sizes are bytes.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import io
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from functools import cache, lru_cache
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, BinaryIO, NamedTuple, cast

from mimiidg_build import settings
from mimiidg_build.errors import UsageError

if TYPE_CHECKING:
    import zarr.abc.store
    from obstore.store import S3Store

SCHEME = "s3://"
BLOCK_BYTES = 4 * 2**20
RETRIES = 6  # within a minute, ever longer waits between them
ABSENT = ""  # the version of an object that is not there


class ObjectStat(NamedTuple):
    """What is known of an object without reading it; named as ``os.stat`` does."""

    st_size: int
    st_mtime_ns: int


class ObjectPath(PurePosixPath):
    """A place on object storage, with as much of ``pathlib.Path`` as this program asks of one.

    Failures are ``OSError`` and its kin, with the place's URL as their file name.

    >>> path = ObjectPath("/bucket/variants") / "demo"
    >>> str(path), path.name, str(path.parent), path.bucket, path.key
    ('s3://bucket/variants/demo', 'demo', 's3://bucket/variants', 'bucket', 'variants/demo')
    >>> str(path.relative_to(path.parent))
    'demo'
    """

    __slots__ = ()

    def __str__(self) -> str:
        text = super().__str__()
        return f"s3:/{text}" if text.startswith("/") else text

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.parts[1]

    @property
    def key(self) -> str:
        """The object's key within its bucket, or a prefix of others'."""
        return "/".join(self.parts[2:])

    # ---- reading -----------------------------------------------------------------------------------------------------

    def stat(self) -> ObjectStat:
        """Size and time of the last change."""
        with _asking(self) as store:
            import obstore

            found = obstore.head(store, self.key)
        return ObjectStat(found["size"], int(found["last_modified"].timestamp() * 1e9))

    def is_file(self) -> bool:
        """Whether there is an object of this name."""
        try:
            return bool(self.key) and self.stat().st_size >= 0
        except FileNotFoundError:
            return False

    def is_dir(self) -> bool:
        """Whether there are objects below this name."""
        return next(iter(self._listed()), None) is not None

    def exists(self) -> bool:
        """Whether there is an object of this name, or objects below it."""
        return self.is_file() or self.is_dir()

    def read_bytes(self) -> bytes:
        """The object's content."""
        return self.read_version()[0]

    def read_version(self) -> tuple[bytes, str]:
        """The object's content, and its version, for :meth:`write`."""
        with _asking(self) as store:
            import obstore

            answer = obstore.get(store, self.key)
            return bytes(answer.bytes()), str(answer.meta["e_tag"])

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """``n_bytes`` of the object from ``offset``, fewer at its end."""
        if n_bytes == 0:
            return b""
        with _asking(self) as store:
            import obstore

            return bytes(obstore.get_range(store, self.key, start=offset, length=n_bytes))

    def blocks(self) -> Iterator[memoryview]:
        """The object's content, block by block as it comes."""
        with _asking(self) as store:
            import obstore

            for block in obstore.get(store, self.key).stream(min_chunk_size=BLOCK_BYTES):
                yield memoryview(block)

    def open(self, mode: str = "rb") -> BinaryIO:
        """The object as a file to read and to seek in."""
        if mode != "rb":
            raise ValueError(f"an object can be opened for reading only, not {mode!r}")
        return cast("BinaryIO", io.BufferedReader(_ObjectFile(self), BLOCK_BYTES))

    # ---- what there is -----------------------------------------------------------------------------------------------

    def _listed(self) -> Iterator[tuple[str, int]]:
        """Key and size of every object below."""
        with _asking(self) as store:
            import obstore

            for batch in obstore.list(store, f"{self.key}/" if self.key else None):
                yield from ((found["path"], found["size"]) for found in batch)

    def sizes(self) -> dict[str, int]:
        """Size of every object below, by its name from here."""
        skip = len(self.key) + 1 if self.key else 0
        return {key[skip:]: size for key, size in self._listed()}

    def iterdir(self) -> Iterator[ObjectPath]:
        """What lies directly below: objects, and prefixes of others."""
        with _asking(self) as store:
            import obstore

            found = obstore.list_with_delimiter(store, f"{self.key}/" if self.key else None)
        names = [*found["common_prefixes"], *(entry["path"] for entry in found["objects"])]
        return iter(sorted(self / name.rstrip("/").rsplit("/", 1)[-1] for name in names))

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """What matches a pattern, level by level (no ``**``)."""
        first, _, rest = pattern.partition("/")
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
        with _asking(self) as store:
            import obstore

            if replaces is None:
                obstore.put(store, self.key, content)
            else:
                obstore.put(store, self.key, content, mode="create" if replaces == ABSENT else {"e_tag": replaces})

    def copy_within(self, target: ObjectPath) -> None:
        """Copy the object to another place of its bucket, where it lies."""
        with _asking(self) as store:
            import obstore

            obstore.copy(store, self.key, target.key)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object."""
        if not missing_ok:
            self.stat()
        with _asking(self) as store, contextlib.suppress(FileNotFoundError):
            import obstore

            obstore.delete(store, self.key)

    def remove_below(self) -> None:
        """Remove every object below."""
        keys = [key for key, _ in self._listed()]
        with _asking(self) as store:
            import obstore

            obstore.delete(store, keys)

    @property
    def zarr_store(self) -> zarr.abc.store.Store:
        """The place as zarr reads it."""
        from zarr.storage import ObjectStore

        return ObjectStore(_client(self.bucket, self.key), read_only=True)


class _ObjectFile(io.RawIOBase):
    """An object, read by ranges."""

    def __init__(self, path: ObjectPath) -> None:
        self._path, self._size_bytes, self._at = path, path.stat().st_size, 0
        self.name = str(path)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        if at < 0:
            raise ValueError(f"negative position {at}")
        self._at = at
        return at

    def readinto(self, buffer: object) -> int:
        room = memoryview(cast("bytearray", buffer))
        data = self._path.read_at(self._at, min(len(room), max(0, self._size_bytes - self._at)))
        room[: len(data)] = data
        self._at += len(data)
        return len(data)


# ---- The client ------------------------------------------------------------------------------------------------------


def _client(bucket: str, prefix: str = "") -> S3Store:
    """A client of a bucket.

    Raises
    ------
    UsageError
        This process was forked from one that had a client: obstore's threads are not in it, and it would wait for ever.
    """
    if _first_process() != os.getpid():
        raise UsageError(
            f"{SCHEME}{bucket} cannot be read in a process forked from one that has read from object storage. Start "
            'fresh ones: DataLoader(..., multiprocessing_context="spawn").'
        )
    return _connected(bucket, prefix, settings.object_storage_url())


@cache
def _first_process() -> int:
    """The process that made the first client; what is forked from it has this answer, too."""
    return os.getpid()


@lru_cache(maxsize=64)
def _connected(bucket: str, prefix: str, endpoint: str) -> S3Store:
    from obstore.store import S3Store

    return S3Store(
        bucket,
        prefix=prefix or None,
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "timeout": timedelta(seconds=60),
            "connect_timeout": timedelta(seconds=10),
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=60)},
    )


@contextlib.contextmanager
def _asking(path: ObjectPath) -> Iterator[S3Store]:
    """The bucket's client; what it refuses is an ``OSError`` that names the place."""
    from obstore.exceptions import (
        AlreadyExistsError,
        BaseError,
        NotFoundError,
        PermissionDeniedError,
        PreconditionError,
        UnauthenticatedError,
    )

    where = str(path)
    try:
        yield _client(path.bucket)
    except (BaseError, FileNotFoundError) as error:
        said = str(error)
        code = re.search("<Code>([A-Za-z0-9]+)</Code>", said)
        if code and code[1] == "NoSuchBucket":
            raise FileNotFoundError(errno.ENOENT, "there is no such bucket", where) from error
        if isinstance(error, NotFoundError | FileNotFoundError):
            raise FileNotFoundError(errno.ENOENT, "no such object", where) from error
        if isinstance(error, AlreadyExistsError | PreconditionError):
            raise FileExistsError(errno.EEXIST, "another version is there", where) from error
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            what = "refused; see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and the bucket's policy"
            raise PermissionError(errno.EACCES, what, where) from error
        endpoint = settings.object_storage_url() or "Amazon S3"
        why = code[1] if code else _reason(said)
        raise OSError(errno.EIO, f"the object storage at {endpoint} fails: {why}", where) from error


def _reason(said: str) -> str:
    """What obstore says, without what it asked and how often.

    >>> _reason("Generic S3 error: Error performing GET http://x in 4 s  - HTTP error: no answer")
    'HTTP error: no answer'
    """
    return said.split("\n", 1)[0].rsplit(" - ", 1)[-1].strip()[:200]
