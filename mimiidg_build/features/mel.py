"""The mel scale and the mel filter bank, as Slaney's Auditory Toolbox and librosa define them.

Written here rather than taken from librosa, the reference of the tests, which takes seconds to import and brings
scikit-learn along.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mimiidg_build.features.parameters import N_FFT, N_MELS, SAMPLE_RATE

Float32 = npt.NDArray[np.float32]


def mel_from_hz(frequency_hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Slaney's mel scale: linear to 1 kHz (15 mel), logarithmic above.

    >>> mel_from_hz([0, 1000, 6400]).round(6).tolist()
    [0.0, 15.0, 42.0]
    """
    frequency_hz = np.asarray(frequency_hz, dtype=np.float64)
    # np.where computes both branches for every value: the maximum keeps 0 Hz out of the logarithm
    above = 15 + 27 * np.log(np.maximum(frequency_hz, 1000) / 1000) / np.log(6.4)
    return np.where(frequency_hz < 1000, frequency_hz * 3 / 200, above)


def hz_from_mel(mel: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Inverse of :func:`mel_from_hz`.

    >>> hz_from_mel([0, 15, 42]).round(6).tolist()
    [0.0, 1000.0, 6400.0]
    """
    mel = np.asarray(mel, dtype=np.float64)
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) * (np.maximum(mel, 15) - 15) / 27))


def mel_filter_bank(sample_rate: int = SAMPLE_RATE, n_fft: int = N_FFT, n_mels: int = N_MELS) -> Float32:
    """Triangular mel filters of unit area (Slaney normalisation), as ``librosa.filters.mel``.

    Parameters
    ----------
    sample_rate : int, Hz
    n_fft : int
        Samples of a window.
    n_mels : int
        Bands, from 0 Hz to half the sample rate.

    Returns
    -------
    np.ndarray [shape=(n_mels, 1 + n_fft // 2)], float32, 1/Hz
    """
    fft_hz = np.linspace(0, sample_rate / 2, 1 + n_fft // 2)
    edges_hz = hz_from_mel(np.linspace(0, float(mel_from_hz(sample_rate / 2)), n_mels + 2))
    ramps = edges_hz[:, None] - fft_hz[None, :]
    widths = np.diff(edges_hz)[:, None]
    weights = np.maximum(0, np.minimum(-ramps[:-2] / widths[:-1], ramps[2:] / widths[1:]))
    weights *= (2 / (edges_hz[2:] - edges_hz[:-2]))[:, None]
    return weights.astype(np.float32)
