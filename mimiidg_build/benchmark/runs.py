"""Runs: one model, one profile, one seed on one store. A run is plain data; nothing here trains.

Conventions
-----------
ROOT/runs/<variant>/<fingerprint>/<model>-<profile>-<seed>/     (in the work folder, where ROOT is read-only)
    config.json                 what decides the results (``schemas.runs.RunConfig``)
    checkpoint_<network>.pt     state after the last finished epoch, while a network is being trained
    loss_<network>.csv          the loss curve
    weights_<network>.pt        the finished model
    anomaly_score_*, decision_result_*    in the official format
    detector_<network>.json     what scoring other recordings takes beside the weights (``schemas.runs.DetectorInputs``)
    summary_<network>.json      thresholds, device, time (``schemas.runs.NetworkSummary``); written last: it is finished
    <score>/                    the same two of every further score of the model (``id``, ``oracle``, ...)
    backend_<name>/             the same two of a back end, which is fitted to the finished network's embeddings
        state_<network>.pt          what it fitted
        summary_<network>.json      thresholds (``schemas.runs.BackendSummary``); written last: it is finished
    results.json                every metric, once all networks are finished (``schemas.results``)

A *network* serves a machine type (``fan``), a section (``fan_00``), or ``all``. Networks depend on nothing but the
store, so they are trained in any order. The profile's name grows by the epochs where those are not its own, by changed
settings (``-batch_size=256``), and by the number of known anomalies (``-k16``).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from mimiidg_build.benchmark.backend_files import backend_summary_path
from mimiidg_build.benchmark.known_anomalies import draw_anomalies
from mimiidg_build.benchmark.run_files import (
    CONFIG,
    RESULTS,
    as_json,
    differences,
    profile_label,
    read_config,
    read_summary,
    run_name,
    summary_path,
    write_config,
)
from mimiidg_build.benchmark.tested import sections_with
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.models import Changes, model_class, settings_of
from mimiidg_build.models.backends import score_name
from mimiidg_build.models.settings import defaults
from mimiidg_build.schemas.runs import NetworkSummary, RunConfig
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.storage.places import Place, cache_places, local
from mimiidg_build.store.store import Store

if TYPE_CHECKING:
    from mimiidg_build.models.base import Scope, Settings
    from mimiidg_build.models.frozen_encoder import EncoderSettings


@dataclass(frozen=True)
class Network:
    """The sections that one trained network serves: all of the named machine types, or the one section."""

    name: str
    machine_types: tuple[str, ...]
    section: str | None = None

    def serves(self, section_id: str) -> bool:
        """True of the sections (``"fan/00"``) that are its own."""
        machine_type, section = SectionId.parse(section_id)
        return machine_type in self.machine_types and self.section in (None, section)


@dataclass(frozen=True)
class Run:
    """A model with a seed on a store.

    ``epochs`` is None where the profile's own hold; ``known_anomalies`` are so many of each section; ``changes`` are
    the settings that differ from the profile's (``models.changes_of``). ``backends`` are those that are asked for: they
    are no part of what the run is, whose networks are the same with any of them. ``encoder`` is the frozen encoder
    whose embeddings the model takes; ``model`` is then its name.
    """

    store: Store
    root: Place
    model: str
    profile: str
    seed: int
    epochs: int | None = None
    known_anomalies: int = 0
    changes: Changes = field(default_factory=dict)
    backends: tuple[str, ...] = ()
    encoder: EncoderSettings | None = None

    @property
    def label(self) -> str:
        """The profile, the epochs where they are not its own, changed settings, and the known anomalies, if any."""
        return profile_label(self.profile, self.epochs, self.known_anomalies, self.changes)

    @property
    def directory(self) -> Path:
        """Where the run's files lie; in a ROOT that is read-only only if all that is asked for is finished there."""
        *read_only, own = self._directories()
        wanted = ["", *map(score_name, self.backends)]
        finished = (path for path in read_only if all((path / score / RESULTS).is_file() for score in wanted))
        return next(finished, own)

    @property
    def to_go_on_from(self) -> Path | None:
        """A finished run in a read-only ROOT, where it is to get back ends that it lacks and cannot be written to."""
        *read_only, own = self._directories()
        finished = [path for path in read_only if (path / RESULTS).is_file()]
        return finished[0] if finished and self.directory == own and not (own / CONFIG).is_file() else None

    def _directories(self) -> list[Path]:
        name = run_name(self.model, self.label, self.seed)
        return [directory / name for directory in runs_directories(self.store, self.root)]

    @property
    def settings(self) -> Settings:
        """The profile's settings, or the encoder's, with the changes."""
        if self.encoder is not None:
            return replace(self.encoder, **self.changes)  # type: ignore[arg-type]
        return settings_of(self.model, self.profile, self.changes)

    @property
    def n_epochs(self) -> int:
        """Epochs to train: of tuning, where anomalies are known."""
        if self.known_anomalies:
            return self.settings.tuning_epochs
        return self.settings.epochs if self.epochs is None else self.epochs

    @property
    def base(self) -> Run:
        """The run without known anomalies, from whose weights one with them starts."""
        return replace(self, known_anomalies=0, backends=())

    def known_clips(self, sections: Iterable[str] | None = None) -> pd.DataFrame:
        """The known anomalies: rows of the store's clip table; of some sections (``"fan/00"``), by default all."""
        wanted = self.store.sections if sections is None else sections
        return pd.concat([draw_anomalies(self.store, name, self.known_anomalies, self.seed) for name in wanted])

    def config(self) -> RunConfig:
        """What decides the results."""
        return RunConfig(
            model=self.model,
            profile=self.profile,
            settings=as_json(asdict(self.settings)) | {"epochs": self.n_epochs},
            seed=self.seed,
            variant=self.store.attributes.variant.name,
            fingerprint=self.store.fingerprint,
            epochs=self.epochs,
            known_anomalies=self.known_anomalies,
            changes=as_json(self.changes),
        )

    def networks(self) -> list[Network]:
        """The networks to train."""
        return networks_of(self.store, model_class(self.model).scope)

    def is_trained(self, network: Network) -> bool:
        """True if the network is trained, and its own scores are written."""
        return summary_path(self.directory, network.name).is_file()

    def missing_backends(self, network: Network) -> tuple[str, ...]:
        """Those of the back ends asked for whose scores with the network are not written yet."""
        paths = {name: backend_summary_path(self.directory, name, network.name) for name in self.backends}
        return tuple(name for name, path in paths.items() if not path.is_file())

    def is_finished(self, network: Network) -> bool:
        """True if the network is trained and scored, with every back end asked for."""
        return self.is_trained(network) and not self.missing_backends(network)

    def summaries(self) -> tuple[NetworkSummary, ...]:
        """What was written of each network of a finished run."""
        return tuple(read_summary(self.directory, network.name) for network in self.networks())


