"""audiomentations: noise added at 6 dB, then file by file as the organisers' baseline; a .npy file a clip."""

import sys
from pathlib import Path

import audiomentations
import librosa
import numpy as np

wavs, noise, out = map(Path, sys.argv[1:])
mix = audiomentations.AddBackgroundNoise(sounds_path=noise, min_snr_db=6.0, max_snr_db=6.0, p=1.0)
files = sorted(wavs.rglob("*.wav"))
for number, file in enumerate(files):
    samples, sample_rate = librosa.load(file, sr=None, mono=True)
    mixed = mix(samples, sample_rate=sample_rate)
    mel = librosa.feature.melspectrogram(y=mixed, sr=sample_rate, n_fft=1024, hop_length=512, n_mels=128, power=2.0)
    np.save(out / f"{number}.npy", 10 * np.log10(np.maximum(mel, sys.float_info.epsilon)).T)
print(len(files))
