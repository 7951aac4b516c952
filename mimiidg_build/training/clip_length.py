"""Clips of one length, for networks whose sections differ in it.

The rule: a network takes as much of a clip as the shortest clips of its own sections hold, from their beginning. Clips
of other sections that it trains on, its outliers, are brought to that length: longer ones are cut, shorter ones
repeated from their beginning. Training and test clips are treated alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mimiidg_build.errors import UsageError
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.storage.places import Place
from mimiidg_build.store.recorded import Recorded
from mimiidg_build.store.store import Store
from mimiidg_build.training.shard_readers import (
    Array,
    ArrayLayout,
    MappedReader,
    Numbers,
    Reader,
    array_layout,
    open_reader,
)

TIME_AXIS = {"audio": -1}  # of an array; a feature's is the one before its bands


def time_axis(features: str) -> int:
    """The axis along which a clip is long, counted from the last.

    >>> time_axis("audio"), time_axis("logmel")
    (-1, -2)
    """
    return TIME_AXIS.get(features, -2)


def clip_lengths(store: Store, features: str) -> dict[str, int]:
    """How long the clips of each section are, as its array says: samples of audio, or frames.

    Raises
    ------
    DataError
        An array's metadata cannot be read.
    """
    return {name: _length(store.path / SectionId.parse(name).group / features, features) for name in store.sections}


def _length(array: Place, features: str) -> int:
    return array_layout(array).shape[time_axis(features)]


def shortest(store: Store, sections: Iterable[SectionId], features: str) -> int:
    """The length that a network of some sections takes: that of the shortest section's clips."""
    return min(_length(store.path / section.group / features, features) for section in sections)


def fitted(clips: Array, length: int, axis: int) -> Array:
    """Clips of a length: the beginning of longer ones; shorter ones repeated from their beginning.

    Parameters
    ----------
    clips : np.ndarray [shape=(n_clips, ...)]
    length : int
    axis : int
        Along which.

    Returns
    -------
    np.ndarray [shape=(n_clips, ...)]

    Examples
    --------
    >>> clips = np.array([[1, 2, 3]])
    >>> fitted(clips, 2, -1).tolist(), fitted(clips, 5, -1).tolist()
    ([[1, 2]], [[1, 2, 3, 1, 2]])
    """
    brought: Array = clips.take(np.arange(length) % clips.shape[axis], axis=axis)
    return brought


def open_fitted(
    recorded: Recorded, arrays: Sequence[str], length: int, axis: int
) -> tuple[Reader, list[ArrayLayout], ArrayLayout]:
    """One reader over arrays whose clips may differ in length, and gives them all the same.

    Parameters
    ----------
    recorded : Recorded
        The store's files.
    arrays : sequence of str
        Their paths within the store.
    length : int
        Of the clips that are given.
    axis : int
        Along which clips are long, counted from the last.

    Returns
    -------
    reader : Reader
    layouts : list of ArrayLayout
        One for each array.
    given : ArrayLayout
        Of the clips that are given.

    Raises
    ------
    UsageError
        The arrays' clips differ in anything but their length.
    DataError
        An array's metadata cannot be read.
    """
    layouts = [array_layout(recorded.path / name) for name in arrays]
    given = replace(layouts[0], shape=_with_length(layouts[0].shape, length, axis))
    kinds = {(_with_length(layout.shape, length, axis)[1:], layout.dtype) for layout in layouts}
    if len(kinds) > 1:
        raise UsageError(f"sections of different shapes or types cannot be one dataset: {sorted(map(str, kinds))}")
    if all(layout.shape[1:] == given.shape[1:] for layout in layouts):
        reader, layouts = open_reader(recorded, arrays)
        return reader, layouts, given
    return FittedReader(recorded, arrays, layouts, axis), layouts, given


def _with_length(shape: tuple[int, ...], length: int, axis: int) -> tuple[int, ...]:
    place = len(shape) + axis
    return (*shape[:place], length, *shape[place + 1 :])


class FittedReader:
    """Reads arrays whose clips differ in length through a reader for each length.

    Parameters
    ----------
    recorded : Recorded
        The store's files.
    arrays : sequence of str
        Their paths within the store.
    layouts : sequence of ArrayLayout
        Of the arrays.
    axis : int
        Along which clips are long, counted from the last.
    """

    def __init__(self, recorded: Recorded, arrays: Sequence[str], layouts: Sequence[ArrayLayout], axis: int) -> None:
        self._axis, self._readers = axis, list[tuple[Reader, tuple[int, ...]]]()
        n_shards = [len(layout.shards()) for layout in layouts]
        # Shards are numbered over all arrays, and by each reader over its own.
        self._reader_of: Numbers = np.zeros(sum(n_shards), np.int64)
        self._shard_of: Numbers = np.zeros(sum(n_shards), np.int64)
        starts = np.cumsum([0, *n_shards])
        for number, shape in enumerate(dict.fromkeys(layout.shape[1:] for layout in layouts)):
            own = [place for place, layout in enumerate(layouts) if layout.shape[1:] == shape]
            self._readers.append((open_reader(recorded, [arrays[place] for place in own])[0], shape))
            shards = np.concatenate([np.arange(starts[place], starts[place + 1]) for place in own])
            self._reader_of[shards], self._shard_of[shards] = number, np.arange(len(shards))

    @property
    def maps(self) -> bool:
        """Whether all shards are mapped."""
        return all(isinstance(reader, MappedReader) for reader, _ in self._readers)

    def take(self, shard: Numbers, row: Numbers, out: Array) -> None:
        """See ``Reader``."""
        for number, (reader, shape) in enumerate(self._readers):
            wanted = np.flatnonzero(self._reader_of[shard] == number)
            if len(wanted):
                clips: np.ndarray[Any, Any] = np.empty((len(wanted), *shape), out.dtype)
                reader.take(self._shard_of[shard[wanted]], row[wanted], clips)
                out[wanted] = fitted(clips, out.shape[self._axis], self._axis)
