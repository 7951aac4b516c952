"""Nearest neighbour on embeddings of a frozen encoder that the user brings: BEATs, EAT, CLAP and the like.

The encoder is a file (``benchmark.encoders``), which runs before this model and never learns: what the model takes of a
clip is its embedding, pooled over time. Score: cosine distance to the nearest training clip, as ``nearest_neighbour``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from torch import Tensor

from mimiidg_build.models import PROFILES
from mimiidg_build.models.nearest_neighbour import NearestNeighbour
from mimiidg_build.models.settings import Positive, Settings

SHORT = 8  # digits of a digest that names show


@dataclass(frozen=True)
class EncoderSettings(Settings):
    """What an encoder is: the file at ``file``, of digest ``sha256``, and how it is used (``schemas.encoders``).

    Where the file lies changes no embedding, and is compared nowhere.
    """

    file: str = field(default="", compare=False)
    sha256: str = ""
    sample_rate: Positive = 16_000
    pooling: str = "mean"
    p: float = 3.0

    @property
    def digest(self) -> str:
        """Of everything that decides an embedding: the file and how it is used; 64 hexadecimal digits."""
        used = [self.sha256, self.sample_rate, self.pooling, self.p if self.pooling == "gem" else None, self.batch_size]
        return hashlib.sha256(json.dumps(used).encode()).hexdigest()


class FrozenEncoder(NearestNeighbour):
    """``fit_after`` stores the embeddings of the training clips; the encoder itself is no part of the weights."""

    profiles = {name: EncoderSettings(epochs=0) for name in PROFILES}
    takes = "embedding"
    any_channels = True

    @classmethod
    def changeable(cls) -> tuple[str, ...]:
        """Threads alone: all else is the encoder's, and stands in its file."""
        return ("threads",)

    def pool(self, embeddings: Tensor) -> Tensor:
        """Embeddings as they are, float64 [shape=(n_clips, size)]."""
        return embeddings.double()
