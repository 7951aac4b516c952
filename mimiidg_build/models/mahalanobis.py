"""Mahalanobis distances: the scatter of residuals, and the matrix that whitens them."""

from __future__ import annotations

import torch
from numpy.linalg import LinAlgError
from torch import Tensor


def whitener(covariance: Tensor) -> Tensor:
    """W with W W^T = inverse covariance, so that |r W|^2 is the squared Mahalanobis distance of a residual r.

    W is the transposed inverse of the Cholesky factor: no inverse covariance is formed, whose rounding errors would be
    those of the condition number squared.

    Parameters
    ----------
    covariance : Tensor [shape=(..., n, n)]
        Symmetric and positive definite.

    Returns
    -------
    Tensor [shape=(..., n, n)]

    Raises
    ------
    numpy.linalg.LinAlgError
        A covariance is singular.

    Examples
    --------
    >>> whitener(torch.tensor([[4.0, 0.0], [0.0, 1.0]])).tolist()
    [[0.5, 0.0], [0.0, 1.0]]
    """
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed.any():
        raise LinAlgError("the covariance is singular")
    unit = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    inverse: Tensor = torch.linalg.solve_triangular(factor, unit, upper=False)
    return inverse.mT


class Scatter:
    """Sum of outer products of vectors about the mean of the batch that each is of, added up some at a time.

    In float64: hundreds of thousands of vectors are added up, and the scatter is a difference of sums.

    Parameters
    ----------
    n_batches : int
        One batch: about the mean of all.
    size : int
        Of a vector.

    Examples
    --------
    >>> scatter = Scatter(2, 1)
    >>> scatter.add(torch.tensor([[1.0], [3.0], [7.0]], dtype=torch.float64), torch.tensor([0, 0, 1]))
    >>> scatter.count, scatter.within().item()  # 1 and 3 about 2; 7 about itself
    (3, 2.0)
    """

    def __init__(self, n_batches: int, size: int) -> None:
        self._counts = torch.zeros(n_batches, dtype=torch.float64)
        self._sums = torch.zeros(n_batches, size, dtype=torch.float64)
        self._products = torch.zeros(size, size, dtype=torch.float64)

    def add(self, vectors: Tensor, batches: Tensor) -> None:
        """Add vectors [shape=(n, size)] of batches [shape=(n,)]."""
        self._counts.index_add_(0, batches, torch.ones(len(vectors), dtype=torch.float64))
        self._sums.index_add_(0, batches, vectors)
        self._products += vectors.T @ vectors

    @property
    def count(self) -> int:
        """How many vectors were added."""
        return int(self._counts.sum())

    def within(self) -> Tensor:
        """The sum of outer products about the batches' means [shape=(size, size)]."""
        scaled = self._sums / self._counts.clamp(min=1).sqrt()[:, None]
        return self._products - scaled.T @ scaled
