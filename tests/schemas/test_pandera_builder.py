"""Our tables are checked quickly, and by pandera where they may break a rule: with what pandera alone would say."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, Optional

import pandas as pd
import pandera.pandas as pa
import pytest
from pandera.errors import SchemaErrors
from pandera.typing.pandas import Series

from mimiidg_build.schemas import scores, tables
from mimiidg_build.schemas.rules import Field, Table
from tests.schemas.test_schemas import CLIP, FINDING, LEVEL, NOISE, PLANNED

METRICS = ("auc", "pauc", "precision", "recall", "f1")
TYPES = {"str": str, "int": int, "float": float, "bool": bool}
COUNTS = {"n_normal": 3, "n_anomaly": 3, "n_missing": 0}
SCORED = {"machine_type": "fan", "section": "00", "file_name": "a.wav", "domain": "source", "condition": "normal"}
ROWS: dict[type[Table], dict[str, Any]] = {
    tables.Findings: FINDING,
    tables.Levels: LEVEL,
    tables.MixPlan: PLANNED,
    tables.ClipTable: CLIP,
    tables.NoiseTable: NOISE,
    tables.StoredClips: CLIP
    | {"row": 0, "power": 0.1, "peak": 0.5, "measured_added_noise_snr_db": float("nan"), "n_saturated": 0},
    tables.AttributeTable: {"line": 2, "file_name": "a.wav"}
    | dict.fromkeys(["d1p", "d1v", "d2p", "d2v", "d3p", "d3v", "full_name"], ""),
    scores.ScoreTable: {"line": 1, "file_name": "a.wav", "score": 0.5},
    scores.DecisionTable: {"line": 1, "file_name": "a.wav", "decision": 1},
    scores.Detections: {"file": "a.wav", "machine_type": "fan", "section": "00", "score": 1.0, "threshold": 0.5}
    | {"decision": 1, "percentile": 99.0, "note": ""},
    scores.ScoredClips: SCORED | {"attributes": "{}", "score": 1.0, "decision": -1},
    scores.SectionResults: {"machine_type": "fan", "section": "00"}
    | COUNTS
    | dict.fromkeys([name for name in scores.SectionResults.columns if name.split("_")[0] in METRICS], 0.5),
    scores.ValueResults: {"machine_type": "fan", "section": "00", "attribute": "vel", "value": "6", "domain": "both"}
    | {"n_normal": 3, "auc": 0.5},
    scores.LossCurve: {"epoch": 1, "loss": 0.5, "held_out_loss": float("nan")},
}


def panderas_own(model: type[Table]) -> pa.DataFrameSchema:
    """The schema that pandera makes of a model that is declared as ours is."""
    content: dict[str, Any] = {"__annotations__": {}, "Config": type("Config", (), {"strict": True, "ordered": True})}
    for name, (dtype, required, rules) in model.columns.items():
        column: Any = Series[TYPES[dtype]]
        content["__annotations__"][name] = column if required else Optional[column]  # noqa: UP045
        content[name] = pa.Field(nullable=rules.nullable, unique=rules.unique, **rules.checks)
    for check, method in model.row_checks.items():
        content[method] = pa.dataframe_check(name=check)(getattr(model, method).__func__)
    return type(model.__name__, (pa.DataFrameModel,), content).to_schema()


def every_model(base: type[Table] = Table) -> list[type[Table]]:
    direct = [model for model in base.__subclasses__() if model.__module__.startswith("mimiidg_build.schemas")]
    return direct + [model for parent in direct for model in every_model(parent)]


def test_there_is_a_row_of_every_table() -> None:
    assert ROWS.keys() == set(every_model())


@pytest.mark.parametrize("model", ROWS)
def test_the_schema_is_what_pandera_makes_of_such_a_model(model: type[Table]) -> None:
    ours, theirs = model.to_schema(), panderas_own(model)
    assert list(ours.columns) == list(theirs.columns) != []
    assert {name: vars(column) for name, column in ours.columns.items()} == {
        name: vars(column) for name, column in theirs.columns.items()
    }
    assert [check.name for check in ours.checks] == [check.name for check in theirs.checks]
    assert ours.index is theirs.index is None
    assert (ours.strict, ours.ordered) == (theirs.strict, theirs.ordered) == (True, True)


def damaged_frames(row: dict[str, Any]) -> list[pd.DataFrame]:
    """Every column in turn missing or of wrong values; a column too many, the order reversed, a row twice."""
    whole = pd.DataFrame([row])
    frames = [pd.concat([whole, whole], ignore_index=True), whole.assign(more=1), whole[list(row)[::-1]]]
    for name in row:
        three = pd.concat([whole] * 3, ignore_index=True)
        frames += [whole.drop(columns=name), three.assign(**{name: ["?", None, -1]}), whole.assign(**{name: ["?\n"]})]
        frames += [three.assign(**{name: [float("nan"), -1.0, 2.5]}), whole.assign(**{name: pd.array([""], "str")})]
        frames += [whole.assign(**{name: value}) for value in (-1, 0, 1, 2, -1.0, 0.0, 101.0, float("nan"), None, "?")]
    return frames


@pytest.mark.parametrize("model", ROWS)
def test_what_passes_quickly_passes_pandera_unchanged(model: type[Table]) -> None:
    whole = pd.DataFrame([ROWS[model]])
    frames = [whole, *damaged_frames(ROWS[model])]
    passed = [frame for frame in frames if model.holds(frame)]
    assert passed[0] is whole, "it takes the quick way"
    assert len(passed) < len(frames) / 2, "the damage is felt"
    kept = {frame.to_csv(): frame for frame in passed}
    assert all(model.validate(frame).to_csv() == text for text, frame in kept.items())
    schema, alone = panderas_own(model), any(rules.unique for _, _, rules in model.columns.values()) or model.row_checks
    together: dict[object, list[pd.DataFrame]] = {}  # frames of one kind: every rule but those is of one value
    for text, frame in kept.items():
        together.setdefault(text if alone else (*frame.columns, *map(str, frame.dtypes)), []).append(frame)
    for frames in together.values():
        one = pd.concat(frames, ignore_index=True)
        text = one.to_csv()
        assert schema.validate(one, lazy=True).to_csv() == text


BROKEN: dict[str, Any] = {
    "ge": lambda bound: bound - 1,
    "gt": lambda bound: bound,
    "le": lambda bound: bound + 0.5,
    "in_range": lambda bounds: bounds["max_value"] + 0.5,
    "isin": lambda allowed: type(allowed[0])(7),
    "str_matches": lambda pattern: "\n",
    "str_length": lambda bounds: "",
}


@pytest.mark.parametrize("model", ROWS)
def test_no_broken_rule_passes_quickly(model: type[Table]) -> None:
    whole = pd.DataFrame([ROWS[model]])
    for name, column in model.columns.items():
        for rule, bound in column.rules.checks.items():
            value = BROKEN[rule](bound)
            broken = whole.assign(**{name: pd.array([value], whole[name].dtype)})
            assert not model.holds(broken), f"{name} = {value!r}, against {rule} {bound}"
        if name in whole and column.dtype in ("str", "float"):
            missing = whole.assign(**{name: pd.array([None], whole[name].dtype)})
            assert model.holds(missing) == column.rules.nullable, f"nothing in {name}"
        if column.rules.unique:
            assert not model.holds(pd.concat([whole] * 2, ignore_index=True)), f"{name} twice"


def test_a_table_that_breaks_a_rule_is_told_of_as_pandera_tells() -> None:
    frame = pd.DataFrame([LEVEL, LEVEL | {"power": -1.0}, LEVEL | {"member": "b.wav", "peak": float("nan")}])
    told = []
    for schema in (tables.Levels, panderas_own(tables.Levels)):
        with pytest.raises(SchemaErrors, match="greater_than_or_equal_to") as refused:
            schema.validate(frame, lazy=True)  # type: ignore[attr-defined]
        told.append(refused.value.failure_cases.to_csv())
    assert told[0] == told[1]


def test_a_rule_that_is_not_checked_here_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="no quick check for str_startswith; there are ge, gt"):
        Field(str_startswith="a")


VALIDATE_OURS = """
import sys
import pandas as pd
import pandera.api.pandas.model, pandera.typing
before = [getattr(pandera.api.pandas.model, name) for name in ("get_index_types", "get_series_types")]
from mimiidg_build.schemas.tables import Levels
Levels.validate(pd.DataFrame([{"member": "a.wav", "power": 0.5, "peak": 1.0}]))
Levels.to_schema().validate(pd.DataFrame([{"member": "a.wav", "power": 0.5, "peak": 1.0}]))
assert "dask.dataframe" not in sys.modules, "0.7 s of start-up"
after = [getattr(pandera.api.pandas.model, name) for name in ("get_index_types", "get_series_types")]
assert after == before == [pandera.typing.get_index_types, pandera.typing.get_series_types]
"""
USERS_MODEL = """
import dask.dataframe
import pandera.pandas as pa
from pandera.typing.dask import Index, Series
class Theirs(pa.DataFrameModel):
    value: Series[float] = pa.Field(ge=0)
    number: Index[int] = pa.Field(ge=0)
assert list(Theirs.to_schema().columns) == ["value"] and Theirs.to_schema().index is not None
def ddf(value):
    frame = pd.DataFrame({"value": [value]}, index=pd.Index([0], name="number"))
    return dask.dataframe.from_pandas(frame, npartitions=1)
print(len(Theirs.validate(ddf(1.0)).compute()))
try:
    Theirs.validate(ddf(-1.0)).compute()
except (pa.errors.SchemaError, pa.errors.SchemaErrors) as error:
    print("refused")
"""


def test_a_table_that_breaks_no_rule_needs_no_pandera() -> None:
    code = """
import sys
import pandas as pd
from mimiidg_build.datasets.findings import Finding, findings_frame
findings_frame([Finding("warning", "size", "1/fan.zip", "too short")])
assert "pandera" not in sys.modules, "a third of a second of start-up"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow  # the next test begins with it
def test_importing_our_tables_changes_nothing_of_pandera() -> None:
    subprocess.run([sys.executable, "-c", VALIDATE_OURS], check=True)


def test_a_users_model_on_another_back_end_still_works() -> None:
    pytest.importorskip("pandera.typing.dask")
    code = VALIDATE_OURS + USERS_MODEL
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1", "refused"]
