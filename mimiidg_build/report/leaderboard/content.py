"""What a leaderboard says, from the files of finished runs on one store: nothing is trained or scored.

Systems that compete are models' own scores and back ends, trained on normal clips alone; a further score of a model
has a row without a rank. Runs that know anomalies were tested on fewer clips, and have no row.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal

from mimiidg_build.benchmark.compare import compare_results
from mimiidg_build.benchmark.estimates import Estimate
from mimiidg_build.benchmark.failures import failure_of
from mimiidg_build.benchmark.finished_runs import FinishedRuns, read_runs
from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.benchmark.run_files import read_config, run_name
from mimiidg_build.benchmark.suitability import refusal
from mimiidg_build.benchmark.tested import tested_clips
from mimiidg_build.datasets.rows import records
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.evaluation.hanley_mcneil import LEVEL
from mimiidg_build.evaluation.protocols import official_score
from mimiidg_build.evaluation.results import nan_if_null, null_if_nan
from mimiidg_build.models import GROUPS, MODELS
from mimiidg_build.report.headline import ranked, score
from mimiidg_build.report.leaderboard.notes import notes
from mimiidg_build.report.written import written
from mimiidg_build.schemas.leaderboards import Absent, Leaderboard, LeaderboardSystem, PairedDifference
from mimiidg_build.storage.places import Place
from mimiidg_build.store.store import Store

BASELINE = next(iter(MODELS))
"""The system that all are compared with beside the best: the first model of the list."""


def leaderboard(store: Store, root: Place, profiles: Collection[str] = ()) -> Leaderboard:
    """The leaderboard of a store.

    Parameters
    ----------
    store : Store
    root : Place
        Where its runs are looked for.
    profiles : collection of str
        Only runs of these; by default all.

    Returns
    -------
    Leaderboard

    Raises
    ------
    UsageError
        No run on the store is finished.
    DataError
        A finished run's files cannot be read, or are of another store.
    """
    runs = read_runs(store, root)
    chosen = [result for result in runs.models if not profiles or result.profile in profiles]
    results = ranked([result for result in chosen if not result.known_anomalies])
    name = store.attributes.variant.name
    if not results:
        which = f" with the profile {' or '.join(sorted(profiles))}" if profiles else ""
        raise UsageError(
            f"no run on the store {name} ({store.fingerprint}) is finished{which}, of which clips could be evaluated: "
            f"`mimiidg benchmark {name} --model all` makes some"
        )
    systems, unpaired = _systems(results)
    absent = [one for one in _absent(store, runs, results) if not profiles or one.profile.split("-")[0] in profiles]
    is_official = not any(math.isnan(result.official_score.value) for result in results)
    found = Leaderboard(
        variant=name,
        fingerprint=store.fingerprint,
        dataset=store.attributes.dataset,
        synthetic=store.attributes.synthetic,
        protocol=store.attributes.protocol,
        score="official score" if is_official else "mean AUC",
        confidence_level=LEVEL,
        n_test_clips=len(tested_clips(store)),
        systems=systems,
        absent=absent,
        notes=[],
        written=written(),
    )
    shown = set(map(id, results))
    said = notes(found, results, [result for result in runs.models if id(result) not in shown], unpaired)
    return found.model_copy(update={"notes": said})


# ---- Rows ------------------------------------------------------------------------------------------------------------


def _systems(results: Sequence[ModelResult]) -> tuple[list[LeaderboardSystem], list[str]]:
    """A row for each result, in their order, and why some are not paired."""
    unpaired: dict[str, None] = {}
    best = next((result for result in results if result.is_rival), None)
    ranks, baselines, rows = _ranks(results), _baselines(results), []
    for number, result in enumerate(results):
        baseline, less_best = baselines.get(result.label), _less(result, best, unpaired)
        less_baseline = less_best if baseline is best else _less(result, baseline, unpaired)
        how = {"less_best": less_best, "less_baseline": less_baseline, "rank": ranks.get(number)}
        why = "" if number in ranks else _why_not_ranked(result)
        rows.append(LeaderboardSystem.model_validate({**how, "not_ranked": why, **_facts(result)}))
    return rows, list(unpaired)


def _facts(result: ModelResult) -> dict[str, object]:
    """What a row says of a system by itself."""
    found = score(result)
    return {
        "name": result.name,
        "model": result.model,
        "score": result.score,
        "backend": result.backend,
        "profile": result.label,
        "changes": dict(result.changes),
        "seeds": [run.seed for run in result.runs],
        "value": null_if_nan(found.value),
        "low": null_if_nan(found.low),
        "high": null_if_nan(found.high),
        "few_clips": result.few_clips,
        "machine_types": machine_types(result),
        "n_parameters": result.n_parameters,
        "n_networks": result.n_networks,
        "training_s": result.training_s,
        "scoring_clips_per_s": null_if_nan(result.clips_per_s),
        "devices": _devices(result),
        "runs": [run.directory.name for run in result.runs],
    }


def score_of(system: LeaderboardSystem) -> Estimate:
    """A row's score with its interval, NaN where unknown."""
    value, low, high = map(nan_if_null, (system.value, system.low, system.high))
    return Estimate(value, low, high, system.few_clips)


