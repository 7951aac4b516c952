"""What a training keeps on disk: checkpoints, weights, the loss curve. Each file whole or not at all."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import torch

from mimiidg_build.errors import DataError
from mimiidg_build.models.base import Detector
from mimiidg_build.storage.files import write_file

LOSS_COLUMNS = ("epoch", "loss", "held_out_loss")


@dataclass(frozen=True)
class EpochLoss:
    """Mean loss over the windows of an epoch; of the clips held out, NaN where there are none; and the time it took."""

    epoch: int
    loss: float
    held_out_loss: float
    duration_s: float


def checkpoint_path(directory: Path, name: str) -> Path:
    """Where a model's state after its last finished epoch lies."""
    return directory / f"checkpoint_{name}.pt"


def save_checkpoint(path: Path, model: Detector, optimizer: torch.optim.Optimizer, losses: list[EpochLoss]) -> None:
    """Replace the checkpoint, whole or not at all."""
    save(
        path,
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "losses": [astuple(loss) for loss in losses],
        },
    )


def load_checkpoint(path: Path, model: Detector, optimizer: torch.optim.Optimizer) -> list[EpochLoss]:
    """Put model and optimizer into the state of the checkpoint; the losses so far, none if there is no checkpoint.

    Raises
    ------
    DataError
        The checkpoint cannot be read, or is of another model.
    """
    if not path.is_file():
        return []
    content = load(path)
    try:
        model.load_state_dict(content["model"])
        optimizer.load_state_dict(content["optimizer"])
        return [EpochLoss(*loss) for loss in content["losses"]]
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is of another model or version: {error}. Remove it to train anew.") from None


def save(path: Path, content: Any) -> None:
    """Write tensors, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_file(path, [buffer.getvalue()])


def load(path: Path) -> Any:
    """Read tensors, and nothing that could run.

    Raises
    ------
    DataError
        It cannot be read.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its unpickler meets: RuntimeError, EOFError, KeyError, ...
        raise DataError(f"{path} cannot be read ({error}). Remove it to train anew.") from None


def write_losses(path: Path, losses: list[EpochLoss]) -> None:
    """The loss curve, one line an epoch; without times, so that equal trainings give equal bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LOSS_COLUMNS)
    for loss in losses:
        writer.writerow((loss.epoch, loss.loss, "" if math.isnan(loss.held_out_loss) else loss.held_out_loss))
    write_file(path, [text.getvalue().encode()])
