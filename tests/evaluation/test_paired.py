"""Two systems on the same clips: against the jackknife by brute force, by hand, over seeds, and what is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from mimiidg_build.errors import UsageError
from mimiidg_build.evaluation.evaluate import evaluate
from mimiidg_build.evaluation.paired import Comparison, System, compare_systems
from mimiidg_build.evaluation.roc import auc

CELLS = [(domain, condition) for domain in ("source", "target") for condition in ("normal", "anomaly")]


def test_set(
    rng: np.random.Generator, n: int = 30, sections: tuple[str, ...] = ("fan/00", "fan/01", "valve/00")
) -> pd.DataFrame:
    """Clips without scores of their own: ``hard`` is what every system finds in a clip."""
    rows = [
        (*name.split("/"), f"{domain}_{condition}_{index}.wav", domain, condition, "{}", -1)
        for name in sections
        for domain, condition in CELLS
        for index in range(n)
    ]
    columns = ["machine_type", "section", "file_name", "domain", "condition", "attributes", "decision"]
    clips = pd.DataFrame(rows, columns=columns)
    return clips.assign(hard=rng.normal(size=len(clips)))


test_set.__test__ = False  # type: ignore[attr-defined]  # the name is what it is


def scored(clips: pd.DataFrame, shift: float, own: float, rng: np.random.Generator) -> pd.DataFrame:
    """A system that moves anomalies by ``shift``, with so much of its own beside what all systems hear."""
    score = clips["hard"] + shift * (clips["condition"] == "anomaly") + own * rng.normal(size=len(clips))
    columns = ["machine_type", "section", "file_name", "domain", "condition", "attributes", "score", "decision"]
    return clips.assign(score=score)[columns]


def system(name: str, *seeds: pd.DataFrame, trains: bool = False) -> System:
    return System(name, seeds, trains)


def two(
    n: int = 30,
    own: float = 0.4,
    seed: int = 0,
    shifts: tuple[float, float] = (1.2, 0.8),
    sections: tuple[str, ...] = ("fan/00", "fan/01", "valve/00"),
) -> Comparison:
    rng = np.random.default_rng(seed)
    clips = test_set(rng, n, sections)
    first, second = (scored(clips, shift, own, rng) for shift in shifts)
    return compare_systems(system("first", first), system("second", second), "2022")


def test_values_are_those_of_evaluate() -> None:
    rng = np.random.default_rng(1)
    clips = test_set(rng)
    tables = [scored(clips, shift, 0.5, rng) for shift in (1.0, 0.5)]
    for protocol in ("2022", "2021", "2020", "mimii"):
        found = compare_systems(system("a", tables[0]), system("b", tables[1]), protocol)
        of = [evaluate(table, protocol) for table in tables]
        official = found.official_score
        assert (official.first, official.second) == pytest.approx((of[0].official_score, of[1].official_score))
        by_place = {(one.place, one.metric): one for one in found.differences}
        metric = next(iter(found.protocol.shown.values()))
        assert by_place["fan", metric].first == pytest.approx(of[0].machine_types["fan"].arithmetic[metric])
        assert by_place["mean", metric].second == pytest.approx(of[1].means["arithmetic"][metric])
        row = of[0].sections.set_index(["machine_type", "section"]).loc[("valve", "00")]
        assert by_place["valve/00", metric].first == pytest.approx(row[metric])
        assert all(one.low <= one.value <= one.high for one in found.differences)


def test_the_interval_is_that_of_the_jackknife_of_the_difference() -> None:
    """One section, AUC source: every clip left out in turn, both AUCs computed anew."""
    rng = np.random.default_rng(2)
    clips = test_set(rng, 40, ("fan/00",))
    tables = [scored(clips, shift, 0.5, rng) for shift in (1.0, 0.6)]
    found = compare_systems(system("a", tables[0]), system("b", tables[1]), "2021")
    (one,) = (one for one in found.differences if (one.place, one.metric) == ("fan/00", "auc_source_within"))
    source = clips["domain"] == "source"
    normal, anomaly = (np.flatnonzero(source & (clips["condition"] == name)) for name in ("normal", "anomaly"))
    scores = [table["score"].to_numpy() for table in tables]

    def difference(normal: np.ndarray, anomaly: np.ndarray) -> float:
        return auc(scores[0][normal], scores[0][anomaly]) - auc(scores[1][normal], scores[1][anomaly])

    left_out = [
        [difference(np.delete(normal, i), anomaly) for i in range(normal.size)],
        [difference(normal, np.delete(anomaly, i)) for i in range(anomaly.size)],
    ]
    variance = sum((len(own) - 1) * np.var(own) for own in left_out)
    # the pseudo-count adds next to nothing away from 0 and 1
    assert one.high - one.value == pytest.approx(1.96 * variance**0.5, rel=0.05)
    assert one.value == pytest.approx(difference(normal, anomaly))


def test_pairing_tells_apart_what_two_intervals_do_not() -> None:
    """What is hard is hard for both: the difference is surer than the sum of two uncertainties."""
    found = two(own=0.2).official_score
    assert found.low > 0, "a difference"
    rng = np.random.default_rng(0)
    clips = test_set(rng)
    first, second = (evaluate(scored(clips, shift, 0.2, rng)) for shift in (1.2, 0.8))
    assert first.official_score_interval[0] < second.official_score_interval[1], "intervals that overlap"
    apart = math.hypot(*np.diff([first.official_score_interval, second.official_score_interval]).ravel())
    assert found.high - found.low < 0.75 * apart


def test_differences_are_held_about_as_often_as_they_say() -> None:
    """Two systems of one kind: the difference is 0 in truth."""
    held = {"official_score": 0, "auc_source": 0, "pauc": 0}
    for seed in range(50):
        found = two(12, seed=seed, shifts=(1.0, 1.0), sections=("fan/00",))
        for one in found.differences:
            held[one.metric] = held.get(one.metric, 0) + (one.low <= 0 <= one.high)
    assert all(44 <= held[metric] <= 50 for metric in ("official_score", "auc_source", "pauc")), held


def seeds_of(n: int, rng: np.random.Generator, clips: pd.DataFrame, spread: float) -> list[pd.DataFrame]:
    return [scored(clips, 1.0 + spread * rng.normal(), 0.3, rng) for _ in range(n)]


def test_five_seeds_make_an_interval_over_trainings() -> None:
    rng = np.random.default_rng(3)
    clips = test_set(rng, 40)
    still, moving = seeds_of(1, rng, clips, 0.0), seeds_of(6, rng, clips, 0.5)
    few = compare_systems(system("still", *still), system("moving", *moving[:4], trains=True), "2022")
    many = compare_systems(system("still", *still), system("moving", *moving, trains=True), "2022")
    assert (few.over_seeds, many.over_seeds, many.seeds) == (False, True, (1, 6))
    (note,) = few.notes
    assert note.startswith("The intervals are over test clips alone") and "moving has 4 of the 5 seeds" in note
    assert many.notes == ()
    widths = [found.official_score.high - found.official_score.low for found in (few, many)]
    assert widths[1] > 1.5 * widths[0], "trainings differ more than test sets"
    scores = [evaluate(table).official_score for table in moving]
    assert many.official_score.second == pytest.approx(np.mean(scores))


def test_a_training_free_system_needs_no_seeds() -> None:
    assert two().notes == () and not two().over_seeds


def test_few_clips_are_marked_and_one_clip_has_no_interval() -> None:
    found = two(5)
    assert found.few_clips and found.mark == "*" and "has 5 of the kind" in found.notes[-1]
    single = two(1)
    assert all(math.isnan(one.low) for one in single.differences)
    content = json.loads(json.dumps(single.to_dict(), allow_nan=False))
    assert content["differences"][-1]["low"] is None and content["few_clips"] is True
    assert not two(20).few_clips


def test_two_perfect_systems_are_not_known_to_be_equal() -> None:
    found = two(8, own=0.01, shifts=(30.0, 20.0))
    assert found.official_score.value == 0
    assert all(one.low < 0 < one.high for one in found.differences)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.iloc[1:], "1 clips of a are not in the other (fan/00 source normal source_normal_0.wav)"),
        (lambda t: t.assign(condition=["anomaly", *t["condition"][1:]]), "1 clips of b are not in the other"),
        (lambda t: t.assign(section=t["section"].replace("00", "05")), "80 clips of b are not in the other"),
    ],
    ids=["a clip less", "another truth", "another section"],
)
def test_other_clips_are_refused_by_name(change, said) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(4)
    clips = test_set(rng, 10)
    first, second = scored(clips, 1, 1, rng), change(scored(clips, 1, 1, rng))
    with pytest.raises(UsageError, match="a and b do not score the same clips") as error:
        compare_systems(system("a", first), system("b", second), "2022")
    assert said in str(error.value)


def test_a_protocol_of_domains_needs_them() -> None:
    rng = np.random.default_rng(5)
    table = scored(test_set(rng, 5), 1, 1, rng).assign(domain="")
    table["file_name"] = [f"{number}.wav" for number in range(len(table))]
    with pytest.raises(UsageError, match="fan/00: the protocol 2022 needs domains"):
        compare_systems(system("a", table), system("b", table), "2022")
    assert compare_systems(system("a", table), system("b", table), "2020").official_score.value == 0
