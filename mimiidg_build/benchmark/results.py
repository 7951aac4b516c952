"""What a benchmark found: runs of several seeds drawn together, tables for people, plain data for programs.

Conventions
-----------
AUCs are in [0, 1], in tables in %. Estimates are means over seeds. Their 95 % intervals hold two sources of spread: the
test clips (the mean reach of the seeds' bootstrap intervals) and, with two seeds or more, training (Student's t on the
seeds' values); both are taken as independent and added in quadrature.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from mimiidg_build.benchmark.runs import Run
from mimiidg_build.evaluation.confidence import LEVEL
from mimiidg_build.evaluation.results import Evaluation, Interval
from mimiidg_build.store.store import Store
from mimiidg_build.store.summary import snr_title

SHOWN = {"source": "auc_source", "target": "auc_target", "all": "auc_all", "pAUC": "pauc"}
Row = dict[str, Any]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its 95 % interval; all in [0, 1]."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:.2f} ({100 * self.low:.1f} .. {100 * self.high:.1f})"


def combine(values: Sequence[float], intervals: Sequence[Interval]) -> Estimate:
    """Draw seeds together: each one's value and bootstrap interval over clips.

    Examples
    --------
    >>> combine([0.7], [(0.6, 0.75)])  # one seed: its own interval
    Estimate(value=0.7, low=0.6, high=0.75)
    >>> str(combine([0.6, 0.7, 0.8], [(0.6, 0.6), (0.7, 0.7), (0.8, 0.8)]))  # t of 2 degrees of freedom: 4.30
    '70.00 (45.2 .. 94.8)'
    """
    if len(values) == 1:
        return Estimate(values[0], *intervals[0])
    of, (low, high) = np.asarray(values, np.float64), np.asarray(intervals, np.float64).T
    quantile = float(scipy.stats.t.ppf((1 + LEVEL) / 2, len(of) - 1))
    spread, mean = quantile * float(of.std(ddof=1)) / math.sqrt(len(of)), float(of.mean())
    below, above = math.hypot(float((of - low).mean()), spread), math.hypot(float((high - of).mean()), spread)
    return Estimate(mean, max(0.0, mean - below), min(1.0, mean + above))


@dataclass(frozen=True)
class ModelResult:
    """One model on one store: the runs of all seeds and their evaluations, of one of its scores."""

    runs: tuple[Run, ...]
    evaluations: tuple[Evaluation, ...]
    score: str = ""  # "" is the model's own

    @property
    def name(self) -> str:
        """The model; with a score that is not its own, or known anomalies, it says so."""
        known = f", k = {self.known_anomalies}" if self.known_anomalies else ""
        return self.runs[0].model + (f" ({self.score})" if self.score else "") + known

    @property
    def known_anomalies(self) -> int:
        """Anomalies of each section that the training was told of."""
        return self.runs[0].known_anomalies

    @cached_property
    def n_parameters(self) -> int:
        """Trainable parameters of one network, the largest where they differ."""
        return max(int(summary["n_parameters"]) for summary in self.runs[0].summaries())

    @cached_property
    def training_s(self) -> float:
        """Time that training all networks took, one after the other; mean over seeds."""
        every = [sum(float(summary["training_s"]) for summary in run.summaries()) for run in self.runs]
        return sum(every) / len(every)

    @cached_property
    def sections(self) -> pd.DataFrame:
        """Mean over seeds of every metric; index (machine type, section)."""
        means: pd.DataFrame = self._by_section.mean()
        return means

    @cached_property
    def spread(self) -> pd.DataFrame:
        """Standard deviation over seeds of every metric; NaN with one seed."""
        deviations: pd.DataFrame = self._by_section.std(ddof=1)
        return deviations

    @property
    def _by_section(self) -> Any:
        every = pd.concat([evaluation.sections for evaluation in self.evaluations])
        return every.groupby(["machine_type", "section"])

    def mean(self, metric: str) -> Estimate:
        """The arithmetic mean over sections."""
        values = [evaluation.means["arithmetic"][metric] for evaluation in self.evaluations]
        return combine(values, [evaluation.mean_intervals[metric] for evaluation in self.evaluations])

    @property
    def official_score(self) -> Estimate:
        """Harmonic mean of AUC source, AUC target and pAUC of all sections."""
        values = [evaluation.official_score for evaluation in self.evaluations]
        return combine(values, [evaluation.official_score_interval for evaluation in self.evaluations])

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        means = {metric: _plain(self.mean(metric)) for metric in SHOWN.values()}
        return {
            "model": self.runs[0].model,
            "score": self.score,
            "known_anomalies": self.known_anomalies,
            "n_networks": len(self.runs[0].parts()),
            "n_parameters": self.n_parameters,
            "training_s": self.training_s,
            "profile": self.runs[0].label,
            "sections": [
                {"machine_type": key[0], "section": key[1], **{m: float(row[m]) for m in SHOWN.values()}}
                for key, row in zip(self.sections.index, self.sections.to_dict("records"), strict=True)
            ],
            "means": means,
            "official_score": self.official_score.value,
            "official_score_interval": [self.official_score.low, self.official_score.high],
            "runs": [
                {"seed": run.seed, "directory": str(run.directory), **evaluation.to_dict()}
                for run, evaluation in zip(self.runs, self.evaluations, strict=True)
            ],
        }


@dataclass(frozen=True)
class Benchmark:
    """All models on one store."""

    store: Store
    models: tuple[ModelResult, ...]

    @property
    def variant(self) -> str:
        """The variant's name."""
        return self.store.attributes.variant.name

    @property
    def known_anomalies(self) -> int:
        """The most anomalies of each section that a training was told of: no model is tested on them."""
        return max(model.known_anomalies for model in self.models)

    @property
    def base_variant(self) -> str:
        """The variant's name without what an SNR sweep adds to it."""
        return self.variant.removesuffix(f"-snr{self.snr_offset_db:+g}dB")

    @property
    def snr_offset_db(self) -> float:
        """What the variant adds to every SNR of Table 1."""
        return self.store.attributes.variant.snr_offset_db

    @property
    def title(self) -> str:
        """What was run on what; a synthetic release says so."""
        seeds = max(len(model.runs) for model in self.models)
        what = f"{self.models[0].runs[0].base.label} profile, {seeds} seed{'s' * (seeds > 1)}, AUC in %"
        most = self.known_anomalies
        without = f", tested without the {most} anomalies of each section that a training may know" if most else ""
        return f"{self.variant} ({data_kind(self.store)}): {what}{without}"

    def rows(self) -> list[Row]:
        """The table: every section, then means and official score with their intervals, model by model."""
        papers = {model.name: self.published(model) for model in self.models}
        shows_paper = any(papers.values())
        rows: list[Row] = []
        for model in self.models:
            paper = papers[model.name]
            table = zip(
                model.sections.index, *(of.to_dict("records") for of in (model.sections, model.spread)), strict=True
            )
            for key, values, spread in table:
                name = "/".join(key)
                cells = {title: _cell(values[metric], spread[metric]) for title, metric in SHOWN.items()}
                rows.append(_row(model, name, cells, paper.get(name), shows_paper))
            cells = {title: str(model.mean(metric)) for title, metric in SHOWN.items()}
            rows.append(_row(model, "mean", cells, paper.get("average"), shows_paper))
            official = dict.fromkeys(SHOWN, "") | {"source": str(model.official_score)}
            rows.append(_row(model, "official score", official, None, shows_paper))
        return rows

    def published(self, model: ModelResult) -> dict[str, tuple[float, float]]:
        """The paper's source and target AUC in %, by section and ``average``, where the dataset is the paper's."""
        is_papers = self.store.attributes.dataset == "mimii_dg" and model.name == model.runs[0].model
        return published(model.name) if is_papers else {}

    def value_rows(self) -> list[Row]:
        """AUC per attribute value: the normal clips that carry it against all anomalous clips of the section."""
        keys = ["machine_type", "section", "attribute", "value", "domain", "n_normal"]
        columns = {}
        for model in self.models:
            every = pd.concat([evaluation.values for evaluation in model.evaluations])
            columns[model.name] = every.groupby(keys, sort=False)["auc"].mean()
        table = pd.DataFrame(columns).reset_index()
        return [
            {
                "section": f"{row['machine_type']}/{row['section']}",
                "attribute": row["attribute"],
                "value": row["value"],
                "domain": row["domain"],
                "normal clips": int(row["n_normal"]),
                **{name: f"{100 * row[name]:.2f}" for name in columns},
            }
            for row in table.to_dict("records")
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, numbers at full precision."""
        return {
            "variant": self.variant,
            "fingerprint": self.store.fingerprint,
            "path": str(self.store.path),
            "dataset": self.store.attributes.dataset,
            "synthetic": self.store.attributes.synthetic,
            "snr_offset_db": self.snr_offset_db,
            "known_anomalies": self.known_anomalies,
            "models": [
                model.to_dict() | {"published": {name: list(of) for name, of in self.published(model).items()} or None}
                for model in self.models
            ],
        }


def compare_rows(benchmarks: Sequence[Benchmark]) -> list[Row]:
    """One row per variant and model: means, official score, size and training time, by SNR offset.

    A single variant is not named in every row.
    """
    ordered = sorted(benchmarks, key=lambda benchmark: benchmark.snr_offset_db)
    return [
        (_variant_cells(benchmark) if len(ordered) > 1 else {})
        | {
            "model": model.name,
            **{title: str(model.mean(metric)) for title, metric in SHOWN.items()},
            "official score": str(model.official_score),
            "parameters": f"{model.n_parameters:,} x {len(model.runs[0].parts())}",
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


def data_kind(store: Store) -> str:
    """What a title calls the data: a synthetic release always says that it is one."""
    return store.attributes.data_kind


def published(model: str) -> dict[str, tuple[float, float]]:
    """The MIMII DG paper's Table 3: source and target AUC in %, by section (``fan/00``) and ``average``.

    Examples
    --------
    >>> published("autoencoder")["fan/00"], published("nearest_neighbour")
    ((84.69, 39.35), {})
    """
    content = tomllib.loads((files("data_manifests") / "published.toml").read_text(encoding="utf-8"))
    if model not in content["models"]:
        return {}
    told = content["models"][model]
    found = {f"{m}/{s}": (of[0], of[1]) for m, sections in told["sections"].items() for s, of in sections.items()}
    return found | {"average": tuple(told["average"])}


def _row(model: ModelResult, name: str, cells: Row, paper: tuple[float, float] | None, shows_paper: bool) -> Row:
    beside: Row = {}
    if shows_paper:
        source, target = (f"{value:.2f}" for value in paper) if paper else ("", "")
        beside = {"paper source": source, "paper target": target}
    return {"model": model.name, "section": name, **cells, **beside}


def _cell(value: float, spread: float) -> str:
    text = f"{100 * value:.2f}"
    return text if math.isnan(spread) else f"{text} ± {100 * spread:.2f}"


def _plain(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}
