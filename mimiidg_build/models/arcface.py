"""ArcFace (Deng et al. 2019): logits with a margin on the angle of the true class, and an exact cross-entropy.

theta is the angle between a clip's embedding and a class; cosines are [shape=(n, n_classes)].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def arcface(cosine: Tensor, section: Tensor, scale: float, margin: float) -> Tensor:
    """ArcFace's logits: s cos(theta), and for the true class a margin m on the angle.

    s cos(theta + m) where that decreases with theta, which it does up to theta = pi - m; s (cos(theta) - m sin(m))
    beyond.

    Parameters
    ----------
    cosine : Tensor [shape=(n, n_classes)]
        cos(theta), in [-1, 1].
    section : Tensor of int64 [shape=(n,)]
        The true class.
    scale : float
        s, larger than 0.
    margin : float, rad
        m, from 0.

    Returns
    -------
    Tensor [shape=(n, n_classes)]

    Examples
    --------
    >>> cosine = torch.tensor([[0.0, 0.5]])
    >>> [round(x, 4) for x in arcface(cosine, torch.tensor([0]), 1.0, 0.7)[0].tolist()]  # cos(pi / 2 + 0.7)
    [-0.6442, 0.5]
    """
    own = cosine.gather(1, section[:, None])
    sine = (1 - own.square()).clamp(min=1e-12).sqrt()  # the root of 0 has no gradient
    # cos(theta + m) without theta: the gradient of acos is infinite at a cosine of 1 or -1.
    inside = own * math.cos(margin) - sine * math.sin(margin)
    beyond = own - margin * math.sin(margin)
    return scale * cosine.scatter(1, section[:, None], torch.where(own > math.cos(math.pi - margin), inside, beyond))


def cross_entropy(logits: Tensor, section: Tensor) -> Tensor:
    """Cross-entropy of each clip's true class [shape=(n,)]; it does not round to 0, however confident the logits are.

    As a score it must still rank clips whose true class has a probability that rounds to 1, where
    ``torch.nn.functional.cross_entropy`` gives 0 for all of them: log-sum-exp of the other classes' differences, then
    softplus.

    >>> cross_entropy(torch.tensor([[0.0, 0.0], [90.0, 0.0]], dtype=torch.float64), torch.tensor([0, 0])).tolist()
    [0.6931471805599453, 8.194012623990515e-40]
    """
    own = logits.gather(1, section[:, None])
    others = logits.scatter(1, section[:, None], -torch.inf)
    difference = (others - own).logsumexp(dim=1)
    return torch.where(difference > 0, difference, 0.0) + torch.log1p(torch.exp(-difference.abs()))
