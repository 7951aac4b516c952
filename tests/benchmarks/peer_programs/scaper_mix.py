"""scaper: every clip an event at 6 dB in a background of noise, as a WAV file with its annotation; then librosa."""

import sys
from pathlib import Path

import librosa
import numpy as np
import scaper

wavs, noise, out = map(Path, sys.argv[1:])
files, kinds = sorted(wavs.rglob("*.wav")), sorted(path.name for path in noise.iterdir())
for number, file in enumerate(files):
    scene = scaper.Scaper(10.0, str(file.parents[1]), str(noise), random_state=number)
    scene.sr, scene.ref_db, scene.fade_in_len, scene.fade_out_len = 16000, -30, 0, 0
    scene.add_background(label=("choose", kinds), source_file=("choose", []), source_time=("const", 0))
    scene.add_event(
        label=("const", file.parent.name),
        source_file=("const", str(file)),
        source_time=("const", 0),
        event_time=("const", 0),
        event_duration=("const", 10.0),
        snr=("const", 6),
        pitch_shift=None,
        time_stretch=None,
    )
    mixed = out / f"{number}.wav"
    scene.generate(str(mixed), str(mixed.with_suffix(".jams")), disable_sox_warnings=True)
    samples, sample_rate = librosa.load(mixed, sr=None, mono=True)
    mel = librosa.feature.melspectrogram(y=samples, sr=sample_rate, n_fft=1024, hop_length=512, n_mels=128, power=2.0)
    np.save(out / f"{number}.npy", 10 * np.log10(np.maximum(mel, sys.float_info.epsilon)).T)
print(len(files))
