"""Findings: what validation found, collected rather than raised, so that one run names every fault.

A finding of severity *error* makes `raise_on_errors` raise; a *warning* is only reported. ``table`` is
``<archive>:<member>`` of an attribute table, an archive, or a section (``fan/04``) where the fault is a section's;
``line`` counts from 1 with the header, 0 where no line applies.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

import pandas as pd

from mimiidg_build.errors import DataError, UsageError, counted, did_you_mean, shown
from mimiidg_build.schemas.tables import SEVERITIES, Findings

if TYPE_CHECKING:
    import pandera.errors
    from pandera.typing.pandas import DataFrame

MAX_GROUPS_SHOWN = 30

# What a finding that is an error can be called: what --allow takes. tests/datasets/test_findings.py finds one that is
# not listed here.
ERROR_KINDS = (
    *("anomaly_in_train", "bad_field", "bad_header", "bad_name", "bad_quoting", "changed_recordings", "clip_length"),
    *("duplicate_clip", "duplicate_row", "empty_cell", "empty_table", "hidden_name", "long_line", "misplaced"),
    *("misplaced_row", "missing_table", "name_mismatch", "no_archive", "no_audio", "no_clips", "no_training_clips"),
    *("not_utf8", "other_truth", "ragged_row", "two_patterns", "unfit", "unknown_key", "unknown_section"),
    *("unknown_value", "unknown_word", "unreadable", "wrong_domain", "wrong_machine"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of `schemas.tables.Findings`. ``message`` stands alone: what happened, what was expected."""

    severity: str
    kind: str
    table: str
    message: str
    line: int = 0
    column: str = ""
    value: str = ""
    expected: str = ""


@dataclass(frozen=True, slots=True)
class SchemaCase:
    """One failure of a pandera check: the row's index label (None for the whole table), column, check and value."""

    row: int | None
    column: str
    check: str
    value: str


def check_kinds(kinds: Iterable[str]) -> None:
    """Refuse kinds of findings that no error has.

    Raises
    ------
    UsageError
        The message lists those that there are.
    """
    for kind in kinds:
        if kind not in ERROR_KINDS:
            raise UsageError(
                f"no error of a validation is of kind {shown(kind)}.{did_you_mean(kind, ERROR_KINDS)} There are "
                f"{', '.join(sorted(ERROR_KINDS))}."
            )


def findings_frame(findings: Iterable[Finding]) -> DataFrame[Findings]:
    """The findings as a validated table, in the order given.

    Examples
    --------
    >>> findings_frame([Finding("warning", "size", "1/fan.zip", "too short")]).kind.tolist()
    ['size']
    """
    names = [field.name for field in fields(Finding)]
    rows = pd.DataFrame([astuple(finding) for finding in findings], columns=names)
    types = Findings.dtypes()
    return Findings.validate(rows.astype(types)[list(types)])


def summarise(findings: pd.DataFrame) -> pd.DataFrame:
    """One row per (severity, kind, table), errors first, for a terminal.

    Returns
    -------
    DataFrame with columns severity, kind, table, count, and example: the place and message of the group's first.
    """
    groups: dict[tuple[str, str, str], list[str]] = {}
    columns = (findings[c].tolist() for c in ("severity", "kind", "table", "line", "column", "message"))
    for severity, kind, table, line, column, message in zip(*columns, strict=True):
        where = ", ".join(part for part in (f"line {line}", column) if part) if line else ""
        groups.setdefault((severity, kind, table), []).append(f"{where}: {message}" if where else message)
    # stable: within a severity, groups stay in the order in which they were found
    ordered = sorted(groups.items(), key=lambda group: SEVERITIES.index(group[0][0]))
    rows = [(*key, len(examples), examples[0]) for key, examples in ordered]
    return pd.DataFrame(rows, columns=["severity", "kind", "table", "count", "example"])


def raise_on_errors(findings: pd.DataFrame) -> None:
    """Refuse data that has errors; warnings pass.

    Raises
    ------
    DataError
        With one line per (kind, table): how many, where the first stands, and what was expected.
    """
    errors = findings[findings.severity == "error"]
    if errors.empty:
        return
    groups = summarise(errors)
    lines = [f"{counted(len(errors), 'error')} found, the data cannot be used as it is:"]
    for kind, table, count, example in groups[["kind", "table", "count", "example"]].itertuples(index=False, name=None):
        more = f" (and {count - 1} more like it)" if count > 1 else ""
        lines.append(f"  {kind} in {table}: {example}{more}")
    hidden = len(groups) - MAX_GROUPS_SHOWN
    if hidden > 0:
        lines[MAX_GROUPS_SHOWN + 1 :] = [f"  ... and {hidden} more groups"]
    raise DataError("\n".join(lines))


def schema_cases(error: pandera.errors.SchemaErrors) -> list[SchemaCase]:
    """Failure cases of a lazy validation, each once.

    Pandera repeats a check of the whole frame once per column: one case is kept, with column ``""``. A column that
    could not be coerced fails its other checks for no reason of its own: only the coercion is kept.
    """
    table = error.failure_cases
    columns = (table[c].tolist() for c in ("schema_context", "column", "check", "failure_case", "index"))
    raw = list(zip(*columns, strict=True))
    uncoerced = {column for _, column, check, *_ in raw if str(check).startswith("coerce_dtype")}
    cases: dict[SchemaCase, None] = {}
    for context, column, check, value, index in raw:
        if column in uncoerced and not str(check).startswith("coerce_dtype"):
            continue
        row = None if pd.isna(index) else int(index)
        # a case with no row is about the table's columns, and names the column in its value
        whole_frame = context == "DataFrameSchema" and row is not None
        name, found = ("", "") if whole_frame else ("" if pd.isna(column) else str(column), str(value))
        cases[SchemaCase(row, name, str(check), found)] = None
    return list(cases)
