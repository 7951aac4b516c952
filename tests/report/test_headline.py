"""What the first screen says: the best system, how sure that is, and where it fails; and the page's tables as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mimiidg_build.benchmark.estimates import Estimate
from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.evaluation.paired import Difference
from mimiidg_build.report.cells import Cell, PageTable, estimate, number, offset_db
from mimiidg_build.report.headline import headline, ranked
from mimiidg_build.report.heat_maps import by_section

UNKNOWN = Estimate(math.nan, math.nan, math.nan)
AUCS = {
    ("fan/00", "auc_source"): Estimate(0.9, 0.8, 1.0),
    ("fan/00", "auc_target"): Estimate(0.3, 0.2, 0.4),
    ("valve/01", "auc_source"): Estimate(0.7, 0.6, 0.8),
    ("valve/01", "auc_target"): Estimate(0.5, 0.4, 0.6),
}


def system(name: str, score: Estimate, aucs: Any = None, *, is_rival: bool = True, mean: float = 0.5) -> ModelResult:
    """A system with these results; where no AUC of a domain is given, its clips have no domains."""
    known = AUCS if aucs is None else aucs
    return cast(
        ModelResult,
        SimpleNamespace(
            name=name,
            label="smoke",
            runs=(0,),
            is_rival=is_rival,
            evaluated=list(dict.fromkeys(section for section, _ in known)),
            official_score=score,
            section=lambda section, metric: known.get((section, metric), UNKNOWN),
            mean=lambda metric: (
                Estimate(mean, mean, mean) if any(metric == m for _, m in (*known, ("", "auc_all"))) else UNKNOWN
            ),
        ),
    )


def test_the_best_system_and_where_it_fails() -> None:
    found = headline([system("low", Estimate(0.5, 0.45, 0.55)), system("high", Estimate(0.7, 0.65, 0.75))])
    assert found is not None
    assert (found.best.name, found.score_title, found.score.text, found.score.small) == (
        "high",
        "official score",
        "70.00",
        "65.0–75.0",
    )
    assert (found.weakest, found.weakest_auc.text, found.weakest_note) == (
        "fan/00, target",
        "30.00",
        "worse than chance",
    )


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        ([(-0.05, -0.02)], "On the same clips it is 3.50 points behind (2.0 .. 5.0): the order is clear."),
        ([(-0.05, 0.01)], "2.00 points behind (−1.0 .. 5.0). The order of the two is not certain."),
        ([(-0.05, -0.02), (-0.09, 0.01)], "The order of the two is not certain."),
        ([(math.nan, math.nan)], "The intervals overlap, so the order of the two is not certain."),
    ],
    ids=["clear", "open", "a third that is open", "one clip of a kind"],
)
def test_differences_on_the_same_clips_decide(differences: Sequence[tuple[float, float]], said: str) -> None:
    """They are surer than intervals that overlap, as all of these do."""
    best, others = (
        system("best", Estimate(0.7, 0.65, 0.75)),
        [system(f"other{n}", Estimate(0.66 - n / 100, 0.6, 0.71)) for n in range(len(differences))],
    )
    pairs = {
        (f"other{n}", "smoke"): SimpleNamespace(
            official_score=Difference("mean", "official_score", (low + high) / 2, 0.0, low, high)
        )
        for n, (low, high) in enumerate(differences)
    }
    found = headline([best, *others], cast(Any, pairs))
    assert found is not None and found.rivals.endswith(said)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([], "No other system has been benchmarked."),
        ([(0.5, 0.45, 0.55)], "Next is other with 50.00 % (45.0–55.0). Its interval lies below: the order is clear."),
        ([(0.62, 0.55, 0.66)], "The intervals overlap, so the order of the two is not certain."),
        ([(0.62, 0.55, 0.66), (0.61, 0.5, 0.7), (0.1, 0.05, 0.2)], "so the order of the first 3 is not certain."),
        ([(0.62, 0.62, 0.62)], "62.00 %. The test clips are too few to say whether that order holds."),
    ],
)
def test_how_sure_the_order_is(others: Sequence[tuple[float, float, float]], said: str) -> None:
    best = system("best", Estimate(0.7, 0.65, 0.75))
    found = headline([best, *(system("other", Estimate(*numbers)) for numbers in others)])
    assert found is not None and found.best is best
    assert found.rivals.endswith(said)


def test_systems_that_know_anomalies_are_no_rivals() -> None:
    oracle = system("oracle", Estimate(0.9, 0.85, 0.95), is_rival=False)
    found = headline([oracle, system("plain", Estimate(0.6, 0.5, 0.7))])
    assert found is not None and found.best.name == "plain" and "oracle" not in found.rivals
    assert headline([oracle]) is None


def test_without_domains_the_mean_auc_counts() -> None:
    aucs = {("fan/00", "auc_all"): Estimate(0.8, 0.7, 0.9), ("fan/02", "auc_all"): Estimate(0.55, 0.45, 0.65)}
    results = [system("one", UNKNOWN, aucs, mean=0.6), system("two", UNKNOWN, aucs, mean=0.7)]
    found = headline(results)
    assert found is not None
    assert (found.best.name, found.score_title, found.weakest) == ("two", "mean AUC", "fan/02")
    assert found.weakest_note == "no better than chance"
    rows = by_section(results).rows
    assert [(row[0].text, row[1].text, row[2].text) for row in rows] == [("one", "all", "80.0"), ("two", "all", "80.0")]


def test_scores_of_0_are_told_apart_by_their_mean() -> None:
    """One section with an AUC of 0 makes the harmonic mean 0, give or take the floor."""
    one, two = system("one", Estimate(2e-16, 0, 0.1), mean=0.4), system("two", Estimate(1e-16, 0, 0.1), mean=0.5)
    assert [result.name for result in ranked([one, two])] == ["two", "one"]


def test_csv_has_numbers_unrounded_and_intervals_as_columns() -> None:
    rows = (
        (Cell("a"), estimate(Estimate(1 / 3, 0.25, 0.5)), offset_db(6.0), number(1234.5678, 1)),
        (Cell("b"), Cell(""), offset_db(-6.0), number(math.nan)),
        (Cell("c"), Cell("\u221215.0 .. 3.0", number=-15.0), Cell("0"), number(2)),
    )
    table = PageTable("caption", ("System", "AUC", "Offset", "n"), rows)
    assert list(csv.reader(io.StringIO(table.csv))) == [
        ["System", "AUC", "AUC low", "AUC high", "Offset", "n"],
        ["a", repr(100 * (1 / 3)), "25.0", "50.0", "6.0", "1234.5678"],
        ["b", "", "", "", "-6.0", ""],
        ["c", "-15.0 .. 3.0", "", "", "0", "2"],
    ]


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", 'a,"b"\nc'])
def test_a_name_in_csv_is_text(text: str) -> None:
    """Spreadsheets run what looks like a formula; a quote in front makes it text."""
    (_, (cell,)) = csv.reader(io.StringIO(PageTable("x", ("name",), ((Cell(text),),)).csv))
    assert cell == (text if text.startswith("a") else f"'{text}")


def test_numbers_sort_best_first() -> None:
    rows = ((Cell("a"), number(1), number(2)),)
    table = PageTable("x", ("System", "AUC", "Time"), rows, smallest_first=frozenset({"Time"}))
    assert table.first_orders == ("ascending", "descending", "ascending")
