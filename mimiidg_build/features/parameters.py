"""The parameters of a store's log-mel spectrograms that a variant does not set: those of the DCASE and MIMII DG
baselines.

16 kHz, window and FFT of 1024 samples (periodic Hann), hop 512, power spectrogram, centred with zero padding, 128 mel
bands from 0 to 8000 Hz on the Slaney scale with Slaney normalisation, 10 log10(max(mel, 2.22e-16)).
"""

from __future__ import annotations

import sys

from mimiidg_build.schemas.variants import FeatureSettings

DEFAULT = FeatureSettings()
SAMPLE_RATE = 16_000  # Hz
N_FFT = DEFAULT.n_fft  # samples of a window
HOP = DEFAULT.hop_length  # samples from one frame to the next
N_MELS = DEFAULT.n_mels
# what decides the values of a log-mel spectrogram, by key
BASELINE = DEFAULT.values | {"sample_rate": SAMPLE_RATE}
FLOOR = sys.float_info.epsilon  # of mel power, at full scale 1: -156.5 dB
# parts of a store's fingerprint: a change of one bit is a new version
LOGMEL_VERSION, GENERAL_VERSION, STFT_VERSION = "logmel-3", "logmel-general-1", "stft-1"
REFERENCE_VERSION = "reference-1"


def n_frames(n_samples: int) -> int:
    """Frames of a clip's log-mel with the default settings.

    >>> n_frames(160_000)
    313
    """
    return DEFAULT.n_frames(n_samples)
