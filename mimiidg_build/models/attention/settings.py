"""Training and scoring settings of the attention network: the paper's, the released code's, and what a CPU can do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from mimiidg_build.models.settings import Positive, Settings, Share

Angle = Annotated[float, Field(ge=0, lt=3.14)]


@dataclass(frozen=True)
class AttentionSettings(Settings):
    """Settings of this family.

    attention            the layers of the attention map; "none": there is no map
    wavegram             "separable": all rows from one filter; "dense": 128 filters; "none": log-mel only
    logmel               False: Wavegram only
    embedding            size of MobileFaceNet's embedding of a clip
    channels             that a bottleneck of MobileFaceNet gives; the stem has half as many, the last layers four times
    map_channels         of the attention map's widest layer; the first has a quarter as many
    scale, margin        ArcFace's s and m
    mixing               both parameters of lambda's Beta distribution
    last_learning_rate   of the last epoch, as a fraction of the first's; between them half a cosine
    unused_head          include the released model's linear layer that nothing uses
    most_batches         of an epoch, where all clips would take too long
    """

    attention: Literal["separable", "plain", "none"] = "separable"
    wavegram: Literal["separable", "dense", "none"] = "separable"
    logmel: bool = True
    embedding: Positive = 128
    channels: Annotated[int, Field(ge=2, multiple_of=2)] = 128
    map_channels: Annotated[int, Field(ge=4, multiple_of=4)] = 64
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 40.0
    margin: Angle = 0.7
    mixing: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.2
    last_learning_rate: Share = 1.0
    unused_head: bool = False
    most_batches: Positive | None = None

    def check(self) -> None:
        """See :meth:`Settings.check`."""
        if self.wavegram == "none" and not self.logmel:
            raise ValueError('logmel = false with wavegram = "none" leaves the network without an input')


PAPER = AttentionSettings(epochs=300, learning_rate=1e-4, batch_size=64, batch_norm_momentum=0.1)
PROFILES = {
    "paper": PAPER,
    "released": replace(PAPER, last_learning_rate=0.1, held_out=0.05, held_out_from="anywhere", unused_head=True),
    # a quarter of the width: 40 ms of a core a clip and epoch, of which the paper's takes 160
    "cpu": replace(
        PAPER, epochs=16, learning_rate=1e-3, batch_size=8, last_learning_rate=0.01, channels=32, map_channels=8
    ),
    "smoke": replace(PAPER, epochs=1, learning_rate=1e-3, batch_size=16, batch_norm_momentum=0.3, most_batches=12),
}
