"""Every metric of a set of scored test clips, or of a directory of score files in the official format.

Conventions
-----------
Scores are larger = more anomalous; metrics are in [0, 1], NaN in tables and null in JSON where the truth or the
decisions that they need are not there. Intervals are 95 % percentile bootstrap intervals over clips. What each metric
is, ``mimiidg_build.evaluation.metrics`` says. Machine types are whatever the files are named after.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mimiidg_build.datasets.truth import ClipTruth, Truth, attribute_pairs, read_truth, truth_of_name
from mimiidg_build.errors import DataError
from mimiidg_build.evaluation import confidence, metrics, score_files
from mimiidg_build.evaluation.score_files import Section
from schemas.manifests import DOMAINS
from schemas.scores import ScoredClips, SectionResults, ValueResults

Interval = tuple[float, float]
_NAN = float("nan")


@dataclass(frozen=True)
class Evaluation:
    """The results of one system.

    Attributes
    ----------
    sections : pd.DataFrame, ``SectionResults``
    values : pd.DataFrame, ``ValueResults``
        AUC per attribute value.
    machine_types : dict of str to {"arithmetic": {...}, "harmonic": {...}, "auc_pooled": ..., "pauc_pooled": ...}
    means : {"arithmetic": {...}, "harmonic": {...}} over all sections
    official_score : float
        NaN where a section's domains are unknown.
    section_intervals : dict of (machine type, section) to {metric: (low, high)}
    mean_intervals : dict of metric to (low, high), of the arithmetic mean over all sections
    official_score_interval : (low, high)
    notes : what a reader of the numbers should know
    """

    sections: pd.DataFrame
    values: pd.DataFrame
    machine_types: dict[str, dict[str, Any]]
    means: dict[str, dict[str, float]]
    official_score: float
    section_intervals: dict[Section, dict[str, Interval]] = field(default_factory=dict)
    mean_intervals: dict[str, Interval] = field(default_factory=dict)
    official_score_interval: Interval = (_NAN, _NAN)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dicts and numbers, as ``to_json`` writes them; NaN becomes None."""
        rows = self.sections.to_dict("records")
        for row in rows:
            row["intervals"] = self.section_intervals.get((row["machine_type"], row["section"]), {})
        plain = {
            "sections": rows,
            "official_score": self.official_score,
            "official_score_interval": self.official_score_interval,
            "means": self.means,
            "mean_intervals": self.mean_intervals,
            "machine_types": [{"machine_type": name, **of} for name, of in self.machine_types.items()],
            "values": self.values.to_dict("records"),
            "confidence_level": confidence.LEVEL,
            "notes": list(self.notes),
        }
        return {key: _plain(value) for key, value in plain.items()}

    def to_json(self) -> str:
        """JSON text, numbers at full precision: they read back as the same float64."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)


def read_results(path: Path) -> Evaluation:
    """Read back what ``Evaluation.to_json`` wrote; intervals that were not known are NaN.

    Raises
    ------
    DataError
        It cannot be read.
    """

    def bounds(pair: list[float] | None) -> Interval:
        return (pair[0], pair[1]) if pair else (_NAN, _NAN)

    def numbers(of: Mapping[str, float | None]) -> dict[str, float]:
        return {name: _NAN if value is None else value for name, value in of.items()}

    try:
        told = json.loads(path.read_bytes())
        rows = told["sections"]
        return Evaluation(
            sections=_table(SectionResults, rows),
            values=_table(ValueResults, told["values"]),
            machine_types={
                of.pop("machine_type"): {k: numbers(v) if isinstance(v, dict) else v for k, v in of.items()}
                for of in told["machine_types"]
            },
            means={mean: numbers(of) for mean, of in told["means"].items()},
            official_score=_NAN if told["official_score"] is None else told["official_score"],
            section_intervals={
                (row["machine_type"], row["section"]): {name: bounds(of) for name, of in row["intervals"].items()}
                for row in rows
                if row["intervals"]
            },
            mean_intervals={name: bounds(of) for name, of in told["mean_intervals"].items()},
            official_score_interval=bounds(told["official_score_interval"]),
            notes=tuple(told["notes"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: no results of this program ({error}). Run the benchmark again.") from None


def _table(schema: type[SectionResults] | type[ValueResults], rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows of a results file as the table that they were; None becomes NaN."""
    columns = schema.to_schema().columns
    numbers = ("int64", "float64")
    types = {name: str(of.dtype) if str(of.dtype) in numbers else "str" for name, of in columns.items()}
    return schema.validate(pd.DataFrame(rows, columns=list(columns)).astype(types))


