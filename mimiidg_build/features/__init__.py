"""Features of clips: log-mel spectrograms, in the convention of the DCASE and MIMII DG baselines (librosa's).

In: samples, int16 [shape=(n_samples,)]. Out: log-mel in dB, float32 [shape=(n_frames, n_mels)].
Imports: kernels.
"""

from mimiidg_build.features.mel import hz_from_mel, mel_filter_bank, mel_from_hz
from mimiidg_build.features.parameters import FLOOR, HOP, LOGMEL_VERSION, N_FFT, N_MELS, SAMPLE_RATE, n_frames
from mimiidg_build.features.spectrogram import logmel

__all__ = [
    "FLOOR",
    "HOP",
    "LOGMEL_VERSION",
    "N_FFT",
    "N_MELS",
    "SAMPLE_RATE",
    "hz_from_mel",
    "logmel",
    "mel_filter_bank",
    "mel_from_hz",
    "n_frames",
]
