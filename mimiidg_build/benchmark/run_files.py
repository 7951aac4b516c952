"""The files that say what a run is and what became of it: ``config.json``, ``summary_<network>.json`` and, for
detection, ``detector_<network>.json``.

Their shape is in :mod:`schemas.runs`. Written and read here alone; no model is imported, so that a report reads runs of
models which this machine does not have.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mimiidg_build.benchmark.tested import sections_with
from mimiidg_build.errors import DataError, first_mistake
from mimiidg_build.schemas.runs import DetectorInputs, NetworkSummary, RunConfig, summary_name
from mimiidg_build.storage.files import write_file
from mimiidg_build.store.store import Store

LONGEST_LABEL = 100  # characters of changed settings: a file name has 255 bytes at most
CONFIG = "config.json"
RESULTS = "results.json"

Model = TypeVar("Model", bound=BaseModel)


# ---- Names -----------------------------------------------------------------------------------------------------------


def profile_label(
    profile: str, epochs: int | None, known_anomalies: int = 0, changes: Mapping[str, object] | None = None
) -> str:
    """How a profile is named where it is not quite itself.

    Parameters
    ----------
    profile : str
    epochs : int or None
        Asked for in place of the profile's own.
    known_anomalies : int
        Of each section.
    changes : mapping of str to object, optional
        Settings in place of the profile's. A value that is no part of a file name, or many of them, are given as a
        digest: ``config.json`` has them all.

    Returns
    -------
    str

    Examples
    --------
    >>> profile_label("paper", None), profile_label("paper", 3), profile_label("cpu", None, 16)
    ('paper', 'paper-3epochs', 'cpu-k16')
    >>> profile_label("paper", 3, 0, {"learning_rate": 1e-05, "batch_size": 256, "logmel": False})
    'paper-3epochs-batch_size=256-learning_rate=1e-05-logmel=false'
    >>> profile_label("paper", None, 0, {"oracle_alpha": {"fan": 0.1}})
    'paper-oracle_alpha=201a7654'
    """
    asked_for = "" if epochs is None else f"-{epochs}epochs"
    changed = "".join(f"-{key}={_in_a_name(value)}" for key, value in sorted((changes or {}).items()))
    if len(changed) > LONGEST_LABEL:
        changed = f"-settings={_digest(changed)}"
    return f"{profile}{asked_for}{changed}" + (f"-k{known_anomalies}" if known_anomalies else "")


def label_of(config: RunConfig) -> str:
    """How the profile of a run is named; of early versions' runs without the epochs that were asked for."""
    return profile_label(config.profile, config.epochs, config.known_anomalies, config.changes)


