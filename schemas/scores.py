"""Tables of scores and results, each with its rules. Scores are larger = more anomalous, metrics in [0, 1]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from mimiidg_build.schemas.manifests import CONDITIONS
from mimiidg_build.schemas.rules import Field, Table, dataframe_check
from mimiidg_build.schemas.sections import MACHINE_TYPE, SECTION

if TYPE_CHECKING:
    from pandera.typing.pandas import Series


def _metric(nullable: bool = False) -> Any:
    return Field(in_range={"min_value": 0.0, "max_value": 1.0}, nullable=nullable)


class ScoreTable(Table):
    """A file of scores as read. ``line`` is the line in the file, from 1."""

    line: Series[int] = Field(ge=1, unique=True)
    file_name: Series[str] = Field(unique=True, str_length={"min_value": 1})
    score: Series[float]


class DecisionTable(Table):
    """A file of decisions as read: 1 where the system says anomalous."""

    line: Series[int] = Field(ge=1, unique=True)
    file_name: Series[str] = Field(unique=True, str_length={"min_value": 1})
    decision: Series[int] = Field(isin=(0, 1))


class Detections(Table):
    """Recordings that a trained run has scored, one row a file.

    ``decision`` is 1 where the score is above the run's ``threshold``. ``percentile`` is the share of the section's
    training clips that score lower, in %. ``note`` says what was done about another length.
    """

    file: Series[str] = Field(unique=True)
    machine_type: Series[str] = Field(str_matches=MACHINE_TYPE)
    section: Series[str] = Field(str_matches=SECTION)
    score: Series[float]
    threshold: Series[float]
    decision: Series[int] = Field(isin=(0, 1))
    percentile: Series[float] = Field(in_range={"min_value": 0.0, "max_value": 100.0})
    note: Series[str]


class ScoredClips(Table):
    """Scored test clips with the truth: what every metric is computed from.

    ``domain`` is ``""`` where it is unknown, or there are none. ``attributes`` is the JSON text of an object, as in the
    clip table. ``decision`` is 1 anomalous, 0 normal, -1 not given.
    """

    machine_type: Series[str] = Field(str_matches=MACHINE_TYPE)
    section: Series[str] = Field(str_matches=SECTION)
    file_name: Series[str]
    domain: Series[str] = Field(isin=("source", "target", ""))
    condition: Series[str] = Field(isin=CONDITIONS)
    attributes: Series[str] = Field(str_matches=r"^\{.*\}$")
    score: Series[float]
    decision: Series[int] = Field(isin=(0, 1, -1))

    @dataframe_check(name="clip unique within section")
    def _clips_are_unique(cls, table: pd.DataFrame) -> pd.Series:
        return ~table.duplicated(["machine_type", "section", "file_name"], keep=False)


class SectionResults(Table):
    """One row per section. NaN where a metric needs domains or decisions that are not there.

    ``n_missing`` test clips have no score: the metrics are of the others.
    """

    machine_type: Series[str] = Field(str_matches=MACHINE_TYPE)
    section: Series[str] = Field(str_matches=SECTION)
    n_normal: Series[int] = Field(ge=1)
    n_anomaly: Series[int] = Field(ge=1)
    n_missing: Series[int] = Field(ge=0)
    auc_source: Series[float] = _metric(nullable=True)
    auc_target: Series[float] = _metric(nullable=True)
    auc_all: Series[float] = _metric()
    auc_source_within: Series[float] = _metric(nullable=True)
    auc_target_within: Series[float] = _metric(nullable=True)
    pauc: Series[float] = _metric()
    pauc_raw: Series[float] = _metric()
    pauc_source_within: Series[float] = _metric(nullable=True)
    pauc_target_within: Series[float] = _metric(nullable=True)
    precision_source: Series[float] = _metric(nullable=True)
    precision_target: Series[float] = _metric(nullable=True)
    recall_source: Series[float] = _metric(nullable=True)
    recall_target: Series[float] = _metric(nullable=True)
    f1_source: Series[float] = _metric(nullable=True)
    f1_target: Series[float] = _metric(nullable=True)


class ValueResults(Table):
    """One row per section, attribute and value: AUC of the normal clips that carry it, against all anomalous clips.

    ``domain`` is where those normal clips are from: source, target, both, or ``""`` (unknown).
    """

    machine_type: Series[str] = Field(str_matches=MACHINE_TYPE)
    section: Series[str] = Field(str_matches=SECTION)
    attribute: Series[str]
    value: Series[str]
    domain: Series[str] = Field(isin=("source", "target", "both", ""))
    n_normal: Series[int] = Field(ge=1)
    auc: Series[float] = _metric()


class LossCurve(Table):
    """A ``loss_<name>.csv`` as read: one row per epoch, from 1. ``held_out_loss`` is NaN without clips held out."""

    epoch: Series[int] = Field(ge=1, unique=True)
    loss: Series[float]
    held_out_loss: Series[float] = Field(nullable=True)
