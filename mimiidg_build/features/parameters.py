"""The parameters of a store's log-mel spectrograms, those of the DCASE and MIMII DG baselines.

16 kHz, window and FFT of 1024 samples (periodic Hann), hop 512, power spectrogram, centred with zero padding, 128 mel
bands from 0 to 8000 Hz on the Slaney scale with Slaney normalisation, 10 log10(max(mel, 2.22e-16)).
"""

from __future__ import annotations

import sys

SAMPLE_RATE = 16_000  # Hz
N_FFT = 1024  # samples of a window
HOP = 512  # samples from one frame to the next
N_MELS = 128
FLOOR = sys.float_info.epsilon  # of mel power, at full scale 1: -156.5 dB
LOGMEL_VERSION = "logmel-3"  # part of a store's fingerprint: a change of one bit is a new version


def n_frames(n_samples: int) -> int:
    """Frames of a clip, centred.

    >>> n_frames(160_000)
    313
    """
    return 1 + n_samples // HOP
