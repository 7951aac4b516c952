"""Mean and standard deviation of the mel bands over a section's training clips, in one order whoever renders them.

Each clip's frames are summed, then the clips of a shard in their order, then the shards in theirs: the number of
workers, and which shards an earlier run finished, decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mimiidg_build import features
from mimiidg_build.schemas.stores import BandSums, LogmelStatistics
from mimiidg_build.storage.places import Place

DECIMALS = 6  # of dB


class BandTotals:
    """The sums of a shard's training clips, under way; ``shape`` is that of a clip's log-mel as it is stored
    ([n_channels,] n_frames, n_mels)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._n_frames = shape[-2]
        self._sums = features.BandSums(shape)
        self.add = self._sums.add  # a training clip's log-mel

    @property
    def sums(self) -> BandSums:
        """Of all clips so far."""
        n_clips = self._sums.n_clips
        totals, squares = (tuple(np.ravel(s).tolist()) if n_clips else () for s in self._sums.sums)
        return BandSums(n_clips=n_clips, n_frames=n_clips * self._n_frames, totals=totals, squares=squares)


def sums_of_shard(file: Place, shape: tuple[int, ...], dtype: str, is_training: Sequence[bool]) -> BandSums:
    """The sums of a shard that is there already.

    Parameters
    ----------
    file : Place
        Of the array ``logmel``, whole.
    shape : tuple of int
        Of a clip's log-mel.
    dtype : str
        As stored.
    is_training : sequence of bool
        For each clip of the shard.
    """
    stored = np.dtype(dtype).newbyteorder("<")
    n_values = int(np.prod(shape))
    content = np.frombuffer(file.read_bytes(), stored, n_values * len(is_training))
    totals = BandTotals(shape)
    for number in np.flatnonzero(is_training):
        totals.add(content[number * n_values : (number + 1) * n_values].reshape(shape))
    return totals.sums


def logmel_statistics(shards: Sequence[BandSums]) -> LogmelStatistics | None:
    """Mean and standard deviation of a section's bands, from its shards in order; None without training clips.

    >>> one = BandSums(n_clips=1, n_frames=2, totals=(-80.0,), squares=(3202.0,))
    >>> logmel_statistics([one, one])
    LogmelStatistics(n_clips=2, mean_db=[-40.0], std_db=[1.0])
    """
    own = [shard for shard in shards if shard.n_clips]
    if not own:
        return None
    n_frames = sum(shard.n_frames for shard in own)
    means = np.add.reduce([shard.totals for shard in own], axis=0) / n_frames
    # of a band that never changes, the difference may be a rounding error below zero
    variances = np.maximum(np.add.reduce([shard.squares for shard in own], axis=0) / n_frames - means**2, 0)
    return LogmelStatistics(
        n_clips=sum(shard.n_clips for shard in own),
        mean_db=means.round(DECIMALS).tolist(),
        std_db=np.sqrt(variances).round(DECIMALS).tolist(),
    )
