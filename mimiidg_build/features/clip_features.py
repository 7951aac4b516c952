"""The features of one clip that a variant's settings ask for, by the names of the arrays that hold them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mimiidg_build.features.mel import empty_bands
from mimiidg_build.features.parameters import (
    DEFAULT,
    GENERAL_VERSION,
    LOGMEL_VERSION,
    REFERENCE_VERSION,
    SAMPLE_RATE,
    STFT_VERSION,
)
from mimiidg_build.features.reference import against_reference, samples_mistake
from mimiidg_build.features.spectra import in_decibels, mel_of, power_spectra
from mimiidg_build.features.spectrogram import is_compiled, logmel
from mimiidg_build.schemas.variants import FeatureSettings

Float32 = npt.NDArray[np.float32]
Transform = Callable[[npt.NDArray[np.int16]], dict[str, Float32]]
LARGEST_N_FFT = 32_768  # a message suggests no larger one


def features_of(settings: FeatureSettings, sample_rate: int, shape: tuple[int, ...]) -> Transform:
    """What :func:`clip_features` does with clips that are all of one shape, chosen once for them.

    Parameters
    ----------
    settings : FeatureSettings
    sample_rate : int, Hz
    shape : tuple of int
        Of a clip's samples: (n_samples,) or (n_channels, n_samples).

    Returns
    -------
    callable
        To be called with each clip's samples.
    """
    is_usual = len(shape) == 1 and not (settings.stft or settings.has_reference)
    if is_usual and is_compiled(settings, sample_rate):
        return lambda samples: {"logmel": logmel(samples, sample_rate)}
    return lambda samples: clip_features(samples, settings, sample_rate)


def clip_features(
    samples: npt.NDArray[np.int16], settings: FeatureSettings = DEFAULT, sample_rate: int = SAMPLE_RATE
) -> dict[str, Float32]:
    """Every feature of one clip that the settings ask for.

    Parameters
    ----------
    samples : np.ndarray [shape=(n_samples,) or (n_channels, n_samples)], int16
    settings : FeatureSettings
    sample_rate : int, Hz

    Returns
    -------
    dict of array name to np.ndarray, float32
        ``logmel`` [shape=(n_frames, n_mels)] in dB and, if asked for, ``stft`` [shape=(n_frames, 1 + n_fft // 2)],
        magnitudes at full scale 1; with an axis of channels in front where the samples have one. With a reference
        channel, ``logmel`` is of the two channels that the settings name, and has no such axis.

    Raises
    ------
    ValueError
        Samples that are not int16, or of more axes; or without the channels that the settings name, or with the same
        samples in both.
    """
    if samples.dtype != np.int16 or samples.ndim not in (1, 2):
        raise ValueError(
            f"expected one clip of int16 samples, of one or several channels, got {samples.dtype} of shape "
            f"{samples.shape}"
        )
    if settings.has_reference:
        if mistake := samples_mistake(samples, settings):
            raise ValueError(f"the clip: {mistake}")
        found = {"logmel": against_reference(samples, settings, sample_rate)}
        if settings.stft:
            found["stft"] = np.stack([_stft(power_spectra(channel, settings)) for channel in samples])
        return found
    if samples.ndim == 1:
        return _of_channel(samples, settings, sample_rate)
    channels = [_of_channel(channel, settings, sample_rate) for channel in samples]
    return {name: np.stack([channel[name] for channel in channels]) for name in settings.arrays}


def _of_channel(samples: npt.NDArray[np.int16], settings: FeatureSettings, sample_rate: int) -> dict[str, Float32]:
    compiled = is_compiled(settings, sample_rate)
    features = {"logmel": logmel(samples, sample_rate)} if compiled else {}
    if settings.stft or not compiled:
        power = power_spectra(samples, settings)
        if not compiled:
            features["logmel"] = in_decibels(mel_of(power, settings, sample_rate), settings)
        if settings.stft:
            features["stft"] = _stft(power)
    return features


def _stft(power: npt.NDArray[np.float64]) -> Float32:
    return np.sqrt(power).astype(np.float32)


def versions(settings: FeatureSettings, sample_rate: int = SAMPLE_RATE) -> list[str]:
    """Versions of the code that computes features of these settings, for a store's fingerprint.

    >>> versions(FeatureSettings()), versions(FeatureSettings(n_mels=64, stft=True))
    (['logmel-3'], ['logmel-general-1', 'stft-1'])
    >>> versions(FeatureSettings(reference="subtract"))
    ['logmel-3-reference-1']
    """
    of_logmel = LOGMEL_VERSION if is_compiled(settings, sample_rate) else GENERAL_VERSION
    if settings.has_reference:
        of_logmel += f"-{REFERENCE_VERSION}"
    return [of_logmel, STFT_VERSION] if settings.stft else [of_logmel]


def mistake(settings: FeatureSettings, sample_rate: int) -> str | None:
    """What is wrong with settings at a sample rate: key, value, and what was expected; None where nothing is.

    >>> mistake(FeatureSettings(f_max_hz=8000.5), 16_000)
    'f_max_hz = 8000.5: expected at most 8000 Hz, half of the sample rate'
    """
    nyquist_hz = sample_rate / 2
    if settings.f_max_hz is not None and settings.f_max_hz > nyquist_hz:
        return f"f_max_hz = {settings.f_max_hz:g}: expected at most {nyquist_hz:g} Hz, half of the sample rate"
    if settings.f_min_hz >= nyquist_hz:
        return f"f_min_hz = {settings.f_min_hz:g}: expected less than {nyquist_hz:g} Hz, half of the sample rate"
    empty = empty_bands(settings, sample_rate)
    if not len(empty):
        return None
    spacing_hz = sample_rate / settings.n_fft
    return (
        f"n_mels = {settings.n_mels}: {len(empty)} of the mel bands hold no bin of the FFT, first band {empty[0]}, "
        f"since with n_fft = {settings.n_fft} at {sample_rate} Hz bins lie {spacing_hz:.3g} Hz apart; expected "
        f"{_enough(settings, sample_rate)}"
    )


def _enough(settings: FeatureSettings, sample_rate: int) -> str:
    """What would do: a number of bands at most, and a larger FFT if there is one."""
    fewer = settings.n_mels
    while fewer > 1 and len(empty_bands(settings.model_copy(update={"n_mels": fewer}), sample_rate)):
        fewer = fewer * 15 // 16  # near enough for advice
    n_fft = settings.n_fft
    while n_fft < LARGEST_N_FFT:
        n_fft *= 2
        if not len(empty_bands(settings.model_copy(update={"n_fft": n_fft}), sample_rate)):
            return f"n_mels = {fewer} or fewer, or n_fft = {n_fft} or more"
    return f"n_mels = {fewer} or fewer"
