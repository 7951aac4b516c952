"""One shard, one writer: whole zarr v3 shards, written once, by temporary name and rename.

A store's arrays are uncompressed: compression saves a tenth of the space and costs most of the rate of random reads,
which then cannot be mapped. Chunk = one clip, what training asks for; shard = a fixed number of clips. Such a shard is
its chunks end to end and an index (offset and size of every chunk, little-endian uint64, all ones where there is none)
with its CRC-32C. Writing it here, chunk by chunk, gives its digest while the bytes are in the processor's cache (BLAKE3
takes 0.1 ms a clip, sha256 would take 1.2) and leaves no room for two writers of one shard, which corrupt silently when
they go through dask (dask #12583, zarr-python #3682). A test holds the bytes against zarr's own.
"""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import google_crc32c
import numpy as np
import numpy.typing as npt
from blake3 import blake3

from mimiidg_build.errors import DataError
from mimiidg_build.places import ObjectPath, Place

NO_CHUNK = 2**64 - 1
IN_MEMORY_BYTES = 64 * 2**20  # of an object until it is put; two shards of 64 clips take 31 MB

Write = Callable[[bytes | memoryview], None]


@dataclass(frozen=True)
class StoredObject:
    """A file of a store: its path within it, size and digest."""

    path: str
    size_bytes: int
    blake3: str


def shard_index(n_chunks: int, chunk_bytes: int, chunks_per_shard: int) -> bytes:
    """The index at a shard's end, for chunks of one size that lie end to end.

    >>> len(shard_index(1, 4, 2))
    36
    """
    index = np.full((chunks_per_shard, 2), NO_CHUNK, "<u8")
    index[:n_chunks, 0] = np.arange(n_chunks) * chunk_bytes
    index[:n_chunks, 1] = chunk_bytes
    content = index.tobytes()
    return content + struct.pack("<I", google_crc32c.value(content))


def check_alignment(start: int, n_rows: int, n_clips: int, chunks_per_shard: int) -> None:
    """Refuse rows that are not exactly one shard.

    >>> check_alignment(64, 64, 1000, 64)
    >>> check_alignment(32, 64, 1000, 64)
    Traceback (most recent call last):
    ...
    ValueError: rows 32-95 of 1000 are not one shard of 64 clips; writers that share a shard corrupt it
    """
    whole = n_rows == chunks_per_shard or start + n_rows == n_clips
    inside = 0 <= start < start + n_rows <= n_clips
    if start % chunks_per_shard or n_rows > chunks_per_shard or not whole or not inside:
        raise ValueError(
            f"rows {start}-{start + n_rows - 1} of {n_clips} are not one shard of {chunks_per_shard} clips; "
            "writers that share a shard corrupt it"
        )


class Shard:
    """A shard under way: its chunks in order, each hashed and written while it is still in the processor's cache."""

    def __init__(self, path: str, write: Write | None) -> None:
        self.path = path
        self.n_chunks = self.size_bytes = 0
        self._write = write
        self._digest = blake3()

    def append(self, chunk: npt.NDArray[np.generic]) -> None:
        """The next row. Little-endian, as stored."""
        self._add(np.ascontiguousarray(chunk).data.cast("B"))
        self.n_chunks += 1

    def finish(self, chunks_per_shard: int) -> None:
        """The index behind the chunks."""
        self._add(shard_index(self.n_chunks, self.size_bytes // self.n_chunks, chunks_per_shard))

    @property
    def object(self) -> StoredObject:
        """What it is, once it is finished."""
        return StoredObject(self.path, self.size_bytes, self._digest.hexdigest())

    def _add(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        self.size_bytes += len(data)
        if self._write is not None:
            self._write(data)


@contextlib.contextmanager
def open_shard(
    store: Place | None, array: str, start: int, n_rows: int, n_clips: int, chunks_per_shard: int, n_axes: int
) -> Iterator[Shard]:
    """One shard to append rows to; whole and on the disk when the block ends, not there if it fails.

    Parameters
    ----------
    store : Place, optional
        The group of the array; without one nothing is written, and the shard tells what would have been.
    array : str
        Path of the array within the store.
    start, n_rows : int
        The shard's rows.
    n_clips, chunks_per_shard : int
        Rows of the array and of a shard.
    n_axes : int
        Of the array.

    Raises
    ------
    ValueError
        The rows are not exactly one shard, or others were appended.
    """
    check_alignment(start, n_rows, n_clips, chunks_per_shard)
    path = f"{array}/c/{start // chunks_per_shard}" + "/0" * (n_axes - 1)
    with contextlib.nullcontext() if store is None else whole_file(store / path) as write:
        shard = Shard(path, write)
        yield shard
        if shard.n_chunks != n_rows:
            raise ValueError(f"{path}: {shard.n_chunks} rows were appended, expected {n_rows}")
        shard.finish(chunks_per_shard)


def write_shard(
    store: Place, array: str, block: npt.NDArray[np.generic], start: int, n_clips: int, chunks_per_shard: int
) -> StoredObject:
    """Write the rows of one shard of an array of the group at ``store``; see :func:`open_shard`."""
    with open_shard(store, array, start, len(block), n_clips, chunks_per_shard, block.ndim) as shard:
        for chunk in block:
            shard.append(chunk)
    return shard.object


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
