"""What the five systems are trained and scored with: the paper's, and what a CPU can do."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mimiidg_build.models.base import Settings


@dataclass(frozen=True)
class CentroidSettings(Settings):
    """Settings of this family; ``learning_rate`` is that of all layers but the linear one.

    batch_size             clips a batch: half normal, half outliers, one of which gives way to a known anomaly
    base_width             channels of the network's first stage
    frames                 of a window; a clip with fewer is one window
    frames_averaged        so many frames of a window become one, their mean in dB: less detail in time, less work
    batches_per_epoch      250: near one pass over the training clips of 15 sections, and a divisor of 1,000
    linear_learning_rate   of the linear layer
    halve_every            batches after which learning rates are halved
    score_windows          windows of a clip, evenly spread, when scoring
    eta                    weight of normal clips and known anomalies in the distances' loss
    distance_weight        weight of the distances' loss beside BCE, the paper's lambda
    alpha                  share of 1 - p in the score of BCE+DSAD and BCE+DDCSAD
    """

    batch_size: int = 64
    base_width: int = 64
    frames: int = 256
    frames_averaged: int = 1
    batches_per_epoch: int = 250
    linear_learning_rate: float = 1e-3
    halve_every: int = 1000
    score_windows: int = 10
    eta: float = 2.0
    distance_weight: float = 1.0
    alpha: float = 0.5


PAPER = CentroidSettings(epochs=16, learning_rate=1e-4, batch_norm_momentum=0.1, tuning_epochs=8)
# On a CPU: a small network that sees 8 s at a quarter of a second a frame, in an eighth of the time that it would take
# for all frames.
SMALL = replace(
    PAPER,
    batch_size=16,
    base_width=8,
    frames_averaged=8,
    learning_rate=1e-3,
    linear_learning_rate=1e-2,
    score_windows=3,
)
PROFILES = {
    "paper": PAPER,
    "cpu": replace(SMALL, epochs=4, tuning_epochs=2, batches_per_epoch=120, halve_every=240),
    "smoke": replace(SMALL, epochs=2, tuning_epochs=1, batches_per_epoch=3),
}
