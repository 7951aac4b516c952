"""The page's tables of results: systems compared, by section, at the threshold, along a sweep, on other variants.

AUCs are in [0, 1], in tables in %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mimiidg_build.benchmark.beside_papers import beside
from mimiidg_build.benchmark.estimates import Estimate
from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.benchmark.rows import shown_of
from mimiidg_build.datasets.rows import records
from mimiidg_build.report.cells import Cell, PageTable, attribute_value, estimate, number, offset_db, with_minus
from mimiidg_build.report.headline import ranked, score
from mimiidg_build.report.sweeps import Sweep, differences
from mimiidg_build.schemas.manifests import DOMAINS
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.store.store import Store


def comparison(results: Sequence[ModelResult]) -> PageTable:
    """One row per result, the best first: means over sections with 95 % intervals, beside the paper's means."""
    with_paper, shown = any(result.published for result in results), shown_of(results)
    rows = tuple(
        (
            Cell(result.name),
            Cell(result.label),
            number(len(result.runs)),
            *_means(result, shown),
            number(100 * _mean_f1(result), 2),
            *(_papers(result.published, "average") if with_paper else ()),
        )
        for result in ranked(results)
    )
    means = (*_titles(shown, "Mean "), "Official score", "Mean F1")
    columns = ("System", "Profile", "Seeds", *means, *_paper_titles(with_paper))
    caption = "Means over all sections in %, with 95 % intervals"
    return PageTable(caption, columns, rows, sorted_by="Official score")


def _mean_f1(result: ModelResult) -> float:
    """F1 at the threshold, mean over sections and domains, then over seeds; NaN without decisions."""
    return float(np.mean([run.evaluation.means["arithmetic"].get("f1", math.nan) for run in result.runs]))


def benchmark(result: ModelResult) -> PageTable:
    """One row per section, mean and official score at the end, beside the paper's."""
    paper, shown = result.published, result.shown

    def row(name: str, estimates: Mapping[str, Estimate], papers_name: str) -> tuple[Cell, ...]:
        cells = tuple(estimate(estimates[metric]) for metric in shown.values())
        return (Cell(name), *cells, *(_papers(paper, papers_name) if paper else ()))

    rows = tuple(
        row(name, {metric: result.section(name, metric) for metric in shown.values()}, name)
        for name in result.evaluated
    )
    mean = row("mean", {metric: result.mean(metric) for metric in shown.values()}, "average")
    blank = (Cell(""),) * (len(mean) - 2)
    official = (Cell("official score"), estimate(result.official_score), *blank)
    columns = ("Section", *_titles(shown), *_paper_titles(bool(paper)))
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


def beside_papers(results: Sequence[ModelResult]) -> PageTable | None:
    """A row per number of a paper: ours and the paper's, of machine types and averages; None where there is none."""
    rows = tuple(
        (
            Cell(result.name),
            Cell(result.label),
            Cell(one.place),
            Cell(one.title),
            number(one.own, 2),
            number(one.paper, 2),
            Cell(one.source),
        )
        for result in results
        for one in beside(result)
        if "/" not in one.place
    )
    columns = ("System", "Profile", "Of", "Metric", "Here", "Paper", "Source")
    return PageTable("Beside the papers' numbers, in %", columns, rows) if rows else None


def known_anomalies(curves: Sweep) -> PageTable:
    """One row per system and number of known anomalies."""
    shown = _shown_in(curves)
    rows = tuple(
        (
            Cell(name),
            Cell(label),
            number(result.known_anomalies),
            *_means(result, shown),
        )
        for (name, label), results in curves.items()
        for result in results
    )
    columns = ("System", "Profile", "Known anomalies k", *_titles(shown, "Mean "), "Official score")
    return PageTable("AUC against known anomalies, means over sections in %, with 95 % intervals", columns, rows)


def sweep(curves: Sweep, title: str) -> PageTable:
    """One row per model and SNR offset."""
    shown = _shown_in(curves)
    rows = tuple(
        (
            Cell(model),
            Cell(label),
            offset_db(result.snr_offset_db),
            *_means(result, shown),
            Cell(result.store.attributes.variant.name),
        )
        for (model, label), results in curves.items()
        for result in results
    )
    columns = ("Model", "Profile", f"{title} offset [dB]", *_titles(shown, "Mean "), "Official score", "Variant")
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
    aucs = {title: metric for title, metric in shown_of(results).items() if not title.startswith(("all", "pAUC"))}
    for own in ranked([result for result in results if result.is_plain]):
        alike = [result for result in others if (result.model, result.label) == (own.model, own.label)]
        rows += [_variant_row(own, result, store, aucs) for result in (own, *ranked(alike)) if alike]
    means = (*_titles(aucs, "Mean "), "Official score", "Change")
    columns = ("System", "Profile", "Variant", "Differs in", "Seeds", *means)
    caption = "Other variants: means over sections in %, with 95 % intervals; change in percentage points"
    return PageTable(caption, columns, tuple(rows)) if rows else None


def _variant_row(own: ModelResult, result: ModelResult, store: Store, aucs: Mapping[str, str]) -> tuple[Cell, ...]:
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
        *(estimate(result.mean(metric)) for metric in aucs.values()),
        estimate(result.official_score),
        shown,
    )


def _shown_in(curves: Sweep) -> dict[str, str]:
    return shown_of([result for results in curves.values() for result in results])


def _means(result: ModelResult, shown: Mapping[str, str]) -> tuple[Cell, ...]:
    """Means over sections, and the official score."""
    return (*(estimate(result.mean(metric)) for metric in shown.values()), estimate(result.official_score))


def _titles(shown: Mapping[str, str], prefix: str = "") -> tuple[str, ...]:
    return tuple(f"{prefix}{title if 'AUC' in title else f'AUC {title}'}" for title in shown)


def _papers(paper: Mapping[str, tuple[float, float]], name: str) -> tuple[Cell, ...]:
    return tuple(number(value, 2) for value in paper[name]) if name in paper else (Cell(""), Cell(""))


def _paper_titles(shown: bool) -> tuple[str, ...]:
    return ("Paper source", "Paper target") if shown else ()
