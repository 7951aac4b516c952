"""Encoder of the multitask conformer: log-mel to an embedding of size 64.

1,854,912 trainable parameters at full size, which is all of the paper's except the heads. Where the paper leaves a
layer open, it is chosen so that their number is exactly this:

===================================================================================================  =========
two 3x3 convolutions with stride 2, no padding (313 x 128 to 77 x 31), ReLU after each                  148,864
linear layer, 31 x 128 to 128                                                                           508,032
three conformer blocks (Gulati et al., 2020): LayerNorm before each part and after the block,         1,147,776
biases in every layer
attentive statistics pooling: 128 to 128, ReLU, BatchNorm, tanh, 128 to 128, softmax over frames         33,280
BatchNorm of 256, linear layer to 64                                                                     16,960
===================================================================================================  =========

Activations are (clip, frame, channel). There is no dropout: the paper mentions none.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNEL, STRIDE = 3, 2  # of the two convolutions that shorten the log-mel
N_MELS = 128
EMBEDDING = 64
MIN_VARIANCE = 1e-7  # of the pooling: the root of 0 has no gradient


def shortened(n: int) -> int:
    """Length after a convolution of the front end.

    >>> shortened(shortened(313)), shortened(shortened(128))
    (77, 31)
    """
    return (n - KERNEL) // STRIDE + 1


MIN_FRAMES = 7  # of a log-mel, of which the two convolutions leave one


class Encoder(nn.Module):
    """Convolutions, conformer blocks, pooling.

    Parameters
    ----------
    channels : int
        Of the two convolutions.
    n_blocks : int
        Conformer blocks.
    size : int
        Channels of a block.
    n_heads : int
        Attention heads.
    hidden : int
        Channels within the feed-forward modules.
    kernel : int
        Frames of the depthwise convolutions.
    """

    def __init__(self, channels: int, n_blocks: int, size: int, n_heads: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.front = nn.Sequential(
            nn.Conv2d(1, channels, KERNEL, STRIDE), nn.ReLU(), nn.Conv2d(channels, channels, KERNEL, STRIDE), nn.ReLU()
        )
        self.linear = nn.Linear(shortened(shortened(N_MELS)) * channels, size)
        self.blocks = nn.Sequential(*(Block(size, n_heads, hidden, kernel) for _ in range(n_blocks)))
        self.pooling = AttentivePooling(size)
        self.norm = nn.BatchNorm1d(2 * size)
        self.embedding = nn.Linear(2 * size, EMBEDDING)

    def frames(self, logmel: Tensor) -> Tensor:
        """The sequence to be pooled [shape=(n, 77, size)], of standardised log-mels [shape=(n, 313, 128)]."""
        images = logmel[:, None].contiguous(memory_format=torch.channels_last)
        short = self.front(images).permute(0, 2, 3, 1).flatten(2)  # (clip, frame, mel * channel)
        frames: Tensor = self.blocks(self.linear(short))
        return frames

    def forward(self, logmel: Tensor) -> Tensor:
        """Embeddings [shape=(n, 64)] of standardised log-mels [shape=(n, 313, 128)]."""
        embedding: Tensor = self.embedding(self.norm(self.pooling(self.frames(logmel))))
        return embedding


class Block(nn.Module):
    """Conformer block: half a feed-forward module, self-attention, convolution, half a feed-forward module, LayerNorm.

    Parameters
    ----------
    size : int
        Channels.
    n_heads : int
        Attention heads.
    hidden : int
        Channels within the feed-forward modules.
    kernel : int
        Frames of the depthwise convolution.
    """

    def __init__(self, size: int, n_heads: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Sequential(nn.LayerNorm(size), nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, size))
            for _ in range(2)
        )
        self.attention = SelfAttention(size, n_heads)
        self.convolution = Convolution(size, kernel)
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor) -> Tensor:
        """Frames [shape=(n, n_frames, size)], the shape unchanged."""
        x = x + self.first(x) / 2
        x = x + self.attention(x)
        x = x + self.convolution(x)
        x = x + self.second(x) / 2
        normed: Tensor = self.norm(x)
        return normed


class SelfAttention(nn.Module):
    """LayerNorm and multi-head self-attention without positional encoding."""

    def __init__(self, size: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm = nn.LayerNorm(size)
        self.queries_keys_values = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)

    def forward(self, x: Tensor) -> Tensor:
        """Frames [shape=(n, n_frames, size)], the shape unchanged."""
        parts = self.queries_keys_values(self.norm(x)).chunk(3, dim=-1)
        by_head = [part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in parts]
        mixed = F.scaled_dot_product_attention(*by_head)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class Convolution(nn.Module):
    """LayerNorm, 1x1 to twice the size, GLU, depthwise convolution over frames, BatchNorm, SiLU, 1x1."""

    def __init__(self, size: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.widen = nn.Linear(size, 2 * size)
        self.depthwise = nn.Conv1d(size, size, kernel, padding=kernel // 2, groups=size)
        self.batch_norm = nn.BatchNorm1d(size)
        self.out = nn.Linear(size, size)

    def forward(self, x: Tensor) -> Tensor:
        """Frames [shape=(n, n_frames, size)], the shape unchanged."""
        gated = F.glu(self.widen(self.norm(x)), dim=-1)
        filtered = F.silu(self.batch_norm(self.depthwise(gated.transpose(1, 2))))
        out: Tensor = self.out(filtered.transpose(1, 2))
        return out


class AttentivePooling(nn.Module):
    """Weighted mean and standard deviation over frames, with weights for every channel (Okabe et al., 2018)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(size, size)
        self.norm = nn.BatchNorm1d(size)
        self.weights = nn.Linear(size, size)

    def forward(self, x: Tensor) -> Tensor:
        """Means and standard deviations [shape=(n, 2 size)], float32, of frames [shape=(n, n_frames, size)]."""
        # batch norm takes (n, size, n_frames)
        hidden = self.norm(F.relu(self.hidden(x)).transpose(1, 2)).transpose(1, 2)
        share = self.weights(torch.tanh(hidden)).float().softmax(dim=1)
        x = x.float()
        mean = (share * x).sum(dim=1)
        # the mean square minus the squared mean could round below 0
        variance = (share * (x - mean[:, None]).square()).sum(dim=1)
        return torch.cat([mean, variance.clamp(min=MIN_VARIANCE).sqrt()], dim=1)
