"""The finished runs on a store, read from their own files: nothing is trained, evaluated or imported of a model.

Where the files are: :mod:`.runs`. A run of an early version is read like any other; the one thing that its
``config.json`` lacks, :func:`~mimiidg_build.benchmark.run_files.epochs_asked_for` supplies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimiidg_build.benchmark.model_result import ModelResult, SeedResult
from mimiidg_build.benchmark.run_files import (
    CONFIG,
    RESULTS,
    epochs_asked_for,
    profile_label,
    read_config,
    read_summaries,
)
from mimiidg_build.benchmark.runs import runs_directories
from mimiidg_build.benchmark.tested import evaluated_sections
from mimiidg_build.errors import DataError
from mimiidg_build.evaluation.results import Evaluation, read_results
from mimiidg_build.models import MODELS
from mimiidg_build.schemas.runs import RunConfig
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.storage.places import Place
from mimiidg_build.store.store import Store


@dataclass(frozen=True)
class FinishedRuns:
    """The runs on a store: results, and the folders of runs that are not finished."""

    models: tuple[ModelResult, ...]
    unfinished_runs: tuple[Path, ...]

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The names of the folders."""
        return tuple(path.name for path in self.unfinished_runs)


@dataclass(frozen=True)
class _Key:
    """What runs that are combined have in common."""

    model: str
    profile: str
    epochs: int | None
    score: str
    known_anomalies: int
    label: str  # of the changed settings, too
    changes: Mapping[str, Any] = field(compare=False)
    settings: Mapping[str, Any] = field(compare=False)


def read_runs(store: Store, root: Place) -> FinishedRuns:
    """Every model that was run on a store, and the runs that are not finished.

    Raises
    ------
    DataError
        A finished run's files cannot be read, or are not of this store's sections.
    """
    if not evaluated_sections(store):  # then no run on it has results
        return FinishedRuns((), ())
    grouped: dict[_Key, list[SeedResult]] = {}
    unfinished = []
    for path in _configurations(store, root):
        if not (path.parent / RESULTS).is_file():  # written last, once all networks are trained and scored
            unfinished.append(path.parent)
            continue
        config = _config_of(path.parent, store)
        for key, run in _results(path.parent, config, store):
            grouped.setdefault(key, []).append(run)
    models = [
        ModelResult(
            store=store,
            model=key.model,
            profile=key.profile,
            epochs=key.epochs,
            score=key.score,
            known_anomalies=key.known_anomalies,
            changes=key.changes,
            settings=key.settings,
            runs=tuple(sorted(runs, key=lambda run: run.seed)),
        )
        for key, runs in grouped.items()
    ]
    return FinishedRuns(tuple(sorted(models, key=_order)), tuple(unfinished))


def _config_of(directory: Path, store: Store) -> RunConfig:
    """The configuration of a run, which must be on this store: folders can be copied to where they do not belong."""
    config = read_config(directory)
    if config.fingerprint != store.fingerprint:
        raise DataError(
            f"{directory} is a run on the store {config.variant} ({config.fingerprint}), and lies among those on "
            f"{store.attributes.variant.name} ({store.fingerprint}): results on different stores do not compare. Move "
            f"it to where it belongs, or remove it."
        )
    return config


def _configurations(store: Store, root: Place) -> list[Path]:
    """Of all runs, in the order of their names; of two runs of one name the finished one."""
    found: dict[str, Path] = {}
    for directory in runs_directories(store, root):
        for path in directory.glob(f"*/{CONFIG}"):
            if path.parent.name not in found or (path.parent / RESULTS).is_file():
                found[path.parent.name] = path
    return [path for _, path in sorted(found.items())]


def _order(result: ModelResult) -> tuple[str, int, str, str, int]:
    """Models as they are listed everywhere; one that this version does not know comes last."""
    listed = list(MODELS)
    number = listed.index(result.model) if result.model in listed else len(listed)
    return (result.label, number, result.model, result.score, result.known_anomalies)


def _results(directory: Path, config: RunConfig, store: Store) -> Iterator[tuple[_Key, SeedResult]]:
    """A run once for each of its scores: its own in the directory, further ones in folders of it."""
    epochs, summaries = epochs_asked_for(directory, config), read_summaries(directory, store)
    for path in [directory / RESULTS, *sorted(directory.glob(f"*/{RESULTS}"))]:
        score = "" if path.parent == directory else path.parent.name
        label = profile_label(config.profile, epochs, config.known_anomalies, config.changes)
        known, settings = config.known_anomalies, config.settings
        key = _Key(config.model, config.profile, epochs, score, known, label, config.changes, settings)
        yield key, SeedResult(config.seed, directory, summaries, _read_evaluation(path, store))


def _read_evaluation(path: Path, store: Store) -> Evaluation:
    evaluation = read_results(path)
    columns = (evaluation.sections[name] for name in ("machine_type", "section"))
    found = {str(SectionId(machine_type, section)) for machine_type, section in zip(*columns, strict=True)}
    if found != set(evaluated_sections(store)):
        raise DataError(f"{path} is of other sections than {store.path}: {', '.join(sorted(found))}.")
    return evaluation
