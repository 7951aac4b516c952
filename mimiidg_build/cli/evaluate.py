"""``mimiidg evaluate``: metrics of score files, written by this package or by any other system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimiidg_build.cli.options import common
from mimiidg_build.cli.printing import counted, percent, print_json, print_lines, print_table
from mimiidg_build.cli.values import FilePath

if TYPE_CHECKING:
    from mimiidg_build.evaluation.results import Evaluation
    from mimiidg_build.storage.places import Place

COLUMNS = {
    "source": "auc_source",
    "target": "auc_target",
    "all": "auc_all",
    "pAUC": "pauc",
    "F1 source": "f1_source",
    "F1 target": "f1_target",
}


@click.command()
@click.argument("directory", type=FilePath())
@click.option(
    "--truth",
    multiple=True,
    type=FilePath(),
    help="Ground truth of clips whose names hide it: attribute tables or lists, or directories of them.",
)
@common
def evaluate(directory: Path, truth: tuple[Path, ...], root: Place, as_json: bool, quiet: bool) -> None:
    """Compute every metric of a directory of score files in the official format, of any system.

    Reads anomaly_score_<machine>_section_<NN>_test.csv, and decision_result_... where they are there. Says beside the
    official score where sections of its set (development or evaluation) are missing.

    Example: mimiidg evaluate my_scores --truth attributes --json
    """
    from mimiidg_build.evaluation.evaluate import evaluate_scores, missing_sections

    found = evaluate_scores(directory, truth or None)
    missing = [str(section) for section in missing_sections(found)]
    if as_json:
        print_json(found.to_dict() | {"complete": not missing, "missing_sections": missing})
        return
    print_table(f"{directory}: AUC, precision, recall and F1 in %", evaluation_rows(found, len(missing)))
    if missing:
        click.echo(f"incomplete: no scores of {', '.join(missing)}. An official score is over all of them.")
    print_lines(found.notes)


def evaluation_rows(found: Evaluation, n_missing: int = 0) -> list[dict[str, Any]]:
    """Every section, then means over all of them, and the official score with its interval and what it lacks."""
    rows = [
        _row(f"{section['machine_type']}/{section['section']}", section)
        for section in found.sections.to_dict("records")
    ]
    rows += [_row(f"{mean} mean", metrics) for mean, metrics in found.means.items()]
    low, high = found.official_score_interval
    interval = f" ({percent(low)} .. {percent(high)})" if percent(low) else ""
    lacks = f", incomplete: {counted(n_missing, 'section')} missing" if n_missing else ""
    official = {"section": "official score", **dict.fromkeys(COLUMNS, "")}
    return [*rows, official | {"source": f"{percent(found.official_score)}{interval}{lacks}"}]


def _row(title: str, metrics: dict[Any, Any]) -> dict[str, Any]:
    return {"section": title, **{column: percent(metrics.get(name)) for column, name in COLUMNS.items()}}
