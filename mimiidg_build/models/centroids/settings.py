"""Training and scoring settings of the five systems: the paper's, and what a CPU can do."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Annotated

from pydantic import Field

from mimiidg_build.models.centroids.resnet38 import MIN_FRAMES
from mimiidg_build.models.settings import Positive, Rate, Settings, Share, Weight


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

    batch_size: Annotated[int, Field(ge=4)] = 64  # an outlier stays where a known anomaly takes the place of one
    base_width: Positive = 64
    frames: Positive = 256
    frames_averaged: Positive = 1
    batches_per_epoch: Positive = 250
    linear_learning_rate: Rate = 1e-3
    halve_every: Positive = 1000
    score_windows: Positive = 10
    eta: Weight = 2.0
    distance_weight: Weight = 1.0
    alpha: Share = 0.5

    def check(self) -> None:
        """See :meth:`Settings.check`."""
        least = MIN_FRAMES * self.frames_averaged
        if self.frames < least:
            raise ValueError(
                f"frames = {self.frames} with frames_averaged = {self.frames_averaged}: the network's poolings need "
                f"frames of {least} or more"
            )


@cache
def paper_alphas(model: str) -> dict[str, float]:
    """The paper's Table I for a model: alpha by machine type, tuned on labelled anomalies."""
    path = files("mimiidg_build") / "data_manifests" / "paper_alphas.toml"
    found: dict[str, float] = tomllib.loads(path.read_text(encoding="utf-8"))[model]
    return found


@dataclass(frozen=True)
class BCEDSADSettings(CentroidSettings):
    """Settings of BCE+DSAD: ``oracle_alpha``, by machine type, is that of the score ``oracle``."""

    oracle_alpha: dict[str, Share] = field(default_factory=lambda: dict(paper_alphas("bce_dsad")))


@dataclass(frozen=True)
class BCEDDCSADSettings(CentroidSettings):
    """Settings of BCE+DDCSAD: ``oracle_alpha``, by machine type, is that of the score ``oracle``."""

    oracle_alpha: dict[str, Share] = field(default_factory=lambda: dict(paper_alphas("bce_ddcsad")))


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


def profiles_of(cls: type[CentroidSettings]) -> dict[str, CentroidSettings]:
    """The profiles, as settings of a class that has more of them."""
    return {name: cls(**asdict(settings)) for name, settings in PROFILES.items()}
