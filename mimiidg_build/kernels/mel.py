"""Mel bands in decibels of spectra that were computed elsewhere: the end of log-mel spectrograms of any settings."""

from __future__ import annotations

import numba
import numpy as np

from mimiidg_build.kernels.compilation import FLOATS, INTEGERS, Array, compiled, f32, i32
from mimiidg_build.kernels.decibels import decibels_of

SPECTRA = numba.types.Array(numba.float64, 2, "C", readonly=True)
FRAMES = 4  # whose sums are taken side by side, so that none waits for the addition before


@compiled((SPECTRA, INTEGERS, INTEGERS, FLOATS, numba.float32, numba.float32))
def mel_decibels(
    spectra: Array, first_bin: Array, first_weight: Array, weights: Array, floor: float, factor: float
) -> Array:
    """Factor 10 log10(max(mel, floor)) of spectra, the sums in double precision and in the order of the bins.

    Parameters
    ----------
    spectra : np.ndarray [shape=(n_frames, n_bins)], float64
    first_bin : np.ndarray [shape=(n_bands,)], int64
        Where each band begins.
    first_weight : np.ndarray [shape=(n_bands + 1,)], int64
        Where a band's weights begin, and the last one's end.
    weights : np.ndarray [shape=(n_weights,)], float32
        Band after band.
    floor, factor : float32

    Returns
    -------
    np.ndarray [shape=(n_frames, n_bands)], float32, dB
    """
    n_frames, n_bands = spectra.shape[0], len(first_bin)
    mel = np.empty((n_frames, n_bands), f32)
    sums = np.empty(FRAMES, np.float64)
    for start in range(0, n_frames, FRAMES):
        n = min(FRAMES, n_frames - start)
        for band in range(n_bands):
            sums[:] = 0
            bin_of_first = first_bin[band] - first_weight[band]
            for w in range(first_weight[band], first_weight[band + 1]):
                for frame in range(n):
                    sums[frame] += weights[w] * spectra[start + frame, bin_of_first + w]
            for frame in range(n):
                mel[start + frame, band] = sums[frame]
    values = mel.reshape(-1)
    decibels = np.empty(len(values), f32)
    decibels_of(values, values.view(np.int32), floor, np.empty(len(values), i32), decibels)
    for i in range(len(decibels)):
        decibels[i] *= factor
    return decibels.reshape(n_frames, n_bands)
