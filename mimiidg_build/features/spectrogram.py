"""Log-mel spectrogram of one clip with the default settings, compiled; axes are (frame, mel): 313 frames in 10 s.

Features come from the stored samples (16-bit / 32768), so anyone can recompute them from a store alone. They are not
normalised: level is information.

Single precision throughout, one clip a call, one thread, 0.26 ms where librosa takes 2.7: gathering the samples 0.05,
the transform 0.09 with the window in its first step, power 0.03, the mel product 0.04, the logarithm 0.03. Why it is
compiled here (:mod:`mimiidg_build.kernels`):

- With numpy and scipy the same took 0.76 ms. Each step went through memory once more, where blocks of 16 frames stay in
  the cache here, and scipy's FFT alone took 0.40: its code is that of the oldest processors, four numbers at a time.
  The same FFT called within compiled code (rocket-fft) is no faster; :mod:`mimiidg_build.kernels.fft` has the figures.
- torch's FFT takes 0.24, ducc0's 0.34 and FFTW's 0.36, but torch's bits depend on the processor and its import takes
  2 s in every process, and the others are under the GPL.
- numpy's logarithm has other last bits without AVX2 than with it; what is used here has the same everywhere. With AVX2
  alone, or on the first of the x86-64 processors, a clip takes 0.37 and 0.50 ms.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from mimiidg_build.features.mel import mel_filter_bank
from mimiidg_build.features.parameters import DEFAULT, FLOOR, N_FFT, SAMPLE_RATE
from mimiidg_build.schemas.variants import FeatureSettings

if TYPE_CHECKING:
    from mimiidg_build.kernels.entries import LogMel

Float32 = npt.NDArray[np.float32]


class _Tables(NamedTuple):
    """What :class:`mimiidg_build.kernels.entries.LogMel` takes, which says what it means."""

    window: Float32
    floor: np.float32
    first_row: npt.NDArray[np.int64]
    first_weight: npt.NDArray[np.int64]
    weights: Float32


@cache
def _tables(sample_rate: int) -> _Tables | None:
    """The window, and the filter bank without its zeros, 98.5 % of it; None where a band does not fit the layout."""
    from mimiidg_build.kernels.layout import TAPS

    # half a window over full scale: 16-bit samples then need no scaling of their own
    # np.hanning is symmetric: of one sample more, without the last, it is the periodic window of the baselines
    window = (np.hanning(N_FFT + 1)[:-1] / 32768 / 2).astype(np.float32)
    bands = list(map(_row_and_weights, mel_filter_bank(DEFAULT, sample_rate)))
    if None in bands:
        return None
    rows, weights = zip(*filter(None, bands), strict=True)
    # the compiled code has no loop for a remainder: a band is whole steps of TAPS, the last one filled with zeros
    padded = [np.pad(band, (0, -len(band) % TAPS)) for band in weights]
    starts = np.cumsum([0, *map(len, padded)])
    return _Tables(window, np.float32(FLOOR), np.array(rows), starts, np.concatenate(padded))


def _row_and_weights(band: Float32) -> tuple[int, Float32] | None:
    """The row of the compiled code's powers where a band of the filter bank begins, and its weights from there on.

    A band that reaches beyond the lower powers is taken from the upper ones, which come in descending order of bins.
    None where it lies in neither, or holds no bin.
    """
    from mimiidg_build.kernels.layout import N_POINTS, N_POWERS, POWER_ROWS

    bins = np.flatnonzero(band)
    if not len(bins):
        return None
    first, last = int(bins[0]), int(bins[-1])
    weights = band[first : last + 1]
    if last < N_POWERS:
        return first, weights
    return (POWER_ROWS + N_POINTS - last, weights[::-1]) if N_POINTS - first < N_POWERS else None


@cache
def _logmel(sample_rate: int) -> LogMel | None:
    tables = _tables(sample_rate)
    if tables is None:
        return None
    from mimiidg_build.kernels import entries  # a tenth of a second that deciding upon a build does without

    return entries.LogMel(*tables)


@lru_cache(maxsize=32)  # asked for every clip
def is_compiled(settings: FeatureSettings, sample_rate: int) -> bool:
    """Whether :func:`logmel` computes log-mel spectrograms of these settings."""
    return settings.spectrogram == DEFAULT.spectrogram and _tables(sample_rate) is not None


def logmel(samples: npt.NDArray[np.int16], sample_rate: int = SAMPLE_RATE) -> Float32:
    """Log-mel spectrogram of one clip.

    Parameters
    ----------
    samples : np.ndarray [shape=(n_samples,)], int16
    sample_rate : int, Hz

    Returns
    -------
    np.ndarray [shape=(n_frames, 128)], float32, dB

    Raises
    ------
    ValueError
        Anything but one clip of int16 samples: floating-point samples have another full scale. Or a sample rate at
        which the mel bands do not fit the compiled code.
    """
    return _compiled(samples, sample_rate)(samples)


def sample_memory(n_samples: int, sample_rate: int) -> npt.NDArray[np.int16] | None:
    """Memory of this thread from which :func:`logmel` takes a clip's samples without a copy of them.

    Parameters
    ----------
    n_samples : int
    sample_rate : int, Hz

    Returns
    -------
    np.ndarray [shape=(n_samples,)], int16, or None at a sample rate at which nothing is compiled
        Overwritten with the next clip of which a log-mel is computed in this thread.
    """
    compiled = _logmel(sample_rate)
    return None if compiled is None else compiled.memory(n_samples)


def mel_power(samples: npt.NDArray[np.int16], sample_rate: int = SAMPLE_RATE) -> Float32:
    """Power of the mel bands of one clip, of which :func:`logmel` is the logarithm.

    Parameters
    ----------
    samples : np.ndarray [shape=(n_samples,)], int16
    sample_rate : int, Hz

    Returns
    -------
    np.ndarray [shape=(n_frames, 128)], float32

    Raises
    ------
    ValueError
        As :func:`logmel`.
    """
    return _compiled(samples, sample_rate).power(samples)


def _compiled(samples: npt.NDArray[np.int16], sample_rate: int) -> LogMel:
    """The compiled code, if it can take the samples."""
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"expected one clip of int16 samples, got {samples.dtype} of shape {samples.shape}")
    compiled = _logmel(sample_rate)
    if compiled is None:
        raise ValueError(f"the mel bands at {sample_rate} Hz do not fit the compiled code")
    return compiled
