"""The results of one system as an artefact: tables in memory, ``results.json`` on disk (``schemas.results``).

Metrics are in [0, 1]. What is unknown, because the domains or decisions that it needs are not given, is NaN in tables
and null in JSON. Intervals are (low, high), at 95 %, over clips.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from mimiidg_build.errors import DataError, counted, first_mistake
from mimiidg_build.evaluation.hanley_mcneil import LEVEL
from mimiidg_build.evaluation.small_cells import MARK, few_clips_notes, has_few_clips
from mimiidg_build.schemas.manifests import Protocol
from mimiidg_build.schemas.results import MachineTypeResult, Means, Results, SectionResult, SmallestCell, ValueResult
from mimiidg_build.schemas.scores import SectionResults, ValueResults
from mimiidg_build.schemas.sections import SectionId

Interval = tuple[float, float]
NAN = math.nan


@dataclass(frozen=True)
class Evaluation:
    """The results of one system.

    Attributes
    ----------
    sections : pd.DataFrame, ``SectionResults``
    values : pd.DataFrame, ``ValueResults``
        AUC per attribute value.
    machine_types : dict of str to MachineTypeResult
        Means over the sections of each machine type, and the metrics of its pooled clips.
    means : {"arithmetic": {metric: value}, "harmonic": {metric: value}}
        Over all sections.
    official_score : float
        Of the protocol; NaN where a section lacks what it is made of.
    section_intervals : dict of SectionId to {metric: (low, high)}
    mean_intervals, harmonic_mean_intervals : dict of metric to (low, high)
        Of the arithmetic and of the harmonic mean over all sections. Those over a machine type's, arithmetic, stand in
        ``machine_types``.
    official_score_interval : (low, high)
    notes : tuple of str
        What a reader of the numbers should know.
    protocol : {"mimii", "2020", "2021", "2022"}
        How the year is judged (:mod:`.protocols`).
    missing_sections : tuple of SectionId
        Sections that an official score is over as well, and that have no scores.
    smallest_cell : SmallestCell, optional
        Where the fewest test clips are; unknown in files of early versions.
    """

    sections: pd.DataFrame
    values: pd.DataFrame
    machine_types: dict[str, MachineTypeResult]
    means: dict[str, dict[str, float]]
    official_score: float
    section_intervals: dict[SectionId, dict[str, Interval]] = field(default_factory=dict)
    mean_intervals: dict[str, Interval] = field(default_factory=dict)
    harmonic_mean_intervals: dict[str, Interval] = field(default_factory=dict)
    official_score_interval: Interval = (NAN, NAN)
    notes: tuple[str, ...] = ()
    protocol: Protocol = "2022"
    missing_sections: tuple[SectionId, ...] = ()
    smallest_cell: SmallestCell | None = None

    def __repr__(self) -> str:
        """A line; the tables are attributes."""
        found = f"official score {100 * self.official_score:.2f} % of {self.protocol}"
        return f"<Evaluation of {counted(len(self.sections), 'section')}: {found}>"

    @property
    def n_missing_clips(self) -> int:
        """Test clips that have no score, of all sections."""
        return int(self.sections["n_missing"].sum())

    @property
    def few_clips(self) -> bool:
        """Whether a cell has so few clips that means and official score are marked."""
        return has_few_clips(self.smallest_cell)

    @property
    def mark(self) -> str:
        """What stands behind means and official score: ``*`` where clips are few."""
        return MARK if self.few_clips else ""

    @property
    def few_clips_notes(self) -> list[str]:
        """What the mark means, where there is one."""
        return few_clips_notes(self.smallest_cell)

    def to_results(self) -> Results:
        """The content of a results file."""
        low, high = self.official_score_interval
        return Results(
            sections=[self._section_result(row) for row in self.sections.to_dict("records")],
            protocol=self.protocol,
            official_score=null_if_nan(self.official_score),
            official_score_interval=None if math.isnan(low) or math.isnan(high) else (low, high),
            means=Means(**{name: nullable(values) for name, values in self.means.items()}),
            mean_intervals=self.mean_intervals,
            harmonic_mean_intervals=self.harmonic_mean_intervals,
            few_clips=self.few_clips,
            smallest_cell=self.smallest_cell,
            machine_types=list(self.machine_types.values()),
            values=[ValueResult(**_named(row)) for row in self.values.to_dict("records")],
            confidence_level=LEVEL,
            notes=list(self.notes),
        )

    def _section_result(self, row: Mapping[Any, Any]) -> SectionResult:
        intervals = self.section_intervals.get(SectionId(row["machine_type"], row["section"]), {})
        return SectionResult(**_named(row), intervals=intervals)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dicts and numbers, as ``to_json`` writes them; NaN becomes None."""
        return self.to_results().model_dump(mode="json")

    def to_json(self) -> str:
        """JSON text, numbers at full precision: they read back as the same float64."""
        # json's floats rather than pydantic's: files of every version print a number alike (1e-05, not 0.00001).
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)


def read_results(path: Path) -> Evaluation:
    """Read back what ``Evaluation.to_json`` wrote; what was null is NaN.

    Raises
    ------
    DataError
        The file cannot be read, or is not of the shape of ``schemas.results.Results``. The message names the file and
        the first key that is wrong.
    """
    try:
        results = Results.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}. Run the benchmark again.") from None
    except ValidationError as error:
        raise DataError(
            f"{path}: not a results file of this version: {first_mistake(error)}. Run the benchmark again."
        ) from None
    return Evaluation(
        sections=_table(SectionResults, results.sections),
        values=_table(ValueResults, results.values),
        machine_types={result.machine_type: result for result in results.machine_types},
        means={name: _numbers(values) for name, values in results.means.model_dump().items()},
        official_score=nan_if_null(results.official_score),
        section_intervals={
            SectionId(row.machine_type, row.section): row.intervals for row in results.sections if row.intervals
        },
        mean_intervals=results.mean_intervals,
        harmonic_mean_intervals=results.harmonic_mean_intervals,
        smallest_cell=results.smallest_cell,
        official_score_interval=results.official_score_interval or (NAN, NAN),
        notes=tuple(results.notes),
        protocol=results.protocol,
    )


def null_if_nan(value: Any) -> Any:
    """A value as the file holds it: None for NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _named(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row of a table as the fields of a model."""
    return {str(name): null_if_nan(value) for name, value in row.items()}


def nan_if_null(value: float | None) -> float:
    """A number as tables hold it: NaN for None."""
    return NAN if value is None else value


def nullable(values: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics by name as the file holds them: None for NaN."""
    return {metric: null_if_nan(value) for metric, value in values.items()}


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {metric: nan_if_null(value) for metric, value in values.items()}


def _table(
    schema: type[SectionResults] | type[ValueResults], rows: Sequence[SectionResult | ValueResult]
) -> pd.DataFrame:
    """Rows of a results file as the table that they were written from; None becomes NaN."""
    types = schema.dtypes()
    return schema.validate(pd.DataFrame([row.model_dump() for row in rows], columns=list(types)).astype(types))
