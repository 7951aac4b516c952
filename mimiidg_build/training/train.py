"""Training: one loop for every model. It knows what ``models.base.Detector`` says, and nothing more.

Conventions
-----------
An epoch is one pass over all training windows in random order; of a model of whole clips, the batches that it asks
for. All randomness of an epoch, the model's own included, comes from (seed, name, epoch) alone. So a run that was
killed goes on from its last finished epoch and ends with the same bits as one that was not; on a CPU, with the same
number of threads, any two runs do.

Clips that fit lie on the device, and a batch is one gather. Where they do not, whole clips are read batch by batch; for
windows, clips are read shard by shard, some shards at a time, and only windows of clips read together are shuffled with
each other.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mimiidg_build.errors import DataError
from mimiidg_build.models.base import Detector, Epoch, Labels
from mimiidg_build.models.windows import in_batches, n_windows
from mimiidg_build.parallel.memory import keep_all_freed_memory
from mimiidg_build.progress import OnProgress, no_progress
from mimiidg_build.training.checkpoint import EpochLoss, checkpoint_path, load_checkpoint, save_checkpoint, write_losses
from mimiidg_build.training.clip_dataset import ClipDataset
from mimiidg_build.training.flat import FlatParameters

PASS_BYTES = 32 * 2**20  # clips that a pass in order reads at a time: 200 log-mels
DEVICE_SHARE = 0.5  # of a GPU's free memory that training clips may take


def train(
    model: Detector,
    clips: ClipDataset,
    directory: Path,
    name: str,
    *,
    epochs: int | None = None,
    tuning: bool = False,
    mixed_precision: bool | None = None,
    on_progress: OnProgress = no_progress,
    on_epoch: Callable[[EpochLoss], None] = lambda loss: None,
) -> list[EpochLoss]:
    """Train a model, or go on where an earlier call with the same arguments stopped.

    Parameters
    ----------
    model : Detector
        On its device, as created (or trained, for tuning); changed in place.
    clips : ClipDataset
        Training clips: ``split="train"``, or ``training_pool``.
    directory, name : Path, str
        ``checkpoint_<name>.pt`` is replaced and ``loss_<name>.csv`` grows after every epoch.
    epochs : int, optional
        Instead of the profile's.
    tuning : bool
        The model is trained, and goes on with known anomalies.
    mixed_precision : bool, optional
        Forward passes in bfloat16 where torch holds that safe; weights, losses and gradients of weights stay float32.
        On by default on a GPU.
    on_progress, on_epoch : callable
        Told of windows done and of epochs finished.

    Raises
    ------
    ValueError
        The clips are not training clips.
    DataError
        The loss is not finite, or the checkpoint is of something else.
    """
    if clips.split != "train":
        raise ValueError(f"training reads training clips only; expected split='train', found {clips.split!r}")
    if epochs is None:
        epochs = model.settings.tuning_epochs if tuning else model.settings.epochs
    if model.settings.epochs == 0 or epochs == 0:
        return []
    device = next(model.parameters()).device
    if device.type == "cpu":
        keep_all_freed_memory()
    source = _Source(model, clips, device)
    mixed = device.type == "cuda" if mixed_precision is None else mixed_precision
    precision = torch.autocast(device.type, torch.bfloat16, enabled=mixed)
    parameters = FlatParameters(model.parameter_groups())
    optimizer = model.optimizer(parameters.groups)
    losses = load_checkpoint(checkpoint_path(directory, name), model, optimizer)
    on_progress(training_windows(model, clips, len(losses), tuning))
    with _deterministic(device):
        for number in range(len(losses), epochs):
            epoch, begun = Epoch(number, epochs, tuning), time.monotonic()
            with _seeded(device, model.seed, name, number):
                model.begin_epoch(epoch, source)
                for group, (_, rate) in zip(optimizer.param_groups, parameters.groups, strict=True):
                    group["lr"] = rate * model.learning_rate_factor(epoch)
                loss = _epoch(model, parameters, optimizer, source, epoch, precision, on_progress)
                held_out = _held_out_loss(model, source, precision)
            if not math.isfinite(loss):
                raise DataError(f"{name}: the mean loss of epoch {number + 1} is {loss}; the last checkpoint is kept.")
            losses.append(EpochLoss(number + 1, loss, held_out, time.monotonic() - begun))
            save_checkpoint(checkpoint_path(directory, name), model, optimizer, losses)
            write_losses(directory / f"loss_{name}.csv", losses)
            on_epoch(losses[-1])
    return losses


def training_windows(model: Detector, clips: ClipDataset, epochs: int, tuning: bool = False) -> int:
    """Windows that so many epochs train on."""
    n_training = _n_training(model, clips)
    if model.width is not None:
        return epochs * n_training * n_windows(clips.n_frames, model.width, model.settings.train_hop)
    labels = clips.labels().take(slice(0, n_training))
    with torch.random.fork_rng(devices=[]):
        every = [model.batches(labels, Epoch(number, epochs, tuning)) for number in range(epochs)]
    return sum(len(numbers) for epoch in every for numbers in epoch)


def _n_training(model: Detector, clips: ClipDataset) -> int:
    """Clips that are trained on; the rest are held out."""
    return len(clips) - round(model.settings.held_out * len(clips))


# ---- An epoch --------------------------------------------------------------------------------------------------------


class _Source:
    """Training clips and those held out (the last in order), on a device. Gone through, it gives the training clips."""

    def __init__(self, model: Detector, clips: ClipDataset, device: torch.device) -> None:
        self._model, self._clips, self.device = model, clips, device
        self._labels = clips.labels().to(device)
        self._n_training = _n_training(model, clips)
        self._resident = clips.resident
        if self._resident is not None and device.type != "cpu":
            fits = device.type != "cuda" or clips.size_bytes < DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]
            self._resident = self._resident.to(device) if fits else None

    def batches(self, epoch: Epoch) -> Iterator[tuple[Tensor, Labels]]:
        """Batches of an epoch: windows, or whole clips, and their labels."""
        if self._model.width is None:
            labels = self._labels.take(slice(0, self._n_training))
            for numbers in self._model.batches(labels, epoch):
                yield self._take(numbers)
            return
        for features, labels in self._training(epoch.number):
            windows = self._model.windows(features)
            order = torch.randperm(len(windows)).to(features.device)
            for numbers in in_batches(order, self._model.settings.batch_size):
                yield windows.batch(numbers), labels.take(windows.clips_of(numbers))

    def _training(self, epoch: int) -> Iterator[tuple[Tensor, Labels]]:
        """Features and labels to train on, in chunks whose windows are to be shuffled."""
        if self._resident is not None:
            part = slice(0, self._n_training)
            yield self._resident[part], self._labels.take(part)
            return
        for chunk in self._clips.shuffled_chunks(epoch):
            numbers = torch.from_numpy(chunk)
            yield self._take(numbers[numbers < self._n_training])

    def __iter__(self) -> Iterator[tuple[Tensor, Labels]]:
        return self._in_order(torch.arange(self._n_training))

    def held_out(self) -> Iterator[tuple[Tensor, Labels]]:
        """Features and labels of the clips held out, in chunks."""
        return self._in_order(torch.arange(self._n_training, len(self._clips)))

    def _in_order(self, numbers: Tensor) -> Iterator[tuple[Tensor, Labels]]:
        for part in torch.split(numbers, max(1, PASS_BYTES // self._clips.clip_bytes)) if len(numbers) else ():
            yield self._take(part)

    def _take(self, numbers: Tensor) -> tuple[Tensor, Labels]:
        there = numbers.to(self.device)
        if self._resident is not None:
            return self._resident.index_select(0, there), self._labels.take(there)
        return to_device(self._clips.read(numbers.cpu().numpy()), self.device), self._labels.take(there)


def _epoch(
    model: Detector,
    parameters: FlatParameters,
    optimizer: torch.optim.Optimizer,
    source: _Source,
    epoch: Epoch,
    precision: torch.autocast,
    on_progress: OnProgress,
) -> float:
    """One epoch of training; the mean loss."""
    model.train()
    total, count = torch.zeros((), dtype=torch.float64, device=source.device), 0
    for batch, labels in source.batches(epoch):
        parameters.clear_gradients()
        with precision:  # entered anew for each batch: it keeps casts of the weights until it is left
            loss = model.loss(batch, labels)
        torch.autograd.backward(loss)
        parameters.gather_gradients()
        optimizer.step()
        total, count = total + loss.detach() * len(labels), count + len(labels)
        on_progress(len(labels))
    return float(total) / count


@torch.no_grad()
def _held_out_loss(model: Detector, source: _Source, precision: torch.autocast) -> float:
    """Mean loss over the windows held out; NaN if there are none."""
    model.eval()
    total, count = 0.0, 0
    for features, labels in source.held_out():
        windows = model.windows(features)
        for numbers in torch.split(torch.arange(len(windows), device=features.device), model.settings.batch_size):
            with precision:
                loss = model.loss(windows.batch(numbers), labels.take(windows.clips_of(numbers)))
            total, count = total + float(loss) * len(numbers), count + len(numbers)
    return total / count if count else math.nan


def to_device(features: Tensor, device: torch.device) -> Tensor:
    """Features on the device; to a GPU from pinned memory, without waiting."""
    if device.type != "cuda":
        return features.to(device)
    return features.pin_memory().to(device, non_blocking=True)


# ---- Same bits -------------------------------------------------------------------------------------------------------


def epoch_seed(seed: int, name: str, epoch: int) -> int:
    """What seeds an epoch's randomness, in [0, 2^63).

    >>> epoch_seed(0, "fan", 1) == epoch_seed(0, "fan", 1) != epoch_seed(0, "fan", 2)
    True
    """
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}/{epoch}".encode()).digest()[:8], "big") >> 1


@contextlib.contextmanager
def _seeded(device: torch.device, seed: int, name: str, epoch: int) -> Iterator[None]:
    """Seed torch for an epoch; the program's own random state is as before afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(epoch_seed(seed, name, epoch))
        yield


@contextlib.contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """Deterministic algorithms, on a CPU; on a GPU some operations have none."""
    filling: Any = torch.utils.deterministic
    was, filled = torch.are_deterministic_algorithms_enabled(), filling.fill_uninitialized_memory
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True)
        filling.fill_uninitialized_memory = False  # it finds mistakes, and costs a pass over memory
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was)
        filling.fill_uninitialized_memory = filled
