"""Level of a clip: exact sums over its samples."""

from __future__ import annotations

from mimiidg_build.kernels.compilation import Array, i32, i64, part


@part
def sum_and_peak(samples: Array, out: Array) -> None:
    """Sum of squares and largest absolute value, exact, to ``out``.

    A square is at most 2^30 and therefore int32, so that a vector holds as many as it can; the sum is int64.
    """
    total, low, high = i64(0), i32(0), i32(0)
    for i in range(len(samples)):
        value = i32(samples[i])
        total += i32(value * value)  # numba makes the product int64
        low, high = min(low, value), max(high, value)
    out[0], out[1] = total, max(high, -low)  # -low may be 32768, which int16 does not hold
