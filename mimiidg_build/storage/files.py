"""Files of a store: written whole or not at all, and their digests."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from mimiidg_build.schemas.stores import StoredObject
from mimiidg_build.storage.backend import Write, write_errors
from mimiidg_build.storage.places import Place, backend
from mimiidg_build.storage.temporary import open_temporary


def whole_file(path: Place, size_bytes: int | None = None, *, durable: bool = True) -> AbstractContextManager[Write]:
    """Write a file piece by piece; it gets its name when the block ends, whole and flushed to the disk, or in its
    bucket.

    Parameters
    ----------
    path : Place
    size_bytes : int, optional
        How long it will be, where that is known: a disk then gives it its room at once.
    durable : bool
        False for a file of a partial store, which is flushed when the store is published, and for a cache, of which a
        damaged one is made again.

    Raises
    ------
    DataError
        It cannot be written. Whatever the block raises, nothing is left of the file.
    """
    return backend(path).whole_file(path, size_bytes, durable=durable)


def write_file(path: Place, parts: Iterable[bytes | memoryview], *, durable: bool = True) -> None:
    """Write a file whole or not at all; see :func:`whole_file`."""
    with whole_file(path, durable=durable) as write:
        for part in parts:
            write(part)


@contextlib.contextmanager
def open_whole(path: Path) -> Iterator[BinaryIO]:
    """A file of this machine, open for writers that go back in it, as those of archives do.

    It gets its name when the block ends, flushed.

    Raises
    ------
    DataError
        It cannot be written. Whatever the block raises, nothing is left of the file.
    """
    with write_errors(path):
        temporary, raw = open_temporary(path)
        try:
            with io.BufferedWriter(raw) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, path)
        except BaseException:  # Ctrl-C, too
            with contextlib.suppress(OSError):  # a failed removal must not hide the error
                temporary.unlink()
            raise


def write_object(store: Place, path: str, content: bytes, *, durable: bool = True) -> StoredObject:
    """Write a file of a store.

    Parameters
    ----------
    store : Place
    path : str
        Within the store.
    content : bytes
    durable : bool
        See :func:`whole_file`.

    Returns
    -------
    StoredObject
        Its digest is that of ``content``, not of what the disk made of it.

    Raises
    ------
    DataError
        It cannot be written.
    """
    write_file(store / path, [content], durable=durable)
    return StoredObject(path, len(content), blake3(content).hexdigest())


def hash_object(store: Place, path: str) -> StoredObject:
    """Size and digest of a file of a store as it lies there."""
    return StoredObject(path, *backend(store).digest(store / path))
