"""Which training clips a training is without, so that its loss can be monitored on them."""

from __future__ import annotations

import torch
from torch import Tensor

from mimiidg_build.models.settings import Settings


def trained_rows(settings: Settings, seed: int, n_clips: int) -> Tensor:
    """Numbers of the clips that are trained on, ascending: all but the last, or but a draw, of them.

    Parameters
    ----------
    settings : Settings
        ``held_out`` and ``held_out_from`` decide.
    seed : int
        Of the training: a draw depends on it and on the number of clips alone.
    n_clips : int

    Returns
    -------
    Tensor of int64

    Examples
    --------
    >>> trained_rows(Settings(epochs=1, held_out=0.25), 0, 8).tolist()
    [0, 1, 2, 3, 4, 5]
    >>> len(trained_rows(Settings(epochs=1, held_out=0.25, held_out_from="anywhere"), 0, 8))
    6
    """
    n_held_out = round(settings.held_out * n_clips)
    if settings.held_out_from == "end":
        return torch.arange(n_clips - n_held_out)
    order = torch.randperm(n_clips, generator=torch.Generator().manual_seed(seed))
    return order[n_held_out:].sort().values