def evaluate_directory(
    directory: Path,
    truth: Path | Iterable[Path] | None = None,
    sections: Iterable[Section] | None = None,
    n_resamples: int = confidence.N_RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Evaluate all score files of a directory.

    Parameters
    ----------
    directory : Path
        Holds ``anomaly_score_<machine>_section_<NN>_test.csv``, and decisions where there are any.
    truth : Path or paths, optional
        Ground-truth tables or directories of them, for clips whose names hide the truth.
    sections : iterable of (machine type, section number), optional
        The sections that must be there.
    n_resamples, seed : int
        Of the bootstrap; 0 resamples: no intervals.

    Raises
    ------
    DataError
        A file cannot be read, a section or a clip is missing, or a clip's truth is unknown.
    """
    return evaluate(read_directory(directory, truth, sections), n_resamples, seed)


def read_directory(
    directory: Path, truth: Path | Iterable[Path] | None = None, sections: Iterable[Section] | None = None
) -> pd.DataFrame:
    """Read a directory of score files, with the truth, into ``ScoredClips``; arguments as ``evaluate_directory``."""
    found = score_files.find(directory)
    missing = [section for section in sections or () if section not in found]
    if missing:
        names = ", ".join(score_files.file_name(score_files.SCORE, *section) for section in missing)
        raise DataError(f"{directory}: {len(missing)} sections have no scores, missing {names}")
    tables = read_truth(truth) if truth is not None else {}
    return pd.concat([_read_section(key, files, tables) for key, files in found.items()], ignore_index=True)


def evaluate(scored: pd.DataFrame, n_resamples: int = confidence.N_RESAMPLES, seed: int = 0) -> Evaluation:
    """Evaluate scored clips (``ScoredClips``), of any number of sections."""
    scored = ScoredClips.validate(scored)
    if scored.empty:
        raise DataError("there are no scored clips to evaluate")
    groups: dict[Section, pd.DataFrame] = {
        (str(m), str(s)): g for (m, s), g in scored.groupby(["machine_type", "section"])
    }
    rows = [_section_row(key, clips) for key, clips in groups.items()]
    by_type: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_type.setdefault(row["machine_type"], []).append(row)
    means = metrics.means(rows)
    return Evaluation(
        sections=SectionResults.validate(pd.DataFrame(rows, columns=list(SectionResults.to_schema().columns))),
        values=_values(groups),
        machine_types={
            name: {**metrics.means(of), **_pooled(scored[scored["machine_type"] == name])}
            for name, of in by_type.items()
        },
        means=means,
        official_score=metrics.official_score(rows),
        **_intervals(groups, n_resamples, seed),
        notes=_notes(groups),
    )


# ---- Reading ---------------------------------------------------------------------------------------------------------


def _read_section(key: Section, files: Mapping[str, Path], tables: Truth) -> pd.DataFrame:
    path = files[score_files.SCORE]
    scores = score_files.read_scores(path)
    told = [
        _truth_of(path, line, clip, key, tables) for line, clip in zip(scores["line"], scores["file_name"], strict=True)
    ]
    _check_complete(path, set(scores["file_name"]), key, tables)
    return pd.DataFrame(
        {
            "machine_type": key[0],
            "section": key[1],
            "file_name": scores["file_name"],
            "domain": [truth.domain for truth in told],
            "condition": [truth.condition for truth in told],
            "attributes": [truth.attributes for truth in told],
            "score": scores["score"],
            "decision": _decisions(files.get(score_files.DECISION), path, scores["file_name"]),
        }
    )


def _truth_of(path: Path, line: int, clip: str, key: Section, tables: Truth) -> ClipTruth:
    told = truth_of_name(clip) or tables.get((key[0], clip))
    if told is None or not told.condition:
        where = "the ground truth given does not tell" if tables else "its name does not tell: give the ground truth"
        raise DataError(f"{path}, line {line}: is {clip} normal or anomalous? {where} (attribute tables or lists)")
    return told


def _check_complete(path: Path, scored: set[str], key: Section, tables: Truth) -> None:
    expected = {
        clip for machine_type, clip in tables if machine_type == key[0] and clip.startswith(f"section_{key[1]}_")
    }
    hidden = {clip for clip in expected if truth_of_name(clip) is None}
    if missing := sorted(hidden - scored):
        raise DataError(f"{path}: {len(missing)} of {len(hidden)} test clips have no score, the first is {missing[0]}")


def _decisions(decision_path: Path | None, score_path: Path, clips: pd.Series) -> list[int]:
    """The decision on each clip, -1 where the section has no decision file."""
    if decision_path is None:
        return [-1] * len(clips)
    table = score_files.read_decisions(decision_path)
    decided = dict(zip(table["file_name"], table["decision"], strict=True))
    if odd := sorted(set(clips) ^ set(decided)):
        raise DataError(f"{decision_path} and {score_path.name} differ in {len(odd)} clips, the first is {odd[0]}")
    return [int(decided[clip]) for clip in clips]


# ---- Results ---------------------------------------------------------------------------------------------------------


def _cells(key: Section, clips: pd.DataFrame) -> metrics.Cells | None:
    """The section's four cells, None where the domain of a clip is unknown."""
    if (clips["domain"] == "").any():
        return None
    try:
        return metrics.Cells.of(clips["score"].to_numpy(), clips["domain"].tolist(), clips["condition"].tolist())
    except ValueError as error:
        raise DataError(f"{key[0]}/{key[1]}: {error}") from error


def _by_condition(clips: pd.DataFrame) -> list[Any]:
    """Scores of the normal and of the anomalous clips."""
    return [clips.loc[clips["condition"] == condition, "score"].to_numpy() for condition in ("normal", "anomaly")]


def _section_row(key: Section, clips: pd.DataFrame) -> dict[str, Any]:
    """One row of ``SectionResults``."""
    cells = _cells(key, clips)
    normal, anomaly = _by_condition(clips)
    row: dict[str, Any] = {
        "machine_type": key[0],
        "section": key[1],
        "n_normal": len(normal),
        "n_anomaly": len(anomaly),
    }
    if cells is not None:
        row |= metrics.section_metrics(cells)
    else:
        try:
            row |= dict.fromkeys(metrics.SECTION_AUCS, _NAN) | metrics.domainless_metrics(normal, anomaly)
        except ValueError as error:
            raise DataError(f"{key[0]}/{key[1]}: {error}") from error
    decided = cells is not None and bool((clips["decision"] >= 0).all())
    by_domain = {d: clips[clips["domain"] == d] for d in DOMAINS}
    measured = {
        domain: metrics.precision_recall_f1(of["condition"] == "anomaly", of["decision"] == 1) if decided else {}
        for domain, of in by_domain.items()
    }
    for name in ("precision", "recall", "f1"):
        row |= {f"{name}_{domain}": measured[domain].get(name, _NAN) for domain in DOMAINS}
    return row


def _pooled(clips: pd.DataFrame) -> dict[str, float]:
    return metrics.pooled(*([scores] for scores in _by_condition(clips)))


def _values(groups: Mapping[Section, pd.DataFrame]) -> pd.DataFrame:
    """AUC per attribute value of every section, as ``ValueResults``."""
    columns = list(ValueResults.to_schema().columns)
    rows = []
    for (machine_type, section), clips in groups.items():
        pairs = [dict(attribute_pairs(text)) for text in clips["attributes"]]
        normal = (clips["condition"] == "normal").to_numpy()
        for attribute in dict.fromkeys(name for of in pairs for name in of):
            values = pd.Series([of.get(attribute, "") for of in pairs], index=clips.index)
            by_value = metrics.auc_by_value(clips["score"], clips["condition"].tolist(), values.tolist())
            for value, auc in by_value.items():
                carried = normal & (values == value).to_numpy()
                domains = sorted(set(clips.loc[carried, "domain"]))
                domain = domains[0] if len(domains) == 1 else "both"
                rows.append((machine_type, section, attribute, value, domain, int(carried.sum()), auc))
    types = {"n_normal": "int64", "auc": "float64"}
    return ValueResults.validate(pd.DataFrame(rows, columns=columns).astype({c: types.get(c, "str") for c in columns}))


def _intervals(groups: Mapping[Section, pd.DataFrame], n_resamples: int, seed: int) -> dict[str, Any]:
    """The three interval fields of ``Evaluation``; means and official score only where every domain is known."""
    cells = {key: found for key, clips in groups.items() if (found := _cells(key, clips)) is not None}
    if not cells or n_resamples == 0:
        return {}
    samples = confidence.bootstrap(cells, n_resamples, seed)
    of_sections = {
        key: {name: confidence.interval(of[:, column]) for name, of in samples.items()}
        for column, key in enumerate(cells)
    }
    if len(cells) < len(groups):
        return {"section_intervals": of_sections}
    return {
        "section_intervals": of_sections,
        "mean_intervals": {name: confidence.interval(metrics.arithmetic_mean(of)) for name, of in samples.items()},
        "official_score_interval": confidence.interval(confidence.official_score_samples(samples)),
    }


def _notes(groups: Mapping[Section, pd.DataFrame]) -> tuple[str, ...]:
    """Sections that some machine types have and others lack: a mean over what is left compares with no other."""
    numbers = {section for _, section in groups}
    lacking = [
        f"{machine_type} has no section {section}, which other machine types have: means are over what is there"
        for machine_type in dict.fromkeys(name for name, _ in groups)
        for section in sorted(numbers)
        if (machine_type, section) not in groups
    ]
    return tuple(lacking)


def _plain(value: Any) -> Any:
    """NaN to None, tuples to lists, at any depth."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return None if any(isinstance(v, float) and math.isnan(v) for v in value) else [_plain(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value
