"""The suite's summary: how many cases of each fault were tried, and how many were survived.

A test says what it tries with the fixture ``fault`` (``tests.faults.conftest``). What it said travels in its last
report, so that it arrives from the workers of pytest-xdist too. No case of a test that failed counts as survived.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

PROPERTY = "faults"
Tries = Callable[..., None]  # the fixture `fault`: name, and how many cases of it


def tally(reports: list[pytest.TestReport]) -> dict[str, tuple[int, int]]:
    """Cases tried and survived of each fault, in order of first appearance."""
    failed = {report.nodeid for report in reports if report.failed}
    tried: Counter[str] = Counter()
    survived: Counter[str] = Counter()
    for report in reports:
        for name, value in report.user_properties if report.when == "teardown" else ():
            if name != PROPERTY:
                continue
            for fault, cases in value.items():
                tried[fault] += cases
                survived[fault] += 0 if report.nodeid in failed else cases
    return {fault: (cases, survived[fault]) for fault, cases in tried.items()}


def table(faults: dict[str, tuple[int, int]]) -> list[str]:
    """The summary as lines of a table, the total last."""
    total = (sum(tried for tried, _ in faults.values()), sum(survived for _, survived in faults.values()))
    rows = [("fault", "cases tried", "survived")]
    rows += [(name, f"{tried:,}", f"{survived:,}") for name, (tried, survived) in [*faults.items(), ("total", total)]]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"| {name:{widths[0]}} | {tried:>{widths[1]}} | {survived:>{widths[2]}} |" for name, tried, survived in rows
    ]
    rule = f"|{'-' * (widths[0] + 2)}|{'-' * (widths[1] + 1)}:|{'-' * (widths[2] + 1)}:|"
    return [lines[0], rule, *lines[1:]]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table whenever tests of the suite ran."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    if faults := tally([report for report in reports if isinstance(report, pytest.TestReport)]):
        terminalreporter.section("faults")
        for line in table(dict(sorted(faults.items()))):
            terminalreporter.write_line(line)
