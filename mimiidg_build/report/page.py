"""One self-contained HTML page about a store and the benchmarks that were run on it: ``write_report``.

ROOT/reports/<variant>/<fingerprint>.html. The page needs no network, now or later. Charts are matplotlib's, drawn
once as inline SVG that takes its colours from the page (:mod:`.svg`): no charting script, nothing to load, every number
also in a table or in words. The page is a Jinja template with everything escaped; style and script lie beside it in
``templates/``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pandas as pd

from mimiidg_build import __version__
from mimiidg_build.benchmark.finished_runs import read_runs
from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.benchmark.tested import not_evaluated
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.recorded_truth import truth_of_clips
from mimiidg_build.errors import MimiidgError
from mimiidg_build.fetch.dataset import validate_dataset
from mimiidg_build.progress import OnProgress, Reporter
from mimiidg_build.report import data_charts, heat_maps, paired, result_tables, score_charts, tables
from mimiidg_build.report.cells import PageTable
from mimiidg_build.report.data_charts import Chart
from mimiidg_build.report.gallery import make_gallery, prepare
from mimiidg_build.report.headline import data_summary, headline
from mimiidg_build.report.svg import PALETTE, style
from mimiidg_build.report.sweeps import by_known_anomalies, read_others, snr_sweep
from mimiidg_build.report.templating import fill
from mimiidg_build.report.written import written
from mimiidg_build.storage.files import write_file
from mimiidg_build.storage.places import Place, local, place
from mimiidg_build.store.store import Store
from mimiidg_build.store.summary import snr_title

PAGE_BYTES = 14_000_000  # a page opens from disk at once and passes through most mail
CHART_BYTES = 24_000  # that charts and tables take per section and model, about


def report_path(store: Store, root: str | Place) -> Path:
    """Where a store's report lies: on this machine, also where the store is in a bucket."""
    return local(place(root)) / "reports" / store.attributes.variant.name / f"{store.fingerprint}.html"


def write_report(store: Store, root: str | Place, output: Path | None = None, reporter: Reporter | None = None) -> Path:
    """Write the report of a store.

    Parameters
    ----------
    store : Store
    root : str or Place
        Where runs, other variants and archives are looked for.
    output : Path, optional
        Instead of ``report_path``.
    reporter : Reporter, optional
        Shows progress.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    DataError
        Something that the report is made of is damaged, or the page cannot be written.
    """
    path = output or report_path(store, root)
    write_file(path, [render_page(store, place(root), reporter or Reporter()).encode(errors="backslashreplace")])
    return path


@dataclass(frozen=True)
class Detail:
    """What the page shows of one model."""

    result: ModelResult
    table: PageTable
    decisions: PageTable | None
    values: PageTable
    overview: Chart
    roc: list[Chart]
    histograms: list[Chart]
    by_value: list[Chart]
    losses: list[Chart]


def render_page(store: Store, root: Place, reporter: Reporter) -> str:
    """The page as text.

    Parameters
    ----------
    store : Store
    root : Place
    reporter : Reporter

    Returns
    -------
    str
        HTML.

    Raises
    ------
    DataError
        Something that the report is made of is damaged.
    """
    from matplotlib import rc_context

    runs = read_runs(store, root)
    plain = heat_maps.best_first(runs.models)
    n_steps = len(store.sections) * (1 + len(plain))
    on_progress = reporter.step("report", n_steps, "sections")
    prepare(store)
    # sound is encoded outside Python's lock, charts are drawn inside it: one beside the other
    with _beside() as (beside, stopped), rc_context(style()):  # type: ignore[arg-type]
        # the gallery gets what charts and tables leave: its clips are shown as long as there is room for
        room_bytes = PAGE_BYTES - CHART_BYTES * n_steps
        gallery = beside.submit(make_gallery, store, root, room_bytes, on_progress, stopped)
        content = _data_content(store, root) | {
            "details": list(_details(plain, on_progress)),
            "unfinished": runs.unfinished,
            "not_evaluated": not_evaluated(store),
            **_result_content(runs.models),
            **_others_content(store, root, runs.models),
            "gallery": gallery.result(),
        }
    return fill("page.html", content | _store_content(store))


