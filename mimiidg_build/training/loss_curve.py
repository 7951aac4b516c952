"""Loss curves: one CSV file per trained network, ``loss_<name>.csv``, one line per epoch.

Written and read here alone, without torch: a report reads the curves of runs that were trained elsewhere. Losses are
means over the windows (or clips) of an epoch; ``held_out_loss`` is of the training clips held out, empty where there
are none. Times are not in the file, so that equal trainings give equal bytes.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mimiidg_build.errors import DataError
from mimiidg_build.schemas.scores import LossCurve
from mimiidg_build.storage.files import write_file

COLUMNS = ("epoch", "loss", "held_out_loss")
ADVICE = "Remove the run's folder to train again."
SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class EpochLoss:
    """One epoch: its number from 1, its mean loss, that of the clips held out (NaN: there are none), its duration."""

    epoch: int
    loss: float
    held_out_loss: float
    duration_s: float


def loss_curve_path(directory: Path, name: str) -> Path:
    """Path of the loss curve of a network."""
    return directory / f"loss_{name}.csv"


def write_loss_curve(path: Path, losses: Sequence[EpochLoss]) -> None:
    """Replace a loss curve, the whole file or none of it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for loss in losses:
        writer.writerow((loss.epoch, loss.loss, "" if math.isnan(loss.held_out_loss) else loss.held_out_loss))
    write_file(path, [text.getvalue().encode()])


def read_loss_curves(directory: Path) -> dict[str, pd.DataFrame]:
    """The loss curves of a run's directory by network, sorted, each a ``LossCurve``.

    Raises
    ------
    DataError
        A file is not a loss curve.
    """
    paths = sorted(directory.glob("loss_*.csv"))
    return {path.stem.removeprefix("loss_"): read_loss_curve(path) for path in paths}


def read_loss_curve(path: Path) -> pd.DataFrame:
    """One loss curve, a ``LossCurve``.

    Raises
    ------
    DataError
        The file is not a loss curve; the message names line and values.
    """
    try:
        header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError, csv.Error) as error:  # ValueError: not UTF-8, or no first line
        raise DataError(f"{path} is not a loss curve: it cannot be read, or is empty ({error}). {ADVICE}") from None
    if tuple(header) != COLUMNS:
        expected = f"the columns {', '.join(COLUMNS)}"
        raise DataError(f"{path} is not a loss curve: expected {expected}, found {_cut(header)}. {ADVICE}")
    if not rows:
        raise DataError(f"{path} is not a loss curve: expected a line for each epoch, found none. {ADVICE}")
    table = [_epoch(path, number, row) for number, row in enumerate(rows, 1)]
    types = {"epoch": "int64", "loss": "float64", "held_out_loss": "float64"}
    return LossCurve.validate(pd.DataFrame(table, columns=list(COLUMNS)).astype(types))


def _epoch(path: Path, number: int, row: list[str]) -> tuple[int, float, float]:
    """One line; epochs are numbered from 1 without gaps."""
    try:
        epoch, *losses = int(row[0]), *(float(text) for text in row[1:] if text)
    except (ValueError, IndexError):
        epoch, losses = -1, []  # the number of no epoch: refused below
    # the last may be empty, and no loss is written that is not finite
    if epoch != number or len(row) != len(COLUMNS) or not row[1] or not all(map(math.isfinite, losses)):
        raise DataError(
            f"{path} is not a loss curve: line {number + 1}: expected epoch {number} and losses, found {_cut(row)}. "
            f"{ADVICE}"
        )
    return epoch, losses[0], losses[1] if len(losses) > 1 else math.nan


def _cut(row: list[str]) -> str:
    """A line for a message, which need not show all of it."""
    text = str(row)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
