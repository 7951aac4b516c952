"""Training settings of the conformer: the paper's, and what a CPU can do; the two stages of a training."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mimiidg_build.models.base import Epoch, Settings


@dataclass(frozen=True)
class ConformerSettings(Settings):
    """Settings of the conformer.

    batch_size           clips a batch; see "Batches" in the package's docstring
    channels             of the two convolutions before the conformer blocks
    n_blocks             conformer blocks
    kernel               frames of the depthwise convolutions
    scale, margin        of ArcFace; the margin in rad
    section_weight       of ArcFace's loss
    binary_weight        of the binary head's loss, in the second stage
    augmentation_weight  of the augmentation head's loss
    """

    batch_size: int = 30
    channels: int = 128
    n_blocks: int = 3
    kernel: int = 15
    scale: float = 16.0
    margin: float = 1.28
    section_weight: float = 1.0
    binary_weight: float = 1.0
    augmentation_weight: float = 1.0


PAPER = ConformerSettings(epochs=120, learning_rate=1e-3, batch_norm_momentum=0.1)
PROFILES = {
    "paper": PAPER,
    # 0.6 s of one core per batch instead of 2.3 s; with four times the epochs, bearing gained nothing
    "cpu": replace(PAPER, channels=32, epochs=30),
    "smoke": replace(PAPER, epochs=2, channels=8, n_blocks=1, batch_norm_momentum=0.3),
}


def in_second_stage(epoch: Epoch) -> bool:
    """True in the last third of the epochs; a single epoch is of the second stage.

    >>> [sum(not in_second_stage(Epoch(n, total)) for n in range(total)) for total in (120, 60, 4, 2, 1)]
    [80, 40, 2, 1, 0]
    """
    return epoch.number >= 2 * epoch.total // 3
