"""Systems beside the best one, on the same clips: how much each falls behind, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mimiidg_build.benchmark.compare import compare_results
from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.errors import UsageError
from mimiidg_build.evaluation.paired import MEAN, OFFICIAL, Comparison
from mimiidg_build.report.cells import Cell, PageTable, difference, number
from mimiidg_build.report.headline import ranked

Pairs = Mapping[tuple[str, str], Comparison]
"""What each system is less the best one, by its name and profile."""


def with_best(results: Sequence[ModelResult]) -> Pairs:
    """Every system that knows no anomalies compared with the best of them.

    Parameters
    ----------
    results : sequence of ModelResult
        On one store.

    Returns
    -------
    {(name, profile): Comparison}
        Without the best one, and without those that cannot be compared, where domains are unknown.
    """
    systems = ranked([result for result in results if result.is_rival])
    found: dict[tuple[str, str], Comparison] = {}
    for other in systems[1:]:
        try:
            found[other.name, other.label] = compare_results(other, systems[0])
        except UsageError:  # the page says elsewhere that domains are unknown
            continue
    return found


def table(results: Sequence[ModelResult], pairs: Pairs) -> PageTable | None:
    """A row per system but the best: what its means and official score are less the best one's; None where none is."""
    compared = [result for result in ranked(results) if (result.name, result.label) in pairs and result.is_rival]
    if not compared:
        return None
    comparisons = [pairs[result.name, result.label] for result in compared]
    titles = {metric: title for title, metric in comparisons[0].protocol.shown.items()}
    rows = tuple(
        (
            Cell(result.name),
            Cell(result.label),
            number(len(result.runs)),
            Cell("clips and seeds" if found.over_seeds else "clips"),
            *(
                difference(one.value, one.low, one.high, found.few_clips)
                for one in found.differences
                if one.place == MEAN or one.metric == OFFICIAL
            ),
        )
        for result, found in zip(compared, comparisons, strict=True)
    )
    n_means = len(rows[0]) - 5  # a single section has no means
    means = tuple(f"{title if 'AUC' in title else f'AUC {title}'}" for title in titles.values())[:n_means]
    columns = ("System", "Profile", "Seeds", "Interval over", *means, "Official score")
    caption = f"Less the best system, {comparisons[0].second}, on the same clips, in percentage points"
    return PageTable(caption, columns, rows, sorted_by="Official score")
