"""One shard, one writer: whole zarr v3 shards, written once, by temporary name and rename.

A store's arrays are uncompressed: chunk = one clip, shard = a fixed number of clips. Such a shard is its chunks end to
end and an index (offset and size of every chunk, little-endian uint64, all ones where there is none) with its CRC-32C.
Writing it here, in one piece, gives its digest for free and leaves no room for two writers of one shard, which corrupt
silently when they go through dask (dask #12583, zarr-python #3682). A test holds the bytes against zarr's own.
"""

from __future__ import annotations

import contextlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt
from blake3 import blake3

from mimiidg_build.errors import DataError

NO_CHUNK = 2**64 - 1


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


def encode_shard(
    array: str, block: npt.NDArray[np.generic], start: int, n_clips: int, chunks_per_shard: int
) -> tuple[StoredObject, list[bytes | memoryview]]:
    """One shard's bytes, in parts, and the object that they make.

    Parameters
    ----------
    array : str
        Path of the array within the store.
    block : np.ndarray [shape=(n_rows, ...)]
        Little-endian, as stored.
    start : int
        First row.
    n_clips, chunks_per_shard : int
        Rows of the array and of a shard.

    Raises
    ------
    ValueError
        The rows are not exactly one shard.
    """
    check_alignment(start, len(block), n_clips, chunks_per_shard)
    path = f"{array}/c/{start // chunks_per_shard}" + "/0" * (block.ndim - 1)
    index = shard_index(len(block), block.nbytes // len(block), chunks_per_shard)
    parts: list[bytes | memoryview] = [np.ascontiguousarray(block).data.cast("B"), index]
    return described(path, parts), parts


def write_shard(
    store: Path, array: str, block: npt.NDArray[np.generic], start: int, n_clips: int, chunks_per_shard: int
) -> StoredObject:
    """Write the rows of one shard of an array of the group at ``store``; see :func:`encode_shard`."""
    written, parts = encode_shard(array, block, start, n_clips, chunks_per_shard)
    write_file(store / written.path, parts)
    return written


def described(path: str, parts: list[bytes | memoryview]) -> StoredObject:
    """The object that these bytes make."""
    digest = blake3()
    for part in parts:
        digest.update(part)
    return StoredObject(path, sum(len(part) for part in parts), digest.hexdigest())


def write_object(store: Path, path: str, content: bytes) -> StoredObject:
    """Write a file of a store; its digest is of what was meant to be written."""
    write_file(store / path, [content])
    return described(path, [content])


def write_file(target: Path, parts: list[bytes | memoryview]) -> None:
    """Write a file whole or not at all, and flushed to the disk.

    Raises
    ------
    DataError
        It cannot be written; nothing is left of it.
    """
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise DataError(
            f"{target} cannot be written: {error.strerror}. What is finished is kept: make room or set the rights "
            "right, then run the same command again."
        ) from error


def hash_object(store: Path, path: str) -> StoredObject:
    """Size and digest of a file as it lies on the disk."""
    digest = blake3()
    digest.update_mmap(store / path)
    return StoredObject(path, (store / path).stat().st_size, digest.hexdigest())
