"""Level of a clip: exact sums over its samples."""

from __future__ import annotations

from typing import Any

from mimiidg_build.kernels.compilation import INT16S, Array, compiled, i32, i64


@compiled((INT16S,))
def sum_and_peak(samples: Array) -> Any:
    """Sum of squares and largest absolute value, exact.

    A square is at most 2^30 and therefore int32, so that a vector holds as many as it can; the sum is int64.
    """
    total, low, high = i64(0), i32(0), i32(0)
    for i in range(len(samples)):
        value = i32(samples[i])
        total += i32(value * value)  # numba makes the product int64
        low, high = min(low, value), max(high, value)
    return total, max(high, -low)  # -low may be 32768, which int16 does not hold
