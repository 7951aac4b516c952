"""Runs compared in pairs, on the clips that both were tested on: which runs a name means, and ``compare_runs``.

A name is VARIANT/MODEL-PROFILE, all seeds of a benchmark on the variant's latest store; VARIANT/MODEL-PROFILE-SEED, one
of them; either with /SCORE behind it, a further score of the model (``demo/conformer-cpu/oracle``); the path of a run's
folder; or that of any folder of score files, of any system.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.benchmark.run_files import CONFIG, RESULTS, read_config, read_summaries
from mimiidg_build.benchmark.runs import runs_directories
from mimiidg_build.benchmark.tested import tested_clips
from mimiidg_build.errors import DataError, UsageError, did_you_mean, shown
from mimiidg_build.evaluation.paired import Comparison, System, compare_systems
from mimiidg_build.evaluation.protocols import protocol_named
from mimiidg_build.evaluation.score_directory import read_directory
from mimiidg_build.evaluation.scored_clips import read_with_clip_table
from mimiidg_build.storage.places import Place, exists, local, place
from mimiidg_build.store.store import Store, open_store, variant_dir


@dataclass(frozen=True)
class _Found:
    """What a name means: a system, the protocol that its clips are judged by, and the store where it is known."""

    system: System
    protocol: str
    store: Store | None = None


def compare_runs(
    first: str | Path,
    second: str | Path,
    root: str | Place,
    truth: Iterable[str | Path] = (),
    protocol: str | None = None,
) -> Comparison:
    """Compare two systems on the clips that both were tested on.

    Parameters
    ----------
    first, second : str or Path
        Names of runs, all seeds of each, or paths of folders of score files.
    root : str or Place
        Where stores and runs lie.
    truth : iterable of path
        Truth lists of clips whose names hide it, for folders that are no run's.
    protocol : {"mimii", "2020", "2021", "2022"}, optional
        By default the store's, or the one that the files' names tell.

    Returns
    -------
    Comparison
        Of every section, machine type, all sections, and the official score; first less second.

    Raises
    ------
    UsageError
        There is no such run, both are the same, or they are of other stores, clips or protocols; the message names what
        differs.
    DataError
        A run's files cannot be read, or its store is gone.
    """
    rule = protocol_named(protocol).name if protocol else None
    lists = [Path(path) for path in truth] or None
    names = [str(first), str(second)]
    if names[0] == names[1]:
        raise UsageError(f"{shown(names[0])} is compared with itself: name two runs")
    one, other = (_find(name, place(root), lists, rule) for name in names)
    if one.store and other.store and one.store.fingerprint != other.store.fingerprint:
        raise UsageError(
            f"{names[0]} is a run on the store {_store_name(one.store)}, {names[1]} on {_store_name(other.store)}: "
            "only runs on the same store compare"
        )
    if one.protocol != other.protocol:
        raise UsageError(
            f"{names[0]} is judged by the protocol {one.protocol}, {names[1]} by {other.protocol}: only systems of one "
            "protocol compare; --protocol says which"
        )
    return compare_systems(one.system, other.system, one.protocol)


def compare_results(first: ModelResult, second: ModelResult) -> Comparison:
    """Compare two results on one store.

    Parameters
    ----------
    first, second : ModelResult

    Returns
    -------
    Comparison

    Raises
    ------
    UsageError
        They were not tested on the same clips, or the domains that the protocol needs are unknown.
    """
    systems = [
        System(
            result.name,
            tuple(pd.concat(by_section.values(), ignore_index=True) for by_section in result.scored_by_seed),
            trains=result.n_parameters > 0,
        )
        for result in (first, second)
    ]
    return compare_systems(systems[0], systems[1], first.store.attributes.protocol)


def _store_name(store: Store) -> str:
    return f"{store.attributes.variant.name} ({store.fingerprint})"


# ---- Names -----------------------------------------------------------------------------------------------------------


def _find(name: str, root: Place, truth: Sequence[Path] | None, protocol: str | None) -> _Found:
    """What a name means: under ROOT first, as variants are, then a path."""
    variant, _, rest = name.partition("/")
    if rest and re.fullmatch(r"[\w.+-]+", variant) and exists(variant_dir(root, variant)):
        return _named_runs(name, open_store(variant_dir(root, variant)), rest, root, protocol)
    folder = Path(name)
    if not folder.is_dir():
        raise UsageError(
            f"there is no run {shown(name)}, neither VARIANT/MODEL-PROFILE under {root} nor a folder of score files. "
            f"Runs lie in {local(root) / 'runs'}."
        )
    for run, score in ((folder, ""), (folder.parent, folder.name)):
        if (run / CONFIG).is_file():
            return _of_runs(name, _store_of(run, root), [run], score, protocol)
    found = read_directory(folder, list(truth) if truth else None, protocol=protocol)
    return _Found(System(name, (found.clips,)), found.protocol)


def _named_runs(name: str, store: Store, rest: str, root: Place, protocol: str | None) -> _Found:
    label, _, score = rest.partition("/")
    every = {
        path.parent.name: path.parent
        for directory in runs_directories(store, root)
        for path in sorted(directory.glob(f"*/{RESULTS}"))
    }
    runs = [every[label]] if label in every else []
    seeds = {int(run.removeprefix(f"{label}-")): run for run in every if re.fullmatch(re.escape(label) + r"-\d+", run)}
    runs = runs or [every[seeds[seed]] for seed in sorted(seeds)]
    if not runs:
        known = sorted({re.sub(r"-\d+$", "", run) for run in every})
        raise UsageError(
            f"there is no finished run {shown(label)} on the store {_store_name(store)}.{did_you_mean(label, known)} "
            f"There are {', '.join(known) or 'none'}."
        )
    return _of_runs(name, store, runs, score, protocol)


def _store_of(run: Path, root: Place) -> Store:
    config = read_config(run)
    path = variant_dir(root, config.variant) / f"{config.fingerprint}.zarr"
    if not exists(path):
        raise DataError(
            f"{run} is a run on the store {path}, which is not there: without it nobody can tell what its clips are. "
            "Give its root with --root, or build the variant again."
        )
    return open_store(path)


def _of_runs(name: str, store: Store, runs: Sequence[Path], score: str, protocol: str | None) -> _Found:
    clips = tested_clips(store)
    seeds = tuple(read_with_clip_table(run / score, clips, is_complete=False, with_decisions=False) for run in runs)
    trains = any(summary.n_parameters > 0 for run in runs for summary in read_summaries(run, store))
    return _Found(System(name, seeds, trains), protocol or store.attributes.protocol, store)
