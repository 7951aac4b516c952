"""Every metric of a set of scored test clips, or of a directory of score files in the official format.

Conventions
-----------
Scores are larger = more anomalous; metrics are in [0, 1], NaN where the truth or the decisions that they need are not
given. Intervals are 95 % percentile bootstrap intervals over clips. What each metric is,
``mimiidg_build.evaluation.section_metrics`` says. Machine types are whatever the files are named after.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mimiidg_build.datasets.manifest import load_recipe
from mimiidg_build.datasets.truth import attribute_pairs
from mimiidg_build.errors import DataError
from mimiidg_build.evaluation import confidence
from mimiidg_build.evaluation.decisions import precision_recall_f1
from mimiidg_build.evaluation.means import arithmetic_mean, means, official_score
from mimiidg_build.evaluation.results import NAN, Evaluation, nullable
from mimiidg_build.evaluation.scored_clips import by_section, read_directory
from mimiidg_build.evaluation.section_metrics import (
    SECTION_AUCS,
    Cells,
    auc_by_value,
    domainless_metrics,
    pooled,
    section_metrics,
)
from mimiidg_build.schemas.manifests import DOMAINS
from mimiidg_build.schemas.results import MachineTypeResult
from mimiidg_build.schemas.scores import ScoredClips, SectionResults, ValueResults
from mimiidg_build.schemas.sections import SectionId

Clips = Mapping[SectionId, pd.DataFrame]  # ``ScoredClips`` by section


def evaluate_scores(
    directory: str | Path,
    truth: str | Path | Iterable[str | Path] | None = None,
    sections: Iterable[tuple[str, str]] | None = None,
    n_resamples: int = confidence.N_RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Evaluate all score files of a directory, of this program or of any other.

    Parameters
    ----------
    directory : str or Path
        Holds ``anomaly_score_<machine>_section_<NN>_test.csv``, and decisions where there are any.
    truth : path or paths, optional
        Ground-truth tables or directories of them, for clips whose names hide the truth.
    sections : iterable of SectionId, optional
        The sections that must be there.
    n_resamples : int, 0 or larger
        Of the bootstrap; 0: no intervals.
    seed : int, 0 or larger
        Of the bootstrap.

    Returns
    -------
    Evaluation
        Metrics in [0, 1]; NaN where the domains or decisions that one needs are not given.

    Raises
    ------
    DataError
        A file cannot be read, a section or a clip is missing, or a clip's truth is unknown.
    UsageError
        The directory, or a path of the truth, does not exist.
    """
    paths = [truth] if isinstance(truth, str | os.PathLike) else truth
    tables = None if paths is None else [Path(path) for path in paths]
    return evaluate(read_directory(Path(directory), tables, sections), n_resamples, seed)


def missing_sections(found: Evaluation) -> list[SectionId]:
    """What an official score lacks: sections of Table 1 of the set (development or evaluation) that others are of."""
    sections = load_recipe("table1").sections
    scored = set(map(SectionId, found.sections["machine_type"], found.sections["section"]))
    sets = {section.in_paper for section in sections if section.section_id in scored}
    return [s.section_id for s in sections if s.in_paper in sets and s.section_id not in scored]


def evaluate(scored: pd.DataFrame, n_resamples: int = confidence.N_RESAMPLES, seed: int = 0) -> Evaluation:
    """Evaluate scored clips of any number of sections.

    Parameters
    ----------
    scored : pd.DataFrame
        ``schemas.scores.ScoredClips``: one row a clip, with score, truth and decision.
    n_resamples : int, 0 or larger
        Of the bootstrap; 0: no intervals.
    seed : int, 0 or larger
        Of the bootstrap.

    Returns
    -------
    Evaluation
        Metrics in [0, 1]; NaN where the domains or decisions that one needs are not given.

    Raises
    ------
    DataError
        There is no clip, or a cell of a section (domain, condition) has none; the message names it.
    """
    scored = ScoredClips.validate(scored)
    if scored.empty:
        raise DataError("there are no scored clips to evaluate")
    clips = by_section(scored)
    rows = {section: _section_row(section, group) for section, group in clips.items()}
    columns = list(SectionResults.to_schema().columns)
    return Evaluation(
        sections=SectionResults.validate(pd.DataFrame(list(rows.values()), columns=columns)),
        values=_values(clips),
        machine_types=_machine_types(rows, scored),
        means=means(list(rows.values())),
        official_score=official_score(rows.values()),
        notes=_notes(clips),
        **_intervals(clips, n_resamples, seed),
    )


# ---- One section -----------------------------------------------------------------------------------------------------


def _section_row(section: SectionId, clips: pd.DataFrame) -> dict[str, Any]:
    """One row of ``SectionResults``."""
    cells = _cells(section, clips)
    normal, anomaly = _by_condition(clips)
    row: dict[str, Any] = {
        "machine_type": section.machine_type,
        "section": section.section,
        "n_normal": len(normal),
        "n_anomaly": len(anomaly),
    }
    if cells is not None:
        return row | section_metrics(cells) | _decision_metrics(clips)
    try:
        known = domainless_metrics(normal, anomaly)
    except ValueError as error:
        raise DataError(f"{section}: {error}") from error
    return row | dict.fromkeys(SECTION_AUCS, NAN) | known | _decision_metrics(clips, is_known=False)


