"""A ``DataLoader`` of clips: whole batches, in an order that its workers cannot change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Sampler

from mimiidg_build.training import clip_order
from mimiidg_build.training.clip_order import Numbers

if TYPE_CHECKING:
    from mimiidg_build.training.clip_dataset import ClipDataset

Batch = dict[str, Any]
"""See ``ClipDataset``: tensors, and lists of texts."""


class ClipLoader(DataLoader[Batch]):
    """Batches of clips, each read at once. ``set_epoch`` chooses the order of the next pass.

    Parameters
    ----------
    dataset : ClipDataset
    batch_size : int
        Clips of a batch; the last may hold fewer.
    shuffle : bool
        A random order, decided by the dataset's seed and the epoch; otherwise the clips' own.
    **options
        ``DataLoader``'s own: ``num_workers``, ``multiprocessing_context``, ...
    """

    def __init__(self, dataset: ClipDataset, batch_size: int, shuffle: bool, **options: Any) -> None:
        self.order = _Batches(dataset, batch_size, shuffle)
        # Without a batch size of its own, a DataLoader asks the dataset for whatever its sampler yields: whole batches.
        options = {"pin_memory": torch.cuda.is_available()} | options
        super().__init__(dataset, batch_size=None, sampler=self.order, **options)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass."""
        self.order.epoch = epoch


class _Batches(Sampler[Numbers]):
    """Batches of clip numbers. It runs in the process that iterates, so workers cannot change the order."""

    def __init__(self, dataset: ClipDataset, batch_size: int, shuffle: bool) -> None:
        self.dataset, self.batch_size, self.shuffle, self.epoch = dataset, batch_size, shuffle, 0

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[Numbers]:
        dataset = self.dataset
        chunks = dataset.shuffled_chunks(self.epoch) if self.shuffle else dataset.chunks()
        return clip_order.batches(chunks, self.batch_size)
