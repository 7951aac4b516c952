"""A model's parameters in one vector, so that a step of the optimiser is one operation instead of one per tensor.

Parameters with another learning rate have a vector of their own. Adam and its variants work element by element, so
nothing changes but the time: for the autoencoder's 38 tensors a step takes half as long on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FlatParameters:
    """The trainable parameters of a model, which become views of one vector per group.

    Parameters
    ----------
    groups : sequence of (parameters, learning rate)
        ``Detector.parameter_groups()``.

    Attributes
    ----------
    groups : list of ([nn.Parameter [shape=(n,)]], learning rate)
        What the optimiser is given: one parameter per group.
    """

    def __init__(self, groups: Sequence[tuple[Sequence[nn.Parameter], float]]) -> None:
        self._flat = [_Group([part for part in parts if part.requires_grad]) for parts, _ in groups]
        self.groups = [([flat.whole], rate) for flat, (_, rate) in zip(self._flat, groups, strict=True)]

    def gradients(self, loss: Tensor) -> list[list[Tensor]]:
        """Gradients of a loss: of every group, those of its parameters; zero where one took no part in the loss."""
        # Returned instead of stored in each parameter's grad, which would have to be cleared: 40 us of a small network.
        every = [part for flat in self._flat for part in flat.parts]
        found = iter(torch.autograd.grad(loss, every, allow_unused=True))
        return [[_like(part, next(found)) for part in flat.parts] for flat in self._flat]

    def pieces(self, vectors: Sequence[Tensor]) -> list[list[Tensor]]:
        """Vectors laid out as the groups' own, one of each group, as views in the shapes of the group's parameters."""
        return [
            [piece.view_as(part) for part, piece in zip(flat.parts, flat.split(vector), strict=True)]
            for flat, vector in zip(self._flat, vectors, strict=True)
        ]


def _like(part: Tensor, gradient: Tensor | None) -> Tensor:
    """A gradient in its parameter's layout, which not every operation gives; none is zero."""
    return torch.zeros_like(part) if gradient is None else gradient.contiguous()


class _Group:
    """Parameters that learn at one rate: ``parts``, the model's own, are views of ``whole``."""

    def __init__(self, parts: list[nn.Parameter]) -> None:
        self.parts = parts
        self.whole = nn.Parameter(torch.cat([part.detach().flatten() for part in parts]))
        for part, piece in zip(parts, self.split(self.whole.detach()), strict=True):
            # A view: steps on ``whole`` change the model, and load_state_dict, which copies, changes ``whole``.
            part.data = piece.view_as(part)

    def split(self, vector: Tensor) -> tuple[Tensor, ...]:
        """A vector laid out as ``whole``, cut into what belongs to each parameter."""
        return torch.split(vector, [part.numel() for part in self.parts])
