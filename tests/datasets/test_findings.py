"""Findings: as a table, summed up, raised, and from pandera's failure cases."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pandera.errors
import pandera.pandas as pa
import pytest

from mimiidg_build.datasets import findings
from mimiidg_build.datasets.findings import (
    ERROR_KINDS,
    Finding,
    check_kinds,
    findings_frame,
    raise_on_errors,
    schema_cases,
    summarise,
)
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.fetch.recordings import CHANGED
from mimiidg_build.schemas import tables
from mimiidg_build.schemas.tables import ClipTable, Findings

WARNING = Finding("warning", "size", "1/fan.zip", "a.wav has 3 bytes")
ERROR = Finding("error", "unknown_value", "1/fan.zip:fan/attributes_00.csv", "no m-n 'Q'", 7, "d1v", "Q", "W, X")


def test_every_kind_of_error_can_be_allowed():
    """What the rooms' sources call an error; else --allow would refuse a kind that a release has."""
    called = r"""(?:"error", |_BadLine\(|file\.error\((?:row|clip\.row), |origin\.error\(|Fault\(|check\(name=)"""
    pattern = called + r'"([a-z_0-9]+)"'
    folders = (Path(findings.__file__).parent, Path(tables.__file__).parent)
    found = {
        kind for folder in folders for path in folder.rglob("*.py") for kind in re.findall(pattern, path.read_text())
    }
    assert (found | {CHANGED}) - {"warning"} == set(ERROR_KINDS)
    check_kinds(["missing_table"])
    with pytest.raises(UsageError, match="of kind 'missing_tabel'. Did you mean 'missing_table'"):
        check_kinds(["missing_tabel"])


def test_frame_keeps_order_and_validates():
    frame = findings_frame([WARNING, ERROR])
    assert list(frame.columns) == list(Findings.to_schema().columns)
    assert frame.kind.tolist() == ["size", "unknown_value"] and frame.line.tolist() == [0, 7]
    with pytest.raises(pandera.errors.SchemaError, match="severity"):
        findings_frame([Finding("fatal", "size", "1/fan.zip", "a.wav has 3 bytes")])


def test_summary_groups_errors_first():
    summary = summarise(findings_frame([WARNING, ERROR, WARNING]))
    assert summary.values.tolist() == [
        ["error", "unknown_value", ERROR.table, 1, "line 7, d1v: no m-n 'Q'"],
        ["warning", "size", "1/fan.zip", 2, "a.wav has 3 bytes"],
    ]
    assert summarise(findings_frame([])).empty


def test_warnings_pass():
    raise_on_errors(findings_frame([WARNING]))
    raise_on_errors(findings_frame([]))


def test_errors_raise_one_message_with_places():
    with pytest.raises(DataError, match="3 errors found, the data cannot be used") as caught:
        raise_on_errors(findings_frame([WARNING, ERROR, ERROR, ERROR]))
    assert str(caught.value).splitlines()[1:] == [
        "  unknown_value in 1/fan.zip:fan/attributes_00.csv: line 7, d1v: no m-n 'Q' (and 2 more like it)"
    ]


def test_a_message_stays_readable():
    many = [Finding("error", f"kind_{i}", "t", "m") for i in range(40)]
    with pytest.raises(DataError, match="40 errors found") as caught:
        raise_on_errors(findings_frame(many))
    lines = str(caught.value).splitlines()
    assert len(lines) == 32 and lines[-1] == "  ... and 10 more groups"


def clip_rows(**changes: list[object]) -> pd.DataFrame:
    columns = {name: ["00", "01"] for name in ClipTable.to_schema().columns}
    columns |= {"machine_type": ["fan"] * 2, "split": ["test"] * 2, "domain": ["source"] * 2}
    columns |= {"condition": ["normal"] * 2, "index": [0, 1], "attributes": ["{}"] * 2}
    return pd.DataFrame(columns | changes)


def failures(frame: pd.DataFrame, model: type[pa.DataFrameModel] = ClipTable):
    with pytest.raises(pandera.errors.SchemaErrors, match="SCHEMA|DATA") as caught:
        model.validate(frame, lazy=True)
    return [(case.row, case.column, case.check.partition("(")[0], case.value) for case in schema_cases(caught.value)]


def test_a_check_of_the_frame_gives_one_case_a_row():
    assert failures(clip_rows(clip=["a", "a"])) == [(0, "", "duplicate_clip", ""), (1, "", "duplicate_clip", "")]


def test_all_faults_at_once_each_with_row_column_and_value():
    cases = failures(clip_rows(domain=["source", "both"], split=["train", "test"], condition=["anomaly", "normal"]))
    assert sorted(cases) == [(0, "", "anomaly_in_train", ""), (1, "domain", "isin", "both")]


def test_a_missing_column_has_no_row():
    assert (None, "ClipTable", "column_in_dataframe", "archive") in failures(clip_rows().drop(columns="archive"))


def test_followers_of_a_failed_coercion_are_dropped():
    class Numbers(pa.DataFrameModel):
        n: int = pa.Field(ge=0, coerce=True)

    checks = {check for _, _, check, _ in failures(pd.DataFrame({"n": ["1", "x"]}), Numbers)}
    assert checks == {"coerce_dtype"}
