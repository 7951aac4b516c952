"""A run's numbers beside the paper's: the same metric over the same sections, place by place. All in %."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.benchmark.published import AVERAGE, PaperTable
from mimiidg_build.evaluation.section_metrics import pooled
from mimiidg_build.schemas.sections import SectionId

TITLES = {
    "auc_source": "source",
    "auc_target": "target",
    "auc_all": "AUC",
    "pauc": "pAUC",
    "auc_pooled": "AUC pooled",
    "pauc_pooled": "pAUC pooled",
}


@dataclass(frozen=True)
class Beside:
    """One number of a paper, and the run's: ``place`` is a section, a machine type, or ``average``."""

    source: str
    place: str
    sections: frozenset[str]
    metric: str
    own: float
    paper: float

    @property
    def title(self) -> str:
        """What tables call the metric."""
        return TITLES.get(self.metric, self.metric)


def beside(result: ModelResult) -> list[Beside]:
    """Every number of the papers' tables that a result has one for: of a place whose sections it evaluated, all."""
    return [
        Beside(table.source, place, sections, metric, 100 * _own(result, table, place, metric), paper)
        for table in result.papers
        for place, numbers in table.rows[result.model].items()
        if (sections := frozenset(table.sections_of(place, result.model))) <= set(result.evaluated)
        for metric, paper in zip(table.metrics, numbers, strict=True)
    ]


def _own(result: ModelResult, table: PaperTable, place: str, metric: str) -> float:
    if place == AVERAGE and table.sections:  # of the machine types' means, as papers average
        return float(np.mean([_of_type(result, table.sections_of(name, ""), metric) for name in table.sections]))
    return _of_type(result, table.sections_of(place, result.model), metric)


def _of_type(result: ModelResult, sections: Sequence[str], metric: str) -> float:
    """A metric in [0, 1] over sections, mean over the seeds."""
    if metric in ("auc_pooled", "pauc_pooled"):
        return float(np.mean([_pooled(clips, sections)[metric] for clips in result.scored_by_seed]))
    return float(np.mean([result.sections.loc[tuple(SectionId.parse(name)), metric] for name in sections]))


def _pooled(clips: Mapping[str, pd.DataFrame], sections: Sequence[str]) -> dict[str, float]:
    normal, anomaly = (
        [own.loc[own["condition"] == condition, "score"].to_numpy() for own in map(clips.__getitem__, sections)]
        for condition in ("normal", "anomaly")
    )
    return pooled(normal, anomaly)


def rows_beside_papers(results: Sequence[ModelResult]) -> list[dict[str, str]]:
    """A row for each result and place: ours and the paper's, metric by metric; the places of sections have a table of
    their own (``rows.result_rows``)."""
    found = [(result, [one for one in beside(result) if "/" not in one.place]) for result in results]
    titles = list(dict.fromkeys(one.title for _, numbers in found for one in numbers))
    return [row for result, numbers in found for row in _rows(result, numbers, titles)]


def _rows(result: ModelResult, numbers: Sequence[Beside], titles: Sequence[str]) -> Iterator[dict[str, str]]:
    for source, place in dict.fromkeys((one.source, one.place) for one in numbers):
        own = {one.title: one for one in numbers if (one.source, one.place) == (source, place)}
        cells = {}
        for title in titles:
            cells[title] = f"{own[title].own:.2f}" if title in own else ""
            cells[f"paper {title}"] = f"{own[title].paper:.2f}" if title in own else ""
        yield {"model": result.name, "of": place, **cells, "source": source}
