"""Rows of a store's arrays, read as fast as their encoding allows: mapped shards, or zarr.

Conventions
-----------
A row is one clip. A reader has shards, numbered 0, 1, 2, ..., and a clip is (shard, row within it). Mapped and zarr
readers give the same bytes.

An uncompressed shard of these stores is its chunks, one per clip, and an index of them at its end (see
:mod:`mimiidg_build.store.shards`). Its clips are one array in the file, which can be mapped: reading a clip is one
copy. zarr itself reads random rows a hundred times slower; it is left for what is compressed.
"""

from __future__ import annotations

import json
import struct
import sys
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Protocol

import google_crc32c
import numpy as np
import numpy.typing as npt

from mimiidg_build.errors import DataError
from mimiidg_build.storage.places import Place, zarr_source

Array = npt.NDArray[Any]
Numbers = npt.NDArray[np.int64]
CACHED_SHARDS = 4


@dataclass(frozen=True)
class Shard:
    """Rows ``start`` .. ``start + n_rows`` of the array at ``array``, which lie in ``file``."""

    array: Place
    file: Place
    start: int
    n_rows: int


@dataclass(frozen=True)
class ArrayLayout:
    """How an array of a store lies on the disk, as its ``zarr.json`` says.

    Attributes
    ----------
    shape : tuple of int
        (clip, ...).
    shard_rows : int
        Clips of a shard; the last may hold fewer. Where the array has no shards, of a chunk.
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
        raise DataError(f"{path} is no readable zarr array ({error}); run `mimiidg verify`.") from None


def _is_plain(metadata: dict[str, Any], shape: tuple[int, ...]) -> bool:
    """True if every shard is clips' own bytes and an index at its end, under the default file names."""
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
    whole = list(metadata["chunk_grid"]["configuration"]["chunk_shape"][1:]) == list(shape[1:])
    codecs = metadata["codecs"] == [sharding]
    return sys.byteorder == "little" and whole and codecs and metadata["chunk_key_encoding"] == names


class Reader(Protocol):
    """Gives clips by shard and row."""

    def take(self, shard: Numbers, row: Numbers, out: Array) -> None:
        """Copy the clips (shard[i], row[i]) to out[i]. ``out``: [shape=(n, ...)]."""


class MappedReader:
    """Reads uncompressed shards through the page cache. Maps are opened when first used, in each process anew."""

    def __init__(self, layout: ArrayLayout, shards: list[Shard]) -> None:
        self._layout, self._shards = layout, shards
        self._maps: dict[int, tuple[Array, Numbers]] = {}

    def take(self, shard: Numbers, row: Numbers, out: Array) -> None:
        """See ``Reader``. One plain copy a clip: fancy indexing would copy each twice."""
        for place, (number, inner) in enumerate(zip(shard.tolist(), row.tolist(), strict=True)):
            mapped = self._maps.get(number)
            if mapped is None:
                mapped = self._maps[number] = map_shard(self._shards[number], self._layout)
            clips, chunk_of = mapped
            out[place] = clips[chunk_of[inner]]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}  # a map pickles as its content


class ZarrReader:
    """Reads whole shards through zarr, whatever their encoding, and keeps the last few."""

    def __init__(self, shards: list[Shard]) -> None:
        self._shards = shards
        self._kept: OrderedDict[int, Array] = OrderedDict()

    def take(self, shard: Numbers, row: Numbers, out: Array) -> None:
        """See ``Reader``."""
        for number in np.unique(shard).tolist():
            places = np.flatnonzero(shard == number)
            out[places] = self._shard(number)[row[places]]

    def _shard(self, number: int) -> Array:
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        import zarr

        shard = self._shards[number]
        array = zarr.open_array(zarr_source(shard.array), mode="r")
        self._kept[number] = np.asarray(array[shard.start : shard.start + shard.n_rows])
        if len(self._kept) > CACHED_SHARDS:
            self._kept.popitem(last=False)
        return self._kept[number]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": OrderedDict()}


def map_shard(shard: Shard, layout: ArrayLayout) -> tuple[Array, Numbers]:
    """Map an uncompressed shard.

    Returns
    -------
    clips : np.memmap [shape=(n_chunks, ...)]
        The chunks in the order in which they lie in the file.
    chunk_of : np.ndarray [shape=(n_rows,)]
        The chunk of each row.

    Raises
    ------
    DataError
        The file is missing, or its index does not fit it.
    """
    try:
        size_bytes = shard.file.stat().st_size
        index_bytes = 16 * layout.shard_rows
        with shard.file.open("rb") as file:
            file.seek(max(0, size_bytes - index_bytes - 4))
            footer = file.read()
        content, (checksum,) = footer[:-4], struct.unpack("<I", footer[-4:])
    except (OSError, struct.error) as error:
        raise DataError(f"{shard.file} cannot be read ({error}); run `mimiidg verify`.") from None
    if len(content) != index_bytes or google_crc32c.value(content) != checksum:
        raise DataError(f"{shard.file}: the index at its end is damaged, or it is cut short; run `mimiidg verify`.")
    index = np.frombuffer(content, "<u8").reshape(-1, 2)[: shard.n_rows]
    chunk_of, rest = np.divmod(index[:, 0], np.uint64(layout.row_bytes))
    n_chunks = (size_bytes - index_bytes - 4) // layout.row_bytes
    if (index[:, 1] != layout.row_bytes).any() or rest.any() or (chunk_of >= n_chunks).any():
        raise DataError(f"{shard.file}: its index names chunks that it does not hold; run `mimiidg verify`.")
    clips = np.memmap(shard.file, layout.dtype, mode="r", shape=(n_chunks, *layout.shape[1:]))
    # A plain array over the same pages: indexing it costs a fifth of indexing a memmap.
    return clips.view(np.ndarray), chunk_of.astype(np.int64)
