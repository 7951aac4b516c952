"""Which runs a benchmark has, and in which order their networks are trained. Writes nothing, trains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mimiidg_build.benchmark.encoders.description import read_encoders
from mimiidg_build.benchmark.known_anomalies import draw_anomalies
from mimiidg_build.benchmark.runs import Network, Run
from mimiidg_build.benchmark.suitability import check_embeds, check_suited, expanded
from mimiidg_build.errors import UsageError
from mimiidg_build.models import UNCHANGED, Changes, changes_of, check_models, is_encoder, settings_of
from mimiidg_build.models.backends import chosen_backends
from mimiidg_build.storage.places import Place
from mimiidg_build.store.store import Store

Training = tuple[Run, Network]
"""One network of a run, to be trained and scored."""


def plan_runs(
    store: Store,
    root: Place,
    models: Sequence[str],
    profile: str,
    seeds: int,
    epochs: int | None = None,
    known_anomalies: Sequence[int] = (),
    changes: Changes = UNCHANGED,
    backends: Sequence[str] = (),
    encoders: Sequence[str | Path] = (),
) -> list[Run]:
    """The runs of a benchmark, model by model. A model that trains nothing has no use for a second seed.

    Parameters
    ----------
    store : Store
    root : Place
        Runs lie in ROOT/runs.
    models : sequence of str
        Keys of ``models.MODELS`` or ``models.ABLATIONS``, ``module:Class``, or one of ``models.GROUPS``, of
        which those are run that the store suits; each counts once.
    profile : str
        One of ``models.PROFILES``, as far as every model has it.
    seeds : int
        Runs of each model, with seeds 0, 1, ...
    epochs : int, optional
        Instead of the profile's.
    known_anomalies : sequence of int
        A run for each number of known anomalies per section; 0 is the run without.
    changes : mapping of str to object
        Settings in place of the profile's, by name: of every model that has them.
    backends : sequence of str
        Of ``models.backends.BACKENDS``, or ``all``: each scores the embeddings of every run.
    encoders : sequence of str or Path
        Files of frozen encoders (``encoders.description.read_encoders``), a model each.

    Returns
    -------
    list of Run

    Raises
    ------
    UsageError
        An unknown model, profile or setting, a setting's value that is none, no seed, known anomalies for a model that
        takes none or a store of too few, a model that needs other features than the store's, back ends for a model that
        gives no embeddings, or an encoder that is missing or another one than its description says.
    UsageError or DataError
        No model of a group can be run on the store.
    DataError
        A section has too few training clips for back ends.
    """
    _check_asked_for(models, encoders, seeds, epochs)
    numbers = _numbers_of_anomalies(store, known_anomalies)
    brought = {encoder.name: encoder.settings for encoder in read_encoders(encoders)}
    runs, wanted = [], [*expanded(store, models, profile, changes), *brought]
    check_models(wanted, profile, changes)
    check_suited(store, list(brought), profile, changes)
    chosen = chosen_backends(backends)
    if chosen:
        check_embeds(store, wanted)
    for model in wanted:
        settings, differing = settings_of(model, profile, changes), changes_of(model, profile, changes)
        if numbers[-1] and not settings.tuning_epochs:
            raise UsageError(f"{model} takes no known anomalies in its profile {profile!r}")
        # the profile's own number, given by hand, is the same run and has the same folder
        own = epochs if settings.epochs and epochs != settings.epochs else None
        seeded = range(seeds if settings.epochs else 1)
        one = Run(store, root, model, profile, 0, own, 0, differing, chosen, brought.get(model))
        runs += [replace(one, seed=seed, known_anomalies=k) for k in numbers for seed in seeded]
    return runs


def _check_asked_for(models: Sequence[str], encoders: Sequence[str | Path], seeds: int, epochs: int | None) -> None:
    """Refuse what asks for nothing, or for an encoder by the name of its runs."""
    if seeds < 1 or (epochs is not None and epochs < 1):
        raise UsageError(f"expected at least one seed and one epoch, found {seeds} and {epochs}")
    if not models and not encoders:
        raise UsageError("expected at least one model")
    if named := next(filter(is_encoder, models), None):
        raise UsageError(f"{named} is the name of an encoder's runs; give the encoder's file, with --encoder")


def _numbers_of_anomalies(store: Store, known_anomalies: Sequence[int]) -> list[int]:
    """The numbers of known anomalies, each once, that every section has enough for; 0 where none is asked for."""
    numbers = sorted(set(known_anomalies)) or [0]
    if numbers[0] < 0:
        raise UsageError(f"expected numbers of known anomalies from 0, found {numbers[0]}")
    for section in store.sections if numbers[-1] else ():
        draw_anomalies(store, section, numbers[-1], 0)  # raises where there are too few, whatever the seed
    return numbers


def trainings_of(runs: Sequence[Run]) -> list[Training]:
    """All networks to train; first those of models with few, which take longest, so that no worker ends up waiting."""
    trainings = [[(run, network) for network in run.networks()] for run in runs]
    return [training for own in sorted(trainings, key=len) for training in own]
