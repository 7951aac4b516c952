"""``mimiidg evaluate``: metrics of score files, written by this package or by any other system."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimiidg_build.cli.options import common
from mimiidg_build.cli.printing import percent, print_json, print_lines, print_table
from mimiidg_build.cli.values import FilePath
from mimiidg_build.errors import UsageError, counted

if TYPE_CHECKING:
    from mimiidg_build.evaluation.results import Evaluation, Interval
    from mimiidg_build.storage.places import Place

DECIDED = {"F1 source": "f1_source", "F1 target": "f1_target"}


@click.command()
@click.argument("directory", type=FilePath())
@click.option(
    "--truth",
    multiple=True,
    type=FilePath(),
    help="Ground truth of clips whose names hide it: attribute tables, the organisers' lists of any year, or folders "
    "of them, as an evaluator's whole folder.",
)
@click.option(
    "--protocol",
    type=click.Choice(["mimii", "2020", "2021", "2022"]),
    help="How the year is judged, where the files' names do not tell; 2022 holds for every year since.",
)
@click.option(
    "--definition",
    type=click.Choice(["within", "all"]),
    help="Show these AUCs as well: of each domain's normal clips against its own anomalous clips (within, as in 2021), "
    "or against all of the section (all, as since 2022).",
)
@click.option(
    "--interval",
    type=click.Choice(["jackknife", "hanley_mcneil", "as_published"]),
    help="Show 95 % intervals beside every AUC, and machine types: of the jackknife over clips, Hanley and McNeil's, "
    "or theirs as papers printed it (the clips of a machine type's IDs pooled, normal and anomalous counts swapped).",
)
@click.option("--partial", is_flag=True, help="Take score files that lack test clips, and say so beside every number.")
@common
def evaluate(
    directory: Path,
    truth: tuple[Path, ...],
    protocol: str | None,
    definition: str | None,
    interval: str | None,
    partial: bool,
    root: Place,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compute every metric of a directory of score files of any system, by its year's protocol.

    Reads score files as each year's baseline and submissions name them: anomaly_score_<machine>_id_<NN>.csv (2020),
    ..._section_<NN>_source_test.csv (2021), ..._section_<NN>_test.csv (2022 on), the long names of 2023's baseline; and
    decision_result_... where they are there. A score file that lacks test clips is an error. Says beside the official
    score where sections are missing. With fewer than 20 test clips of a kind (domain and condition) in a section, means
    and official score are marked with a *; with one there is no interval.

    Example: mimiidg evaluate my_scores --truth dcase2022_evaluator --json
    """
    from mimiidg_build.evaluation.evaluate import evaluate_scores

    found = evaluate_scores(
        directory, truth or None, protocol=protocol, partial=partial, interval=interval or "jackknife"
    )
    other = other_score(found, definition) if definition else {}
    missing = [str(section) for section in found.missing_sections]
    if as_json:
        partial = found.n_missing_clips > 0
        lacks = {"complete": not missing and not partial, "partial": partial, "missing_sections": missing}
        print_json(found.to_dict() | other | lacks)
        return
    print_table(f"{directory}: {_what(found)}", evaluation_rows(found, definition, with_intervals=interval is not None))
    if missing:
        click.echo(f"incomplete: no scores of {', '.join(missing)}. An official score is over all of them.")
    print_lines([*found.notes, *found.few_clips_notes])


def other_score(found: Evaluation, definition: str) -> dict[str, float]:
    """What would be the official score by another definition of the AUCs, by its name.

    Raises
    ------
    UsageError
        The definition needs domains, which the protocol has none of.
    """
    from mimiidg_build.datasets.rows import records
    from mimiidg_build.evaluation.protocols import DEFINITIONS, PROTOCOLS, official_score
    from mimiidg_build.evaluation.results import null_if_nan

    if not PROTOCOLS[found.protocol].has_domains:
        raise UsageError(f"--definition {definition} is of domains, and the protocol {found.protocol} has none")
    score = official_score(records(found.sections), DEFINITIONS[definition].name)
    return {f"official_score_{definition}": null_if_nan(score)}


