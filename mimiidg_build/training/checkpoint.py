"""What a training saves of a network: checkpoints while it is trained, weights when it is.

``checkpoint_<name>.pt`` holds the state after the last finished epoch, ``weights_<name>.pt`` the finished model. Both
are written and read here alone; each file is written as a whole or not at all, and reading one runs no code.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mimiidg_build.errors import DataError
from mimiidg_build.models.base import Detector
from mimiidg_build.storage.files import write_file
from mimiidg_build.training.loss_curve import EpochLoss

TRAIN_AGAIN = "Remove it to train again from the start."


def checkpoint_path(directory: Path, name: str) -> Path:
    """Path of a network's state after its last finished epoch."""
    return directory / f"checkpoint_{name}.pt"


def weights_path(directory: Path, name: str) -> Path:
    """Path of the weights of a trained network."""
    return directory / f"weights_{name}.pt"


def save_checkpoint(
    path: Path,
    model: Detector,
    optimizer: torch.optim.Optimizer,
    losses: Sequence[EpochLoss],
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """Replace a checkpoint.

    Parameters
    ----------
    path : Path
    model : Detector
    optimizer : torch.optim.Optimizer
        Its moments are saved, too.
    losses : sequence of EpochLoss
        Of every epoch that is finished.
    scaler : GradScaler, optional
        Of a training in half precision; its scale is saved, too.

    Raises
    ------
    DataError
        The file cannot be written; the one before it is unchanged.
    """
    content = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        # Plain tuples: weights_only refuses classes of this package.
        "losses": [astuple(loss) for loss in losses],
    }
    if scaler is not None and scaler.is_enabled():
        content["scaler"] = scaler.state_dict()
    _save(path, content)


def load_checkpoint(
    path: Path, model: Detector, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler | None = None
) -> list[EpochLoss]:
    """Restore model and optimizer from a checkpoint.

    Parameters
    ----------
    path : Path
    model : Detector
        Changed in place, if there is a checkpoint.
    optimizer : torch.optim.Optimizer
        Changed in place, if there is a checkpoint.
    scaler : GradScaler, optional
        Changed in place, if there is a checkpoint of a training in half precision.

    Returns
    -------
    list of EpochLoss
        Of the epochs that are finished; empty if there is no checkpoint.

    Raises
    ------
    DataError
        The checkpoint cannot be read, or is of another model.
    """
    if not path.is_file():
        return []
    content = _load(path)
    try:
        model.load_state_dict(content["model"])
        optimizer.load_state_dict(content["optimizer"])
        if scaler is not None and scaler.is_enabled():
            scaler.load_state_dict(content["scaler"])
        return [EpochLoss(*loss) for loss in content["losses"]]
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is of another model or version: {error}. Remove it to train again from the start."
        ) from None


def save_weights(path: Path, model: nn.Module) -> None:
    """Write a model's weights and buffers."""
    _save(path, model.state_dict())


def load_weights(path: Path, model: nn.Module, advice: str = TRAIN_AGAIN) -> None:
    """Restore a model's weights and buffers.

    Parameters
    ----------
    path : Path
    model : nn.Module
        Changed in place.
    advice : str
        What to do where that fails.

    Raises
    ------
    DataError
        The file cannot be read, or is of another model.
    """
    content = _load(path, advice)
    try:
        model.load_state_dict(content)
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is of another model or version: {error}. {advice}") from None


def _save(path: Path, content: Any) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_file(path, [buffer.getvalue()])


def _load(path: Path, advice: str = TRAIN_AGAIN) -> Any:
    """Read tensors, and nothing that could run."""
    try:
        # To the CPU: a GPU's file must load where there is none, and load_state_dict copies to the model's device.
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its unpickler meets: RuntimeError, EOFError, KeyError, ...
        raise DataError(f"{path} cannot be read ({error}). {advice}") from None
