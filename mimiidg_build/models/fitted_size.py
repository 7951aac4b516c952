"""Loading what was fitted to training clips: a new module does not know how many there were, the saved one does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn


def size_as_saved(module: nn.Module, names: Iterable[str], state_dict: Mapping[str, Any], prefix: str) -> None:
    """Give buffers and parameters of a module the sizes of the saved ones, before those are loaded into them.

    Parameters
    ----------
    module : nn.Module
        Changed in place.
    names : iterable of str
        Of its buffers and parameters whose sizes depend on what they were fitted to.
    state_dict : mapping
        The saved ones.
    prefix : str
        Of the module's names in it.
    """
    for name in names:
        saved, own = state_dict.get(prefix + name), getattr(module, name)
        if saved is not None and own is not None and saved.shape != own.shape:
            sized = torch.empty_like(saved, device=own.device)
            setattr(module, name, nn.Parameter(sized) if isinstance(own, nn.Parameter) else sized)
