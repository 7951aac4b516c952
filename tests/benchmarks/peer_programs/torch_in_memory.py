"""All clips in memory and batches of them through torch, as ASDKit and like systems do; one .npy file at the end.

The bands are those of mel = 1127 ln(1 + f / 700 Hz), as in torchaudio, which cannot be imported beside a CPU build.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile
import torch

BATCH = 32


def bands(n_mels: int = 128, n_bins: int = 513, highest_hz: float = 8000) -> torch.Tensor:
    """Triangles in frequency, evenly spaced in mel [shape=(n_bins, n_mels)]."""
    mel = torch.linspace(0, 1127 * np.log(1 + highest_hz / 700), n_mels + 2)
    edges = 700 * (torch.exp(mel / 1127) - 1)
    slopes = edges[None, :] - torch.linspace(0, highest_hz, n_bins)[:, None]
    rising, falling = -slopes[:, :-2] / edges.diff()[:-1], slopes[:, 2:] / edges.diff()[1:]
    return torch.minimum(rising, falling).clamp(min=0)


wavs, _, out = map(Path, sys.argv[1:])
torch.set_num_threads(1)
clips = torch.from_numpy(np.stack([soundfile.read(file, dtype="float32")[0] for file in sorted(wavs.rglob("*.wav"))]))
window, filters, found = torch.hann_window(1024), bands(), []
for batch in clips.split(BATCH):
    power = torch.stft(batch, 1024, 512, window=window, return_complex=True).abs().square()
    found.append(10 * torch.log10((power.transpose(1, 2) @ filters).clamp(min=1e-10)))
np.save(out / "logmel.npy", torch.cat(found).numpy())
print(len(clips))
