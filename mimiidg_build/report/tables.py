"""The page's tables, as data: a caption, columns, rows of cells. A cell that sorts as a number carries it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mimiidg_build.benchmark.results import SHOWN, Estimate
from mimiidg_build.datasets.findings import summarise
from mimiidg_build.datasets.manifest import load_table1
from mimiidg_build.datasets.rows import records
from mimiidg_build.report.data_charts import GROUPS, ValueCount
from mimiidg_build.report.systems import System, snr_offset_db
from mimiidg_build.store.store import Store
from mimiidg_build.store.summary import power_db, section_rows, snr_title


@dataclass(frozen=True)
class Cell:
    """A cell: its text, a smaller second text, and the number that it sorts by."""

    text: str
    small: str = ""
    number: float | None = None
    tone: str = ""  # a CSS class: source, target, error, warning


@dataclass(frozen=True)
class Table:
    """A table. The first cell of a row is its header; rows of ``foot`` stay at the end."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    foot: tuple[tuple[Cell, ...], ...] = ()

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers."""
        columns = zip(*(self.rows or self.foot), strict=True)
        return tuple(any(cell.number is not None for cell in column) for column in columns)


def number(value: float, digits: int = 0) -> Cell:
    """A number.

    >>> number(1234.5, 1)
    Cell(text='1,234.5', small='', number=1234.5, tone='')
    """
    if not math.isfinite(value):
        return Cell("", number=value)
    return Cell(with_minus(f"{round(value, digits) + 0.0:,.{digits}f}"), number=value)


def with_minus(text: str) -> str:
    """Numbers with a minus sign rather than a hyphen.

    >>> with_minus("-15.0 .. 3.0")
    '−15.0 .. 3.0'
    """
    return text.replace("-", "−")


def signed_db(value: float) -> str:
    """An offset.

    >>> signed_db(0.0), signed_db(6.0), signed_db(-6.0)
    ('0', '+6', '−6')
    """
    return with_minus(f"{value:+g}") if value else "0"


def estimate(of: Estimate) -> Cell:
    """An estimate in %, its interval beside it.

    >>> estimate(Estimate(0.7, 0.6, 0.75))
    Cell(text='70.00', small='60.0–75.0', number=0.7, tone='')
    """
    if math.isnan(of.value):
        return Cell("")
    small = "" if math.isnan(of.low) else f"{100 * of.low:.1f}–{100 * of.high:.1f}"
    return Cell(f"{100 * of.value:.2f}", small, of.value)


def sections(store: Store) -> Table:
    """Every section: its shift, clips by domain and split, power, attenuation and SNR."""
    counted = ("source_train_normal", "target_train_normal")
    tested = ("source_test_normal", "source_test_anomaly", "target_test_normal", "target_test_anomaly")
    rows, title = [], snr_title(store)
    for row, (name, section) in zip(section_rows(store), store.sections.items(), strict=True):
        known, counts = load_table1().section(*name.split("/")), section.counts
        planned = section.planned_added_noise_snr_db
        rows.append(
            (
                Cell(name),
                Cell(known.shift if known else ""),
                number(section.n_clips),
                *(number(counts.get(group, 0)) for group in counted),
                number(sum(counts.get(group, 0) for group in tested)),
                number(power_db(section.a), 2),
                number(2 * power_db(section.attenuation), 2),
                Cell(with_minus(row[f"{title} planned [dB]"]), number=planned[0] if planned else math.nan),
                Cell(with_minus(row[f"{title} measured [dB]"]), number=planned[0] if planned else math.nan),
                number(section.n_saturated_clips),
            )
        )
    counts_of = ("Clips", "Train source", "Train target", "Test")
    snr = (f"Planned {title} [dB]", f"Measured {title} [dB]")
    columns = ("Section", "Domain shift", *counts_of, "Power a [dB]", "Attenuation [dB]", *snr, "Saturated clips")
    return Table("Sections: clips, mean power before mixing, attenuation and SNR", columns, tuple(rows))


def values(counts: Sequence[ValueCount]) -> Table:
    """Clips per attribute value."""
    rows = tuple(
        (
            Cell(f"{of.machine_type}/{of.section}"),
            Cell(of.attribute),
            _value(of.value),
            Cell(of.domain, tone=of.domain),
            *(number(n_clips) for n_clips in of.counts),
        )
        for of in counts
    )
    columns = ("Section", "Attribute", "Value", "Domain", *(title.capitalize() for _, _, title in GROUPS))
    return Table("Clips per attribute value", columns, rows)


def _value(text: str) -> Cell:
    """An attribute's value; numbers sort as numbers."""
    try:
        return Cell(text, number=float(text))
    except ValueError:
        return Cell(text)


