"""Sub-cluster AdaCos (Wilkinghoff 2021) with a fixed scale: a class has several centres, and any of them will do.

theta is the angle between a clip's embedding and a centre; cosines are [shape=(n, n_classes, n_centres)].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def fixed_scale(n_classes: int, n_centres: int) -> float:
    """The scale s of the logits s cos(theta): sqrt(2) ln(n - 1), n the number of all centres.

    Examples
    --------
    >>> round(fixed_scale(41, 16), 4)  # sqrt(2) ln(655)
    9.1707
    """
    return math.sqrt(2) * math.log(n_classes * n_centres - 1)


def log_probabilities(cosine: Tensor, scale: float) -> Tensor:
    """ln of the classes' probabilities: a softmax over all centres of all classes, summed over those of each class.

    Parameters
    ----------
    cosine : Tensor [shape=(n, n_classes, n_centres)]
        cos(theta), in [-1, 1].
    scale : float
        s.

    Returns
    -------
    Tensor [shape=(n, n_classes)]

    Examples
    --------
    >>> cosine = torch.tensor([[[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]])
    >>> [round(p, 6) for p in log_probabilities(cosine, 5.0).exp()[0].tolist()]  # two of six centres each
    [0.333333, 0.333333, 0.333333]
    """
    return torch.log_softmax((scale * cosine).logsumexp(dim=2), dim=1)
