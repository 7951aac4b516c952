"""Log-mel of a clip: frames, transform, power, mel bands, logarithm, 16 frames at a time, from cache to cache."""

from __future__ import annotations

import numba
import numpy as np

from mimiidg_build.kernels.compilation import FLOATS, INT16S, INTEGERS, Array, compiled, f32, i32, part
from mimiidg_build.kernels.decibels import decibels_of
from mimiidg_build.kernels.fft import power_of_bins, transform
from mimiidg_build.kernels.frames import gather_frames
from mimiidg_build.kernels.layout import (
    HALF_LANES,
    LANES,
    LOWER,
    MEL,
    N_BANDS,
    N_POINTS,
    PAIRS,
    SCRATCH_SIZE,
    TAPS,
    WORK_SIZE,
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


@compiled((INT16S, FLOATS, numba.float32, INTEGERS, INTEGERS, FLOATS))
def logmel(samples: Array, window: Array, floor: float, first_row: Array, first_weight: Array, weights: Array) -> Array:
    """10 log10(max(mel, floor)) of a clip, centred: frame k begins half a frame before sample 512 k, zeros beyond.

    Parameters
    ----------
    samples : np.ndarray [shape=(n_samples,)], int16
    window : np.ndarray [shape=(1024,)], float32
        Half of it, over full scale: the halves that :func:`power_of_bins` leaves out, and the samples' scale.
    floor : float32
    first_row : np.ndarray [shape=(N_BANDS,)], int64
        Where a band's bins begin, in rows from LOWER: bin k is row k, or row POWER_ROWS + 512 - k, of which the
        first N_POWERS of each kind exist.
    first_weight : np.ndarray [shape=(N_BANDS + 1,)], int64
        Where a band's weights begin, and the last one's end.
    weights : np.ndarray [shape=(n_weights,)], float32
        Band after band, row by row; for each a multiple of TAPS.

    Returns
    -------
    np.ndarray [shape=(1 + n_samples // 512, N_BANDS)], float32, dB
    """
    n_frames = 1 + len(samples) // N_POINTS
    n_blocks = -(-n_frames // LANES) * LANES + 1  # whole groups of 16 frames; the last frame needs a block more
    padded = np.zeros(n_blocks * N_POINTS, np.int16)
    padded[N_POINTS : N_POINTS + len(samples)] = samples  # one block of zeros ahead: frame k is blocks k and k + 1
    pairs = padded.view(np.int32)
    scratch, exponents = np.empty(SCRATCH_SIZE, i32), np.empty(N_BANDS * LANES, i32)
    # zeros: bands are summed beyond the powers, with weights of 0, and 0 times a stray NaN or infinity is NaN
    work, decibels = np.zeros(WORK_SIZE, f32), np.empty(N_BANDS * LANES, f32)
    mel = work[MEL:]
    out = np.empty((n_frames, N_BANDS), f32)
    for first in range(0, n_frames, LANES):
        gather_frames(pairs, first * PAIRS, scratch, work)
        transform(work, window)
        power_of_bins(work)
        _mel_bands(work, first_row, first_weight, weights)
        decibels_of(mel, mel.view(np.int32), floor, exponents, decibels)
        for lane in range(LANES):
            frame = first + lane % 2 * HALF_LANES + lane // 2  # lanes alternate between two halves
            if frame < n_frames:
                for band in range(N_BANDS):
                    out[frame, band] = decibels[band * LANES + lane]
    return out
