"""Features of clips: log-mel spectrograms and STFT magnitudes, in the convention of the DCASE and MIMII DG baselines
(librosa's).

In: samples, int16 [shape=(n_samples,) or (n_channels, n_samples)], and a variant's settings. Out: log-mel in dB,
float32 [shape=(n_frames, n_mels)], with an axis of channels in front where the samples have one, and STFT magnitudes;
or one log-mel of two channels, of which the second is a reference of the noise (``reference``).
Imports: schemas, kernels.
"""

from mimiidg_build.features.band_sums import BandSums, band_sums
from mimiidg_build.features.clip_features import clip_features, features_of, mistake, versions
from mimiidg_build.features.mel import hz_from_mel, mel_filter_bank, mel_from_hz
from mimiidg_build.features.parameters import (
    BASELINE,
    DEFAULT,
    FLOOR,
    HOP,
    LOGMEL_VERSION,
    N_FFT,
    N_MELS,
    SAMPLE_RATE,
    n_frames,
)
from mimiidg_build.features.reference import channels_mistake, samples_mistake
from mimiidg_build.features.spectrogram import is_compiled, logmel, sample_memory

__all__ = [
    "BASELINE",
    "DEFAULT",
    "FLOOR",
    "HOP",
    "LOGMEL_VERSION",
    "N_FFT",
    "N_MELS",
    "SAMPLE_RATE",
    "BandSums",
    "band_sums",
    "channels_mistake",
    "clip_features",
    "features_of",
    "hz_from_mel",
    "is_compiled",
    "logmel",
    "mel_filter_bank",
    "mel_from_hz",
    "mistake",
    "n_frames",
    "sample_memory",
    "samples_mistake",
    "versions",
]
