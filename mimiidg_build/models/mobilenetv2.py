"""MobileNetV2, baseline 2 of MIMII DG: classify a machine type's sections, score by the odds against the true one.

Input is 64 frames x 128 mels, repeated to 3 channels. Width multiplier 0.5, trained from scratch: 691,523 trainable
parameters with 3 sections.

Sources: arXiv:2205.13879, section 4 (profile ``paper``: windows every 16 frames); the DCASE 2022 Task 2 baseline's code
(``released``: every 8 frames in training, every frame in test). The layers are Keras': batch norm with eps 1e-3, and
stride-2 convolutions that pad at the bottom and right only.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimiidg_build.errors import UsageError
from mimiidg_build.features import N_MELS
from mimiidg_build.models.base import Detector, Labels, Settings
from mimiidg_build.models.windows import Windows

WIDTH = 64
BATCH_NORM_EPS = 1e-3
STEM, HEAD = 16, 1280
# (expansion, channels, repeats, stride of the first)
STAGES = ((1, 8, 1, 1), (6, 16, 2, 2), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1))
SCORE_WINDOWS = 512  # windows a forward pass when scoring


class MobileNetV2(Detector):
    """One model per machine type.

    Score: mean over the clip's windows of log((1 - p) / p), p the probability of the clip's own section.
    Embedding: the 1,280 values before the dense layer, mean over the clip's windows.
    """

    profiles = {
        "paper": Settings(
            epochs=20, learning_rate=1e-4, batch_size=128, train_hop=16, score_hop=16, batch_norm_momentum=1e-3
        ),
        "released": Settings(
            epochs=20,
            learning_rate=1e-5,
            batch_size=32,
            train_hop=8,
            score_hop=1,
            held_out=0.1,
            batch_norm_momentum=1e-3,
        ),
        "cpu": Settings(
            epochs=10, learning_rate=1e-3, batch_size=32, train_hop=32, score_hop=16, batch_norm_momentum=0.03
        ),
        # A momentum of 1e-3 needs thousands of batches before the running statistics are of any use; here are tens.
        # Two windows of a 10 s clip: with four it ranks clips no better than chance either, in twice the time.
        "smoke": Settings(
            epochs=2, learning_rate=1e-3, batch_size=16, train_hop=128, score_hop=128, batch_norm_momentum=0.3
        ),
    }
    width = WIDTH
    needs = {"n_mels": N_MELS}
    min_sections = 2

    def __init__(self, settings: Settings, n_sections: int, seed: int) -> None:
        super().__init__(settings, n_sections, seed)
        if n_sections < 2:
            raise UsageError(
                f"mobilenetv2 learns to classify a machine type's sections: it needs two or more, found {n_sections}"
            )
        momentum = settings.batch_norm_momentum
        layers: list[nn.Module] = [_convolution(3, STEM, momentum, kernel=3, stride=2)]
        size = STEM
        for expansion, channels, repeats, first_stride in STAGES:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                layers.append(InvertedResidual(size, channels, expansion, stride, momentum))
                size = channels
        self.features = nn.Sequential(*layers, _convolution(size, HEAD, momentum))
        self.classifier = nn.Linear(HEAD, n_sections)
        self._initialise()

    def forward(self, windows: Tensor) -> Tensor:
        """Logits of the sections [shape=(n, n_sections)] of windows [shape=(n, 64, n_mels)]."""
        logits: Tensor = self.classifier(self._pooled(windows))
        return logits

    def _pooled(self, windows: Tensor) -> Tensor:
        """What is classified [shape=(n, 1280)], of windows [shape=(n, 64, n_mels)]."""
        # Channels innermost in memory: 1.4 times as fast on a CPU (215 windows/s a core in training, against 154).
        images = windows[:, None].expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        pooled: Tensor = self.features(images).mean(dim=(2, 3))
        return pooled

    def loss(self, batch: Tensor, labels: Labels) -> Tensor:
        """Cross-entropy on the section."""
        return F.cross_entropy(self(batch), labels.section)

    def mixed_loss(self, batch: Tensor, labels: Labels, others: Labels, share: Tensor) -> Tensor:
        """Cross-entropy on both sections, in their shares."""
        logits = self(batch)
        own, other = (F.cross_entropy(logits, each.section, reduction="none") for each in (labels, others))
        return torch.lerp(other, own, share).mean()

    def _score(self, logmel: Tensor, labels: Labels) -> Tensor:
        chunks = Windows(logmel, WIDTH, self.settings.score_hop).by_clip(SCORE_WINDOWS)
        logits = torch.cat([self(part.flatten(0, 1)).view(*part.shape[:2], -1) for part in chunks])
        section = labels.section[:, None].expand(-1, logits.shape[1])
        return negative_log_odds(logits, section).mean(dim=1)

    def _embed_clips(self, logmel: Tensor, labels: Labels) -> Tensor:
        chunks = Windows(logmel, WIDTH, self.settings.score_hop).by_clip(SCORE_WINDOWS)
        return torch.cat([self._pooled(part.flatten(0, 1)).view(*part.shape[:2], -1).mean(dim=1) for part in chunks])


def negative_log_odds(logits: Tensor, section: Tensor) -> Tensor:
    """Negative log odds of the true section: log((1 - p) / p), p its softmax.

    log(1 - p) is the log-sum of the other sections' log-softmax: finite also where p rounds to 1, and 1 - p to 0.

    Parameters
    ----------
    logits : Tensor [shape=(..., n_sections)]
    section : Tensor of int64 [shape=(...)]

    Examples
    --------
    >>> p = torch.tensor([[0.2, 0.3, 0.5]])
    >>> round(negative_log_odds(p.log(), torch.tensor([0])).item(), 5)  # log(0.8 / 0.2)
    1.38629
    >>> negative_log_odds(torch.tensor([[500.0, 0.0]]), torch.tensor([0])).item()
    -500.0
    """
    log_p = F.log_softmax(logits.float(), dim=-1)
    own = F.one_hot(section, logits.shape[-1]).bool()
    return log_p.masked_fill(own, -torch.inf).logsumexp(dim=-1) - log_p.gather(-1, section[..., None])[..., 0]


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; added to the input where shapes agree.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    expansion : int
        Channels in between, in units of ``n_in``.
    stride : int
    momentum : float
        Of batch norm, in torch's sense.
    """

    def __init__(self, n_in: int, n_out: int, expansion: int, stride: int, momentum: float) -> None:
        super().__init__()
        wide = n_in * expansion
        expand = [_convolution(n_in, wide, momentum)] if expansion > 1 else []
        self.layers = nn.Sequential(
            *expand,
            _convolution(wide, wide, momentum, kernel=3, stride=stride, groups=wide),
            _convolution(wide, n_out, momentum, relu=False),
        )
        self.is_residual = stride == 1 and n_in == n_out

    def forward(self, images: Tensor) -> Tensor:
        """Images [shape=(n, channel, frame, mel)]."""
        filtered: Tensor = self.layers(images)
        return images + filtered if self.is_residual else filtered


def _convolution(
    n_in: int, n_out: int, momentum: float, kernel: int = 1, stride: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU6. All sizes here are even, so Keras pads stride 2 by (0, 1)."""
    pad: list[nn.Module] = [nn.ZeroPad2d((0, 1, 0, 1))] if stride == 2 else []
    padding = kernel // 2 if stride == 1 else 0
    return nn.Sequential(
        *pad,
        nn.Conv2d(n_in, n_out, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(n_out, eps=BATCH_NORM_EPS, momentum=momentum),
        *([nn.ReLU6()] if relu else []),
    )
