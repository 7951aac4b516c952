"""Our tables build their columns without pandera's look-up of index types: the same columns, and pandera unchanged."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pandas as pd
import pandera.pandas as pa
import pytest
from pandera.api.pandas.model import DataFrameModel
from pandera.errors import SchemaErrors

from mimiidg_build.schemas.tables import Findings, Levels, MixPlan, Table
from tests.schemas.test_schemas import FINDING, LEVEL, PLANNED

ROWS: dict[type[Table], dict[str, Any]] = {Findings: FINDING, Levels: LEVEL, MixPlan: PLANNED}


def panderas_own(model: type[Table]) -> pa.DataFrameSchema:
    """The model's schema as pandera itself builds it."""
    build = DataFrameModel._build_columns_index.__func__  # type: ignore[attr-defined]
    ours = model.to_schema()
    columns, index = build(model, model.__fields__, model.__checks__, model.__parsers__)
    return pa.DataFrameSchema(
        columns, index=index, checks=ours.checks, strict=True, ordered=True, coerce=ours.coerce, name=ours.name
    )


def every_model(base: type[Table] = Table) -> list[type[Table]]:
    direct = [model for model in base.__subclasses__() if model.__module__ == "mimiidg_build.schemas.tables"]
    return direct + [model for parent in direct for model in every_model(parent)]


@pytest.mark.parametrize("model", every_model())
def test_columns_are_those_of_panderas_own_builder(model: type[Table]) -> None:
    ours, theirs = model.to_schema(), panderas_own(model)
    assert list(ours.columns) == list(theirs.columns) != []
    assert {name: vars(column) for name, column in ours.columns.items()} == {
        name: vars(column) for name, column in theirs.columns.items()
    }
    assert ours.index is theirs.index is None
    assert (ours.strict, ours.ordered) == (True, True)


def damaged_frames(row: dict[str, Any]) -> list[pd.DataFrame]:
    """Every column in turn missing or of wrong values; a column too many, the order reversed, a row twice."""
    whole = pd.DataFrame([row])
    frames = [whole, pd.concat([whole, whole], ignore_index=True), whole.assign(more=1), whole[list(row)[::-1]]]
    for name in row:
        three = pd.concat([whole] * 3, ignore_index=True)
        frames += [whole.drop(columns=name), three.assign(**{name: ["?", None, -1]})]
        frames += [three.assign(**{name: [float("nan"), -1.0, 2.5]})]
    return frames


def outcome(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> str:
    try:
        return str(schema.validate(frame, lazy=True).to_csv())
    except SchemaErrors as error:
        return str(error.failure_cases.to_csv())


@pytest.mark.parametrize("model", [pytest.param(m, marks=[pytest.mark.slow] * (m is MixPlan)) for m in ROWS])
def test_validation_gives_what_panderas_own_builder_gives(model: type[Table]) -> None:
    ours, theirs = model.to_schema(), panderas_own(model)
    frames = damaged_frames(ROWS[model])
    outcomes = [outcome(ours, frame) for frame in frames]
    assert outcomes == [outcome(theirs, frame) for frame in frames]
    assert len(set(outcomes)) > len(frames) / 2, "the damage is felt"


VALIDATE_OURS = """
import sys
import pandas as pd
import pandera.api.pandas.model, pandera.typing
before = [getattr(pandera.api.pandas.model, name) for name in ("get_index_types", "get_series_types")]
from mimiidg_build.schemas.tables import Levels
Levels.validate(pd.DataFrame([{"member": "a.wav", "power": 0.5, "peak": 1.0}]))
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


@pytest.mark.slow  # the next test begins with it
def test_importing_our_tables_changes_nothing_of_pandera() -> None:
    subprocess.run([sys.executable, "-c", VALIDATE_OURS], check=True)


def test_a_users_model_on_another_back_end_still_works() -> None:
    pytest.importorskip("pandera.typing.dask")
    code = VALIDATE_OURS + USERS_MODEL
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1", "refused"]