def _cells(section: SectionId, clips: pd.DataFrame) -> Cells | None:
    """The section's four cells, None where the domain of a clip is unknown."""
    if (clips["domain"] == "").any():
        return None
    try:
        return Cells.of(clips["score"].to_numpy(), clips["domain"].tolist(), clips["condition"].tolist())
    except ValueError as error:
        raise DataError(f"{section}: {error}") from error


def _by_condition(clips: pd.DataFrame) -> list[Any]:
    """Scores of the normal and of the anomalous clips."""
    return [clips.loc[clips["condition"] == condition, "score"].to_numpy() for condition in ("normal", "anomaly")]


def _decision_metrics(clips: pd.DataFrame, is_known: bool = True) -> dict[str, float]:
    """Precision, recall and F1 of each domain; NaN where a clip has no decision, or its domain is not known."""
    measured: dict[str, dict[str, float]] = {domain: {} for domain in DOMAINS}
    if is_known and bool((clips["decision"] >= 0).all()):
        for domain in DOMAINS:
            within = clips[clips["domain"] == domain]
            measured[domain] = precision_recall_f1(within["condition"] == "anomaly", within["decision"] == 1)
    return {
        f"{name}_{domain}": measured[domain].get(name, NAN)
        for name in ("precision", "recall", "f1")
        for domain in DOMAINS
    }


# ---- All sections ----------------------------------------------------------------------------------------------------


def _machine_types(rows: Mapping[SectionId, dict[str, Any]], scored: pd.DataFrame) -> dict[str, MachineTypeResult]:
    """Means over the sections of each machine type, and the metrics of its pooled clips."""
    found = {}
    for machine_type in dict.fromkeys(section.machine_type for section in rows):
        over = means([row for section, row in rows.items() if section.machine_type == machine_type])
        clips = scored[scored["machine_type"] == machine_type]
        together = pooled(*([scores] for scores in _by_condition(clips)))
        found[machine_type] = MachineTypeResult(
            machine_type=machine_type,
            arithmetic=nullable(over["arithmetic"]),
            harmonic=nullable(over["harmonic"]),
            auc_pooled=together["auc_pooled"],
            pauc_pooled=together["pauc_pooled"],
        )
    return found


def _values(clips: Clips) -> pd.DataFrame:
    """AUC per attribute value of every section, as ``ValueResults``."""
    columns = list(ValueResults.to_schema().columns)
    rows = [(*section, *row) for section, group in clips.items() for row in _value_rows(group)]
    # stated, because a table without rows has nothing to infer them from
    types = {"n_normal": "int64", "auc": "float64"}
    table = pd.DataFrame(rows, columns=columns)
    return ValueResults.validate(table.astype({name: types.get(name, "str") for name in columns}))


def _value_rows(clips: pd.DataFrame) -> list[tuple[str, str, str, int, float]]:
    """(attribute, value, domain of the normal clips that carry it, how many they are, AUC) of one section."""
    pairs = [dict(attribute_pairs(text)) for text in clips["attributes"]]
    normal = (clips["condition"] == "normal").to_numpy()
    rows = []
    for attribute in dict.fromkeys(name for carried in pairs for name in carried):
        values = pd.Series([carried.get(attribute, "") for carried in pairs], index=clips.index)
        by_value = auc_by_value(clips["score"], clips["condition"].tolist(), values.tolist())
        for value, auc in by_value.items():
            carries = normal & (values == value).to_numpy()
            domains = sorted(set(clips.loc[carries, "domain"]))
            domain = domains[0] if len(domains) == 1 else "both"
            rows.append((attribute, value, domain, int(carries.sum()), auc))
    return rows


def _intervals(clips: Clips, n_resamples: int, seed: int) -> dict[str, Any]:
    """The three interval fields of ``Evaluation``; means and official score only where every domain is known."""
    cells = {section: found for section, group in clips.items() if (found := _cells(section, group)) is not None}
    if not cells or n_resamples == 0:
        return {}
    samples = confidence.bootstrap(cells, n_resamples, seed)
    by_metric = {
        section: {name: confidence.interval(values[:, column]) for name, values in samples.items()}
        for column, section in enumerate(cells)
    }
    if len(cells) < len(clips):
        return {"section_intervals": by_metric}
    return {
        "section_intervals": by_metric,
        "mean_intervals": {name: confidence.interval(arithmetic_mean(values)) for name, values in samples.items()},
        "official_score_interval": confidence.interval(confidence.official_score_samples(samples)),
    }


def _notes(clips: Clips) -> tuple[str, ...]:
    """Sections that some machine types have and others lack: their means do not compare."""
    numbers = {section.section for section in clips}
    return tuple(
        f"{machine_type} has no section {number}, which other machine types have: means are over what is there"
        for machine_type in dict.fromkeys(section.machine_type for section in clips)
        for number in sorted(numbers)
        if (machine_type, number) not in clips
    )
