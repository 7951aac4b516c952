"""Training and scoring settings of the five systems: the paper's, and what a CPU can do."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mimiidg_build.models.base import Settings


@dataclass(frozen=True)
class CentroidSettings(Settings):
    """Settings of this family; ``learning_rate`` is that of all layers except the linear one.

    batch_size             clips a batch: half normal, half outliers, one of which gives way to a known anomaly
    base_width             channels of the network's first stage
    frames                 of a window; a clip with fewer is one window
    frames_averaged        frames of a window that are averaged into one, in dB: less detail in time, less work
    batches_per_epoch      250: about one pass over the training clips of 15 sections, and a divisor of 1,000
    linear_learning_rate   of the linear layer
    halve_every            batches after which learning rates are halved
    score_windows          windows of a clip, evenly spaced, when scoring
    eta                    weight of normal clips and known anomalies in the loss of the distances
    distance_weight        weight of the loss of the distances relative to BCE, the paper's lambda
    alpha                  weight of 1 - p in the score of BCE+DSAD and BCE+DDCSAD, in [0, 1]
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
# On a CPU: a small network on 8 s at a quarter of a second per frame, an eighth of the work of all frames.
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
