"""Training settings of the conformer: the paper's, and what a CPU can do; the two stages of a training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from mimiidg_build.models.base import Epoch
from mimiidg_build.models.settings import Positive, Settings, Weight


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

    batch_size: Annotated[int, Field(ge=2)] = 30
    channels: Positive = 128
    n_blocks: Positive = 3
    kernel: Positive = 15
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 16.0
    margin: Annotated[float, Field(ge=0, lt=3.14)] = 1.28
    section_weight: Weight = 1.0
    binary_weight: Weight = 1.0
    augmentation_weight: Weight = 1.0

    def check(self) -> None:
        """See :meth:`Settings.check`."""
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel = {self.kernel}: an odd number of frames has one in its middle, an even one not")


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
