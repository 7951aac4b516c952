"""The page's tables of results: systems compared, by section, at the threshold, along a sweep, on other variants.

AUCs are in [0, 1], in tables in %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mimiidg_build.benchmark.estimates import Estimate
from mimiidg_build.benchmark.model_result import SHOWN, ModelResult
from mimiidg_build.datasets.rows import records
from mimiidg_build.report.cells import Cell, PageTable, attribute_value, estimate, number, offset_db, with_minus
from mimiidg_build.report.headline import ranked, score
from mimiidg_build.report.sweeps import Sweep, differences
from mimiidg_build.schemas.manifests import DOMAINS
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.store.store import Store


def comparison(results: Sequence[ModelResult]) -> PageTable:
    """One row per result, the best first: means over sections with 95 % intervals, beside the paper's means."""
    with_paper = any(result.published for result in results)
    rows = tuple(
        (
            Cell(result.name),
            Cell(result.label),
            number(len(result.runs)),
            *_means(result),
            number(100 * _mean_f1(result), 2),
            *(_papers(result.published, "average") if with_paper else ()),
        )
        for result in ranked(results)
    )
    means = (*_titles("Mean "), "Official score", "Mean F1")
    columns = ("System", "Profile", "Seeds", *means, *_paper_titles(with_paper))
    caption = "Means over all sections in %, with 95 % intervals"
    return PageTable(caption, columns, rows, sorted_by="Official score")


def _mean_f1(result: ModelResult) -> float:
    """F1 at the threshold, mean over sections and domains, then over seeds; NaN without decisions."""
    return float(np.mean([run.evaluation.means["arithmetic"].get("f1", math.nan) for run in result.runs]))


def benchmark(result: ModelResult) -> PageTable:
    """One row per section, mean and official score at the end, beside the paper's."""
    paper = result.published

    def row(name: str, estimates: Mapping[str, Estimate], papers_name: str) -> tuple[Cell, ...]:
        cells = tuple(estimate(estimates[metric]) for metric in SHOWN.values())
        return (Cell(name), *cells, *(_papers(paper, papers_name) if paper else ()))

    rows = tuple(
        row(name, {metric: result.section(name, metric) for metric in SHOWN.values()}, name)
        for name in result.store.sections
    )
    mean = row("mean", {metric: result.mean(metric) for metric in SHOWN.values()}, "average")
    blank = (Cell(""),) * (len(mean) - 2)
    official = (Cell("official score"), estimate(result.official_score), *blank)
    columns = ("Section", *_titles(), *_paper_titles(bool(paper)))
    return PageTable(
        f"{result.name}, {result.label} profile: AUC in %, with 95 % intervals", columns, rows, (mean, official)
    )


def value_aucs(result: ModelResult) -> PageTable:
    """AUC per attribute value of one result."""
    rows = tuple(
        (
            Cell(f"{row['machine_type']}/{row['section']}"),
            Cell(row["attribute"]),
            attribute_value(row["value"]),
            Cell(row["domain"], tone=row["domain"]),
            number(row["n_normal"]),
            number(100 * row["auc"], 2),
        )
        for row in records(result.values)
    )
    columns = ("Section", "Attribute", "Value", "Domain", "Normal clips", "AUC [%]")
    return PageTable(f"{result.name}: AUC per attribute value", columns, rows)


def decisions(result: ModelResult) -> PageTable | None:
    """Precision, recall and F1 at the threshold, a row per section, mean over seeds; None where nothing was decided."""
    metrics = {
        f"{title} {domain}": f"{metric}_{domain}"
        for title, metric in (("Precision", "precision"), ("Recall", "recall"), ("F1", "f1"))
        for domain in DOMAINS
    }
    found = result.sections[list(metrics.values())]
    if found.isna().all(axis=None):
        return None
    rows = tuple(
        (Cell(str(SectionId(*key))), *(number(100 * value, 2) for value in row))
        for key, row in zip(found.index, found.to_numpy(), strict=True)
    )
    mean = (Cell("mean"), *(number(100 * value, 2) for value in found.mean(skipna=False)))
    caption = f"{result.name}, {result.label} profile: precision, recall and F1 at the threshold in %"
    return PageTable(caption, ("Section", *metrics), rows, (mean,))


def known_anomalies(curves: Sweep) -> PageTable:
    """One row per system and number of known anomalies."""
    rows = tuple(
        (
            Cell(name),
            Cell(label),
            number(result.known_anomalies),
            *_means(result),
        )
        for (name, label), results in curves.items()
        for result in results
    )
    columns = ("System", "Profile", "Known anomalies k", *_titles("Mean "), "Official score")
    return PageTable("AUC against known anomalies, means over sections in %, with 95 % intervals", columns, rows)


def sweep(curves: Sweep, title: str) -> PageTable:
    """One row per model and SNR offset."""
    rows = tuple(
        (
            Cell(model),
            Cell(label),
            offset_db(result.snr_offset_db),
            *_means(result),
            Cell(result.store.attributes.variant.name),
        )
        for (model, label), results in curves.items()
        for result in results
    )
    columns = ("Model", "Profile", f"{title} offset [dB]", *_titles("Mean "), "Official score", "Variant")
    return PageTable(f"AUC against {title}, means over sections in %, with 95 % intervals", columns, rows)


def other_variants(store: Store, results: Sequence[ModelResult], others: Sequence[ModelResult]) -> PageTable | None:
    """The systems of this store on other variants, system by system; None where no other variant has any of them.

    Parameters
    ----------
    store : Store
    results : sequence of ModelResult
        On this store.
    others : sequence of ModelResult
        On other variants.

    Returns
    -------
    PageTable or None
    """
    rows: list[tuple[Cell, ...]] = []
    for own in ranked([result for result in results if result.is_plain]):
        alike = [result for result in others if (result.model, result.label) == (own.model, own.label)]
        rows += [_variant_row(own, result, store) for result in (own, *ranked(alike)) if alike]
    means = ("Mean AUC source", "Mean AUC target", "Official score", "Change")
    columns = ("System", "Profile", "Variant", "Differs in", "Seeds", *means)
    caption = "Other variants: means over sections in %, with 95 % intervals; change in percentage points"
    return PageTable(caption, columns, tuple(rows)) if rows else None


def _variant_row(own: ModelResult, result: ModelResult, store: Store) -> tuple[Cell, ...]:
    change = 100 * (score(result).value - score(own).value)
    differs = "this report's" if result is own else ", ".join(differences(store, result.store)) or "name only"
    shown = Cell("") if result is own else Cell(with_minus(f"{change:+.2f}"), number=change, exact=(change,))
    name = result.store.attributes.variant.name
    return (
        Cell(own.name),
        Cell(own.label),
        Cell(name),
        Cell(differs),
        number(len(result.runs)),
        estimate(result.mean("auc_source")),
        estimate(result.mean("auc_target")),
        estimate(result.official_score),
        shown,
    )


def _means(result: ModelResult) -> tuple[Cell, ...]:
    """Means over sections, and the official score."""
    return (*(estimate(result.mean(metric)) for metric in SHOWN.values()), estimate(result.official_score))


def _titles(prefix: str = "") -> tuple[str, ...]:
    return tuple(f"{prefix}{title if metric == 'pauc' else f'AUC {title}'}" for title, metric in SHOWN.items())


def _papers(paper: Mapping[str, tuple[float, float]], name: str) -> tuple[Cell, ...]:
    return tuple(number(value, 2) for value in paper[name]) if name in paper else (Cell(""), Cell(""))


def _paper_titles(shown: bool) -> tuple[str, ...]:
    return ("Paper source", "Paper target") if shown else ()
