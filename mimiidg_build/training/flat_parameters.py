"""A model's parameters in one vector, so that a step of the optimiser is one operation instead of one per tensor.

Parameters with another learning rate have a vector of their own. Adam and its variants work element by element, so
nothing changes but the time: for the autoencoder's 38 tensors a step takes half as long on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


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

    def clear_gradients(self) -> None:
        """Forget the last batch's gradients."""
        for flat in self._flat:
            for part in flat.parts:
                part.grad = None  # rather than zeros: backward then stores gradients and does not add

    def gather_gradients(self) -> None:
        """Give each vector its gradient; zero where a parameter took no part in the loss."""
        for flat in self._flat:
            gradients = [torch.zeros_like(part) if part.grad is None else part.grad for part in flat.parts]
            flat.whole.grad = torch.cat([gradient.flatten() for gradient in gradients])


class _Group:
    """Parameters that learn at one rate: ``parts``, the model's own, are views of ``whole``."""

    def __init__(self, parts: list[nn.Parameter]) -> None:
        self.parts = parts
        self.whole = nn.Parameter(torch.cat([part.detach().flatten() for part in parts]))
        pieces = torch.split(self.whole.detach(), [part.numel() for part in parts])
        for part, piece in zip(parts, pieces, strict=True):
            # A view: steps on ``whole`` change the model, and load_state_dict, which copies, changes ``whole``.
            part.data = piece.view_as(part)
