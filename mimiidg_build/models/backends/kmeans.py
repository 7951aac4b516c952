"""k-means: cosine distance to the nearest of a few centres of each domain, in place of all its clips."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mimiidg_build.models.backends.neighbours import NearestReference

N_CENTRES = 16
MAX_ITERATIONS = 300
MIN_SQUARE = 1e-18  # squared distance below which two vectors of unit length are the same


class KMeans(NearestReference):
    """Cosine distance to the nearest of 16 centres of each domain; a domain of fewer clips is its own centres.

    Clips are clustered as vectors of unit length. Source: Wilkinghoff, "Design Choices for Learning Embeddings from
    Auxiliary Tasks for Domain Generalization in Anomalous Sound Detection" (ICASSP 2023): 16 centres of the source, and
    all of the few target clips.
    """

    def _references(self, domains: list[Tensor]) -> tuple[Tensor, Tensor]:
        every = F.normalize(torch.cat([self._centres(unit) for unit in domains]))
        return every, torch.ones_like(every[:, 0])

    def _centres(self, unit: Tensor) -> Tensor:
        return lloyd(unit, first_centres(unit, N_CENTRES, self.seed)) if len(unit) > N_CENTRES else unit


def first_centres(x: Tensor, n: int, seed: int) -> Tensor:
    """k-means++ (Arthur and Vassilvitskii 2007): vectors drawn by their squared distance from those drawn already.

    Parameters
    ----------
    x : Tensor [shape=(n_vectors, size)], float64
    n : int
        How many to draw; fewer are, where there are fewer different vectors.
    seed : int

    Returns
    -------
    Tensor [shape=(n, size)]
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = [int(torch.randint(len(x), (), generator=generator))]
    nearest = squares_from(x, x[drawn[0]])
    while len(drawn) < n and bool((nearest > MIN_SQUARE).any()):
        shares = torch.where(nearest > MIN_SQUARE, nearest, 0.0)
        drawn.append(int(torch.multinomial(shares, 1, generator=generator)))
        nearest = torch.minimum(nearest, squares_from(x, x[drawn[-1]]))
    return x[drawn]


def lloyd(x: Tensor, centres: Tensor) -> Tensor:
    """Lloyd's algorithm from given centres, until no vector changes its centre.

    Distances are sums of squares, one centre at a time: a matrix product's last bits depend on the processor, and a
    vector halfway between two centres would go to either.

    Parameters
    ----------
    x : Tensor [shape=(n_vectors, size)], float64
    centres : Tensor [shape=(n, size)]

    Returns
    -------
    Tensor [shape=(n, size)]
        A centre that no vector is nearest to stays where it is.
    """
    nearest = None
    for _ in range(MAX_ITERATIONS):
        found = torch.stack([squares_from(x, centre) for centre in centres]).argmin(dim=0)
        if nearest is not None and torch.equal(found, nearest):
            break
        nearest = found
        members = [x[nearest == number] for number in range(len(centres))]
        centres = torch.stack(
            [own.mean(dim=0) if len(own) else centre for own, centre in zip(members, centres, strict=True)]
        )
    return centres


def squares_from(x: Tensor, centre: Tensor) -> Tensor:
    """||x - c||^2 [shape=(n,)] of vectors [shape=(n, size)]."""
    return (x - centre).square().sum(dim=1)
