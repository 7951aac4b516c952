"""Log-mel of a channel near a machine, with one far from it as a reference of the noise.

With N(t, k) and F(t, k) the mel bands of the primary (near) and the reference (far) channel, of frame t and band k, of
power or, where ``power = 1``, of magnitude:

- ``log_ratio``: 10 log10 N - 10 log10 F, dB, each floored as a log-mel is. What is louder near the machine than far
  from it, whatever the level; what both hear alike is 0 dB.
- ``subtract``: 10 log10 max(N - a F, b F), the spectral subtraction of Berouti et al. with over-subtraction a and
  spectral floor b, on mel bands and with the reference's frame itself in place of an estimate of the noise.

Both channels are as recorded: no gain between them is estimated. Two microphones of one kind hear a reverberant hall
within a few dB of each other; a gain fitted to training clips would fit the machine too, which the far channel also
hears, and would be wrong in any other hall. ``over_subtraction`` sets one by hand where it is known.

Sources: S. F. Boll, "Suppression of acoustic noise in speech using spectral subtraction," IEEE Trans. ASSP 27(2), 1979;
M. Berouti, R. Schwartz and J. Makhoul, "Enhancement of speech corrupted by acoustic noise," ICASSP 1979, eq. 4;
primary and reference inputs: B. Widrow et al., "Adaptive noise cancelling," Proc. IEEE 63(12), 1975.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mimiidg_build.features.spectra import in_decibels, mel_of, power_spectra
from mimiidg_build.features.spectrogram import is_compiled, mel_power
from mimiidg_build.schemas.variants import FeatureSettings

Float32 = npt.NDArray[np.float32]
Int16 = npt.NDArray[np.int16]


def against_reference(samples: Int16, settings: FeatureSettings, sample_rate: int) -> Float32:
    """Log-mel of the primary channel against the reference.

    Parameters
    ----------
    samples : np.ndarray [shape=(n_channels, n_samples)], int16
    settings : FeatureSettings
        With a reference.
    sample_rate : int, Hz

    Returns
    -------
    np.ndarray [shape=(n_frames, n_mels)], float32, dB
    """
    channels = samples[settings.primary_channel], samples[settings.reference_channel]
    near, far = (_mel(channel, settings, sample_rate) for channel in channels)
    if settings.reference == "log_ratio":
        return in_decibels(near, settings) - in_decibels(far, settings)
    # in single precision, operation by operation: the same bits on every processor
    left = near - np.float32(settings.over_subtraction) * far
    return in_decibels(np.maximum(left, np.float32(settings.spectral_floor) * far), settings)


def _mel(samples: Int16, settings: FeatureSettings, sample_rate: int) -> Float32:
    """Mel bands of one channel, as the settings define them."""
    if is_compiled(settings, sample_rate):
        return mel_power(np.ascontiguousarray(samples), sample_rate)
    return mel_of(power_spectra(samples, settings), settings, sample_rate)


def channels_mistake(n_channels: int, settings: FeatureSettings) -> str | None:
    """Why so many channels are too few for the settings; None where they are enough.

    >>> channels_mistake(1, FeatureSettings(reference="subtract"))
    'has 1 channel, and features.reference = "subtract" takes channels 0 and 1, counted from 0'
    """
    taken = settings.primary_channel, settings.reference_channel
    if not settings.has_reference or max(taken) < n_channels:
        return None
    return (
        f'has {n_channels} channel{"s" * (n_channels != 1)}, and features.reference = "{settings.reference}" takes '
        f"channels {taken[0]} and {taken[1]}, counted from 0"
    )


def samples_mistake(samples: Int16, settings: FeatureSettings) -> str | None:
    """Why a recording gives no features against a reference; None where it does, or none is asked for.

    Parameters
    ----------
    samples : np.ndarray [shape=(n_samples,) or (n_channels, n_samples)], int16
    settings : FeatureSettings

    Returns
    -------
    str or None
        Follows on the recording's name.
    """
    if not settings.has_reference:
        return None
    if mistake := channels_mistake(1 if samples.ndim == 1 else len(samples), settings):
        return mistake
    primary, reference = settings.primary_channel, settings.reference_channel
    if not np.array_equal(samples[primary], samples[reference]):
        return None
    return (
        f"channels {primary} and {reference} hold the same samples; expected two microphones, of which channel "
        f"{reference} is the reference of the noise. Likely cause: a recording of one channel was written twice. "
        'Record both, or take features.reference = "none".'
    )
