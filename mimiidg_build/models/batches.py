"""Orders of windows or clips, cut into batches. Randomness is torch's own, which is seeded for each epoch."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def in_batches(order: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Cut an order into batches; a single window left over joins the last, since batch norm needs two.

    >>> [batch.tolist() for batch in in_batches(torch.arange(5), 2)]
    [[0, 1], [2, 3, 4]]
    """
    sizes = [batch_size] * (len(order) // batch_size)
    rest = len(order) % batch_size
    if rest == 1 and sizes:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return torch.split(order, sizes)


def cycled(numbers: Tensor, n: int) -> Tensor:
    """``n`` of the numbers: all of them in a random order, then all of them in another, as often as it takes.

    >>> sorted(cycled(torch.tensor([5, 7]), 4).tolist()), cycled(torch.tensor([5, 7]), 0).tolist()
    ([5, 5, 7, 7], [])
    """
    passes = math.ceil(n / max(1, len(numbers)))
    every = [numbers[torch.randperm(len(numbers))] for _ in range(passes)]
    return torch.cat([numbers[:0], *every])[:n]  # numbers[:0]: torch.cat refuses an empty list
