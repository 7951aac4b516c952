"""The branches of the two-branch network: each makes 128 values of waves.

No convolution and no linear layer has a bias, no batch norm affine parameters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mimiidg_build.features import SAMPLE_RATE
from mimiidg_build.models.two_branch.settings import TwoBranchSettings

BRANCH_SIZE = 128  # values that a branch gives
SPECTRUM_KERNELS = ((256, 64), (64, 32), (16, 4))  # kernel and stride of the convolutions along the spectrum
SPECTRUM_LAYERS = 5  # linear ones, behind the first
STAGES = 4  # of the convolutions on a spectrogram, each with twice the channels of the one before
LOWEST_HZ = 200  # of spectrograms
SQUEEZE = 16  # channels to one of the squeezed ones


class SpectrumBranch(nn.Module):
    """128 values of the magnitude spectrum of a whole clip.

    Parameters
    ----------
    clip_length : int
        Samples.
    settings : TwoBranchSettings
    """

    def __init__(self, clip_length: int, settings: TwoBranchSettings) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n_in, n = 1, clip_length // 2 + 1
        for kernel, stride in SPECTRUM_KERNELS:
            layers += [
                nn.ConstantPad1d(same_padding(n, kernel, stride), 0.0),
                nn.Conv1d(n_in, settings.filters, kernel, stride, bias=False),
                nn.ReLU(),
                SqueezeExcitation(settings.filters),
            ]
            n_in, n = settings.filters, math.ceil(n / stride)
        layers += [nn.Flatten(), nn.Linear(n_in * n, BRANCH_SIZE, bias=False)]
        for _ in range(SPECTRUM_LAYERS):
            layers += [
                nn.BatchNorm1d(BRANCH_SIZE, affine=False),
                nn.ReLU(),
                nn.Linear(BRANCH_SIZE, BRANCH_SIZE, bias=False),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, waves: Tensor) -> Tensor:
        """Embeddings [shape=(n, 128)] of waves [shape=(n, n_samples)]."""
        found: Tensor = self.layers(magnitudes(waves)[:, None])
        return found


class SpectrogramBranch(nn.Module):
    """128 values of a magnitude spectrogram from 200 Hz: a residual network, and what is largest over time.

    Parameters
    ----------
    n_fft : int
        Samples of a window, which there is one of every half of its length; none reaches beyond the clip.
    settings : TwoBranchSettings
    """

    window: Tensor

    def __init__(self, n_fft: int, settings: TwoBranchSettings) -> None:
        super().__init__()
        self.n_fft, self.first_bin = n_fft, math.ceil(LOWEST_HZ * n_fft / SAMPLE_RATE)
        n_bins = n_fft // 2 + 1 - self.first_bin
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.norm = nn.BatchNorm1d(n_bins, affine=False)
        n = settings.channels
        layers: list[nn.Module] = [nn.Conv2d(1, n, 7, 2, 3, bias=False), nn.MaxPool2d(3, 2, 1)]
        for stage in range(STAGES):
            wide = settings.channels * 2**stage
            layers += [ResidualBlock(n, wide, 1 if stage == 0 else 2), ResidualBlock(wide, wide, 1)]
            n = wide
        self.layers = nn.Sequential(*layers)
        left = math.ceil(n_bins / 2 ** (STAGES + 1))  # of the bins, by the strides of 2
        self.output = nn.Sequential(
            nn.BatchNorm1d(n * left, affine=False), nn.Linear(n * left, BRANCH_SIZE, bias=False)
        )

    def forward(self, waves: Tensor) -> Tensor:
        """Embeddings [shape=(n, 128)] of waves [shape=(n, n_samples)]."""
        images: Tensor = self.norm(self.spectrogram(waves))[:, None].contiguous(memory_format=torch.channels_last)
        found: Tensor = self.output(self.layers(images).amax(dim=3).flatten(1))
        return found

    def spectrogram(self, waves: Tensor) -> Tensor:
        """Magnitudes [shape=(n, bin, frame)] of waves [shape=(n, n_samples)]."""
        frames = waves.unfold(1, self.n_fft, self.n_fft // 2) * self.window
        return magnitudes(frames)[..., self.first_bin :].transpose(1, 2)


class ResidualBlock(nn.Module):
    """Batch norm and ReLU before each of two convolutions, squeeze-excitation, and the input added.

    Parameters
    ----------
    n_in, n_out : int
        Channels. Where they differ, the input is projected once it is normed.
    stride : int
    """

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(n_in, affine=False), nn.ReLU())
        self.layers = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(n_out, affine=False),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False),
            SqueezeExcitation(n_out),
        )
        self.project = None if n_in == n_out else nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images [shape=(n, channel, bin, frame)]."""
        ready = self.before(images)
        found: Tensor = self.layers(ready)
        return found + (images if self.project is None else self.project(ready))


class SqueezeExcitation(nn.Module):
    """Weighs channels by what a small network makes of their means (Hu et al. 2018).

    Parameters
    ----------
    n_channels : int
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        squeezed = max(1, n_channels // SQUEEZE)
        self.layers = nn.Sequential(
            nn.Linear(n_channels, squeezed, bias=False),
            nn.ReLU(),
            nn.Linear(squeezed, n_channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [shape=(n, n_channels, ...)] of one axis more, or of two."""
        along = tuple(range(2, maps.ndim))
        weights: Tensor = self.layers(maps.mean(dim=along))
        return maps * weights[(..., *(None for _ in along))]


@torch.no_grad()
def magnitudes(waves: Tensor) -> Tensor:
    """|FFT| along the last axis, in single precision throughout.

    >>> magnitudes(torch.tensor([[1.0, 0.0, -1.0, 0.0]])).tolist()
    [[0.0, 2.0, 0.0]]
    """
    with torch.autocast(waves.device.type, enabled=False):
        return torch.view_as_real(torch.fft.rfft(waves)).square().sum(dim=-1).sqrt()


def same_padding(n: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and behind an axis, so that a convolution leaves a stride's share of it, rounded up (Keras' "same").

    >>> same_padding(80_001, 256, 64), same_padding(8, 2, 2)
    ((127, 128), (0, 0))
    """
    missing = max(0, (math.ceil(n / stride) - 1) * stride + kernel - n)
    return missing // 2, missing - missing // 2
