"""The mix of a clip with noise, and the exact sums from which the power of what was added follows."""

from __future__ import annotations

import numpy as np

from mimiidg_build.kernels.compilation import Array, f32, i32, i64, part

# Samples that are mixed before they are summed, from the first-level cache: in one loop with sums of 64 bits, a vector
# would hold half as many samples of the mix. It takes a fifth less time.
BLOCK = 2048


@part
def mix(
    clip: Array,
    attenuation: float,
    first: Array,
    first_gain: float,
    second: Array,
    second_gain: float,
    mixed: Array,
    out: Array,
) -> None:
    """The mix, to ``mixed``, and the number of saturated samples and the sums, to ``out``: :func:`.entries.mix`.

    Always two layers, of which a gain of 0 silences what is not there: one loop to compile instead of three.
    """
    n_saturated, clip_clip, clip_mixed, mixed_mixed = i64(0), i64(0), i64(0), i64(0)
    for start in range(0, len(clip), BLOCK):
        begin, end = start & 0x7FFFFFFF, min(start + BLOCK, len(clip)) & 0x7FFFFFFF  # for the compiler, as in frames
        n = i32(0)
        for i in range(begin, end):
            # rounded first: a sum that rounds to full scale is within it, and is not counted
            value = np.rint(f32(clip[i]) * attenuation + f32(first[i]) * first_gain + f32(second[i]) * second_gain)
            # bounded while it is a float: converting a float that does not fit an integer is undefined
            within = min(max(value, f32(-32768)), f32(32767))
            n = i32(n + i32(value != within))
            mixed[i] = i32(within)
        n_saturated += n
        for i in range(begin, end):
            x, y = i32(clip[i]), i32(mixed[i])  # products of int16 fit an int32; their sums do not
            clip_clip += i32(x * x)
            clip_mixed += i32(x * y)
            mixed_mixed += i32(y * y)
    out[0], out[1], out[2], out[3] = n_saturated, clip_clip, clip_mixed, mixed_mixed
