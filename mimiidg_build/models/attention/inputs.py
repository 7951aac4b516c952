"""Inputs of the attention network: log-mel in torchaudio's convention, Wavegram, and the attention map over both.

Waves are (clip, sample) in [-1, 1], images (clip, channel, mel, frame). A frame is 1024 samples, one every 512,
centred: 313 frames in a clip of 10 s.

A *separable convolution* is, as in the released code, depthwise, batch norm, ReLU, pointwise, batch norm, ReLU. Because
of its last ReLU the attention map, a sigmoid, is 0.5 or more.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimiidg_build.features import HOP, N_FFT, N_MELS, SAMPLE_RATE
from mimiidg_build.models.attention.layers import Filters, Pointwise, Scale

MEL_OFFSET = 1e-8  # power added to every mel band before the logarithm


def mel_edges_hz() -> np.ndarray:
    """Edges of the mel filters in Hz [shape=(130,)]: filter i begins at i, peaks at i + 1, ends at i + 2. HTK's scale.

    >>> mel_edges_hz()[[0, 1, 65, 129]].round(1).tolist()
    [0.0, 13.8, 1792.0, 8000.0]
    """
    highest = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    edges_hz: np.ndarray = 700 * (10 ** (np.linspace(0, highest, N_MELS + 2) / 2595) - 1)
    return edges_hz


@lru_cache(maxsize=1)
def mel_filters() -> Tensor:
    """Triangular filters of unit area (Slaney's norm) on HTK's scale [shape=(513, 128)].

    As ``torchaudio.functional.melscale_fbanks(513, 0, 8000, 128, 16000, "slaney", "htk")``.
    """
    fft_hz, edges_hz = np.linspace(0, SAMPLE_RATE / 2, 1 + N_FFT // 2), mel_edges_hz()
    ramps = fft_hz[:, None] - edges_hz[None, :]
    widths = np.diff(edges_hz)
    triangles = np.maximum(0, np.minimum(ramps[:, :-2] / widths[:-1], -ramps[:, 2:] / widths[1:]))
    return torch.from_numpy((triangles * 2 / (edges_hz[2:] - edges_hz[:-2])).astype(np.float32))


class LogMel(nn.Module):
    """Log-mel in torchaudio's convention, dB: reflect padding, periodic Hann window, 10 log10(mel + 1e-8)."""

    def __init__(self) -> None:
        super().__init__()
        # constants: not part of saved weights
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        self.register_buffer("filters", mel_filters(), persistent=False)

    window: Tensor
    filters: Tensor

    @torch.no_grad()
    def forward(self, waves: Tensor) -> Tensor:
        """Log-mel [shape=(n, 128, n_frames)] of waves [shape=(n, n_samples)], in single precision throughout."""
        with torch.autocast(waves.device.type, enabled=False):
            frames = F.pad(waves, (N_FFT // 2, N_FFT // 2), mode="reflect").unfold(1, N_FFT, HOP)
            # |X|^2 without the root that abs() takes
            spectrum = torch.view_as_real(torch.fft.rfft(frames * self.window))
            mel = spectrum.square().sum(dim=-1) @ self.filters
            return 10 * torch.log10(mel + MEL_OFFSET).transpose(1, 2)


class Wavegram(nn.Module):
    """A learned spectrogram [shape=(n, 128, n_frames)].

    Separable: all 128 rows come from one filter, each with a scale and an offset of its own. Dense: 128 filters.
    """

    def __init__(self, dense: bool) -> None:
        super().__init__()
        n_filters = N_MELS if dense else 1
        layers: list[nn.Module] = [
            Filters(1, n_filters, N_FFT, HOP, N_FFT // 2),  # padded like LogMel, so that frames coincide
            nn.BatchNorm1d(n_filters),
            nn.ReLU(),
        ]
        if not dense:
            layers += [nn.Conv1d(1, N_MELS, 1), nn.BatchNorm1d(N_MELS), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, waves: Tensor) -> Tensor:
        """Learned spectrograms of waves [shape=(n, n_samples)]."""
        rows: Tensor = self.layers(waves[:, None])
        return rows


class AttentionMap(nn.Module):
    """Weights [shape=(n, n_images, mel, frame)] of images of the same shape: in [0.5, 1) separable, in (0, 1) plain.

    Parameters
    ----------
    n_images : int
    separable : bool
    channels : int
        Of the widest layer, divisible by 4: the first has a quarter as many. The paper's are 64.
    """

    def __init__(self, n_images: int, separable: bool, channels: int = 64) -> None:
        super().__init__()
        convolution, first = _separable if separable else _plain, channels // 4
        # channels last takes half the time from 64 channels, and twice the time of a few, which fill no register
        self._format = torch.channels_last if channels >= 64 else torch.contiguous_format
        self.layers = nn.Sequential(
            convolution(n_images, first, 3, bias=False),
            nn.BatchNorm2d(first),
            nn.ELU(),
            convolution(first, channels, 3, bias=False),
            nn.BatchNorm2d(channels),
            nn.ELU(),
            convolution(channels, n_images, 1, bias=True),
            nn.Sigmoid(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Attention maps of images [shape=(n, n_images, mel, frame)]."""
        weights: Tensor = self.layers(images.contiguous(memory_format=self._format))
        return weights


def _separable(n_in: int, n_out: int, kernel: int, bias: bool) -> nn.Sequential:
    return nn.Sequential(
        Scale(n_in) if kernel == 1 else nn.Conv2d(n_in, n_in, kernel, padding=kernel // 2, groups=n_in, bias=bias),
        nn.BatchNorm2d(n_in),
        nn.ReLU(),
        Pointwise(n_in, n_out, bias),
        nn.BatchNorm2d(n_out),
        nn.ReLU(),
    )


def _plain(n_in: int, n_out: int, kernel: int, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2, bias=bias)