def evaluation_rows(
    found: Evaluation, definition: str | None = None, *, with_intervals: bool = False
) -> list[dict[str, Any]]:
    """Every section, then means over all of them, and the official score with its interval and what it lacks.

    Parameters
    ----------
    found : Evaluation
    definition : {"within", "all"}, optional
        Of which the AUCs stand there as well.
    with_intervals : bool
        Also of sections and means, and the means over each machine type.

    Returns
    -------
    list of dict
        Texts by column title.
    """
    columns, mark = _columns(found, definition), found.mark
    rows = [
        _row(
            f"{section['machine_type']}/{section['section']}{_lacks(section)}",
            section,
            columns,
            _of_section(found, section) if with_intervals else {},
        )
        for section in found.sections.to_dict("records")
    ]
    partial = " (partial)" if found.n_missing_clips else ""
    if with_intervals:
        rows += [
            _row(f"{name}, arithmetic mean{partial}", own.arithmetic, columns, own.intervals, mark)
            for name, own in found.machine_types.items()
        ]
    of_means = {"arithmetic": found.mean_intervals, "harmonic": found.harmonic_mean_intervals} if with_intervals else {}
    rows += [
        _row(f"{mean} mean{partial}", metrics, columns, of_means.get(mean, {}), mark)
        for mean, metrics in found.means.items()
    ]
    score = f"{_marked(found.official_score, mark)}{_bounds(found.official_score_interval)}"
    rows.append(_official("official score", score, found, columns))
    if definition:
        (other,) = other_score(found, definition).values()
        rows.append(_official(f"the same, {definition}", _marked(other, mark), found, columns))
    return rows


def _of_section(found: Evaluation, section: Mapping[Any, Any]) -> Mapping[str, Interval]:
    from mimiidg_build.schemas.sections import SectionId

    return found.section_intervals.get(SectionId(section["machine_type"], section["section"]), {})


def _marked(value: float | None, mark: str) -> str:
    return f"{text}{mark}" if (text := percent(value)) else ""


def _bounds(interval: Interval | None) -> str:
    """An interval beside its value, where there is one."""
    low, high = interval or (None, None)
    return f" ({percent(low)} .. {percent(high)})" if percent(low) else ""


def _columns(found: Evaluation, definition: str | None) -> dict[str, str]:
    """The metrics of a table by the titles of their columns."""
    from mimiidg_build.evaluation.protocols import DEFINITIONS, PROTOCOLS

    protocol = PROTOCOLS[found.protocol]
    other = DEFINITIONS[definition].shown if definition else {}
    return {**protocol.shown, **other, **(DECIDED if protocol.has_domains else {})}


def _what(found: Evaluation) -> str:
    from mimiidg_build.evaluation.protocols import PROTOCOLS

    decided = ", precision, recall and F1" if PROTOCOLS[found.protocol].has_domains else ""
    return f"AUC{decided} in %{f', protocol {found.protocol}' if found.protocol != '2022' else ''}"


def _official(title: str, text: str, found: Evaluation, columns: Mapping[str, str]) -> dict[str, Any]:
    """A row of one number, in the first column, with what it lacks."""
    lacks = f", incomplete: {counted(len(found.missing_sections), 'section')} missing" if found.missing_sections else ""
    clips = f", partial: {counted(found.n_missing_clips, 'clip')} missing" if found.n_missing_clips else ""
    first = next(iter(columns))
    return {"section": title, **dict.fromkeys(columns, ""), first: f"{text}{lacks}{clips}"}


def _lacks(section: Mapping[Any, Any]) -> str:
    """What stands beside a section whose score file lacks clips."""
    n_clips = section["n_normal"] + section["n_anomaly"] + section["n_missing"]
    return f" (partial: {section['n_missing']} of {n_clips} clips missing)" if section["n_missing"] else ""


def _row(
    title: str,
    metrics: Mapping[Any, Any],
    columns: Mapping[str, str],
    intervals: Mapping[str, Interval],
    mark: str = "",
) -> dict[str, Any]:
    cells = {c: f"{_marked(metrics.get(name), mark)}{_bounds(intervals.get(name))}" for c, name in columns.items()}
    return {"section": title, **cells}