def networks_of(store: Store, scope: Scope) -> list[Network]:
    """The networks of a model on a store: a network without test clips of its own is not trained."""
    # names are those of files: no slash in them
    ids = [SectionId.parse(name) for name in sections_with(store, "test")]
    types = tuple(dict.fromkeys(machine_type for machine_type, _ in ids))
    if scope == "all":
        every = tuple(dict.fromkeys(SectionId.parse(name).machine_type for name in store.sections))
        return [Network("all", every)] if ids else []
    if scope == "section":
        return [Network(f"{machine_type}_{section}", (machine_type,), section) for machine_type, section in ids]
    return [Network(machine_type, (machine_type,)) for machine_type in types]


def runs_directories(store: Store, root: Place) -> list[Path]:
    """Where the runs on a store lie, a folder each: on this machine, also where the store is in a bucket.

    New ones go to the last, which is in the work folder where ROOT is read-only.
    """
    directory = local(root) / "runs" / store.attributes.variant.name / store.fingerprint
    return [local(path) for path in cache_places(directory)]


def go_on_here(run: Run) -> None:
    """Copy a finished run out of a read-only ROOT to where it can get back ends: nothing is trained again for them.

    Raises
    ------
    DataError
        There is no room, or it cannot be read.
    """
    there, here = run.to_go_on_from, run.directory
    if there is None:
        return
    # not beside it, where it would be taken for a run
    partial = here.parent.with_name(f".{here.name}.{os.getpid()}")
    try:
        here.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(there, partial)
        partial.rename(here)
    except OSError as error:
        raise DataError(f"{there} cannot be copied to {here}, where its back ends go: {error.strerror}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_config(run: Run) -> None:
    """Write the run's configuration, or compare it with the existing one.

    Raises
    ------
    UsageError
        They differ.
    DataError
        The existing one cannot be read.
    """
    if not (run.directory / CONFIG).is_file():
        # several workers may write it at once: each the whole file, with the same content
        write_config(run.directory, run.config())
        return
    there, expected = read_config(run.directory), run.config()
    if not there.says_epochs:  # an early version's; the folder's name, which is this run's, says it
        there = there.model_copy(update={"epochs": run.epochs})
    # an early version's lacks the settings of later ones, whose defaults are what was done before there were any
    settings = as_json(defaults(type(run.settings))) | there.settings
    # where an encoder's file lies decides nothing: it may have been moved
    places = {key.name: expected.settings[key.name] for key in fields(run.settings) if not key.compare}
    is_moved = any(settings.get(name) != place for name, place in places.items())
    there = there.model_copy(update={"settings": settings | places})
    if there != expected:
        what = "; ".join(differences(there, expected)) or f"epochs {there.epochs}, expected {expected.epochs}"
        raise UsageError(f"{run.directory} holds a run of other settings: {what}. Move or remove it.")
    if is_moved:
        with contextlib.suppress(DataError):  # of a run that may only be read, detection names the old place
            write_config(run.directory, expected)
