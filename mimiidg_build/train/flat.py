"""A model's parameters laid end to end, so that a step of the optimiser is one operation instead of one per tensor.

The maths of Adam and its kin are element by element, so nothing changes but the time: for the autoencoder's 38 tensors
a step takes half as long on a CPU.
"""

from __future__ import annotations

import torch
from torch import nn


class FlatParameters:
    """The trainable parameters of a model, which become views of one vector.

    Attributes
    ----------
    whole : nn.Parameter [shape=(n,)]
        What the optimiser is given.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parts = [part for part in model.parameters() if part.requires_grad]
        self.whole = nn.Parameter(torch.cat([part.detach().flatten() for part in self._parts]))
        pieces = torch.split(self.whole.detach(), [part.numel() for part in self._parts])
        for part, piece in zip(self._parts, pieces, strict=True):
            part.data = piece.view_as(part)

    def clear_gradients(self) -> None:
        """Forget the last batch's gradients."""
        for part in self._parts:
            part.grad = None

    def gather_gradients(self) -> None:
        """Give the whole its gradient; zero where a parameter took no part in the loss."""
        gradients = [torch.zeros_like(part) if part.grad is None else part.grad for part in self._parts]
        self.whole.grad = torch.cat([gradient.flatten() for gradient in gradients])
