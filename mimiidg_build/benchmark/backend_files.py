"""The files of a back end in a run's directory: ``backend_<name>/``, with a state and a summary for each network."""

from __future__ import annotations

from pathlib import Path

from mimiidg_build.benchmark.run_files import RESULTS, read_shaped, summary_path, write_shaped
from mimiidg_build.models.backends import PREFIX, score_name
from mimiidg_build.schemas.runs import BackendSummary


def backend_directory(directory: Path, backend: str) -> Path:
    """Where a back end's files lie in a run's directory: its scores, its state, its summaries."""
    return directory / score_name(backend)


def state_path(directory: Path, backend: str, network: str) -> Path:
    """Path of what a back end fitted to the embeddings of a network."""
    return backend_directory(directory, backend) / f"state_{network}.pt"


def backend_summary_path(directory: Path, backend: str, network: str) -> Path:
    """Path of the summary of a back end on a network."""
    return summary_path(backend_directory(directory, backend), network)


def backends_on(directory: Path, network: str) -> list[str]:
    """The back ends whose scores with a network are finished."""
    found = directory.glob(summary_path(Path(f"{PREFIX}*"), network).as_posix())
    return sorted(path.parent.name.removeprefix(PREFIX) for path in found)


def forget_backends(directory: Path, network: str) -> None:
    """Take what back ends found of a network, which is about to be trained anew, for unfinished."""
    for name in backends_on(directory, network):
        backend_summary_path(directory, name, network).unlink()
        (backend_directory(directory, name) / RESULTS).unlink(missing_ok=True)


def write_backend_summary(directory: Path, network: str, summary: BackendSummary) -> None:
    """Write the summary of a back end on a network, which is the sign that its scores are finished.

    Parameters
    ----------
    directory : Path
        The run's.
    network : str
        The network's name.
    summary : BackendSummary

    Raises
    ------
    DataError
        It cannot be written.
    """
    write_shaped(backend_summary_path(directory, summary.backend, network), summary)


def read_backend_summary(directory: Path, backend: str, network: str) -> BackendSummary:
    """The summary of a back end on a network.

    Parameters
    ----------
    directory : Path
        The run's.
    backend, network : str
        Their names.

    Returns
    -------
    BackendSummary

    Raises
    ------
    DataError
        It cannot be read; the message names the file and the first key that is wrong.
    """
    return _read(backend_summary_path(directory, backend, network))


def read_backend_summaries(directory: Path, backend: str) -> list[BackendSummary]:
    """The summaries of a back end on all networks of a run.

    Raises
    ------
    DataError
        One cannot be read.
    """
    every = backend_summary_path(directory, backend, "*")
    return [_read(path) for path in sorted(every.parent.glob(every.name))]


def _read(path: Path) -> BackendSummary:
    return read_shaped(path, BackendSummary, f"Remove {path.parent} and run the benchmark again.")
