"""Rows of a store's arrays, read as fast as their encoding allows: memory-mapped shards, or zarr.

Conventions
-----------
A row is one clip. A reader has shards, numbered 0, 1, 2, ..., and a clip is (shard, row within it). Mapped and zarr
readers give the same bytes.

An uncompressed shard of these stores is its chunks, one per clip, and an index of them at its end (see
:mod:`mimiidg_build.store.shards`). Its clips are one array in the file, which can be mapped: reading a clip is one
copy. zarr itself reads random rows a hundred times slower; it is used for compressed arrays and for object storage.
"""

from __future__ import annotations

import json
import mmap
import struct
import sys
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import google_crc32c
import numpy as np
import numpy.typing as npt

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.storage.places import Place, is_local
from mimiidg_build.store.recorded import Recorded

Array = npt.NDArray[Any]
Numbers = npt.NDArray[np.int64]
CACHED_SHARDS = 4
OPEN_MAPS = 512  # a map keeps a descriptor, of which a process has 1,024: clips of 512 shards are 33,000


@dataclass(frozen=True)
class Shard:
    """Rows ``start`` to ``start + n_rows`` of the array at ``array``, stored in ``file``."""

    array: Place
    file: Place
    start: int
    n_rows: int


@dataclass(frozen=True)
class ArrayLayout:
    """How an array of a store is laid out on disk, as its ``zarr.json`` says.

    Attributes
    ----------
    path : Place
        The array's directory.
    shape : tuple of int
        (clip, ...).
    dtype : np.dtype
    shard_rows : int
        Clips of a shard; the last may hold fewer. Of a chunk, where the array is not sharded.
    is_plain : bool
        Its shards are the clips' own bytes, one chunk a clip: they can be mapped.
    """

    path: Place
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    shard_rows: int
    is_plain: bool

    @property
    def row_bytes(self) -> int:
        """Bytes of one clip."""
        return int(np.prod(self.shape[1:])) * self.dtype.itemsize

    def shards(self) -> list[Shard]:
        """The array's shards, in order."""
        # zarr's key of a chunk has a number per axis: 0 on all others, since shards hold whole clips.
        tail = "/0" * (len(self.shape) - 1)
        return [
            Shard(
                self.path,
                self.path / f"c/{number}{tail}",
                start,
                min(self.shard_rows, self.shape[0] - start),
            )
            for number, start in enumerate(range(0, self.shape[0], self.shard_rows))
        ]


def array_layout(path: Place) -> ArrayLayout:
    """Read an array's metadata.

    Raises
    ------
    DataError
        There is no array, or its metadata cannot be read.
    """
    try:
        metadata = json.loads((path / "zarr.json").read_bytes())
        shape = tuple(int(n) for n in metadata["shape"])
        chunk_rows = int(metadata["chunk_grid"]["configuration"]["chunk_shape"][0])
        dtype = np.dtype(metadata["data_type"])
        return ArrayLayout(path, shape, dtype, chunk_rows, _is_plain(metadata, shape))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a readable zarr array ({error}); run `mimiidg verify`.") from None


def _is_plain(metadata: dict[str, Any], shape: tuple[int, ...]) -> bool:
    """True if every shard is the clips' own bytes and an index at its end, under the default file names.

    Compared with the one encoding that builds write, rather than analysed: whatever differs is left to zarr.
    """
    little = [{"name": "bytes", "configuration": {"endian": "little"}}]
    sharding = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [1, *shape[1:]],
            "codecs": little,
            "index_codecs": [*little, {"name": "crc32c"}],
            "index_location": "end",
        },
    }
    names = {"name": "default", "configuration": {"separator": "/"}}
    holds_whole_clips = list(metadata["chunk_grid"]["configuration"]["chunk_shape"][1:]) == list(shape[1:])
    is_uncompressed = metadata["codecs"] == [sharding]
    has_default_names = metadata["chunk_key_encoding"] == names
    return sys.byteorder == "little" and holds_whole_clips and is_uncompressed and has_default_names


class Reader(Protocol):
    """Reads clips by shard and row."""

    def take(self, shard: Numbers, row: Numbers, out: Array) -> None:
        """Copy clips into an array.

        Parameters
        ----------
        shard : np.ndarray [shape=(n,)]
            Numbers of the clips' shards.
        row : np.ndarray [shape=(n,)]
            The clips' rows within them.
        out : np.ndarray [shape=(n, ...)]
            Gets the clips, in the order given.

        Raises
        ------
        DataError
            A shard is missing or damaged.
        """


def open_reader(recorded: Recorded, arrays: Sequence[str]) -> tuple[Reader, list[ArrayLayout]]:
    """One reader over the shards of several arrays: mapped where all of them can be, and are on this machine.

    Parameters
    ----------
    recorded : Recorded
        The store's files: each shard is held against it when a reader first reads of it.
    arrays : sequence of str
        Their paths within the store.

    Returns
    -------
    Reader
    list of ArrayLayout
        One for each array.

    Raises
    ------
    UsageError
        The arrays' clips differ in shape or type.
    DataError
        An array's metadata cannot be read.
    """
    layouts = [array_layout(recorded.path / name) for name in arrays]
    kinds = {(layout.shape[1:], layout.dtype) for layout in layouts}
    if len(kinds) > 1:
        raise UsageError(f"sections of different shapes or types cannot be one dataset: {sorted(map(str, kinds))}")
    shards: list[Shard] = [shard for layout in layouts for shard in layout.shards()]
    can_map = all(layout.is_plain and is_local(layout.path) for layout in layouts)
    # A shard's index has an entry per row of a full shard, and MappedReader has one layout for all.
    if can_map and len({layout.shard_rows for layout in layouts}) == 1:
        return MappedReader(recorded, layouts[0], shards), layouts
    return ZarrReader(recorded, shards), layouts


