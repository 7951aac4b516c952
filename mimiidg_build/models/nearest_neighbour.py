"""Nearest neighbour on pooled spectrograms: no training, the baseline that every learned model must beat.

A clip is its log-mel pooled over time, 128 numbers: mean, or maximum. Score: cosine distance to the nearest training
clip of source and of target of the same section, the smaller of the two; in [0, 2].

Distances between clips of one machine are small against 1, so they are computed in float64.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mimiidg_build.errors import DataError
from mimiidg_build.models.base import Chunks, Detector, Labels, Settings
from mimiidg_build.models.fitted_size import size_as_saved


class NearestNeighbour(Detector):
    """Mean over time. There is nothing to train: ``fit_after`` stores the training clips.

    Embedding: the pooled log-mel in dB, with its level.
    """

    profiles = {name: Settings(epochs=0) for name in ("paper", "released", "cpu", "smoke")}
    width = 1

    reference: Tensor  # (training clip, mel), unit length
    reference_section: Tensor

    def __init__(self, settings: Settings, n_sections: int, seed: int) -> None:
        super().__init__(settings, n_sections, seed)
        self.register_buffer("reference", torch.zeros(0, 0, dtype=torch.float64))
        self.register_buffer("reference_section", torch.zeros(0, dtype=torch.int64))

    def loss(self, batch: Tensor, labels: Labels) -> Tensor:
        """There is none: nothing is trained."""
        raise ValueError("nearest neighbour has nothing to train: settings.epochs is 0")

    @torch.no_grad()
    def fit_after(self, chunks: Chunks) -> None:
        """Store every training clip, pooled."""
        pooled = [(self.unit_vectors(logmel), labels.section) for logmel, labels in chunks]
        self.reference = torch.cat([embedding for embedding, _ in pooled])
        self.reference_section = torch.cat([section for _, section in pooled])

    def pool(self, logmel: Tensor) -> Tensor:
        """Mean over time [shape=(n_clips, n_mels)] of log-mels [shape=(n_clips, n_frames, n_mels)]."""
        return logmel.mean(dim=1, dtype=torch.float64)

    def unit_vectors(self, logmel: Tensor) -> Tensor:
        """Clips as vectors of unit length, float64 [shape=(n_clips, n_mels)]."""
        return torch.nn.functional.normalize(self.pool(logmel), dim=1)

    def _embed_clips(self, logmel: Tensor, labels: Labels) -> Tensor:
        return self.pool(logmel)

    def _score(self, logmel: Tensor, labels: Labels) -> Tensor:
        # The nearer of the nearest source clip and the nearest target clip is the nearest of all.
        cosine = (
            self.unit_vectors(logmel) @ self.reference.T if len(self.reference) else logmel.new_zeros(len(logmel), 0)
        )
        rows = torch.arange(cosine.shape[1], device=cosine.device)
        elsewhere = self.reference_section != labels.section[:, None]
        itself = rows == labels.training_row[:, None]  # never for a test clip, whose training row is -1
        cosine = cosine.masked_fill(elsewhere | itself, -torch.inf)
        # what the data hold cannot be asked while torch.export traces: it is asked of the run's own scores
        if not torch.compiler.is_exporting() and (cosine.shape[1] == 0 or cosine.isneginf().all(dim=1).any()):
            raise DataError("nearest neighbour: a section has no (other) training clip to compare a clip with")
        return (1.0 - cosine.amax(dim=1)).clamp(min=0.0)  # rounding may take a cosine above 1

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        size_as_saved(self, ("reference", "reference_section"), state_dict, prefix)  # as many as training clips
        super()._load_from_state_dict(state_dict, prefix, *args)


class MaxNearestNeighbour(NearestNeighbour):
    """Maximum over time instead of the mean: for machines whose sound is intermittent."""

    def pool(self, logmel: Tensor) -> Tensor:
        """Maximum over time [shape=(n_clips, n_mels)] of log-mels [shape=(n_clips, n_frames, n_mels)]."""
        return logmel.amax(dim=1).double()