def machine_types(result: ModelResult) -> dict[str, float | None]:
    """The score of each machine type's sections alone, mean over seeds."""
    by_type: dict[str, list[float]] = {}
    is_official = not math.isnan(result.official_score.value)
    for run in result.runs:
        for name, sections in run.evaluation.sections.groupby("machine_type", sort=False):
            mean = float(sections["auc_all"].mean())
            own = official_score(records(sections), run.evaluation.protocol) if is_official else mean
            by_type.setdefault(str(name), []).append(own)
    return {name: null_if_nan(sum(values) / len(values)) for name, values in by_type.items()}


def _devices(result: ModelResult) -> list[str]:
    """Where the networks were trained; of early versions' runs without the hardware's name."""
    every = [summary for run in result.runs for summary in run.summaries]
    return list(dict.fromkeys(f"{one.device_name} ({one.device})" if one.device_name else one.device for one in every))


def _ranks(results: Sequence[ModelResult]) -> dict[int, int]:
    """The rank of each system that competes, by its number among the results, which are sorted; ties share one."""
    ranks: dict[int, int] = {}
    competing = [number for number, result in enumerate(results) if result.is_rival]
    for place, number in enumerate(competing):
        before = competing[place - 1] if place else None
        tied = before is not None and _rounded(results[before]) == _rounded(results[number])
        ranks[number] = ranks[before] if before is not None and tied else place + 1
    return ranks


def _rounded(result: ModelResult) -> float:
    return round(score(result).value, 6)  # as systems are sorted


def _why_not_ranked(result: ModelResult) -> str:
    if "oracle" in result.score:
        return "sees the labels of the test clips"
    if "transductive" in result.score:
        return "sees all test clips at once"
    return "a further score of a model beside its own"


def _baselines(results: Sequence[ModelResult]) -> dict[str, ModelResult]:
    """The baseline of each label: with the same settings, or those of the profile itself, or the only one of it."""
    own = {result.label: result for result in results if result.model == BASELINE and result.is_plain}
    found = {}
    for result in results:
        of_profile = [one for one in own.values() if one.profile == result.profile]
        baseline = own.get(result.label) or own.get(result.profile) or (of_profile[0] if len(of_profile) == 1 else None)
        if baseline is not None:
            found[result.label] = baseline
    return found


def _less(result: ModelResult, other: ModelResult | None, unpaired: dict[str, None]) -> PairedDifference | None:
    """A result less another on the same clips; why they are not paired goes to ``unpaired``."""
    if other is None or other is result:
        return None
    try:
        found = compare_results(result, other)
    except UsageError as error:
        unpaired[str(error)] = None
        return None
    one = found.official_score
    return PairedDifference(
        than=other.name,
        than_profile=other.label,
        value=one.value,
        low=null_if_nan(one.low),
        high=null_if_nan(one.high),
        over_seeds=found.over_seeds,
    )


# ---- Systems without a row -------------------------------------------------------------------------------------------


def _absent(store: Store, runs: FinishedRuns, results: Sequence[ModelResult]) -> list[Absent]:
    """Runs that failed or are not finished, then the models that were not run with a profile, or cannot be."""
    stopped = list(_stopped(runs))
    there = {(result.model, result.profile) for result in results}
    there |= {(one.name, one.profile.split("-")[0]) for one in stopped}
    profiles = dict.fromkeys(result.profile for result in results)
    return [*stopped, *(one for profile in profiles for one in _not_run(store, profile, there))]


def _stopped(runs: FinishedRuns) -> Iterator[Absent]:
    finished = {run.directory for result in runs.models for run in result.runs}
    for directory in [*runs.unfinished_runs, *sorted(finished)]:
        why = failure_of(directory)
        if why is None and directory in finished:
            continue
        state: Literal["failed", "not finished"] = "failed" if why else "not finished"
        name, profile = _named(directory)
        if directory in finished:
            name = f"{name} (a back end)"
        yield Absent(name=name, profile=profile, state=state, reason=why or "run the same benchmark again to go on")


def _named(directory: Path) -> tuple[str, str]:
    """The model of a run, and its profile with the seed, as its folder has them: early versions say no more."""
    try:
        model = read_config(directory).model
    except DataError:  # the folder's name may be all that is whole of a run that is not finished
        return directory.name, ""
    return model, directory.name.removeprefix(run_name(model, "", 0).removesuffix("-0"))


def _not_run(store: Store, profile: str, there: Collection[tuple[str, str]]) -> Iterator[Absent]:
    """Of the models that ``all`` stands for, those without a run: most cannot be run on the store, or have no such
    profile."""
    for model in GROUPS["all"]:
        if (model, profile) in there:
            continue
        error = refusal(store, model, profile)
        how = f"mimiidg benchmark {store.attributes.variant.name} --model {model} --profile {profile}"
        yield Absent(
            name=model, profile=profile, state="left out" if error else "not run", reason=str(error) if error else how
        )