class MappedReader:
    """Reads uncompressed shards through the page cache. Maps are opened when first used, in each process of its own.

    Parameters
    ----------
    recorded : Recorded
        The store's files.
    layout : ArrayLayout
        Of all arrays: they differ in nothing but their number of clips.
    shards : list of Shard
    """

    def __init__(self, recorded: Recorded, layout: ArrayLayout, shards: list[Shard]) -> None:
        self._recorded, self._layout, self._shards = recorded, layout, shards
        self._maps: dict[int, tuple[Array, Numbers]] = {}
        # One byte a shard, set once it is checked. Shared with forks: a DataLoader forks its workers anew for every
        # epoch, and what the first have checked the next need not hash again.
        self._checked = mmap.mmap(-1, len(shards))

    def take(self, shard: Numbers, row: Numbers, out: Array) -> None:
        """See ``Reader``. One plain copy a clip: fancy indexing would copy each twice."""
        for i, (number, row_in_shard) in enumerate(zip(shard.tolist(), row.tolist(), strict=True)):
            mapped = self._maps.get(number)
            if mapped is None:
                if len(self._maps) >= OPEN_MAPS:
                    del self._maps[next(iter(self._maps))]  # the oldest: the next order may begin anywhere
                mapped = self._maps[number] = self._map(number)
            clips, chunk_of = mapped
            out[i] = clips[chunk_of[row_in_shard]]

    def _map(self, number: int) -> tuple[Array, Numbers]:
        shard = self._shards[number]
        if not self._checked[number]:
            self._recorded.check(_name(self._recorded, shard.file))
            self._checked[number] = 1
        return map_shard(shard, self._layout)

    def __getstate__(self) -> dict[str, Any]:
        # a map pickles as its content, and shared memory not at all
        return self.__dict__ | {"_maps": {}, "_checked": bytes(self._checked)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._checked = mmap.mmap(-1, len(self._shards))
        self._checked[:] = state["_checked"]


def _name(recorded: Recorded, path: Place) -> str:
    """A file's name within its store."""
    return path.relative_to(recorded.path).as_posix()


class ZarrReader:
    """Reads whole shards through zarr, whatever their encoding, and caches the last few."""

    def __init__(self, recorded: Recorded, shards: list[Shard]) -> None:
        self._recorded, self._shards = recorded, shards
        self._cache: OrderedDict[int, Array] = OrderedDict()

    def take(self, shard: Numbers, row: Numbers, out: Array) -> None:
        """See ``Reader``."""
        for number in np.unique(shard).tolist():
            rows = np.flatnonzero(shard == number)
            out[rows] = self._shard(number)[row[rows]]

    def _shard(self, number: int) -> Array:
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        import zarr  # half a second, which mapped stores do not pay

        from mimiidg_build.store.checked_zarr import checked_zarr

        shard = self._shards[number]
        array = zarr.open_array(checked_zarr(self._recorded), path=_name(self._recorded, shard.array), mode="r")
        self._cache[number] = np.asarray(array[shard.start : shard.start + shard.n_rows])
        if len(self._cache) > CACHED_SHARDS:
            self._cache.popitem(last=False)
        return self._cache[number]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cache": OrderedDict()}


def map_shard(shard: Shard, layout: ArrayLayout) -> tuple[Array, Numbers]:
    """Map an uncompressed shard into memory.

    Parameters
    ----------
    shard : Shard
    layout : ArrayLayout
        Of the shard's array.

    Returns
    -------
    clips : np.ndarray [shape=(n_chunks, ...)]
        The chunks in the order of the file, which is mapped.
    chunk_of : np.ndarray [shape=(n_rows,)]
        The chunk of each row.

    Raises
    ------
    DataError
        The file is missing, or its index does not fit it.
    """
    size_bytes, content = _read_index(shard, layout)
    # In the last shard, entries beyond n_rows are of rows that do not exist.
    index = np.frombuffer(content, "<u8").reshape(-1, 2)[: shard.n_rows]
    # By offset: chunks lie in the order in which they were written, which need not be that of the rows.
    chunk_of, rest = np.divmod(index[:, 0], np.uint64(layout.row_bytes))
    n_chunks = (size_bytes - len(content) - 4) // layout.row_bytes
    if (index[:, 1] != layout.row_bytes).any() or rest.any() or (chunk_of >= n_chunks).any():
        raise DataError(f"{shard.file}: its index names chunks that it does not hold; run `mimiidg verify`.")
    clips = np.memmap(shard.file, layout.dtype, mode="r", shape=(n_chunks, *layout.shape[1:]))
    # A plain array over the same pages: indexing it costs a fifth of indexing a memmap.
    return clips.view(np.ndarray), chunk_of.astype(np.int64)


def _read_index(shard: Shard, layout: ArrayLayout) -> tuple[int, bytes]:
    """Size of a shard's file, and the index at its end: offset and size of each row's chunk, 8 bytes each.

    The last four bytes of the file are the index's CRC-32C.
    """
    index_bytes = 16 * layout.shard_rows
    try:
        size_bytes = shard.file.stat().st_size
        with shard.file.open("rb") as file:
            # A file shorter than its index is read from its start, and fails the check of the length below.
            file.seek(max(0, size_bytes - index_bytes - 4))
            footer = file.read()
        content, (checksum,) = footer[:-4], struct.unpack("<I", footer[-4:])
    except (OSError, struct.error) as error:
        raise DataError(f"{shard.file} cannot be read ({error}); run `mimiidg verify`.") from None
    if len(content) != index_bytes or google_crc32c.value(content) != checksum:
        raise DataError(f"{shard.file}: the index at its end is damaged, or it is cut short; run `mimiidg verify`.")
    return size_bytes, content
