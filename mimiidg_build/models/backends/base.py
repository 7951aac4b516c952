"""What every back end is: fitted to the bank of one section, it scores embeddings; and one of all a network's sections.

Shapes as in :mod:`mimiidg_build.models.backends`. A back end is an ``nn.Module`` so that what it fitted is saved and
exported as a network's weights are: all of it is in buffers, whose sizes are those of the bank.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mimiidg_build.errors import DataError
from mimiidg_build.models.backends import create_backend
from mimiidg_build.models.base import Labels
from mimiidg_build.models.fitted_size import size_as_saved

FOLDS = 5


@dataclass(frozen=True)
class Bank:
    """Embeddings of the normal training clips of a section: z [shape=(n, size)], is_target [shape=(n,)], bool.

    Clips without a domain are all in one, the source.
    """

    z: Tensor
    is_target: Tensor

    def __len__(self) -> int:
        return len(self.z)

    def take(self, rows: Tensor) -> Bank:
        """The bank of some clips."""
        return Bank(self.z[rows], self.is_target[rows])

    def domains(self) -> list[Tensor]:
        """The embeddings of each domain that has any, source first."""
        parts = [self.z[self.is_target == is_target] for is_target in (False, True)]
        return [part for part in parts if len(part)]

    def folds(self, seed: int) -> Tensor:
        """Which of at most five parts each clip is in [shape=(n,)]: drawn, and as even as can be in each domain."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        order = order[self.is_target[order].int().argsort(stable=True)]  # a domain's clips in a row
        parts = torch.empty_like(order)
        parts[order] = torch.arange(len(self)) % FOLDS
        return parts


class Backend(nn.Module, ABC):
    """A back end of one section.

    Parameters
    ----------
    seed : int
        Decides every draw.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    @abstractmethod
    def fit(self, bank: Bank) -> None:
        """Fit to a bank of one clip or more; whatever was fitted before is gone."""

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Scores [shape=(n,)] of embeddings [shape=(n, size)]."""

    def fit_and_score(self, bank: Bank) -> Tensor:
        """Fit to a bank, and score its own clips [shape=(n,)], each by a fit to four fifths of them that is without it.

        A clip that was fitted to is its own nearest neighbour, and no measure of a new one: thresholds and the fusion's
        standardisation need scores as new normal clips would have them.

        Raises
        ------
        DataError
            The bank has fewer than two clips.
        """
        if len(bank) < 2:
            raise DataError(f"{len(bank)} training clip of a section: a back end needs two or more to compare")
        scores, parts = bank.z.new_empty(len(bank)), bank.folds(self.seed)
        for number in range(min(FOLDS, len(bank))):
            held_out = parts == number
            self.fit(bank.take(~held_out))
            scores[held_out] = self(bank.z[held_out])
        self.fit(bank)
        return scores

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        size_as_saved(self, list(self._buffers), state_dict, prefix)  # as large as the bank was
        super()._load_from_state_dict(state_dict, prefix, *args)


class NetworkBackend(nn.Module):
    """A back end for the clips of a network: one of its own for each of its sections.

    Parameters
    ----------
    name : str
        A key of ``BACKENDS``.
    n_sections : int
        Of the network.
    seed : int
        Decides every draw.
    """

    def __init__(self, name: str, n_sections: int, seed: int) -> None:
        super().__init__()
        self.sections = nn.ModuleList([create_backend(name, seed) for _ in range(n_sections)])

    @torch.no_grad()
    def fit(self, z: Tensor, labels: Labels) -> Tensor:
        """Fit every section to its training clips.

        Parameters
        ----------
        z : Tensor [shape=(n, size)]
            Embeddings of the network's normal training clips.
        labels : Labels

        Returns
        -------
        Tensor [shape=(n,)]
            Scores of these clips: see :meth:`Backend.fit_and_score`.

        Raises
        ------
        DataError
            A section has fewer than two training clips.
        """
        scores = z.new_empty(len(z))
        for number, backend in enumerate(self.sections):
            own = labels.section == number
            scores[own] = backend.fit_and_score(Bank(z[own], labels.is_target[own]))  # type: ignore[operator]
        return scores

    @torch.no_grad()
    def score(self, z: Tensor, labels: Labels) -> Tensor:
        """Scores [shape=(n,)] of embeddings [shape=(n, size)], each by its own section's back end."""
        scores = z.new_empty(len(z))
        for number, backend in enumerate(self.sections):
            own = labels.section == number
            scores[own] = backend(z[own])
        return scores
