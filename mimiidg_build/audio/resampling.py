"""Clips at another sample rate than their dataset's, resampled as a whole.

Noise is resampled by :mod:`.pieces`, whose short filter stays for the sake of the stores that were made with it. A clip
is what detectors are judged by, so here the filter is a long one: flat to 0.9 of the lower of the two Nyquist
frequencies, and 80 dB down from there on, where 16 bits end. It is scipy's polyphase filter, as there, and not soxr,
whose last bits depend on the processor's instructions; a clip of 10 s from 48 kHz takes 30 ms.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
PASS_BAND = 0.9  # of the lower Nyquist frequency
ATTENUATION_DB = 80.0


def resampled_length(n_frames: int, rate: int, sample_rate: int) -> int:
    """Whole samples after resampling.

    >>> resampled_length(480_000, 48_000, 16_000)
    160000
    """
    return n_frames * sample_rate // rate


def resample(samples: Float64, rate: int, sample_rate: int, n_samples: int) -> Float64:
    """A clip at another sample rate.

    Parameters
    ----------
    samples : np.ndarray [shape=(..., n_frames)], float64
    rate, sample_rate : int, Hz
        What it has, and what is wanted.
    n_samples : int
        Length of the result, which may be rounded up or down to whole samples.

    Returns
    -------
    np.ndarray [shape=(..., n_samples)], float64

    >>> float(resample(np.ones(96_000), 48_000, 16_000, 32_000)[16_000].round(6))
    1.0
    """
    from scipy.signal import resample_poly  # most of a second of import, for clips at other rates alone

    common = math.gcd(rate, sample_rate)
    up, down = sample_rate // common, rate // common
    window: Any = _filter(up, down)  # scipy's stubs do not know of taps
    # resample_poly rounds lengths up
    return np.asarray(resample_poly(samples, up, down, axis=-1, window=window)[..., :n_samples])


@lru_cache(maxsize=8)
def _filter(up: int, down: int) -> Float64:
    """The taps of the low-pass filter, at ``up`` times the rate of what is filtered; resample_poly applies the gain."""
    from scipy.signal import firwin, kaiserord

    factor = max(up, down)
    n_taps, beta = kaiserord(ATTENUATION_DB, (1 - PASS_BAND) / factor)
    taps = firwin(2 * (n_taps // 2) + 1, (1 + PASS_BAND) / 2 / factor, window=("kaiser", beta))
    # numpy's sine has other last bits on other processors: rounded, the taps are the same on all
    return taps.astype(np.float32).astype(np.float64)
