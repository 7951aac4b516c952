"""The order in which clips are read: a pure function of seed and epoch, never of the number of workers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


def in_order(n_clips: int, per_chunk: int) -> list[Numbers]:
    """Clip numbers in order, cut into chunks of ``per_chunk`` (at least one).

    >>> [chunk.tolist() for chunk in in_order(5, 2)]
    [[0, 1], [2, 3], [4]]
    """
    step = max(1, per_chunk)
    return [np.arange(first, min(first + step, n_clips)) for first in range(0, n_clips, step)]


def shuffled(n_clips: int, seed: int, epoch: int) -> Numbers:
    """All clip numbers in a random order, a different one each epoch.

    Parameters
    ----------
    n_clips : int
    seed : int, 0 or larger
    epoch : int, 0 or larger

    Returns
    -------
    np.ndarray [shape=(n_clips,)]
    """
    # of the pair: a sum would give (0, 1) and (1, 0) one order
    return np.random.default_rng([seed, epoch]).permutation(n_clips)


def shardwise(shard: Numbers, per_chunk: int, seed: int, epoch: int) -> list[Numbers]:
    """All clip numbers in a random order that reads shard after shard: some shards at a time, their clips shuffled.

    Parameters
    ----------
    shard : np.ndarray [shape=(n_clips,)]
        The shard of each clip.
    per_chunk : int
        Most clips of a chunk; a chunk holds whole shards, at least one.
    seed : int, 0 or larger
    epoch : int, 0 or larger

    Returns
    -------
    list of np.ndarray [shape=(some clips,)]
        One array per chunk.

    Examples
    --------
    >>> chunks = shardwise(np.array([0, 0, 1, 1, 2, 2]), per_chunk=4, seed=0, epoch=0)
    >>> [sorted(chunk.tolist()) for chunk in chunks]
    [[0, 1, 4, 5], [2, 3]]
    """
    rng = np.random.default_rng([seed, epoch])
    # Stable: how the default sort orders equal numbers depends on the processor's instructions.
    by_shard = np.argsort(shard, kind="stable")
    parts = np.split(by_shard, np.flatnonzero(np.diff(shard[by_shard])) + 1)
    chunks: list[list[Numbers]] = []
    n_in_chunk = per_chunk  # as if full, so that the first shard begins a chunk
    for number in rng.permutation(len(parts)).tolist():
        if n_in_chunk + len(parts[number]) > per_chunk:
            chunks.append([])
            n_in_chunk = 0
        chunks[-1].append(parts[number])
        n_in_chunk += len(parts[number])
    return [rng.permutation(np.concatenate(chunk)) for chunk in chunks]


def batches(chunks: list[Numbers], batch_size: int) -> Iterator[Numbers]:
    """The chunks' clip numbers joined and cut into batches; the last may be smaller.

    >>> [batch.tolist() for batch in batches([np.array([3, 1, 2]), np.array([0])], 2)]
    [[3, 1], [2, 0]]
    """
    order = np.concatenate(chunks) if chunks else np.empty(0, np.int64)
    for first in range(0, len(order), batch_size):
        yield order[first : first + batch_size]
