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
import struct
from collections.abc import Iterator

import google_crc32c
import numpy as np
import numpy.typing as npt
from blake3 import blake3

from mimiidg_build.schemas.stores import StoredObject
from mimiidg_build.storage.backend import Write
from mimiidg_build.storage.files import whole_file
from mimiidg_build.storage.places import Place

NO_CHUNK = 2**64 - 1


def shard_index(n_chunks: int, chunk_bytes: int, chunks_per_shard: int) -> bytes:
    """The index at a shard's end, for chunks of one size that lie end to end.

    Parameters
    ----------
    n_chunks : int
        Chunks that the shard holds.
    chunk_bytes : int
        Size of each.
    chunks_per_shard : int
        Chunks that a whole shard has; the last of an array may hold fewer.

    Returns
    -------
    bytes
        Offset and size of every chunk, little-endian uint64, and the CRC-32C of all that.

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

    Parameters
    ----------
    start, n_rows : int
        The rows to write.
    n_clips, chunks_per_shard : int
        Rows of the array and of a shard.

    Raises
    ------
    ValueError
        Another writer would have to write to the same shard.

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
        # Uncompressed, so all chunks have one size.
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
    store: Place | None,
    array: str,
    start: int,
    n_rows: int,
    n_clips: int,
    chunks_per_shard: int,
    n_axes: int,
    chunk_bytes: int | None = None,
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
    chunk_bytes : int, optional
        Size of a chunk, where it is known before the first: room for all of them is then found at once.

    Raises
    ------
    ValueError
        The rows are not exactly one shard, or others were appended.
    """
    check_alignment(start, n_rows, n_clips, chunks_per_shard)
    # The key that zarr gives the shard: no axis but the first has more than one shard.
    path = f"{array}/c/{start // chunks_per_shard}" + "/0" * (n_axes - 1)
    size_bytes = None
    if chunk_bytes is not None:
        size_bytes = n_rows * chunk_bytes + len(shard_index(n_rows, chunk_bytes, chunks_per_shard))
    with contextlib.nullcontext() if store is None else whole_file(store / path, size_bytes) as write:
        shard = Shard(path, write)
        yield shard
        if shard.n_chunks != n_rows:  # within the block, so that the file never gets its name
            raise ValueError(f"{path}: {shard.n_chunks} rows were appended, expected {n_rows}")
        shard.finish(chunks_per_shard)


def write_shard(
    store: Place, array: str, block: npt.NDArray[np.generic], start: int, n_clips: int, chunks_per_shard: int
) -> StoredObject:
    """Write one shard of an array at once; see :func:`open_shard`.

    Parameters
    ----------
    store : Place
        The group of the array.
    array : str
        Path of the array within the store.
    block : np.ndarray [shape=(n_rows, ...)]
        The shard's rows, little-endian.
    start : int
        The first of them in the array.
    n_clips, chunks_per_shard : int
        Rows of the array and of a shard.

    Returns
    -------
    StoredObject

    Raises
    ------
    ValueError
        The rows are not exactly one shard.
    """
    rows = (start, len(block), n_clips, chunks_per_shard)
    with open_shard(store, array, *rows, block.ndim, block[:1].nbytes) as shard:
        for chunk in block:
            shard.append(chunk)
    return shard.object
