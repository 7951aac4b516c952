"""ResNet38 of PANNs (arXiv:1912.10211), as an encoder of log-mels: 21,313,088 parameters at a base width of 64.

Batch norm per mel band, a block of two convolutions, then the basic residual stages of ResNet34; 2 x 2 average
pooling instead of strides. What PANNs have after the last stage is left out: the embedding is its mean over time and
frequency.

The weights are drawn by the model that uses this module; only the last batch norm of a residual block is initialised
here, to zero, so that an untrained block is the identity.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

STAGES = ((3, 1), (4, 2), (6, 4), (3, 8))  # (blocks, channels in base widths)
STEM_DROPOUT, BLOCK_DROPOUT = 0.2, 0.1
MIN_FRAMES = 16  # four times halved


class ResNet38(nn.Module):
    """From log-mels to embeddings of size ``8 * base_width``.

    Parameters
    ----------
    base_width : int
        Channels of the first stage.
    n_mels : int
    """

    def __init__(self, base_width: int, n_mels: int = 128) -> None:
        super().__init__()
        self.size = base_width * STAGES[-1][1]
        self.bands = nn.BatchNorm2d(n_mels)
        self.stem = nn.Sequential(
            *(_convolution(1, base_width), nn.BatchNorm2d(base_width), nn.ReLU(inplace=True)),
            *(_convolution(base_width, base_width), nn.BatchNorm2d(base_width), nn.ReLU(inplace=True)),
            *(nn.AvgPool2d(2), nn.Dropout(STEM_DROPOUT)),
        )
        blocks: list[nn.Module] = []
        n_in = base_width
        for number, (repeats, factor) in enumerate(STAGES):
            for repeat in range(repeats):
                blocks.append(ResidualBlock(n_in, base_width * factor, halves=number > 0 and repeat == 0))
                n_in = base_width * factor
        self.stages = nn.Sequential(*blocks)

    def forward(self, logmel: Tensor) -> Tensor:
        """Embeddings [shape=(n, size)], float32, of log-mels [shape=(n, n_frames, n_mels)] of 16 frames or more."""
        images = self.bands(logmel.mT[..., None])  # bands as channels: (n, mel, frame, 1)
        images = self.stages(self.stem(images.permute(0, 3, 2, 1).contiguous()))  # (n, channel, frame, mel) again
        embeddings: Tensor = images.float().mean(dim=(2, 3))
        return embeddings


class ResidualBlock(nn.Module):
    """Two convolutions, added to the input.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    halves : bool
        Average 2 x 2 pixels first.
    """

    def __init__(self, n_in: int, n_out: int, halves: bool) -> None:
        super().__init__()
        pool: list[nn.Module] = [nn.AvgPool2d(2)] if halves else []
        last = nn.BatchNorm2d(n_out)
        nn.init.zeros_(last.weight)
        self.layers = nn.Sequential(
            *(*pool, _convolution(n_in, n_out), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)),
            *(nn.Dropout(BLOCK_DROPOUT), _convolution(n_out, n_out), last),
        )
        self.shortcut = nn.Sequential(*pool)  # an empty one is the identity
        if n_in != n_out:
            self.shortcut.extend([nn.Conv2d(n_in, n_out, 1, bias=False), nn.BatchNorm2d(n_out)])

    def forward(self, images: Tensor) -> Tensor:
        """Images [shape=(n, channel, frame, mel)]."""
        return F.relu(self.shortcut(images) + self.layers(images))


def _convolution(n_in: int, n_out: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
