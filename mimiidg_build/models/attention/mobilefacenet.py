"""MobileFaceNet (Chen et al. 2018) as anomaly detectors since STgram-MFN use it: for images of one size, 128 x 313 of
clips of 10 s. Its last depthwise convolution spans all that four strides of 2 leave of them.

Convolutions have no bias. Each is followed by batch norm and, but for the last of a bottleneck and the two linear ones
at the end, by a PReLU with a slope per channel.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mimiidg_build.models.attention.layers import Pointwise, PReLU

CHANNELS = 128  # that a bottleneck gives; the stem has half as many, the last layers four times as many
BOTTLENECKS = ((2, 2, 2), (4, 2, 2), (4, 2, 2))  # expansion, repeats, stride of the first
N_STRIDES = 4  # of 2 each


def left_after_strides(n: int) -> int:
    """What the convolutions of stride 2 leave of an axis.

    >>> left_after_strides(128), left_after_strides(313)
    (8, 20)
    """
    for _ in range(N_STRIDES):
        n = (n + 1) // 2
    return n


class MobileFaceNet(nn.Module):
    """Embeddings [shape=(n, size)] of images [shape=(n, n_in, n_mels, n_frames)].

    Parameters
    ----------
    n_in : int
        Channels of an image.
    size : int
        Of an embedding.
    generator : torch.Generator
        Draws the weights.
    image : tuple of int
        Mel bands and frames of an image.
    channels : int
        That a bottleneck gives, an even number: 128 are the paper's.
    """

    def __init__(
        self,
        n_in: int,
        size: int,
        generator: torch.Generator,
        image: tuple[int, int] = (128, 313),
        channels: int = CHANNELS,
    ) -> None:
        super().__init__()
        stem, head = channels // 2, 4 * channels
        layers: list[nn.Module] = [_convolution(n_in, stem, 3, stride=2), _convolution(stem, stem, 3, groups=stem)]
        n = stem
        for expansion, repeats, first_stride in BOTTLENECKS:
            for repeat in range(repeats):
                layers.append(Bottleneck(n, channels, expansion, first_stride if repeat == 0 else 1))
                n = channels
        whole = [left_after_strides(side) for side in image]
        self.layers = nn.Sequential(
            *layers,
            _convolution(n, head),
            nn.Conv2d(head, head, (whole[0], whole[1]), groups=head, bias=False),
            nn.BatchNorm2d(head),
            Pointwise(head, size),
            nn.BatchNorm2d(size),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                height, width = module.kernel_size
                nn.init.normal_(module.weight, 0, math.sqrt(2 / (height * width * module.out_channels)), generator)

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings [shape=(n, size)] of images [shape=(n, n_in, n_mels, n_frames)]."""
        embeddings: Tensor = self.layers(images)
        return embeddings.flatten(1)


class Bottleneck(nn.Module):
    """Expand, filter each channel, project; added to the input where shapes agree.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    expansion : int
        Channels in between, in units of ``n_in``.
    stride : int
    """

    def __init__(self, n_in: int, n_out: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = n_in * expansion
        self.layers = nn.Sequential(
            _convolution(n_in, wide),
            _convolution(wide, wide, 3, stride, groups=wide),
            Pointwise(wide, n_out),
            nn.BatchNorm2d(n_out),
        )
        self.is_residual = stride == 1 and n_in == n_out

    def forward(self, images: Tensor) -> Tensor:
        """Images [shape=(n, channel, mel, frame)]."""
        filtered: Tensor = self.layers(images)
        return images + filtered if self.is_residual else filtered


def _convolution(n_in: int, n_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm, PReLU."""
    if kernel == 1:
        return nn.Sequential(Pointwise(n_in, n_out), nn.BatchNorm2d(n_out), PReLU(n_out))
    convolution = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), PReLU(n_out))
