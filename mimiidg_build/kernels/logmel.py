"""Log-mel of a clip: frames, transform, power, mel bands, logarithm, 16 frames at a time, from cache to cache.

Or its mel power, where the logarithm comes later.
"""

from __future__ import annotations

from mimiidg_build.kernels.compilation import Array, part
from mimiidg_build.kernels.decibels import decibels_of
from mimiidg_build.kernels.fft import power_of_bins, transform
from mimiidg_build.kernels.frames import gather_frames
from mimiidg_build.kernels.layout import (
    HALF_LANES,
    LANES,
    LOWER,
    MEL,
    N_BANDS,
    PAIRS,
    TAPS,
)


@part
def _mel_bands(work: Array, first_row: Array, first_weight: Array, weights: Array) -> None:
    """Every band's weighted sum of bins, :data:`TAPS` at a time.

    Eight products are added as a tree and then to the band: the order of the sum is written here, so no compiler
    chooses it, and its operations do not wait for each other.
    """
    for band in range(N_BANDS):
        out = MEL + band * LANES
        for lane in range(LANES):
            work[out + lane] = 0
        # the masks are for the compiler, as in frames: 2 POWER_ROWS rows fit 10 bits, and all weights fit 16
        k = LOWER + (first_row[band] & 0x3FF) * LANES
        for w in range(first_weight[band] & 0xFFFF, first_weight[band + 1] & 0xFFFF, TAPS):
            a, b, c, d = weights[w], weights[w + 1], weights[w + 2], weights[w + 3]
            e, f, g, h = weights[w + 4], weights[w + 5], weights[w + 6], weights[w + 7]
            for lane in range(LANES):
                i = k + lane
                work[out + lane] += (
                    (a * work[i] + b * work[i + LANES]) + (c * work[i + 2 * LANES] + d * work[i + 3 * LANES])
                ) + (
                    (e * work[i + 4 * LANES] + f * work[i + 5 * LANES])
                    + (g * work[i + 6 * LANES] + h * work[i + 7 * LANES])
                )
            k += TAPS * LANES


@part
def logmel(
    pairs: Array,
    window: Array,
    floor: float,
    in_decibels: int,
    first_row: Array,
    first_weight: Array,
    weights: Array,
    scratch: Array,
    work: Array,
    work_bits: Array,
    exponents: Array,
    decibels: Array,
    out: Array,
) -> None:
    """Log-mel of a clip, as pairs of its padded samples, to ``out``: see :class:`.entries.LogMel`. Without
    ``in_decibels``, power of its mel bands.

    The other arrays are memory to work in, ``work_bits`` that of ``work`` as int32.
    """
    mel, mel_bits = work[MEL:], work_bits[MEL:]
    n_frames = len(out) // N_BANDS
    for first in range(0, n_frames, LANES):
        gather_frames(pairs, first * PAIRS, scratch, work)
        transform(work, window)
        power_of_bins(work)
        _mel_bands(work, first_row, first_weight, weights)
        values = mel
        if in_decibels:
            decibels_of(mel, mel_bits, floor, exponents, decibels)
            values = decibels
        for lane in range(LANES):
            frame = first + lane % 2 * HALF_LANES + lane // 2  # lanes alternate between two halves
            if frame < n_frames:
                for band in range(N_BANDS):
                    out[frame * N_BANDS + band] = values[band * LANES + lane]
