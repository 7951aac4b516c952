"""A benchmark's results as rows of tables for people: by section, by attribute value, compared over models and SNRs.

AUCs are in %. A row is by column title; all rows of a table have the same titles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.benchmark.results import Benchmark
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.store.summary import snr_title

Row = dict[str, Any]


def result_rows(benchmark: Benchmark) -> list[Row]:
    """Every section, then means and official score with their intervals, model by model."""
    with_paper, shown = any(model.published for model in benchmark.models), shown_of(benchmark.models)
    return [row for model in benchmark.models for row in _model_rows(model, shown, with_paper)]


def shown_of(models: Sequence[ModelResult]) -> dict[str, str]:
    """The metrics that a table of several results shows, by the title of their column."""
    return {title: metric for model in models for title, metric in model.shown.items()}


def _model_rows(model: ModelResult, shown: Mapping[str, str], with_paper: bool) -> list[Row]:
    paper = model.published
    rows = []
    for key, values, spread in zip(model.sections.index, *map(_records, (model.sections, model.spread)), strict=True):
        name = str(SectionId(*key))
        cells = {title: _cell(values[metric], spread[metric]) for title, metric in shown.items()}
        rows.append({"model": model.name, "section": name, **cells, **_paper_cells(with_paper, paper.get(name))})
    cells = {title: str(model.mean(metric)) for title, metric in shown.items()}
    rows.append({"model": model.name, "section": "mean", **cells, **_paper_cells(with_paper, paper.get("average"))})
    cells = dict.fromkeys(shown, "") | {next(iter(shown)): str(model.official_score)}
    rows.append({"model": model.name, "section": "official score", **cells, **_paper_cells(with_paper, None)})
    return rows


def _records(table: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _cell(value: float, spread: float) -> str:
    text = "" if math.isnan(value) else f"{100 * value:.2f}"
    return text if math.isnan(spread) else f"{text} ± {100 * spread:.2f}"


def _paper_cells(shown: bool, paper: tuple[float, float] | None) -> Row:
    if not shown:
        return {}
    source, target = (f"{value:.2f}" for value in paper) if paper else ("", "")
    return {"paper source": source, "paper target": target}


def value_rows(benchmark: Benchmark) -> list[Row]:
    """AUC per attribute value: the normal clips that carry it against all anomalous clips of the section."""
    keys = ["machine_type", "section", "attribute", "value", "domain", "n_normal"]
    columns = {model.name: model.values.set_index(keys)["auc"] for model in benchmark.models}
    return [
        {
            "section": f"{row['machine_type']}/{row['section']}",
            "attribute": row["attribute"],
            "value": row["value"],
            "domain": row["domain"],
            "normal clips": int(row["n_normal"]),
            **{name: f"{100 * row[name]:.2f}" for name in columns},
        }
        for row in _records(pd.DataFrame(columns).reset_index())
    ]


def compare_rows(benchmarks: Sequence[Benchmark]) -> list[Row]:
    """One row per variant and model: means, official score, size and training time, by SNR offset.

    A single variant is not named in every row.
    """
    ordered = sorted(benchmarks, key=lambda benchmark: benchmark.snr_offset_db)
    shown = shown_of([model for benchmark in ordered for model in benchmark.models])
    return [
        (_variant_cells(benchmark) if len(ordered) > 1 else {})
        | {
            "model": model.name,
            **{title: str(model.mean(metric)) for title, metric in shown.items()},
            "official score": str(model.official_score),
            "parameters": f"{model.n_parameters:,} x {model.n_networks}",
            "training": duration(model.training_s),
        }
        for benchmark in ordered
        for model in benchmark.models
    ]


def _variant_cells(benchmark: Benchmark) -> Row:
    offset = f"{snr_title(benchmark.store)} offset [dB]"
    return {"variant": benchmark.variant, offset: f"{benchmark.snr_offset_db:+g}"}


def duration(seconds: float) -> str:
    """A time for people.

    >>> duration(7.25), duration(100.0), duration(7260.0)
    ('7.2 s', '1:40 min', '2:01 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    large, small, unit = (seconds, 60, "min") if seconds < 3600 else (seconds / 60, 60, "h")
    return f"{int(large // small)}:{int(large % small):02d} {unit}"
