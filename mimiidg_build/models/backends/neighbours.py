"""Cosine distance from the nearest reference vector, which may weigh it.

Distances between clips of one machine are small against 1: they are computed in float64.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from mimiidg_build.models.backends.base import Backend, Bank

N_NEIGHBOURS = 4  # of a reference clip, that tell the density around it
MIN_DISTANCE = 1e-9  # mean distance to neighbours: nothing is divided by that of clips that are all the same
BLOCK_DISTANCES = 2**22  # computed at a time: 32 MB


class NearestReference(Backend):
    """The smallest of the cosine distances from some vectors, each distance times its vector's weight.

    The vectors are of both domains, so the smallest is the smaller of the two domains' smallest.
    """

    reference: Tensor  # (vector, size), unit length
    weight: Tensor  # (vector,)

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.register_buffer("reference", torch.zeros(0, 0, dtype=torch.float64))
        self.register_buffer("weight", torch.zeros(0, dtype=torch.float64))

    def fit(self, bank: Bank) -> None:
        """Take the vectors of both domains, and their weights."""
        self.reference, self.weight = self._references([F.normalize(z) for z in bank.domains()])

    @abstractmethod
    def _references(self, domains: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The vectors and their weights, given the clips of each domain as vectors of unit length."""

    def forward(self, z: Tensor) -> Tensor:
        """See :meth:`Backend.forward`."""
        parts = blocks(F.normalize(z), len(self.reference))
        return torch.cat([(cosine_distances(part, self.reference) * self.weight).amin(dim=1) for part in parts])


class CosineNeighbour(NearestReference):
    """Cosine distance to the nearest training clip of source and of target, the smaller of the two; in [0, 2].

    Of the pooled log-mel this is the model ``nearest_neighbour``. Source: the nearest-neighbour back end of the DCASE
    2022 to 2025 systems of Wilkinghoff, as of many others since.
    """

    def _references(self, domains: list[Tensor]) -> tuple[Tensor, Tensor]:
        every = torch.cat(domains)
        return every, torch.ones_like(every[:, 0])


class LocalDensity(NearestReference):
    """The same, each distance divided by the mean distance of the training clip to its 4 nearest neighbours.

    So clips of a domain that lies scattered are no more anomalous than those of one that lies close. The neighbours are
    of either domain: a target clip, of which there are few, has source clips among them, and lies far from those. What
    is near a target clip is thus measured by the domain shift, not by how far apart source clips lie. On a synthetic
    release of seed 1 (``two_branch``, one target clip a section) this gave an official score of 69.0, neighbours of a
    clip's own domain 64.7, no division 63.6.

    Source: Wilkinghoff et al., "Local Density-Based Anomaly Score Normalization for Domain Generalization" (2025),
    arXiv:2509.10951, which needs no domains for it.
    """

    def _references(self, domains: list[Tensor]) -> tuple[Tensor, Tensor]:
        every = torch.cat(domains)
        if len(every) < 2:  # one clip has no neighbour
            return every, torch.ones_like(every[:, 0])
        return every, 1 / mean_distances(every).clamp(min=MIN_DISTANCE)


def mean_distances(unit: Tensor) -> Tensor:
    """Mean distance of each of two vectors or more to its nearest others, at most four [shape=(n,)]."""
    n_nearest = min(N_NEIGHBOURS + 1, len(unit))  # one more than wanted: a vector is its own nearest
    nearest = [
        cosine_distances(part, unit).topk(n_nearest, dim=1, largest=False).values for part in blocks(unit, len(unit))
    ]
    # the least of them is the vector itself, or one that is the same: at distance 0 either way
    return torch.cat(nearest).sort(dim=1).values[:, 1:].mean(dim=1)


def cosine_distances(unit: Tensor, others: Tensor) -> Tensor:
    """1 - cos [shape=(n, m)] between vectors of unit length [shape=(n, size)] and [shape=(m, size)]."""
    return (1.0 - unit @ others.T).clamp(min=0.0)  # rounding may take a cosine above 1


def blocks(vectors: Tensor, n_others: int) -> tuple[Tensor, ...]:
    """Vectors some at a time, so that the distances of each from all others fit into memory."""
    return torch.split(vectors, max(1, BLOCK_DISTANCES // max(1, n_others)))
