"""The page's tables: sections, attribute values, findings, results. AUCs are in [0, 1], in tables in %."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mimiidg_build.benchmark.estimates import Estimate
from mimiidg_build.benchmark.model_result import SHOWN, ModelResult
from mimiidg_build.datasets.findings import summarise
from mimiidg_build.datasets.manifest import load_table1
from mimiidg_build.datasets.rows import records
from mimiidg_build.report.cells import Cell, PageTable, attribute_value, estimate, number, signed_db, with_minus
from mimiidg_build.report.data_charts import GROUPS, ValueCount
from mimiidg_build.report.sweeps import Sweep
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.store.store import Store
from mimiidg_build.store.summary import power_db, section_rows, snr_title


def sections(store: Store) -> PageTable:
    """Every section: its shift, clips by domain and split, power, attenuation and SNR."""
    counted = ("source_train_normal", "target_train_normal")
    tested = ("source_test_normal", "source_test_anomaly", "target_test_normal", "target_test_anomaly")
    rows, title = [], snr_title(store)
    for row, (name, section) in zip(section_rows(store), store.sections.items(), strict=True):
        known, counts = load_table1().section(*SectionId.parse(name)), section.counts
        planned = section.planned_added_noise_snr_db
        rows.append(
            (
                Cell(name),
                Cell(known.shift if known else ""),
                number(section.n_clips),
                *(number(counts.get(group, 0)) for group in counted),
                number(sum(counts.get(group, 0) for group in tested)),
                number(power_db(section.a), 2),
                # twice: power_db takes a power, and this is a gain of amplitude
                number(2 * power_db(section.attenuation), 2),
                Cell(with_minus(row[f"{title} planned [dB]"]), number=planned[0] if planned else math.nan),
                Cell(with_minus(row[f"{title} measured [dB]"]), number=planned[0] if planned else math.nan),
                number(section.n_saturated_clips),
            )
        )
    counts_of = ("Clips", "Train source", "Train target", "Test")
    snr = (f"Planned {title} [dB]", f"Measured {title} [dB]")
    columns = ("Section", "Domain shift", *counts_of, "Power a [dB]", "Attenuation [dB]", *snr, "Saturated clips")
    return PageTable("Sections: clips, mean power before mixing, attenuation and SNR", columns, tuple(rows))


def values(counts: Sequence[ValueCount]) -> PageTable:
    """Clips per attribute value."""
    rows = tuple(
        (
            Cell(f"{count.machine_type}/{count.section}"),
            Cell(count.attribute),
            attribute_value(count.value),
            Cell(count.domain, tone=count.domain),
            *(number(n_clips) for n_clips in count.counts),
        )
        for count in counts
    )
    columns = ("Section", "Attribute", "Value", "Domain", *(title.capitalize() for _, _, title in GROUPS))
    return PageTable("Clips per attribute value", columns, rows)


def findings(found: pd.DataFrame) -> PageTable:
    """What validation found, one row per severity, kind and place."""
    rows = tuple(
        (
            Cell(row["severity"], tone=row["severity"]),
            Cell(row["kind"].replace("_", " ")),
            Cell(row["table"]),
            number(row["count"]),
            Cell(row["example"]),
        )
        for row in records(summarise(found))
    )
    return PageTable("Validation findings", ("Severity", "Kind", "Where", "Findings", "First one"), rows)


def comparison(results: Sequence[ModelResult]) -> PageTable:
    """One row per result: means over sections and official score with 95 % intervals, beside the paper's means."""
    with_paper = any(result.published for result in results)
    rows = tuple(
        (
            Cell(result.name),
            Cell(result.label),
            number(len(result.runs)),
            *_means(result),
            *(_papers(result.published, "average") if with_paper else ()),
        )
        for result in results
    )
    columns = ("System", "Profile", "Seeds", *_titles("Mean "), "Official score", *_paper_titles(with_paper))
    return PageTable("Means over all sections in %, with 95 % intervals", columns, rows)


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
    rows: list[tuple[Cell, ...]] = []
    for (model, label), results in curves.items():
        for result in results:
            rows.append(
                (
                    Cell(model),
                    Cell(label),
                    Cell(signed_db(result.snr_offset_db), number=result.snr_offset_db),
                    *_means(result),
                    Cell(result.store.attributes.variant.name),
                )
            )
    columns = ("Model", "Profile", f"{title} offset [dB]", *_titles("Mean "), "Official score", "Variant")
    return PageTable(f"AUC against {title}, means over sections in %, with 95 % intervals", columns, tuple(rows))


def _means(result: ModelResult) -> tuple[Cell, ...]:
    """Means over sections, and the official score."""
    return (*(estimate(result.mean(metric)) for metric in SHOWN.values()), estimate(result.official_score))


def _titles(prefix: str = "") -> tuple[str, ...]:
    return tuple(f"{prefix}{title if metric == 'pauc' else f'AUC {title}'}" for title, metric in SHOWN.items())


def _papers(paper: Mapping[str, tuple[float, float]], name: str) -> tuple[Cell, ...]:
    return tuple(number(value, 2) for value in paper[name]) if name in paper else (Cell(""), Cell(""))


def _paper_titles(shown: bool) -> tuple[str, ...]:
    return ("Paper source", "Paper target") if shown else ()


def facts(store: Store) -> dict[str, Any]:
    """The dataset at a glance: what a reader wants to know first, as (title, text)."""
    attributes, variant = store.attributes, store.attributes.variant
    size = attributes.size_bytes
    clips, n_samples, rate = store.clips, load_table1().n_samples, load_table1().sample_rate
    kinds = sorted(attributes.provenance.noise)
    return {
        "clips": f"{len(clips):,}",
        "sections": str(len(store.sections)),
        "machine types": str(clips["machine_type"].nunique()),
        "hours of audio": f"{len(clips) * n_samples / rate / 3600:.1f}",
        "normal training clips": f"{int((clips['split'] == 'train').sum()):,}",
        "test clips": f"{int((clips['split'] == 'test').sum()):,}",
        "noise kinds": " ".join(kinds) or "none added",
        "size": f"{size / 1e6:,.0f} MB" if size < 1e10 else f"{size / 1e9:,.0f} GB",
        "offset to Table 1": f"{signed_db(variant.snr_offset_db)} dB" if kinds else "",
    }
