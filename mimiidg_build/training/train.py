"""The training loop, one for every model. It knows what ``models.base.Detector`` declares, and nothing more.

Conventions
-----------
An epoch is one pass over all training windows in random order; of a model of whole clips, the batches that it asks
for. All randomness of an epoch, the model's own included, comes from (seed, name, epoch) alone. So a run that was
killed resumes from its last finished epoch and ends with the same bits as one that was not; on a CPU, with the same
number of threads, any two runs do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mimiidg_build.errors import DataError
from mimiidg_build.models.augmentation import Augmentation, Mixup, Noise
from mimiidg_build.models.base import Detector, Epoch, Labels
from mimiidg_build.models.held_out import trained_rows
from mimiidg_build.models.windows import n_windows
from mimiidg_build.parallel.memory import keep_all_freed_memory
from mimiidg_build.progress import OnProgress, no_progress
from mimiidg_build.training.checkpoint import checkpoint_path, load_checkpoint, save_checkpoint
from mimiidg_build.training.clip_dataset import ClipDataset
from mimiidg_build.training.flat_parameters import FlatParameters
from mimiidg_build.training.loss_curve import EpochLoss, loss_curve_path, write_loss_curve
from mimiidg_build.training.optimizer_step import OptimizerStep
from mimiidg_build.training.precision import TrainingPrecision
from mimiidg_build.training.reproducible import deterministic, epoch_seed, seeded
from mimiidg_build.training.training_clips import TrainingClips


def train(
    model: Detector,
    clips: ClipDataset,
    directory: Path,
    name: str,
    *,
    epochs: int | None = None,
    tuning: bool = False,
    noise: Noise | None = None,
    on_progress: OnProgress = no_progress,
    on_epoch: Callable[[EpochLoss], None] = lambda loss: None,
) -> list[EpochLoss]:
    """Train a model, or resume where an earlier call with the same arguments stopped.

    Parameters
    ----------
    model : Detector
        On its device, as created (or trained, for tuning); changed in place.
    clips : ClipDataset
        Training clips: ``split="train"``, or ``training_pool``.
    directory : Path
        ``checkpoint_<name>.pt`` and ``loss_<name>.csv`` in it are replaced after every epoch.
    name : str
        Of the network, usually of what it is trained on (``"fan"``); with the model's seed it decides every draw.
    epochs : int, optional
        Instead of the profile's.
    tuning : bool
        The model is already trained, and is tuned with known anomalies.
    noise : Noise, optional
        What is added to inputs, for settings that ask for it.
    on_progress : callable
        Called with the number of windows (or clips) of each batch that is done.
    on_epoch : callable
        Called with the losses of each epoch that is finished.

    Returns
    -------
    list of EpochLoss
        Of all epochs, those of earlier calls included; empty for a model that has nothing to train.

    Raises
    ------
    ValueError
        The clips are not training clips, or the settings ask for noise and none is given.
    DataError
        The loss is not finite, or the checkpoint is of something else.
    """
    if clips.split != "train":
        raise ValueError(f"training reads training clips only; expected split='train', found {clips.split!r}")
    if epochs is None:
        epochs = model.settings.tuning_epochs if tuning else model.settings.epochs
    if model.settings.epochs == 0 or epochs == 0:
        return []
    training = _Training.begin(model, clips, name, noise, on_progress)
    checkpoint = checkpoint_path(directory, name)
    # After the parameters became views of vectors: the optimiser's saved state is by vector.
    losses = load_checkpoint(checkpoint, model, training.optimizer, training.scaler)
    if losses:  # a kill between the checkpoint and the curve lost the curve's last line
        write_loss_curve(loss_curve_path(directory, name), losses)
    on_progress(training_windows(model, clips, len(losses), tuning))  # what earlier calls trained is done
    device = training.clips.device
    with deterministic(device), training.precision.throughout(), training.augmentation.masks_within():
        for number in range(len(losses), epochs):
            losses.append(training.run_epoch(Epoch(number, epochs, tuning)))
            save_checkpoint(checkpoint, model, training.optimizer, losses, training.scaler)
            write_loss_curve(loss_curve_path(directory, name), losses)
            on_epoch(losses[-1])
    return losses


def training_windows(model: Detector, clips: ClipDataset, epochs: int, tuning: bool = False) -> int:
    """How many windows (or clips, for a model of whole clips) a number of epochs trains on.

    Parameters
    ----------
    model : Detector
    clips : ClipDataset
        Training clips.
    epochs : int
        The first so many.
    tuning : bool
        The epochs are those of tuning.
    """
    rows = trained_rows(model.settings, model.seed, len(clips))
    if model.width is not None:
        return epochs * len(rows) * n_windows(clips.n_frames, model.width, model.settings.train_hop)
    labels = clips.labels().take(rows)
    # Counting draws the batches, which must not advance the caller's generator.
    with torch.random.fork_rng(devices=[]):
        return sum(
            len(numbers) for number in range(epochs) for numbers in model.batches(labels, Epoch(number, epochs, tuning))
        )


@dataclass(frozen=True)
class _Training:
    """A model in training: everything that an epoch needs."""

    model: Detector
    name: str
    clips: TrainingClips
    augmentation: Augmentation
    parameters: FlatParameters
    optimizer: torch.optim.Optimizer
    precision: TrainingPrecision
    scaler: torch.amp.GradScaler  # of losses in half precision, whose gradients would round to zero
    on_progress: OnProgress

    @classmethod
    def begin(
        cls, model: Detector, clips: ClipDataset, name: str, noise: Noise | None, on_progress: OnProgress
    ) -> _Training:
        """Lay out the model's parameters and bring the clips to its device."""
        device = next(model.parameters()).device
        if device.type == "cpu":
            keep_all_freed_memory()  # page faults may take half of a step otherwise
        source = TrainingClips(model, clips, device)
        augmentation = Augmentation(model, None if noise is None else noise.to(device))
        parameters = FlatParameters(model.parameter_groups())
        optimizer = model.optimizer(parameters.groups)
        precision = TrainingPrecision(model.settings.precision, device)
        scaler = torch.amp.GradScaler(device.type, enabled=model.settings.precision == "fp16")
        return cls(model, name, source, augmentation, parameters, optimizer, precision, scaler, on_progress)

    def run_epoch(self, epoch: Epoch) -> EpochLoss:
        """Train one epoch, and measure the loss of the clips held out.

        Raises
        ------
        DataError
            The mean loss is not finite.
        """
        begun, device = time.monotonic(), self.clips.device
        with seeded(device, epoch_seed(self.model.seed, self.name, epoch.number)):
            self.model.begin_epoch(epoch, self.clips)
            for group, (_, rate) in zip(self.optimizer.param_groups, self.parameters.groups, strict=True):
                # From the profile's rate: a checkpoint restores the group's own, which was scaled for the epoch before.
                group["lr"] = rate * self.model.learning_rate_factor(epoch)
            loss = self._train(epoch)
            held_out_loss = self._held_out_loss()  # seeded, too: some losses draw
        # Raised before the checkpoint is replaced: the last one stays usable.
        if not math.isfinite(loss):
            raise DataError(
                f"{self.name}: the mean loss of epoch {epoch.number + 1} is {loss}; the last checkpoint is kept."
            )
        return EpochLoss(epoch.number + 1, loss, held_out_loss, time.monotonic() - begun)

    def _train(self, epoch: Epoch) -> float:
        """A step per batch, augmented; the mean loss over windows."""
        self.model.train()
        step = OptimizerStep(self.parameters, self.optimizer, self.scaler)
        losses, counts = [], []
        for batch, labels in self.clips.batches(epoch):
            batch, mixup = self.augmentation(batch, labels)  # in single precision, whatever the training's
            with self.precision.of_a_batch():
                loss = self._loss(batch, labels, mixup)
            step(loss)
            # Kept on the device: asking for the number of each batch would make a GPU wait.
            losses.append(loss.detach())
            counts.append(len(batch))
            self.on_progress(len(batch))
        total = (torch.stack(losses).cpu() * torch.tensor(counts)).double().cumsum(0)[-1]  # added in order
        return float(total) / sum(counts)

    def _loss(self, batch: Tensor, labels: Labels, mixup: Mixup | None) -> Tensor:
        if mixup is None:
            return self.model.loss(batch, labels)
        return self.model.mixed_loss(batch, labels, labels.take(mixup.other), mixup.share)

    @torch.no_grad()
    def _held_out_loss(self) -> float:
        """Mean loss over the windows held out; NaN if there are none."""
        model = self.model.eval()
        total, count = 0.0, 0
        for features, labels in self.clips.held_out():
            windows = model.windows(features)
            for numbers in torch.split(torch.arange(len(windows), device=features.device), model.settings.batch_size):
                with self.precision.of_a_batch():
                    loss = model.loss(windows.batch(numbers), labels.take(windows.clips_of(numbers)))
                total, count = total + float(loss) * len(numbers), count + len(numbers)
        return total / count if count else math.nan
