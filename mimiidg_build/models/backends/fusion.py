"""All back ends in one score, without labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mimiidg_build.models.backends import SINGLE, create_backend
from mimiidg_build.models.backends.base import Backend, Bank


class Fusion(Backend):
    """The smallest of all back ends' scores, each standardised by the bank's own: what one takes for normal is normal.

    Mean and standard deviation are those of the bank's clips, scored by fits that have not seen them: no anomaly, and
    no test clip, decides anything. A back end whose scores are all the same is not divided by 0.

    Source: Zhou and Wang, "Scoring Backends Matter More Than Pooling" (2026), arXiv:2606.19269, of four back ends; here
    of five, with k-means.
    """

    mean: Tensor  # (back end,)
    deviation: Tensor  # (back end,)

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.parts = nn.ModuleList([create_backend(name, seed) for name in SINGLE])
        self.register_buffer("mean", torch.zeros(len(SINGLE), dtype=torch.float64))
        self.register_buffer("deviation", torch.ones(len(SINGLE), dtype=torch.float64))

    def fit(self, bank: Bank) -> None:
        """Fit every back end, and standardise its scores."""
        self.fit_and_score(bank)

    def fit_and_score(self, bank: Bank) -> Tensor:
        """See :meth:`Backend.fit_and_score`."""
        scores = torch.stack([part.fit_and_score(bank) for part in self.parts], dim=1)  # type: ignore[operator]
        self.mean = scores.mean(dim=0)
        deviation = scores.std(dim=0, correction=0)
        self.deviation = torch.where(deviation > 0, deviation, 1.0)
        return self._smallest(scores)

    def forward(self, z: Tensor) -> Tensor:
        """See :meth:`Backend.forward`."""
        return self._smallest(torch.stack([part(z) for part in self.parts], dim=1))

    def _smallest(self, scores: Tensor) -> Tensor:
        """Of the back ends' scores [shape=(n, back end)], standardised."""
        return ((scores - self.mean) / self.deviation).amin(dim=1)
