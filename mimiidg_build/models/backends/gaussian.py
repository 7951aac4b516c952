"""Distances from what the bank's second moments say: Mahalanobis distance, and what principal components leave over."""

from __future__ import annotations

import torch
from torch import Tensor

from mimiidg_build.models.backends.base import Backend, Bank

KEPT_VARIANCE = 0.95
MIN_SHRINKAGE = 1e-6  # Ledoit and Wolf's may be 0 for two clips or three, whose covariance is singular
MIN_VARIANCE = 1e-12  # relative to the largest, of an axis that is more than rounding errors


class Mahalanobis(Backend):
    """Mahalanobis distance from the mean of source and of target, the smaller of the two, under one covariance of both.

    Each domain's clips are taken about their own mean, so that ten target clips, or one, need no covariance of their
    own. The covariance is shrunk towards a multiple of the unit matrix, by as much as the number of clips asks for:
    it is regular with fewer clips than dimensions, too. Where all clips are the same it is the unit matrix.

    Sources: Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks"
    (NeurIPS 2018), means of classes and a tied covariance; Ledoit and Wolf, "A well-conditioned estimator for
    large-dimensional covariance matrices" (2004), the shrinkage.
    """

    means: Tensor  # (domain, size)
    axes: Tensor  # (size, axis), orthonormal
    variance: Tensor  # (axis,), of the shrunk covariance along each
    rest: Tensor  # (1,), its variance along all others

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        for name, shape in {"means": (0, 0), "axes": (0, 0), "variance": (0,), "rest": (1,)}.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    def fit(self, bank: Bank) -> None:
        """Means of the domains, and the covariance about them."""
        domains = bank.domains()
        self.means = torch.stack([z.mean(dim=0) for z in domains])
        about_means = torch.cat([z - mean for z, mean in zip(domains, self.means, strict=True)])
        variance, self.axes = principal_axes(about_means)
        mean_variance, shrinkage = variance.sum() / bank.z.shape[1], ledoit_wolf(about_means, variance)
        self.variance = (1 - shrinkage) * variance + shrinkage * mean_variance
        self.rest = (shrinkage * mean_variance if len(variance) else torch.ones_like(mean_variance))[None]

    def forward(self, z: Tensor) -> Tensor:
        """See :meth:`Backend.forward`."""
        squares = []
        for mean in self.means:
            along, across = split(z - mean, self.axes)
            squares.append((along.square() / self.variance).sum(dim=1) + across.square().sum(dim=1) / self.rest)
        return torch.stack(squares).amin(dim=0).sqrt()


class PCAResidual(Backend):
    """What is left of a clip outside the principal components that explain 95 % of the bank's variance: its length.

    The components are those of both domains together, about their common mean: the variance includes the shift.

    Source: Jackson and Mudholkar, "Control Procedures for Residuals Associated with Principal Component Analysis"
    (Technometrics 1979), the square root of their Q.
    """

    mean: Tensor  # (size,)
    components: Tensor  # (size, component), orthonormal

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.register_buffer("mean", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("components", torch.zeros(0, 0, dtype=torch.float64))

    def fit(self, bank: Bank) -> None:
        """Mean and components; none where all clips are the same."""
        self.mean = bank.z.mean(dim=0)
        variance, axes = principal_axes(bank.z - self.mean)
        # the fewest that explain more; of no axes none
        n = int((variance.cumsum(0) <= KEPT_VARIANCE * variance.sum()).sum()) + 1
        self.components = axes[:, :n].contiguous()

    def forward(self, z: Tensor) -> Tensor:
        """See :meth:`Backend.forward`."""
        _, residual = split(z - self.mean, self.components)
        length: Tensor = torch.linalg.vector_norm(residual, dim=1)
        return length


def principal_axes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squares along the principal axes of vectors about zero, the largest first, and the axes.

    From the smaller of the two Gram matrices: a network's 1,280 numbers a clip need no matrix of 1,280 x 1,280.

    Parameters
    ----------
    x : Tensor [shape=(n, size)], float64

    Returns
    -------
    variance : Tensor [shape=(n_axes,)]
        Without those that are nothing but rounding errors; of vectors that are all zero none.
    axes : Tensor [shape=(size, n_axes)]
        Orthonormal.
    """
    n, size = x.shape
    squares, vectors = torch.linalg.eigh(x @ x.T if n < size else x.T @ x)
    kept = squares > MIN_VARIANCE * squares[-1]
    squares, vectors = squares[kept].flip(0), vectors[:, kept].flip(1)
    return squares / n, x.T @ vectors / squares.sqrt() if n < size else vectors


def split(x: Tensor, axes: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates of vectors along axes [shape=(n, n_axes)], and what is left of the vectors across them."""
    along = x @ axes
    return along, x - along @ axes.T


def ledoit_wolf(x: Tensor, variance: Tensor) -> Tensor:
    """The share a of Ledoit and Wolf's covariance, (1 - a) S + a m I, which makes the expected squared error least.

    S is the mean outer product, m its mean variance. With d = ||S - m I||^2 and b the variance of S around what it
    estimates, a is b / d, 1 at most.

    Parameters
    ----------
    x : Tensor [shape=(n, size)], float64
        Vectors about zero.
    variance : Tensor [shape=(n_axes,)]
        Of S along its principal axes.

    Returns
    -------
    Tensor, without axes
    """
    n, size = x.shape
    squared = variance.square().sum()
    fourth = x.square().sum(dim=1).square().sum() / n
    distance = squared - variance.sum().square() / size
    shrinkage = torch.where(distance > 0, (fourth - squared) / n / distance, 1.0)
    return shrinkage.clamp(MIN_SHRINKAGE, 1)
