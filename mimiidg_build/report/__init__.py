"""One self-contained HTML page about a store and the benchmarks that were run on it: ``write_report``.

ROOT/reports/<variant>/<fingerprint>.html. The page needs no network, now or later. Charts are matplotlib's, drawn
once as inline SVG that takes its colours from the page (:mod:`.svg`): no charting script, nothing to load, every number
also in a table or in words. The page is a Jinja template with everything escaped; style and script lie beside it in
``templates/``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mimiidg_build.benchmark.results import data_kind
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.errors import MimiidgError
from mimiidg_build.fetch.dataset import validate_dataset
from mimiidg_build.progress import Reporter
from mimiidg_build.report import data_charts, score_charts, tables
from mimiidg_build.report.data_charts import Chart
from mimiidg_build.report.gallery import make_gallery
from mimiidg_build.report.svg import PALETTE, style
from mimiidg_build.report.systems import System, by_known_anomalies, read_runs, read_sweep
from mimiidg_build.report.tables import Table
from mimiidg_build.settings import __version__
from mimiidg_build.storage.files import write_file
from mimiidg_build.storage.places import Place, local
from mimiidg_build.store.store import Store
from mimiidg_build.store.summary import snr_title

__all__ = ["report_path", "write_report"]

PAGE_BYTES = 14_000_000  # a page opens from disk at once and passes through most mail
CHART_BYTES = 24_000  # that charts and tables take per section and system, about


def report_path(store: Store, root: Place) -> Path:
    """Where a store's report lies."""
    return local(root) / "reports" / store.attributes.variant.name / f"{store.fingerprint}.html"


def write_report(store: Store, root: Place, output: Path | None = None, reporter: Reporter | None = None) -> Path:
    """Write the report of a store.

    Parameters
    ----------
    store : Store
    root : Place
        Where runs, other variants and archives are looked for.
    output : Path, optional
        Instead of ``report_path``.
    reporter : Reporter, optional

    Returns
    -------
    Path

    Raises
    ------
    DataError
        Something that the report is made of is damaged, or the page cannot be written.
    """
    path = output or report_path(store, root)
    write_file(path, [render_page(store, root, reporter or Reporter()).encode()])
    return path


@dataclass(frozen=True)
class Detail:
    """What the page shows of one system."""

    system: System
    table: Table
    values: Table
    overview: Chart
    roc: list[Chart]
    histograms: list[Chart]
    by_value: list[Chart]
    losses: list[Chart]


def render_page(store: Store, root: Place, reporter: Reporter) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from matplotlib import rc_context

    runs = read_runs(store, root)
    plain = [system for system in runs.systems if system.is_plain]
    told = reporter.step("report", len(store.sections) * (1 + len(plain)), "sections")
    # sound is encoded outside Python's lock, charts are drawn inside it: one beside the other
    with ThreadPoolExecutor(1) as beside, rc_context(style()):  # type: ignore[arg-type]
        room_bytes = PAGE_BYTES - CHART_BYTES * len(store.sections) * (1 + len(plain))
        shown = beside.submit(make_gallery, store, root, room_bytes, told)
        content = _of_data(store, root) | {
            "details": list(_details(plain, told)),
            "comparison": tables.comparison(runs.systems) if runs.systems else None,
            "unfinished": runs.unfinished,
            **_of_sweep(store, root, runs.systems),
            "gallery": shown.result(),
        }
    environment = Environment(
        loader=PackageLoader("mimiidg_build.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(content | _of_store(store))


def _of_store(store: Store) -> dict[str, Any]:
    """What the head and the foot of the page say."""
    return {
        "attributes": store.attributes,
        "variant": store.attributes.variant,
        "kind": data_kind(store),
        "snr_title": snr_title(store),
        "palette": PALETTE,
        "version": __version__,
        "path": store.path,
        "facts": tables.facts(store),
    }


def _of_data(store: Store, root: Place) -> dict[str, Any]:
    counts = data_charts.count_values(store)
    found, unknown = _findings(store, root)
    return {
        "sections": tables.sections(store),
        "snr_charts": data_charts.snr_charts(store),
        "level_chart": data_charts.level_chart(store),
        "value_charts": data_charts.value_charts(counts),
        "value_counts": tables.values(counts),
        "findings": None if found is None else tables.findings(found),
        "findings_unknown": unknown,
    }


def _findings(store: Store, root: Place) -> tuple[pd.DataFrame | None, str]:
    """What validation finds in the store's archives; or why that cannot be told."""
    machine_types = set(store.clips["machine_type"])
    try:
        dataset = load_dataset(store.attributes.variant.dataset)
        return validate_dataset(dataset, root, machine_types.__contains__).findings, ""
    except MimiidgError as error:
        return None, str(error)


def _details(systems: list[System], told: Callable[[int], None]) -> Iterator[Detail]:
    for number, system in enumerate(systems):
        yield Detail(
            system,
            tables.benchmark(system),
            tables.value_aucs(system),
            score_charts.section_chart(number, system),
            score_charts.roc_charts(number, system),
            score_charts.histogram_charts(number, system),
            score_charts.value_auc_charts(number, system),
            score_charts.loss_charts(number, system),
        )
        told(len(system.store.sections))


def _of_sweep(store: Store, root: Place, systems: tuple[System, ...]) -> dict[str, Any]:
    """AUC against SNR, where other variants make a sweep of it, and against the number of known anomalies."""
    found, known = read_sweep(store, root, systems), by_known_anomalies(systems)
    return {
        "known_charts": score_charts.known_anomaly_charts(known),
        "known": tables.known_anomalies(known) if known else None,
        "sweep_charts": score_charts.snr_sweep_charts(found),
        "sweep": tables.sweep(found, snr_title(store)) if found else None,
    }
