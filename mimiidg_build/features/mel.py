"""The mel scales and the mel filter bank, as Slaney's Auditory Toolbox, HTK and librosa define them.

Written here rather than taken from librosa, the reference of the tests, which takes seconds to import and brings
scikit-learn along.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mimiidg_build.features.parameters import DEFAULT, SAMPLE_RATE
from mimiidg_build.schemas.variants import FeatureSettings

Float32 = npt.NDArray[np.float32]


def mel_from_hz(frequency_hz: npt.ArrayLike, scale: str = "slaney") -> npt.NDArray[np.float64]:
    """The mel scale: Slaney's, linear to 1 kHz (15 mel) and logarithmic above, or HTK's.

    >>> mel_from_hz([0, 1000, 6400]).round(6).tolist(), mel_from_hz([0, 1000], "htk").round(3).tolist()
    ([0.0, 15.0, 42.0], [0.0, 999.986])
    """
    frequency_hz = np.asarray(frequency_hz, dtype=np.float64)
    if scale == "htk":
        htk: npt.NDArray[np.float64] = 2595 * np.log10(1 + frequency_hz / 700)
        return htk
    # np.where computes both branches for every value: the maximum keeps 0 Hz out of the logarithm
    above = 15 + 27 * np.log(np.maximum(frequency_hz, 1000) / 1000) / np.log(6.4)
    return np.where(frequency_hz < 1000, frequency_hz * 3 / 200, above)


def hz_from_mel(mel: npt.ArrayLike, scale: str = "slaney") -> npt.NDArray[np.float64]:
    """Inverse of :func:`mel_from_hz`.

    >>> hz_from_mel([0, 15, 42]).round(6).tolist()
    [0.0, 1000.0, 6400.0]
    """
    mel = np.asarray(mel, dtype=np.float64)
    if scale == "htk":
        htk: npt.NDArray[np.float64] = 700 * (10 ** (mel / 2595) - 1)
        return htk
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) * (np.maximum(mel, 15) - 15) / 27))


def mel_filter_bank(settings: FeatureSettings = DEFAULT, sample_rate: int = SAMPLE_RATE) -> Float32:
    """Triangular mel filters, of unit area (Slaney normalisation) or of unit peak, as ``librosa.filters.mel``.

    Parameters
    ----------
    settings : FeatureSettings
    sample_rate : int, Hz

    Returns
    -------
    np.ndarray [shape=(n_mels, 1 + n_fft // 2)], float32, 1/Hz
    """
    fft_hz, edges_hz = bins_hz(settings, sample_rate), _edges_hz(settings, sample_rate)
    ramps = edges_hz[:, None] - fft_hz[None, :]
    widths = np.diff(edges_hz)[:, None]
    weights = np.maximum(0, np.minimum(-ramps[:-2] / widths[:-1], ramps[2:] / widths[1:]))
    if settings.mel_norm == "slaney":
        weights *= (2 / (edges_hz[2:] - edges_hz[:-2]))[:, None]
    return weights.astype(np.float32)


def _edges_hz(settings: FeatureSettings, sample_rate: int) -> npt.NDArray[np.float64]:
    """Band k goes from edge k over its centre, edge k + 1, to edge k + 2."""
    limits_hz = (settings.f_min_hz, settings.f_max_hz or sample_rate / 2)
    first, last = (float(mel_from_hz(limit, settings.mel_scale)) for limit in limits_hz)
    return hz_from_mel(np.linspace(first, last, settings.n_mels + 2), settings.mel_scale)


def empty_bands(settings: FeatureSettings, sample_rate: int) -> npt.NDArray[np.intp]:
    """Bands that hold no bin of the FFT, so that they would be silent whatever the sound.

    >>> empty_bands(FeatureSettings(n_fft=256), 16_000)[:3].tolist()
    [0, 3, 6]
    """
    fft_hz, edges_hz = bins_hz(settings, sample_rate), _edges_hz(settings, sample_rate)
    # of a bin on an edge the weight is zero
    n_bins = np.searchsorted(fft_hz, edges_hz[2:], "left") - np.searchsorted(fft_hz, edges_hz[:-2], "right")
    return np.flatnonzero(n_bins <= 0)


def bins_hz(settings: FeatureSettings, sample_rate: int) -> npt.NDArray[np.float64]:
    """Frequencies of the FFT's bins.

    >>> bins_hz(FeatureSettings(n_fft=5), 16_000).tolist()
    [0.0, 3200.0, 6400.0]
    """
    if settings.n_fft % 2:
        return np.fft.rfftfreq(settings.n_fft, 1 / sample_rate).astype(np.float64, copy=False)
    return np.linspace(0, sample_rate / 2, 1 + settings.n_fft // 2)
