"""Files of a store: written whole or not at all, and their digests."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator

from blake3 import blake3

from mimiidg_build.errors import DataError
from mimiidg_build.storage.places import ObjectPath, Place
from schemas.stores import StoredObject


def write_object(store: Place, path: str, content: bytes) -> StoredObject:
    """Write a file of a store; its digest is of what was meant to be written."""
    write_file(store / path, [content])
    return StoredObject(path, len(content), blake3(content).hexdigest())


def write_file(target: Place, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file whole or not at all, and flushed to the disk; see :func:`whole_file`."""
    with whole_file(target) as write:
        for part in parts:
            write(part)


@contextlib.contextmanager
def whole_file(target: Place) -> Iterator[Write]:
    """Write a file bit by bit; it gets its name when the block ends, whole and flushed to the disk, or in its bucket.

    Unbuffered: what is written here comes in large pieces, and a copy of each would cost as much as its digest.

    Raises
    ------
    DataError
        It cannot be written. Whatever the block raises, nothing is left of the file.
    """
    if isinstance(target, ObjectPath):
        with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as spooled:

            def spool(data: bytes | memoryview) -> None:
                spooled.write(data)

            yield spool
            spooled.seek(0)
            with _writing(target):
                target.write(spooled)
        return
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        with _writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            file = partial.open("wb", buffering=0)

        def write(data: bytes | memoryview) -> None:
            rest = memoryview(data)
            with _writing(target):
                while rest:
                    rest = rest[file.write(rest) :]

        with file:
            yield write
            with _writing(target):
                os.fsync(file.fileno())
        with _writing(target):
            os.replace(partial, target)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


@contextlib.contextmanager
def _writing(target: Place) -> Iterator[None]:
    """What the system refuses, as an error that names the file."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{target} cannot be written: {error.strerror}. What is finished is kept: make room or set the rights "
            "right, then run the same command again."
        ) from error


def hash_object(store: Place, path: str) -> StoredObject:
    """Size and digest of a file as it lies there."""
    digest, file = blake3(), store / path
    if isinstance(file, ObjectPath):
        size_bytes = 0
        for block in file.blocks():
            digest.update(block)
            size_bytes += len(block)
        return StoredObject(path, size_bytes, digest.hexdigest())
    digest.update_mmap(file)
    return StoredObject(path, file.stat().st_size, digest.hexdigest())


IN_MEMORY_BYTES = 64 * 2**20  # of an object until it is put; two shards of 64 clips take 31 MB


Write = Callable[[bytes | memoryview], None]
