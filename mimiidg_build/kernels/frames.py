"""Samples into frames: 16 of them, lane by lane, as :mod:`.layout` draws it."""

from __future__ import annotations

import numpy as np

from mimiidg_build.kernels.compilation import Array, f32, i32, part
from mimiidg_build.kernels.layout import (
    EARLY,
    HALF_LANES,
    LAST_FRAMES,
    LATE,
    ODD,
    PAIRS,
    STRIP,
    STRIP_ROWS,
)


@part
def _interleave_blocks(pairs: Array, start: int, scratch: Array) -> None:
    """The pairs of samples of 16 blocks beside each other: those of the first eight blocks, then of the last eight.

    Eight streams are read at once, which is as many as processors prefetch well. ``& 0xFFFFFFFF`` shows the compiler
    an index that cannot be negative: else it would add the array's length where it is, for every element.
    """
    for half in range(2):
        read = (start + half * HALF_LANES * PAIRS) & 0xFFFFFFFF
        write = half * LAST_FRAMES
        for i in range(PAIRS):
            scratch[write + 8 * i] = pairs[read + i]
            scratch[write + 8 * i + 1] = pairs[read + i + PAIRS]
            scratch[write + 8 * i + 2] = pairs[read + i + 2 * PAIRS]
            scratch[write + 8 * i + 3] = pairs[read + i + 3 * PAIRS]
            scratch[write + 8 * i + 4] = pairs[read + i + 4 * PAIRS]
            scratch[write + 8 * i + 5] = pairs[read + i + 5 * PAIRS]
            scratch[write + 8 * i + 6] = pairs[read + i + 6 * PAIRS]
            scratch[write + 8 * i + 7] = pairs[read + i + 7 * PAIRS]


@part
def _split_pairs(scratch: Array, work: Array, half_frames: int) -> None:
    """Even and odd samples as floats, the first and the last eight frames in alternate lanes.

    ``half_frames`` is EARLY or LATE. An even sample is the lower half of its pair, as little-endian machines have it.
    """
    n = STRIP_ROWS * HALF_LANES
    for strip in range(4):
        read, write = strip * n, (half_frames & 0xFFFFFFFF) + strip * STRIP
        for i in range(n):
            # int16 before float32: the lower half of a pair has a sign of its own
            work[write + 2 * i] = f32(np.int16(scratch[read + i]))
            work[write + 2 * i + 1] = f32(np.int16(scratch[read + i + LAST_FRAMES]))
        for i in range(n):
            # the shift keeps the odd sample's sign; numba's result is int64, and i32 lets a vector hold twice as many
            work[write + ODD + 2 * i] = f32(i32(scratch[read + i] >> 16))
            work[write + ODD + 2 * i + 1] = f32(i32(scratch[read + i + LAST_FRAMES] >> 16))


@part
def gather_frames(pairs: Array, start: int, scratch: Array, work: Array) -> None:
    """The samples of 16 successive frames, of which the first begins at pair ``start``, in EARLY and LATE of ``work``.

    Parameters
    ----------
    pairs : np.ndarray [shape=(n_pairs,)], int32
        The padded clip, two samples an element; it reaches to the end of the last frame.
    start : int
    scratch : np.ndarray [shape=(SCRATCH_SIZE,)], int32
    work : np.ndarray [shape=(WORK_SIZE,)], float32
    """
    _interleave_blocks(pairs, start, scratch)
    _split_pairs(scratch, work, EARLY)
    _interleave_blocks(pairs, start + PAIRS, scratch)
    _split_pairs(scratch, work, LATE)
