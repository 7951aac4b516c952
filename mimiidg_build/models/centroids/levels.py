"""Log-mels of standardised waveforms, from stored log-mels alone.

A waveform divided by its standard deviation sigma has a log-mel that is 20 log10(sigma) dB lower, and the mel filters
pass nothing of its mean. So stored log-mels need only be shifted, and sigma^2 follows from them by Parseval's theorem:
for recordings it is within 0.1 dB of the waveform's. Only digital silence, which is at the logarithm's floor, differs.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mimiidg_build.features import N_FFT, N_MELS, SAMPLE_RATE, hz_from_mel, mel_from_hz
from mimiidg_build.models.base import Chunks


def level_db_by_origin(chunks: Chunks) -> Tensor:
    """20 log10 of the standard deviation of each section's training waveforms, dB re full scale [shape=(n_origins,)].

    By Parseval's theorem from log-mels alone: mel filters of unit area, weighted by half their widths, add up to one at
    every frequency between the first filter's centre (23 Hz) and the last's (7.6 kHz); Hann windows at half their
    length apart cover each sample with 3/4 N_FFT / 2 on average.
    """
    total, count = torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.float64)
    for logmel, labels in chunks:
        # Added up on the CPU: index_add_ is not deterministic on a GPU.
        origin, normal = labels.origin.cpu(), ~labels.known_anomaly.cpu()
        variance = _variance(logmel).cpu()
        size = max(len(total), int(origin.max()) + 1)  # how many origins there are shows only at the end
        total, count = (F.pad(sums, (0, size - len(sums))) for sums in (total, count))
        total.index_add_(0, origin[normal], variance[normal])
        count.index_add_(0, origin[normal], torch.ones_like(variance[normal]))
    return (10 * torch.log10(total / count.clamp(min=1))).float()


def _variance(logmel: Tensor) -> Tensor:
    """Variance of the waveforms of log-mels [shape=(n_clips, n_frames, n_mels)], float64 [shape=(n_clips,)]."""
    edges_hz = torch.from_numpy(hz_from_mel(torch.linspace(0, float(mel_from_hz(SAMPLE_RATE / 2)), N_MELS + 2).numpy()))
    half_widths_hz = ((edges_hz[2:] - edges_hz[:-2]) / 2).to(logmel.device, torch.float32)
    per_frame = (logmel.float() * (math.log(10) / 10)).exp() @ half_widths_hz
    return per_frame.mean(dim=1, dtype=torch.float64) * 2 / (N_FFT * N_FFT * 3 / 8)