def findings(found: pd.DataFrame) -> Table:
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
    return Table("Validation findings", ("Severity", "Kind", "Where", "Findings", "First one"), rows)


def comparison(systems: Sequence[System]) -> Table:
    """One row per system: means over sections and official score with 95 % intervals, beside the paper's means."""
    with_paper = any(system.published for system in systems)
    rows = tuple(
        (
            Cell(system.name),
            Cell(system.label),
            number(len(system.runs)),
            *(estimate(system.mean(metric)) for metric in SHOWN.values()),
            estimate(system.official_score),
            *(_papers(system.published, "average") if with_paper else ()),
        )
        for system in systems
    )
    columns = ("System", "Profile", "Seeds", *_titles("Mean "), "Official score", *_paper_titles(with_paper))
    return Table("Means over all sections in %, with 95 % intervals", columns, rows)


def benchmark(system: System) -> Table:
    """One row per section, mean and official score at the end, beside the paper's."""
    paper = system.published

    def row(name: str, of: Mapping[str, Estimate], of_paper: str) -> tuple[Cell, ...]:
        cells = tuple(estimate(of[metric]) for metric in SHOWN.values())
        return (Cell(name), *cells, *(_papers(paper, of_paper) if paper else ()))

    rows = tuple(
        row(name, {metric: system.section(name, metric) for metric in SHOWN.values()}, name)
        for name in system.store.sections
    )
    mean = row("mean", {metric: system.mean(metric) for metric in SHOWN.values()}, "average")
    blank = (Cell(""),) * (len(mean) - 2)
    official = (Cell("official score"), estimate(system.official_score), *blank)
    columns = ("Section", *_titles(), *_paper_titles(bool(paper)))
    return Table(
        f"{system.name}, {system.label} profile: AUC in %, with 95 % intervals", columns, rows, (mean, official)
    )


def value_aucs(system: System) -> Table:
    """AUC per attribute value of one system."""
    rows = tuple(
        (
            Cell(f"{row['machine_type']}/{row['section']}"),
            Cell(row["attribute"]),
            _value(row["value"]),
            Cell(row["domain"], tone=row["domain"]),
            number(row["n_normal"]),
            number(100 * row["auc"], 2),
        )
        for row in records(system.values)
    )
    columns = ("Section", "Attribute", "Value", "Domain", "Normal clips", "AUC [%]")
    return Table(f"{system.name}: AUC per attribute value", columns, rows)


def known_anomalies(of: Mapping[tuple[str, str], Sequence[System]]) -> Table:
    """One row per system and number of known anomalies."""
    rows = tuple(
        (
            Cell(name),
            Cell(label),
            number(system.known_anomalies),
            *(estimate(system.mean(metric)) for metric in SHOWN.values()),
            estimate(system.official_score),
        )
        for (name, label), systems in of.items()
        for system in systems
    )
    columns = ("System", "Profile", "Known anomalies k", *_titles("Mean "), "Official score")
    return Table("AUC against known anomalies, means over sections in %, with 95 % intervals", columns, rows)


def sweep(of: Mapping[tuple[str, str], Sequence[System]], title: str) -> Table:
    """One row per model and SNR offset."""
    rows: list[tuple[Cell, ...]] = []
    for (model, label), systems in of.items():
        for system in systems:
            rows.append(
                (
                    Cell(model),
                    Cell(label),
                    Cell(signed_db(snr_offset_db(system.store)), number=snr_offset_db(system.store)),
                    *(estimate(system.mean(metric)) for metric in SHOWN.values()),
                    estimate(system.official_score),
                    Cell(system.store.attributes.variant.name),
                )
            )
    columns = ("Model", "Profile", f"{title} offset [dB]", *_titles("Mean "), "Official score", "Variant")
    return Table(f"AUC against {title}, means over sections in %, with 95 % intervals", columns, tuple(rows))


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
