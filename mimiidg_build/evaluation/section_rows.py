"""One section's scored clips as rows of results: every metric, and the AUC per attribute value.

NaN where the truth or the decisions that a metric needs are not given.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from mimiidg_build.errors import DataError
from mimiidg_build.evaluation.decisions import precision_recall_f1
from mimiidg_build.evaluation.influence import Conditions
from mimiidg_build.evaluation.results import NAN
from mimiidg_build.evaluation.section_metrics import (
    SECTION_AUCS,
    Cells,
    auc_by_value,
    domainless_metrics,
    section_metrics,
)
from mimiidg_build.schemas.attributes import row_attributes
from mimiidg_build.schemas.manifests import DOMAINS
from mimiidg_build.schemas.sections import SectionId


def section_row(section: SectionId, clips: pd.DataFrame, n_missing: int = 0) -> dict[str, Any]:
    """One row of ``SectionResults``.

    Parameters
    ----------
    section : SectionId
    clips : pd.DataFrame
        Its rows of ``ScoredClips``.
    n_missing : int
        Test clips that have no score.

    Returns
    -------
    dict

    Raises
    ------
    DataError
        A cell of the section (domain, condition) has no clip.
    """
    cells = cells_of(section, clips)
    normal, anomaly = by_condition(clips)
    row: dict[str, Any] = {
        "machine_type": section.machine_type,
        "section": section.section,
        "n_normal": len(normal),
        "n_anomaly": len(anomaly),
        "n_missing": n_missing,
    }
    if cells is not None:
        return row | section_metrics(cells) | _decision_metrics(clips)
    try:
        known = domainless_metrics(normal, anomaly)
    except ValueError as error:
        raise DataError(f"{section}: {error}") from error
    return row | dict.fromkeys(SECTION_AUCS, NAN) | known | _decision_metrics(clips, is_known=False)


def cells_of(section: SectionId, clips: pd.DataFrame) -> Cells | None:
    """The section's four cells, None where the domain of a clip is unknown.

    Raises
    ------
    DataError
        A cell has no clip.
    """
    if (clips["domain"] == "").any():
        return None
    try:
        return Cells.of(clips["score"].to_numpy(), clips["domain"].tolist(), clips["condition"].tolist())
    except ValueError as error:
        raise DataError(f"{section}: {error}") from error


def by_condition(clips: pd.DataFrame) -> Conditions:
    """Scores of the normal and of the anomalous clips."""
    normal, anomaly = (clips.loc[clips["condition"] == name, "score"].to_numpy() for name in ("normal", "anomaly"))
    return normal, anomaly


def value_rows(clips: pd.DataFrame) -> list[tuple[str, str, str, int, float]]:
    """(attribute, value, domain of the normal clips that carry it, how many they are, AUC) of one section."""
    attributes = [row_attributes({"attributes": text}) for text in clips["attributes"]]
    normal = (clips["condition"] == "normal").to_numpy()
    rows = []
    for attribute in dict.fromkeys(name for carried in attributes for name in carried):
        values = pd.Series([carried.get(attribute, "") for carried in attributes], index=clips.index)
        by_value = auc_by_value(clips["score"], clips["condition"].tolist(), values.tolist())
        for value, auc in by_value.items():
            carries = normal & (values == value).to_numpy()
            domains = sorted(set(clips.loc[carries, "domain"]))
            domain = domains[0] if len(domains) == 1 else "both"
            rows.append((attribute, value, domain, int(carries.sum()), auc))
    return rows


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
