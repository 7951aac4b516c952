"""The shape of ``results.json``: every metric of one system on one test set.

Metrics are fractions in [0, 1]. ``null`` is a metric that is unknown, because the domains or the decisions that it
needs are not given. Intervals are (low, high), at 95 %, over the test clips; a metric that has none is left out.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mimiidg_build.schemas.manifests import Protocol, Strict
from mimiidg_build.schemas.sections import MachineType, SectionName

Metric = Annotated[float, Field(ge=0, le=1)]
# Means and bounds are not held to [0, 1]: rounding may carry them past it by the last bit.
Finite = Annotated[float, Field(allow_inf_nan=False)]
Interval = tuple[Finite, Finite]
ClipCount = Annotated[int, Field(ge=1)]


class SectionResult(Strict):
    """The metrics of one section; ``intervals`` by metric, empty where none were computed.

    The columns of ``schemas.scores.SectionResults``, in the same order. Files of early versions lack those that have a
    default.
    """

    machine_type: MachineType
    section: SectionName
    n_normal: ClipCount
    n_anomaly: ClipCount
    n_missing: Annotated[int, Field(ge=0)] = 0
    auc_source: Metric | None
    auc_target: Metric | None
    auc_all: Metric
    auc_source_within: Metric | None
    auc_target_within: Metric | None
    pauc: Metric
    pauc_raw: Metric
    pauc_source_within: Metric | None = None
    pauc_target_within: Metric | None = None
    precision_source: Metric | None
    precision_target: Metric | None
    recall_source: Metric | None
    recall_target: Metric | None
    f1_source: Metric | None
    f1_target: Metric | None
    intervals: dict[str, Interval]


class ValueResult(Strict):
    """AUC of the normal clips that carry one attribute value, against all anomalous clips of the section."""

    machine_type: MachineType
    section: SectionName
    attribute: str
    value: str
    domain: Annotated[str, Field(pattern=r"^(source|target|both|)$")]
    n_normal: ClipCount
    auc: Metric


class Means(Strict):
    """Means over sections, by metric."""

    arithmetic: dict[str, Finite | None]
    harmonic: dict[str, Finite | None]


class MachineTypeResult(Strict):
    """Means over the sections of one machine type, and the metrics of all its clips pooled.

    ``intervals`` are of the arithmetic means.
    """

    machine_type: MachineType
    arithmetic: dict[str, Finite | None]
    harmonic: dict[str, Finite | None]
    auc_pooled: Finite
    pauc_pooled: Finite
    intervals: dict[str, Interval] = {}


class SmallestCell(Strict):
    """The cell (``target anomaly``; ``anomaly`` where there are no domains) that has the fewest test clips."""

    section: str
    cell: str
    n: Annotated[int, Field(ge=0)]


class Results(Strict):
    """All of a results file. ``means`` and ``official_score`` are over all sections of all machine types.

    ``protocol`` is how the year is judged: what the official score is made of. ``mean_intervals`` are of the arithmetic
    means. Where ``few_clips``, some cell has so few clips that means and official score say little.
    """

    sections: list[SectionResult]
    protocol: Protocol = "2022"
    official_score: Finite | None
    official_score_interval: Interval | None
    means: Means
    mean_intervals: dict[str, Interval]
    harmonic_mean_intervals: dict[str, Interval] = {}
    few_clips: bool = False
    smallest_cell: SmallestCell | None = None
    machine_types: list[MachineTypeResult]
    values: list[ValueResult]
    confidence_level: Annotated[float, Field(gt=0, lt=1)]
    notes: list[str]
