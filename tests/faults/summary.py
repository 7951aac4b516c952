"""The suite's summary: which groups of faults were tried, how many distinct faults, how often, and what was survived.

A test says what it tries with the fixture ``fault`` (``tests.faults.conftest``). What it said travels in its last
report, so that it arrives from the workers of pytest-xdist too. No trial of a test that failed counts as survived.

A *fault* is one case of one test. Its *trials* are the bits, bytes, moments and random inputs at which that test tries
it: thousands of them prove more than one, and are still one fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple
from zlib import crc32

import pytest

PROPERTY = "faults"
Tries = Callable[..., None]  # the fixture `fault`: a group's name, and how many trials
REPEATS = ("seeds", "seed", "moments")  # parameters of a test that say how often or where, and not what


class Count(NamedTuple):
    """What was tried of a group of faults."""

    faults: int
    trials: int
    survived: int


def fault_of(item: pytest.Item) -> str:
    """The fault that a test tries: its function, and its case but for parameters that only repeat."""
    callspec = getattr(item, "callspec", None)
    case = {name: value for name, value in (callspec.params if callspec else {}).items() if name not in REPEATS}
    return f"{item.nodeid.partition('[')[0]} {crc32(repr(sorted(case.items(), key=str)).encode()):08x}"


def tally(reports: list[pytest.TestReport]) -> dict[str, Count]:
    """What was tried of each group, in order of first appearance."""
    failed = {report.nodeid for report in reports if report.failed}
    faults: dict[str, set[str]] = {}
    trials: Counter[str] = Counter()
    survived: Counter[str] = Counter()
    for report in reports:
        for name, value in report.user_properties if report.when == "teardown" else ():
            if name != PROPERTY:
                continue
            for group, n_trials in value["trials"].items():
                faults.setdefault(group, set()).add(value["fault"])
                trials[group] += n_trials
                survived[group] += 0 if report.nodeid in failed else n_trials
    return {group: Count(len(found), trials[group], survived[group]) for group, found in faults.items()}


def table(groups: dict[str, Count]) -> list[str]:
    """The summary as lines of a table, the total last."""
    total = Count(*map(sum, zip(*groups.values(), strict=True)))
    rows = [("group", *Count._fields)]
    rows += [(name, *(f"{n:,}" for n in count)) for name, count in [*groups.items(), ("total", total)]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"| {' | '.join(_padded(row, widths))} |" for row in rows]
    rule = "|" + "|".join("-" * (width + 1) + (":" if n else "-") for n, width in enumerate(widths)) + "|"
    return [lines[0], rule, *lines[1:]]


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    name, *numbers = (f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
    return [name.strip().ljust(widths[0]), *numbers]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table whenever tests of the suite ran."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    if groups := tally([report for report in reports if isinstance(report, pytest.TestReport)]):
        terminalreporter.section("faults")
        for line in table(dict(sorted(groups.items()))):
            terminalreporter.write_line(line)
