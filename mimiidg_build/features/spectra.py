"""Spectra of one clip with any settings: the magnitudes of its STFT, and log-mel spectrograms made of them.

librosa's convention: frames centred on every ``hop_length``-th sample, zeros beyond the clip's ends. In double
precision, since the compiled code's single one loses what lies 70 dB below a frame's strongest band, rounded to single
at the end. The same bits for any number of workers; on every processor, too, but for sizes of the FFT for which the
system's sine has other last bits there (of 12 sizes that were tried, 1023).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mimiidg_build.features.mel import mel_filter_bank
from mimiidg_build.features.parameters import FLOOR
from mimiidg_build.schemas.variants import FeatureSettings

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

FULL_SCALE = 32768
BLOCK_VALUES = 2**16  # of frames that are transformed at once: half a megabyte, which the cache holds
COSINES = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46), "blackman": (0.42, 0.5, 0.08)}


@lru_cache(maxsize=32)
def window(settings: FeatureSettings) -> Float64:
    """The periodic window [shape=(n_fft,)], in the middle of the FFT where it is shorter.

    >>> window(FeatureSettings(n_fft=6, window_length=4)).tolist()
    [0.0, 0.0, 0.5, 1.0, 0.5, 0.0]
    """
    length = settings.window_length or settings.n_fft
    # long double: numpy's cosine has other last bits on other processors, and that of the x87 is rounded away
    angles = 8 * np.arctan(np.longdouble(1)) * np.arange(length) / length
    terms = [(-1) ** k * weight * np.cos(k * angles) for k, weight in enumerate(COSINES[settings.window])]
    values = np.sum(terms, axis=0).astype(np.float64)
    before = (settings.n_fft - length) // 2
    return np.pad(values, (before, settings.n_fft - length - before))


def power_spectra(samples: npt.NDArray[np.int16], settings: FeatureSettings) -> Float64:
    """Power of the STFT [shape=(n_frames, 1 + n_fft // 2)] of one clip; a full-scale sine has power 1/2 at most.

    Parameters
    ----------
    samples : np.ndarray [shape=(n_samples,)], int16
    settings : FeatureSettings

    Returns
    -------
    np.ndarray [shape=(n_frames, 1 + n_fft // 2)], float64
    """
    from scipy import fft

    n_fft, hop = settings.n_fft, settings.hop_length
    scaled = window(settings) / FULL_SCALE
    padded = np.pad(samples, n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    power = np.empty((len(frames), 1 + n_fft // 2))
    step = max(1, BLOCK_VALUES // n_fft)
    for start in range(0, len(frames), step):
        spectra = fft.rfft(frames[start : start + step] * scaled, overwrite_x=True)
        # from the parts, as the absolute value of a complex number has other last bits on other processors
        np.add(spectra.real**2, spectra.imag**2, out=power[start : start + step])
    return power


def mel_of(power: Float64, settings: FeatureSettings, sample_rate: int) -> Float32:
    """Mel bands of a clip's power spectra: of power, or of magnitude where the settings say so.

    Parameters
    ----------
    power : np.ndarray [shape=(n_frames, 1 + n_fft // 2)], float64
    settings : FeatureSettings
    sample_rate : int, Hz

    Returns
    -------
    np.ndarray [shape=(n_frames, n_mels)], float32
    """
    from mimiidg_build.kernels.entries import mel_bands

    spectra = power if settings.power == 2 else np.sqrt(power)
    return mel_bands(spectra, *_bands(settings, sample_rate))


def in_decibels(mel: Float32, settings: FeatureSettings) -> Float32:
    """Mel bands in dB [shape=(n_frames, n_mels)], float32: 10 log10 of power, 20 log10 of magnitude."""
    from mimiidg_build.kernels.entries import decibels

    return decibels(mel, np.float32(FLOOR), np.float32(2 / settings.power))


@lru_cache(maxsize=32)
def _bands(settings: FeatureSettings, sample_rate: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Float32]:
    """The filter bank without its zeros: every band's first bin, where its weights begin, and all weights."""
    bins = [(band, np.flatnonzero(band)) for band in mel_filter_bank(settings, sample_rate)]
    weights = [band[found[0] : found[-1] + 1] for band, found in bins]
    return np.array([found[0] for _, found in bins]), np.cumsum([0, *map(len, weights)]), np.concatenate(weights)