def _in_a_name(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if re.fullmatch(r"[\w.+-]{1,24}", text) else _digest(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def run_name(model: str, label: str, seed: int) -> str:
    """The name of a run's folder.

    Parameters
    ----------
    model : str
    label : str
        See :func:`profile_label`.
    seed : int

    Returns
    -------
    str

    Examples
    --------
    >>> run_name("my_models:Mine", "paper-3epochs", 0)  # a colon is no part of a file name everywhere
    'my_models.Mine-paper-3epochs-0'
    """
    return f"{model.replace(':', '.')}-{label}-{seed}"


def summary_path(directory: Path, network: str) -> Path:
    """Path of a network's summary in its run's directory."""
    return directory / summary_name(network)


def finished_networks(directory: Path) -> list[str]:
    """The names of a run's networks that are finished, in alphabetical order."""
    before = summary_name("*").partition("*")[0]
    return [path.stem.removeprefix(before) for path in sorted(directory.glob(summary_name("*")))]


def as_json(content: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a file gives them back: lists, no tuples."""
    found: dict[str, Any] = json.loads(json.dumps(dict(content)))
    return found


# ---- The configuration -----------------------------------------------------------------------------------------------


def write_config(directory: Path, config: RunConfig) -> None:
    """Write a run's configuration.

    Raises
    ------
    DataError
        It cannot be written.
    """
    write_shaped(directory / CONFIG, config)


def read_config(directory: Path) -> RunConfig:
    """The configuration of the run in a directory.

    Raises
    ------
    DataError
        It cannot be read, or is no configuration; the message names the file and the first key that is wrong.
    """
    return read_shaped(directory / CONFIG, RunConfig, f"Remove {directory} to train again.")


def epochs_asked_for(directory: Path, config: RunConfig) -> int | None:
    """The epochs that a run was asked to train in place of its profile's own; None where it was not.

    Runs of early versions say so in the name of their folder alone. The number in the name is believed only if the
    whole name is the one that the run would be given with it.

    Raises
    ------
    DataError
        An early version's run whose folder was renamed.
    """
    if config.says_epochs:
        return config.epochs
    # each candidate in turn: a model's own name may hold such a number, too
    for epochs in (None, *map(int, re.findall(r"-(\d+)epochs", directory.name))):
        if directory.name == _name_with(config, epochs):
            return epochs
    raise DataError(
        f"{directory / CONFIG} is of an early version, which says how many epochs were asked for in the folder's name "
        f"alone, but the folder was renamed: expected {_name_with(config, None)}, or that with -<n>epochs after the "
        "profile. Give it its name back, or remove it."
    )


def _name_with(config: RunConfig, epochs: int | None) -> str:
    label = profile_label(config.profile, epochs, config.known_anomalies, config.changes)
    return run_name(config.model, label, config.seed)


def differences(there: RunConfig, expected: RunConfig) -> list[str]:
    """What sets two configurations apart, setting by setting."""
    found, wanted = _flat(there), _flat(expected)
    return [
        f"{name} {found.get(name)!r}, expected {wanted.get(name)!r}"
        for name in wanted | found
        if found.get(name) != wanted.get(name)
    ]


def _flat(config: RunConfig) -> dict[str, Any]:
    """A configuration's values by name, the settings among them."""
    # both numbers of epochs are called the same: the one that was asked for decides the other
    return config.model_dump(exclude={"settings", "epochs"}) | config.settings


# ---- Summaries -------------------------------------------------------------------------------------------------------


def write_summary(directory: Path, network: str, summary: NetworkSummary) -> None:
    """Write a network's summary, which is the sign that it is finished.

    Parameters
    ----------
    directory : Path
        The run's.
    network : str
        The network's name.
    summary : NetworkSummary

    Raises
    ------
    DataError
        It cannot be written.
    """
    write_shaped(summary_path(directory, network), summary)


def read_summary(directory: Path, network: str) -> NetworkSummary:
    """The summary of a network that is finished.

    Raises
    ------
    DataError
        It cannot be read, or is no summary; the message names the file and the first key that is wrong.
    """
    return _read_summary(summary_path(directory, network))


def read_summaries(directory: Path, store: Store) -> tuple[NetworkSummary, ...]:
    """The summaries of all networks of a finished run, in the order of the store's sections.

    Raises
    ------
    DataError
        One cannot be read, or together they do not serve every section of the store that is tested once.
    """
    found = [_read_summary(path) for path in sorted(directory.glob(summary_path(directory, "*").name))]
    served = [name for summary in found for name in summary.sections]
    order, tested = list(store.sections), sections_with(store, "test")
    if len(set(served)) < len(served) or not set(tested) <= set(served) <= set(order):
        raise DataError(
            f"the summaries in {directory} are of the sections {', '.join(served) or 'none'}; expected each of "
            f"{', '.join(tested)} once. Remove {directory} to train again."
        )
    return tuple(sorted(found, key=lambda summary: order.index(summary.sections[0])))


def _read_summary(path: Path) -> NetworkSummary:
    return read_shaped(path, NetworkSummary, f"Remove {path} and run the benchmark again.")


# ---- What detection takes --------------------------------------------------------------------------------------------


def inputs_path(directory: Path, network: str) -> Path:
    """Path of what scoring recordings with a network takes beside its weights."""
    return directory / f"detector_{network}.json"


def write_inputs(directory: Path, network: str, inputs: DetectorInputs) -> None:
    """Write what scoring recordings with a network takes.

    Parameters
    ----------
    directory : Path
        The run's.
    network : str
        The network's name.
    inputs : DetectorInputs

    Raises
    ------
    DataError
        It cannot be written.
    """
    write_shaped(inputs_path(directory, network), inputs)


def read_inputs(directory: Path, network: str) -> DetectorInputs:
    """What scoring recordings with a network takes.

    Raises
    ------
    DataError
        It cannot be read; the message names the file and the first key that is wrong.
    """
    return read_shaped(inputs_path(directory, network), DetectorInputs, f"Remove {directory} to train again.")


# ---- JSON ------------------------------------------------------------------------------------------------------------


def write_shaped(path: Path, content: BaseModel) -> None:
    """Write a file of a run.

    Raises
    ------
    DataError
        It cannot be written.
    """
    # json's floats rather than pydantic's: files of every version print a number alike (1e-05, not 0.00001)
    write_file(path, [json.dumps(content.model_dump(mode="json"), indent=2).encode() + b"\n"])


def read_shaped(path: Path, shape: type[Model], advice: str) -> Model:
    """Read a file of a run.

    Parameters
    ----------
    path : Path
    shape : type
        Of its content.
    advice : str
        What to do where that fails.

    Raises
    ------
    DataError
        It cannot be read; the message names the file and the first key that is wrong.
    """
    try:
        return shape.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. {advice}") from None
    except ValidationError as error:
        raise DataError(f"{path} is damaged, or not of this version: {first_mistake(error)}. {advice}") from None
