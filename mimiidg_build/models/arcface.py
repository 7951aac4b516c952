"""ArcFace (Deng et al. 2019): logits with a margin on the angle of the true class, and the doubt that they leave.

cos theta is that of the angle between a clip's embedding and a class, [shape=(n, n_classes)].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def arcface(cosine: Tensor, section: Tensor, scale: float, margin: float) -> Tensor:
    """ArcFace's logits: s cos theta, and for the true class a margin m on the angle.

    s cos(theta + m) where that falls with theta, which it does up to theta = pi - m; s (cos theta - m sin m) beyond.

    Parameters
    ----------
    cosine : Tensor [shape=(n, n_classes)]
    section : Tensor of int64 [shape=(n,)]

    Examples
    --------
    >>> cosine = torch.tensor([[0.0, 0.5]])
    >>> [round(x, 4) for x in arcface(cosine, torch.tensor([0]), 1.0, 0.7)[0].tolist()]  # cos(pi / 2 + 0.7)
    [-0.6442, 0.5]
    """
    own = cosine.gather(1, section[:, None])
    sine = (1 - own.square()).clamp(min=1e-12).sqrt()  # the root of 0 has no gradient
    inside = own * math.cos(margin) - sine * math.sin(margin)
    beyond = own - margin * math.sin(margin)
    return scale * cosine.scatter(1, section[:, None], torch.where(own > math.cos(math.pi - margin), inside, beyond))


def doubt(logits: Tensor, section: Tensor) -> Tensor:
    """Cross-entropy of each clip's true class [shape=(n,)]; it does not round to 0, however sure the logits are.

    >>> doubt(torch.tensor([[0.0, 0.0], [90.0, 0.0]], dtype=torch.float64), torch.tensor([0, 0])).tolist()
    [0.6931471805599453, 8.194012623990515e-40]
    """
    own = logits.gather(1, section[:, None])
    others = logits.scatter(1, section[:, None], -torch.inf)
    difference = (others - own).logsumexp(dim=1)
    return torch.where(difference > 0, difference, 0.0) + torch.log1p(torch.exp(-difference.abs()))
