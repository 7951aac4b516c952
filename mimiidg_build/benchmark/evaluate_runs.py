"""Evaluating runs that are finished: every score of each, combined over the seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from mimiidg_build.benchmark.failures import FailedSystem, failure_of, raise_failed
from mimiidg_build.benchmark.model_result import ModelResult, SeedResult
from mimiidg_build.benchmark.results import Benchmark
from mimiidg_build.benchmark.run_files import RESULTS
from mimiidg_build.benchmark.runs import Run
from mimiidg_build.benchmark.suitability import not_changed
from mimiidg_build.benchmark.tested import evaluated_sections, not_evaluated, tested_clips
from mimiidg_build.errors import DataError
from mimiidg_build.evaluation.evaluate import evaluate
from mimiidg_build.evaluation.results import Evaluation
from mimiidg_build.evaluation.scored_clips import read_with_clip_table
from mimiidg_build.models import UNCHANGED, Changes
from mimiidg_build.models.backends import score_name
from mimiidg_build.storage.files import write_file


def collect(runs: Sequence[Run], changes: Changes = UNCHANGED, keep_going: bool = False) -> Benchmark:
    """Evaluate finished runs on one store, and combine the seeds of a model, score by score.

    All are evaluated on the test clips that none of their trainings knew; none is, where the condition of no test clip
    is known.

    Parameters
    ----------
    runs : sequence of Run
    changes : mapping of str to object
        The settings that were asked for in place of the profile's: a note says which models have none of them.
    keep_going : bool
        Whether a system of which a seed or a network is not finished is one that failed, rather than an error.

    Returns
    -------
    Benchmark

    Raises
    ------
    DataError
        A run is not finished, or its files are damaged.
    """
    failed: list[FailedSystem] = []
    if keep_going:
        runs, failed = _finished_part(runs)
        if not runs:
            raise_failed(failed, len(failed))
    store, said = runs[0].store, tuple(not_changed([run.model for run in runs], changes))
    if not evaluated_sections(store):
        for run in runs:
            _check_finished(run)
        return Benchmark(store, (), said, tuple(failed))
    by_model = _by_model(runs)
    largest = max(run.known_anomalies for run in runs)
    found = tuple(model for own in by_model.values() for model in _collect_seeds(own, largest))
    return Benchmark(store, found, said, tuple(failed))


def _by_model(runs: Sequence[Run]) -> dict[tuple[str, int], list[Run]]:
    """Runs that differ in their seed alone."""
    by_model: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        by_model.setdefault((run.model, run.known_anomalies), []).append(run)
    return by_model


def _finished_part(runs: Sequence[Run]) -> tuple[list[Run], list[FailedSystem]]:
    """The systems that are finished with every seed, and the others: seeds that did not fail would flatter a system."""
    finished, failed = list[Run](), list[FailedSystem]()
    for own in _by_model(runs).values():
        why = next((reason for run in own if (reason := failure_of(run.directory))), "it is not finished")
        if not all(run.is_trained(network) for run in own for network in run.networks()):
            failed += [FailedSystem(one, own[0].label, why) for one in _names(own[0], own[0].backends)]
            continue
        lacking = {back for run in own for network in run.networks() for back in run.missing_backends(network)}
        failed += [FailedSystem(one, own[0].label, why) for one in _names(own[0], sorted(lacking))[1:]]
        finished += [replace(run, backends=tuple(b for b in run.backends if b not in lacking)) for run in own]
    return finished, failed


def _names(run: Run, backends: Iterable[str]) -> list[str]:
    return [run.model, *(f"{run.model}/{name}" for name in backends)]


def _collect_seeds(runs: Sequence[Run], left_out: int) -> list[ModelResult]:
    """One model's runs, which differ in their seed: a result for each of its scores."""
    first, evaluations = runs[0], [evaluate_run(run, left_out) for run in runs]
    summaries = [run.summaries() for run in runs]
    for run, evaluation in zip(runs, evaluations, strict=True):
        if evaluation.keys() != evaluations[0].keys():
            raise DataError(
                f"{run.directory} has the scores {list(evaluation)}, {first.directory} {list(evaluations[0])}; "
                "expected the same of every seed. Remove the one that is of another version, or damaged, to train "
                "again."
            )
    return [
        ModelResult(
            store=first.store,
            model=first.model,
            profile=first.profile,
            epochs=first.epochs,
            score=score,
            known_anomalies=first.known_anomalies,
            changes=first.config().changes,
            settings=first.config().settings,
            runs=tuple(
                SeedResult(run.seed, run.directory, networks, evaluation[score])
                for run, networks, evaluation in zip(runs, summaries, evaluations, strict=True)
            ),
        )
        for score in evaluations[0]
    ]


def evaluate_run(run: Run, left_out: int = 0) -> dict[str, Evaluation]:
    """Evaluate a finished run from its score files, and write ``results.json`` of each of its scores.

    Parameters
    ----------
    run : Run
    left_out : int
        Where runs with more known anomalies are compared with this one: how many. The evaluation that is returned is
        then without those; ``results.json`` is of all clips that the run was tested on.

    Returns
    -------
    dict of str to Evaluation
        By the scores' names, the model's own (``""``) first, those of back ends last.

    Raises
    ------
    DataError
        A network is not finished, or its files are damaged.
    """
    _check_finished(run)
    store, found = run.store, {}
    test = tested_clips(store)
    test = test.drop(index=run.known_clips().index)  # known clips keep their index in the clip table
    how: dict[str, Any] = {"protocol": store.attributes.protocol, "notes": not_evaluated(store)}
    for name in [*run.summaries()[0].scores, *map(score_name, run.backends)]:
        scored = read_with_clip_table(run.directory / name, test)
        found[name] = evaluate(scored, **how)
        # of the run's own files, whatever it is compared with now: any evaluator finds the same in them
        _write_if_changed(run.directory / name / RESULTS, found[name].to_json().encode())
        if left_out > run.known_anomalies:
            # the anomalies that this run knew are among them: a smaller number's are the first of a larger's
            compared = _without(scored, replace(run, known_anomalies=left_out).known_clips())
            found[name] = evaluate(compared, **how)
    return found


def _check_finished(run: Run) -> None:
    unfinished = [network.name for network in run.networks() if not run.is_finished(network)]
    if unfinished:
        raise DataError(f"{run.directory}: {', '.join(unfinished)} not finished. Run the same benchmark again.")


def _write_if_changed(path: Path, content: bytes) -> None:
    """A finished run may lie where nothing can be written, and needs no more writing."""
    if not path.is_file() or path.read_bytes() != content:
        write_file(path, [content])


def _without(scored: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """Scored clips but for some, which are rows of the clip table."""
    # by machine type and section as well: releases use one file name in several of them
    names = zip(clips["machine_type"], clips["section"], clips["clip"] + ".wav", strict=True)
    keys = pd.MultiIndex.from_frame(scored[["machine_type", "section", "file_name"]])
    return scored[~keys.isin(list(names))].reset_index(drop=True)
