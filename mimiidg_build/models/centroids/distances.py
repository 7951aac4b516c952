"""Distances from centroids and the losses made of them: the table in ``mimiidg_build.models.centroids``."""

from __future__ import annotations

import torch
from torch import Tensor

from mimiidg_build.models.base import Labels

EPSILON = 1e-6  # of inverse distances, and of a range that is divided by


def squared_distances(z: Tensor, centroids: Tensor) -> Tensor:
    """||z - c||^2 [shape=(n, n_centroids)], float32.

    >>> squared_distances(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])).tolist()
    [[4.0, 5.0]]
    """
    # Not as ||z||^2 - 2 z c + ||c||^2, which is lost to cancellation near a centroid.
    return (z.float()[:, None] - centroids).square().sum(dim=2)


def distance_loss(squared: Tensor, labels: Labels, eta: float) -> Tensor:
    """DSAD's loss of each window from its one squared distance, or DDCSAD's from its two.

    Parameters
    ----------
    squared : Tensor [shape=(n, 1 or 2)]
    labels : Labels
        Of the windows' clips.
    eta : float
        Weight of normal clips and known anomalies, relative to outliers.

    Returns
    -------
    Tensor [shape=(n,)]
    """
    inverse = 1 / (squared + EPSILON)
    near_p, far_p = squared[:, 0], inverse[:, 0]
    if squared.shape[1] == 2:
        near_p, far_p = near_p + inverse[:, 1], far_p + squared[:, 1]
    weight = torch.where(labels.section < 0, 1.0, eta)
    return weight * torch.where(labels.is_normal, near_p, far_p)
