"""Systems that failed: why, in a file of the run until the network is finished, so that it can be told at any time."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mimiidg_build.benchmark.run_files import read_shaped, write_shaped
from mimiidg_build.errors import DataError, MimiidgError
from mimiidg_build.schemas.runs import NetworkFailure

PREFIX = "failure_"


@dataclass(frozen=True)
class FailedSystem:
    """A system that has no results: its name (of a back end ``model/back end``), its profile's label, and why not."""

    name: str
    label: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} ({self.label} profile) failed: {self.reason}"


def failure_path(directory: Path, network: str) -> Path:
    """Path of the file that says why a network of a run failed."""
    return directory / f"{PREFIX}{network}.json"


def write_failure(directory: Path, network: str, error: Exception) -> None:
    """Say in a run's folder why a network failed; where nothing can be written, as on a full disk, nothing is."""
    is_told = isinstance(error, MimiidgError)
    message = str(error) if is_told else f"{type(error).__name__}: {error}"
    trace = "" if is_told else "".join(traceback.format_exception(error))
    with contextlib.suppress(DataError):
        write_shaped(failure_path(directory, network), NetworkFailure(message=message, traceback=trace))


def forget_failure(directory: Path, network: str) -> None:
    """The network is finished."""
    failure_path(directory, network).unlink(missing_ok=True)


def failure_of(directory: Path) -> str | None:
    """Why a run failed, network by network; None where nothing says that it did.

    Raises
    ------
    DataError
        A file that says so is damaged.
    """
    found = []
    for path in sorted(directory.glob(f"{PREFIX}*.json")):
        failure = read_shaped(path, NetworkFailure, f"Remove {path} and run the benchmark again.")
        where = f" (its traceback is in {path})" if failure.traceback else ""
        found.append(f"{path.stem.removeprefix(PREFIX)}: {failure.message}{where}")
    return "; ".join(found) or None


class SystemsFailed(DataError):
    """Some systems of a benchmark failed; the others are finished."""


def raise_failed(failed: Sequence[FailedSystem], n_systems: int) -> None:
    """End a benchmark some of whose systems failed.

    Parameters
    ----------
    failed : sequence of FailedSystem
        None: nothing happens.
    n_systems : int
        With those that are finished.

    Raises
    ------
    SystemsFailed
        Some did; the message names each, and why.
    """
    if failed:
        others = ", the others are finished" if len(failed) < n_systems else ""
        raise SystemsFailed(
            f"{len(failed)} of {n_systems} systems failed{others}. "
            f"{' '.join(str(one).rstrip('.') + '.' for one in failed)} Run the same command again to go on."
        )
