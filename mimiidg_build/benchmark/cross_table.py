"""Models by back ends: what each model's own score and every back end on its embeddings reach, as one table.

AUCs are means over sections, in [0, 1]; tables for people show them in %.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from mimiidg_build.benchmark.estimates import Estimate
from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.evaluation.results import null_if_nan
from mimiidg_build.models.backends import BACKENDS

OWN = "own score"
OFFICIAL = "official score"

Row = dict[str, Any]


def crossed(results: Sequence[ModelResult]) -> dict[tuple[str, str], dict[str, ModelResult]]:
    """Results by (model, profile), and in each by back end, the model's own score first; none where no back end scored.

    Results with known anomalies, which were trained on other clips, are models of their own.
    """
    found: dict[tuple[str, str], dict[str, ModelResult]] = {}
    for result in results:
        if not result.score or result.backend:
            known = f", k = {result.known_anomalies}" if result.known_anomalies else ""
            found.setdefault((f"{result.model}{known}", result.label), {})[result.backend or OWN] = result
    order = [OWN, *BACKENDS]
    return {
        key: {name: of_model[name] for name in order if name in of_model}
        for key, of_model in found.items()
        if of_model.keys() - {OWN}
    }


def metrics_of(result: ModelResult) -> dict[str, str]:
    """The metrics of the table by their titles: AUC of source and of target, or what the dataset's protocol shows."""
    by_domain = {title: metric for title, metric in result.shown.items() if metric in ("auc_source", "auc_target")}
    return {**(by_domain or result.shown), OFFICIAL: "official_score"}


def estimate(result: ModelResult, metric: str) -> Estimate:
    """A mean over sections, or the official score."""
    return result.official_score if metric == "official_score" else result.mean(metric)


def cross_rows(results: Sequence[ModelResult]) -> list[Row]:
    """A row for each model and metric, a column for each back end; empty where no back end scored."""
    table = crossed(results)
    shown = [name for name in (OWN, *BACKENDS) if any(name in of_model for of_model in table.values())]
    several = len({label for _, label in table}) > 1
    return [
        {
            "model": f"{model} {label}" if several else model,
            "metric": title,
            **{name: _cell(of_model.get(name), metric) for name in shown},
        }
        for (model, label), of_model in table.items()
        for title, metric in metrics_of(next(iter(of_model.values()))).items()
    ]


def _cell(result: ModelResult | None, metric: str) -> str:
    if result is None:
        return ""
    found = estimate(result, metric)
    return "" if found.value != found.value else f"{100 * found.value:.2f}{found.mark}"


def cross_records(results: Sequence[ModelResult]) -> list[Row]:
    """The table as plain data, a record for each model and back end (None: the model's own score), unrounded."""
    return [
        {
            "model": result.model,
            "profile": label,
            "known_anomalies": result.known_anomalies,
            "backend": result.backend,
            "seeds": len(result.runs),
            **{
                f"{metric}{bound}": null_if_nan(getattr(estimate(result, metric), attribute))
                for metric in metrics_of(result).values()
                for bound, attribute in (("", "value"), ("_low", "low"), ("_high", "high"))
            },
        }
        for (_, label), of_model in crossed(results).items()
        for result in of_model.values()
    ]


def cross_csv(results: Sequence[ModelResult]) -> bytes:
    """:func:`cross_records` as CSV."""
    rows, written = cross_records(results), io.StringIO()
    table = csv.DictWriter(written, list(dict.fromkeys(key for row in rows for key in row)))
    table.writeheader()
    table.writerows(rows)
    return written.getvalue().encode()