@contextlib.contextmanager
def _beside() -> Iterator[tuple[ThreadPoolExecutor, Event]]:
    """A thread beside this one, and what tells it to stop.

    Ctrl-C reaches this thread alone, and no program ends before its threads: the other one would finish its work first.
    """
    stopped = Event()
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool, stopped
        finally:
            stopped.set()


def _store_content(store: Store) -> dict[str, Any]:
    """What the head and the foot of the page say."""
    return {
        "attributes": store.attributes,
        "variant": store.attributes.variant,
        "kind": store.attributes.data_kind,
        "snr_title": snr_title(store),
        "palette": PALETTE,
        "version": __version__,
        "path": store.path,
        "facts": tables.facts(store),
        "data_summary": data_summary(store),
        "written": written(),
        "digests": tables.digests(store),
    }


def _data_content(store: Store, root: Place) -> dict[str, Any]:
    counts = data_charts.count_values(store)
    findings, unknown = _findings(store, root)
    return {
        "sections": tables.sections(store),
        "snr_charts": data_charts.snr_charts(store),
        "level_chart": data_charts.level_chart(store),
        "value_charts": data_charts.value_charts(counts),
        "value_counts": tables.values(counts),
        "findings": None if findings is None else tables.findings(findings),
        "findings_unknown": unknown,
    }


def _findings(store: Store, root: Place) -> tuple[pd.DataFrame | None, str]:
    """What validation finds in the store's archives; or why they cannot be validated."""
    machine_types = set(store.clips["machine_type"])
    try:
        dataset = load_dataset(store.attributes.variant.dataset)
        truth = truth_of_clips(store.clips)  # without it clips that hide what they are would be errors
        return validate_dataset(dataset, root, machine_types.__contains__, truth=truth).findings, ""
    except MimiidgError as error:  # archives may be gone, and the page is about the store: it says so
        return None, str(error)


def _result_content(results: Sequence[ModelResult]) -> dict[str, Any]:
    """What was found on this store, over all systems."""
    shown, pairs = heat_maps.best_first(results), paired.with_best(results)
    return {
        "headline": headline(results, pairs),
        "paired": paired.table(results, pairs),
        "few_clips_notes": list(dict.fromkeys(note for result in results for note in result.few_clips_notes)),
        "comparison": result_tables.comparison(results) if results else None,
        "beside_papers": result_tables.beside_papers(results),
        "by_backend": heat_maps.by_backend(results),
        "papers_notes": list(dict.fromkeys(note for result in results for note in result.papers_notes)),
        "section_aucs": heat_maps.by_section(shown) if shown else None,
        "value_aucs": heat_maps.by_value(shown) if shown else None,
    }


def _details(results: Sequence[ModelResult], on_progress: OnProgress) -> Iterator[Detail]:
    for number, result in enumerate(results):
        yield Detail(
            result,
            result_tables.benchmark(result),
            result_tables.decisions(result),
            result_tables.value_aucs(result),
            score_charts.section_chart(number, result),
            score_charts.roc_charts(number, result),
            score_charts.histogram_charts(number, result),
            score_charts.value_auc_charts(number, result),
            score_charts.loss_charts(number, result),
        )
        on_progress(len(result.store.sections))


def _others_content(store: Store, root: Place, results: Sequence[ModelResult]) -> dict[str, Any]:
    """Results beside each other: on other variants, against SNR, and against the number of known anomalies."""
    others, known = read_others(store, root), by_known_anomalies(results)
    sweep = snr_sweep(store, results, others)
    return {
        "others": result_tables.other_variants(store, results, others),
        "known_charts": score_charts.known_anomaly_charts(known),
        "known": result_tables.known_anomalies(known) if known else None,
        "sweep_charts": score_charts.snr_sweep_charts(sweep),
        "sweep": result_tables.sweep(sweep, snr_title(store)) if sweep else None,
    }
