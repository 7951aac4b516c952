"""Tensors that are stacked in the calling thread, for the items that a plain ``DataLoader`` makes batches of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


class StackedHere(Tensor):
    """A tensor like any other, but that ``torch.stack`` copies many of them in the calling thread alone.

    torch would share the copy of even a few clips among its threads, which takes longer to begin than the copy takes,
    and on a busy machine a hundred times as long. ``default_collate`` leaves no other way to say so: it stacks with
    ``torch.stack``, and changing its table of types would change it for the whole program.
    """

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """What torch calls in place of any of its functions; the result is a plain tensor."""
        with torch._C.DisableTorchFunctionSubclass():
            if func is torch.stack and _is_plain(*args, **(kwargs or {})):
                return torch.from_numpy(np.stack([part.numpy() for part in args[0]]))
            return func(*args, **(kwargs or {}))


def _is_plain(parts: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> bool:
    """Whether it is what a collation asks for: along a new first axis, of tensors that numpy can read.

    A worker of a ``DataLoader`` gives shared memory to stack into as ``out``, and has one thread anyway.
    """
    return dim == 0 and out is None and all(part.device.type == "cpu" and not part.requires_grad for part in parts)
