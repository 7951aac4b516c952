"""What is to be read with a leaderboard: who may be as good as the best, and what else sets its rows apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.benchmark.run_files import read_config
from mimiidg_build.benchmark.tested import not_evaluated
from mimiidg_build.evaluation.paired import LEAST_SEEDS
from mimiidg_build.schemas.leaderboards import Leaderboard, LeaderboardSystem

SETTINGS_NAMED = 3  # of those that seeds of one system differ in


def notes(
    found: Leaderboard, results: Sequence[ModelResult], others: Sequence[ModelResult], unpaired: Sequence[str]
) -> list[str]:
    """All notes, the most important first.

    Parameters
    ----------
    found : Leaderboard
        Its rows.
    results : sequence of ModelResult
        Of the rows, in their order.
    others : sequence of ModelResult
        On the same store, without a row.
    unpaired : sequence of str
        Why systems were not paired.

    Returns
    -------
    list of str
    """
    few_clips = [note for result in results for note in result.few_clips_notes]
    store = results[0].store
    said = [
        *_of_the_best(found),
        *_of_unranked(found),
        *(f"Not paired: {reason}" for reason in unpaired),
        *_of_unlike_rows(found),
        *_of_unlike_seeds(results),
        *_of_others(others),
        *few_clips,
        *(f"{line}." for line in not_evaluated(store)),
        *(["The data are synthetic: these numbers say nothing of real machines."] if found.synthetic else []),
    ]
    return list(dict.fromkeys(said))


def title(system: LeaderboardSystem, found: Leaderboard) -> str:
    """A system's name, with its profile where there are several."""
    several = len({one.profile for one in found.systems}) > 1
    return f"{system.name} {system.profile}" if several else system.name


def not_distinguishable(found: Leaderboard) -> list[LeaderboardSystem]:
    """The systems that compete whose difference from the best one may be none."""
    return [one for one in _competing(found)[1:] if one.less_best is not None and one.less_best.is_open]


def _competing(found: Leaderboard) -> list[LeaderboardSystem]:
    return [one for one in found.systems if one.rank is not None]


def _of_the_best(found: Leaderboard) -> Iterator[str]:
    competing = _competing(found)
    if len(competing) < 2:
        return
    best, level = title(competing[0], found), not_distinguishable(found)
    unknown = [one for one in competing[1:] if one.less_best is None]
    if level:
        names = ", ".join(title(one, found) for one in level)
        yield (
            f"Not distinguishable from the best, {best}, on these test clips: {names}. The 95 % interval of the paired "
            "difference holds 0, or is unknown."
        )
    elif not unknown:
        yield f"Every other system is behind the best, {best}: no 95 % interval of a paired difference holds 0."
    yield (
        f"The best of {len(competing)} systems was chosen on the clips that it is judged by, which flatters it: expect "
        "less of it on others, and confirm the choice on clips that no system was tested on. Each interval is of one "
        "comparison; of many, some exclude 0 by chance."
    )
    if any(one.less_best and not one.less_best.over_seeds for one in competing):
        yield (
            "Paired differences are over test clips alone, not over trainings, unless both systems that train have "
            f"{LEAST_SEEDS} seeds or more."
        )


def _of_unranked(found: Leaderboard) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for one in found.systems:
        if one.not_ranked:
            reasons.setdefault(one.not_ranked, []).append(title(one, found))
    for reason, names in reasons.items():
        yield f"Without a rank ({reason}): {', '.join(names)}."


def _of_unlike_rows(found: Leaderboard) -> Iterator[str]:
    """What sets rows apart beside the system."""
    if len(profiles := _values(found, lambda one: one.profile)) > 1:
        yield (
            f"Systems of several profiles or settings stand side by side: {', '.join(profiles)}. A difference between "
            "them may be one of how long they were trained; `mimiidg leaderboard --profile` shows one profile."
        )
    if len(seeds := _values(found, lambda one: str(len(one.seeds)) if one.n_parameters else "")) > 1:
        yield (
            f"Systems have different numbers of seeds ({', '.join(seeds)}): intervals of several are over trainings as "
            "well, those of one over test clips alone."
        )
    if len(devices := _values(found, lambda one: ", ".join(one.devices))) > 1:
        yield f"Times were measured on different devices, and do not compare: {'; '.join(devices)}."
    if borrowed := [
        title(one, found)
        for one in found.systems
        if one.less_baseline and one.less_baseline.than_profile != one.profile
    ]:
        yield f"Less a baseline of other settings, for it was not run with theirs: {', '.join(borrowed)}."


def _values(found: Leaderboard, value_of: Callable[[LeaderboardSystem], str]) -> list[str]:
    return [value for value in dict.fromkeys(map(value_of, found.systems)) if value]


def _of_unlike_seeds(results: Sequence[ModelResult]) -> Iterator[str]:
    """Seeds of one system that were trained by versions whose profiles have other settings."""
    for result in results:
        settings = [read_config(run.directory).settings for run in result.runs]
        for run, other in zip(result.runs[1:], settings[1:], strict=True):
            # a setting that an early version lacks had its default then
            if odd := [key for key in settings[0].keys() & other.keys() if settings[0][key] != other[key]]:
                named = sorted(odd)[:SETTINGS_NAMED]
                said = ", ".join(f"{key} {other[key]!r}, not {settings[0][key]!r}" for key in named)
                yield (
                    f"{result.name} {result.label}: seed {run.seed} was trained with other settings than seed "
                    f"{result.runs[0].seed} ({said}), so that their mean is of two systems."
                )


def _of_others(others: Sequence[ModelResult]) -> Iterator[str]:
    if known := {f"{one.name} {one.label}" for one in others if one.known_anomalies}:
        yield (
            f"Without a row, for they know anomalies of the test set and are tested on fewer clips: "
            f"{', '.join(sorted(known))}."
        )
    if rest := {one.label for one in others if not one.known_anomalies}:
        yield f"Runs of other profiles are not shown: {', '.join(sorted(rest))}."
