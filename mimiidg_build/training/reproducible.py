"""The same bits every time: seeds of epochs, a number of threads, and deterministic algorithms."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

import torch


def epoch_seed(seed: int, name: str, epoch: int) -> int:
    """The seed of an epoch's randomness, in [0, 2^63).

    It depends on what is trained and on nothing that happened before: an epoch that is run after a restart draws what
    it would have drawn.

    Parameters
    ----------
    seed : int
        Of the training.
    name : str
        Of the network (``"fan"``).
    epoch : int
        Number of the epoch, from 0.

    Examples
    --------
    >>> epoch_seed(0, "fan", 1) == epoch_seed(0, "fan", 1) != epoch_seed(0, "fan", 2)
    True
    """
    # Not hash(), which for a text differs from process to process.
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}/{epoch}".encode()).digest()[:8], "big") >> 1


@contextlib.contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch within a block; afterwards the program's own random state is as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """Compute on ``n`` threads of the CPU within a block, whatever the environment allows.

    For the calling thread alone: torch has the number for each thread apart.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Deterministic algorithms within a block, on a CPU; on a GPU some operations have none."""
    filling: Any = torch.utils.deterministic
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    was_filling = filling.fill_uninitialized_memory
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True)
        filling.fill_uninitialized_memory = False  # it finds mistakes, and costs a pass over memory
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was_deterministic)
        filling.fill_uninitialized_memory = was_filling
