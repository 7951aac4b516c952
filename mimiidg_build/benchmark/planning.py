"""Which runs a benchmark has, and in which order their networks are trained. Writes nothing, trains nothing."""

from __future__ import annotations

from collections.abc import Sequence

from mimiidg_build.benchmark.known_anomalies import draw_anomalies
from mimiidg_build.benchmark.runs import Network, Run
from mimiidg_build.benchmark.suitability import check_embeds, expanded
from mimiidg_build.errors import UsageError
from mimiidg_build.models import UNCHANGED, Changes, changes_of, check_models, settings_of
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

    Returns
    -------
    list of Run

    Raises
    ------
    UsageError
        An unknown model, profile or setting, a setting's value that is none, no seed, known anomalies for a model that
        takes none or a store of too few, a model that needs other features than the store's, or back ends for a model
        that gives no embeddings.
    UsageError or DataError
        No model of a group can be run on the store.
    DataError
        A section has too few training clips for back ends.
    """
    if seeds < 1 or (epochs is not None and epochs < 1):
        raise UsageError(f"expected at least one seed and one epoch, found {seeds} and {epochs}")
    if not models:
        raise UsageError("expected at least one model")
    numbers = sorted(set(known_anomalies)) or [0]
    if numbers[0] < 0:
        raise UsageError(f"expected numbers of known anomalies from 0, found {numbers[0]}")
    for section in store.sections if numbers[-1] else ():
        draw_anomalies(store, section, numbers[-1], 0)  # raises where there are too few, whatever the seed
    runs, wanted = [], expanded(store, models, profile, changes)
    check_models(wanted, profile, changes)
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
        runs += [Run(store, root, model, profile, seed, own, k, differing, chosen) for k in numbers for seed in seeded]
    return runs


def trainings_of(runs: Sequence[Run]) -> list[Training]:
    """All networks to train; first those of models with few, which take longest, so that no worker ends up waiting."""
    trainings = [[(run, network) for network in run.networks()] for run in runs]
    return [training for own in sorted(trainings, key=len) for training in own]
