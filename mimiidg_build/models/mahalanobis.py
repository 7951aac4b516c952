"""Mahalanobis distances: the matrix that whitens residuals."""

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
