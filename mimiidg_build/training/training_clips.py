"""The clips of a training on its device, in batches of an epoch or in order.

Clips that fit are kept on the device, and a batch is one gather. Where they do not, whole clips are read batch by
batch; for windows, clips are read shard by shard, some shards at a time, and only windows of clips read together are
shuffled with each other.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mimiidg_build.models.base import Detector, Epoch, Labels
from mimiidg_build.models.batches import in_batches
from mimiidg_build.models.held_out import trained_rows
from mimiidg_build.training.clip_dataset import ClipDataset

PASS_BYTES = 32 * 2**20  # clips that a pass in order reads at a time: 200 log-mels
DEVICE_SHARE = 0.5  # of a GPU's free memory that training clips may take


class TrainingClips:
    """Training clips and those held out, on a device.

    Iterating gives (features, labels) of the clips that are trained on, in order, some at a time, as often as wanted.

    Parameters
    ----------
    model : Detector
        Says what share is held out, what a window is and what a batch.
    clips : ClipDataset
    device : torch.device
    """

    def __init__(self, model: Detector, clips: ClipDataset, device: torch.device) -> None:
        self._model, self._clips, self.device = model, clips, device
        self._labels = clips.labels().to(device)
        self._trained = trained_rows(model.settings, model.seed, len(clips))
        self._resident = clips.resident
        if self._resident is not None and device.type != "cpu":
            fits = device.type != "cuda" or clips.size_bytes < DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]
            self._resident = self._resident.to(device) if fits else None

    def batches(self, epoch: Epoch) -> Iterator[tuple[Tensor, Labels]]:
        """Batches of an epoch: windows, or whole clips, and their labels."""
        if self._model.width is None:
            labels = self._labels.take(self._trained.to(self.device))
            for numbers in self._model.batches(labels, epoch):
                yield self._take(self._trained[numbers.cpu()])
            return
        for features, labels in self._chunks_to_shuffle(epoch.number):
            windows = self._model.windows(features)
            order = torch.randperm(len(windows)).to(features.device)  # drawn on the CPU: the same everywhere
            of_windows = windows.clips_of(order)  # all at once: 20 us a batch less
            size = self._model.settings.batch_size
            for numbers, clips in zip(in_batches(order, size), in_batches(of_windows, size), strict=True):
                yield windows.batch(numbers), labels.take(clips)

    def _chunks_to_shuffle(self, epoch: int) -> Iterator[tuple[Tensor, Labels]]:
        """Features and labels to train on, in chunks whose windows are shuffled with each other."""
        if self._resident is not None:
            if self._model.settings.held_out_from == "end":  # a view: the clips may be all that fits into memory
                part = slice(0, len(self._trained))
                yield self._resident[part], self._labels.take(part)
            else:
                yield self._take(self._trained)
            return
        for chunk in self._clips.shuffled_chunks(epoch):
            numbers = torch.from_numpy(chunk)
            yield self._take(numbers[torch.isin(numbers, self._trained)])  # chunks are of all clips, held-out ones too

    def __iter__(self) -> Iterator[tuple[Tensor, Labels]]:
        return self._in_order(self._trained)

    def held_out(self) -> Iterator[tuple[Tensor, Labels]]:
        """Features and labels of the clips held out, in chunks."""
        every = torch.arange(len(self._clips))
        return self._in_order(every[~torch.isin(every, self._trained)])

    def _in_order(self, numbers: Tensor) -> Iterator[tuple[Tensor, Labels]]:
        for part in torch.split(numbers, max(1, PASS_BYTES // self._clips.clip_bytes)) if len(numbers) else ():
            yield self._take(part)

    def _take(self, numbers: Tensor) -> tuple[Tensor, Labels]:
        on_device = numbers.to(self.device)
        if self._resident is not None:
            return self._resident.index_select(0, on_device), self._labels.take(on_device)
        return to_device(self._clips.read(numbers.cpu().numpy()), self.device), self._labels.take(on_device)


def to_device(features: Tensor, device: torch.device) -> Tensor:
    """Features on the device; to a GPU from pinned memory, without waiting."""
    if device.type != "cuda":
        return features.to(device)
    return features.pin_memory().to(device, non_blocking=True)
