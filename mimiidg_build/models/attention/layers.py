"""Layers of the attention network that torch has, too, as they are fastest on a processor.

Images are (clip, channel, mel, frame). Weights, names and results are those of torch's own layers, to the last bits of
single precision.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Pointwise(nn.Conv2d):
    """A 1 x 1 convolution: of images with channels last in memory, the matrix product over pixels that it is.

    On one thread torch takes small batches to a convolution that copies images to channels first, and leaves them so:
    then every layer after it takes up to twice as long.
    """

    def __init__(self, n_in: int, n_out: int, bias: bool = False) -> None:
        super().__init__(n_in, n_out, 1, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        """Images [shape=(n, n_out, mel, frame)] of images [shape=(n, n_in, mel, frame)]."""
        if not images.is_contiguous(memory_format=torch.channels_last):
            return super().forward(images)
        return F.linear(images.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class Filters(nn.Conv1d):
    """A convolution of waves, as the matrix product over frames: torch's own, of one channel, takes longer."""

    def forward(self, waves: Tensor) -> Tensor:
        """What each filter finds [shape=(n, n_filters, n_frames)] in waves [shape=(n, 1, n_samples)]."""
        ((pad,), (size,), (hop,)) = (map(int, given) for given in (self.padding, self.kernel_size, self.stride))
        frames = F.pad(waves[:, 0], (pad, pad)).unfold(1, size, hop)
        return F.linear(frames, self.weight[:, 0], self.bias).transpose(1, 2)


class Scale(nn.Module):
    """A depthwise 1 x 1 convolution with bias, as a multiplication: torch's own takes up to twice as long on a CPU."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        # Shaped like the convolution's weight: initialisation takes the fan-in from weight[0].
        self.weight = nn.Parameter(torch.empty(n_channels, 1, 1, 1))
        self.bias = nn.Parameter(torch.empty(n_channels))

    def forward(self, images: Tensor) -> Tensor:
        """Each channel scaled and shifted: images [shape=(n, n_channels, mel, frame)]."""
        return torch.addcmul(self.bias[:, None, None], images, self.weight[:, 0])


class PReLU(nn.PReLU):
    """``nn.PReLU`` with a slope a channel, whose gradient takes half as long."""

    def forward(self, images: Tensor) -> Tensor:
        """Images [shape=(n, channel, mel, frame)], negative values multiplied by their channel's slope."""
        if not torch.is_grad_enabled():
            return super().forward(images)
        found: Tensor = _PReLU.apply(images, self.weight)  # type: ignore[no-untyped-call]
        return found


class _PReLU(torch.autograd.Function):
    """torch's own gradient takes values one by one, and sums those of the slopes from a map as large as the images."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, slopes: Tensor) -> Tensor:
        ctx.save_for_backward(images, slopes)
        return F.prelu(images, slopes.to(images.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (gradient,), (images, slopes) = gradients, ctx.saved_tensors
        of_slopes = images.clamp(max=0).mul_(gradient).sum(dim=(0, 2, 3))
        where_positive = torch.ops.aten.threshold_backward(gradient, images, 0)
        shaped = slopes.to(gradient.dtype)[:, None, None]
        return torch.lerp(where_positive, gradient, shaped), of_slopes.to(slopes.dtype)
