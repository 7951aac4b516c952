"""The faults' summary counts faults and trials apart."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from tests.faults.summary import PROPERTY, Count, fault_of, table, tally


def report(test: str, trials: Mapping[str, int], when: str = "teardown", failed: bool = False) -> Any:
    return SimpleNamespace(
        nodeid=test,
        failed=failed,
        when=when,
        user_properties=[(PROPERTY, {"fault": test.partition(":")[0], "trials": trials})],
    )


REPORTS = [
    report("flipped:300", {"a bit flipped": 300}),
    report("flipped:3000", {"a bit flipped": 3000}),
    report("cut", {"a bit flipped": 2, "cut off": 7}),
    report("flipped:300", {"a bit flipped": 300}, when="call"),  # the same again: only the last report counts
]


def test_trials_of_one_fault_are_one_fault() -> None:
    assert tally(REPORTS) == {"a bit flipped": Count(2, 3302, 3302), "cut off": Count(1, 7, 7)}


def test_no_trial_of_a_test_that_failed_is_survived() -> None:
    assert tally([*REPORTS, report("cut", {}, "call", failed=True)]) == {
        "a bit flipped": Count(2, 3302, 3300),
        "cut off": Count(1, 7, 0),
    }


def test_the_table_has_a_column_for_each_count_and_a_total() -> None:
    assert table({"a": Count(2, 1302, 1300), "longer": Count(1, 7, 7)}) == [
        "| group  | faults | trials | survived |",
        "|--------|-------:|-------:|---------:|",
        "| a      |      2 |  1,302 |    1,300 |",
        "| longer |      1 |      7 |        7 |",
        "| total  |      3 |  1,309 |    1,307 |",
    ]


FOUND: dict[str, set[str]] = {}


@pytest.mark.parametrize("seeds", [range(2), range(9)])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_case_is_a_fault_and_its_seeds_are_not(damage: str, seeds: range, request: pytest.FixtureRequest) -> None:
    FOUND.setdefault(damage, set()).add(fault_of(request.node))
    assert [len(found) for found in FOUND.values()] == [1] * len(FOUND), "one fault, whatever the seeds"
    assert len(set.union(*FOUND.values())) == len(FOUND), "another fault, another name"
