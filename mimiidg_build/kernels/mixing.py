"""The mix of a clip with noise, and the exact sums from which the power of what was added follows."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from mimiidg_build.kernels.compilation import FLOATS, INT16S, INT16S_OUT, Array, compiled, f32, i32, i64

GAIN = numba.float32


@compiled(
    (INT16S, GAIN, INT16S, GAIN, INT16S, GAIN, INT16S_OUT),
    (INT16S, GAIN, FLOATS, GAIN, FLOATS, GAIN, INT16S_OUT),
)
def mix(
    clip: Array, attenuation: float, first: Array, first_gain: float, second: Array, second_gain: float, mixed: Array
) -> Any:
    """Write attenuation clip + first_gain first + second_gain second to ``mixed``, rounded, saturated at 16 bits.

    Always two layers, of which a gain of 0 silences what is not there: one loop to compile instead of three.

    Parameters
    ----------
    clip : np.ndarray [shape=(n_samples,)], int16
    attenuation : float32
    first, second : np.ndarray [shape=(n_samples,)], both int16 or both float32
    first_gain, second_gain : float32
        In steps of 16 bits: gains of float32 noise at full scale 1 hold the factor 32768.
    mixed : np.ndarray [shape=(n_samples,)], int16
        Written to.

    Returns
    -------
    n_saturated : int
        Samples that were beyond 16 bits.
    clip_clip, clip_mixed, mixed_mixed : int
        Exact sums of clip^2, clip mixed and mixed^2.
    """
    n_saturated, clip_clip, clip_mixed, mixed_mixed = i64(0), i64(0), i64(0), i64(0)
    for i in range(len(clip)):
        # rounded first: a sum that rounds to full scale is within it, and is not counted
        value = np.rint(f32(clip[i]) * attenuation + f32(first[i]) * first_gain + f32(second[i]) * second_gain)
        # bounded while it is a float: converting a float that does not fit an integer is undefined
        within = min(max(value, f32(-32768)), f32(32767))
        n_saturated += value != within
        x, y = i32(clip[i]), i32(within)  # products of int16 fit an int32; their sums do not
        mixed[i] = y
        clip_clip += i32(x * x)
        clip_mixed += i32(x * y)
        mixed_mixed += i32(y * y)
    return n_saturated, clip_clip, clip_mixed, mixed_mixed
