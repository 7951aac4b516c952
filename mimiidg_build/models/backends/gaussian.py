"""Distances from what the bank's second moments say: Mahalanobis distance, and what principal components leave over."""

from __future__ import annotations

import torch
from torch import Tensor

from mimiidg_build.models.backends.base import Backend, Bank
from mimiidg_build.models.mahalanobis import whitener

KEPT_VARIANCE = 0.95
MIN_SHRINKAGE = 1e-6  # Ledoit and Wolf's may be 0 for two clips or three, whose covariance is singular


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
    whitener: Tensor  # (size, size), W with W W^T = inverse covariance

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.register_buffer("means", torch.zeros(0, 0, dtype=torch.float64))
        self.register_buffer("whitener", torch.zeros(0, 0, dtype=torch.float64))

    def fit(self, bank: Bank) -> None:
        """Means of the domains, and the covariance about them."""
        domains = bank.domains()
        self.means = torch.stack([z.mean(dim=0) for z in domains])
        about_means = torch.cat([z - mean for z, mean in zip(domains, self.means, strict=True)])
        self.whitener = whitener(shrunk_covariance(about_means))

    def forward(self, z: Tensor) -> Tensor:
        """See :meth:`Backend.forward`."""
        distances = [torch.linalg.vector_norm((z - mean) @ self.whitener, dim=1) for mean in self.means]
        return torch.stack(distances).amin(dim=0)


def shrunk_covariance(x: Tensor) -> Tensor:
    """Ledoit and Wolf's covariance [shape=(size, size)] of vectors about zero [shape=(n, size)], float64.

    (1 - a) S + a m I, where S is the mean outer product, m its mean variance, and a in [0, 1] the share that makes the
    expected squared error least: b / d, with d = ||S - m I||^2 and b the variance of S around what it estimates.
    """
    n, size = x.shape
    unit = torch.eye(size, dtype=x.dtype)
    covariance = x.T @ x / n
    mean_variance = covariance.trace() / size
    if mean_variance <= 0:
        return unit
    fourth = x.square().sum(dim=1).square().sum() / n
    squared = covariance.square().sum()
    spread, variance = squared - size * mean_variance**2, (fourth - squared) / n
    shrinkage = (torch.minimum(variance, spread) / spread).clamp(MIN_SHRINKAGE, 1) if spread > 0 else 1.0
    return (1 - shrinkage) * covariance + shrinkage * mean_variance * unit


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
        _, deviations, components = torch.linalg.svd(bank.z - self.mean, full_matrices=False)
        explained = deviations.square().cumsum(0)
        total = explained[-1]
        n = int((explained <= KEPT_VARIANCE * total).sum()) + 1 if total > 0 else 0
        self.components = components[:n].T.contiguous()

    def forward(self, z: Tensor) -> Tensor:
        """See :meth:`Backend.forward`."""
        about_mean = z - self.mean
        return torch.linalg.vector_norm(about_mean - about_mean @ self.components @ self.components.T, dim=1)
