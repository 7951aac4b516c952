"""Every metric of a set of scored test clips, or of a directory of score files in any form of the organisers'.

Conventions
-----------
Scores are larger = more anomalous; metrics are in [0, 1], NaN where the truth or the decisions that they need are not
given. Intervals are at 95 %, over clips (:mod:`.confidence`). What each metric is, :mod:`.section_metrics` says; which
of them a year goes by, :mod:`.protocols`.
Machine types are whatever the files are named after.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from mimiidg_build.datasets.manifest import load_recipe
from mimiidg_build.errors import DataError
from mimiidg_build.evaluation.influence import Conditions
from mimiidg_build.evaluation.intervals import Intervals, find_intervals, kind_named
from mimiidg_build.evaluation.means import means
from mimiidg_build.evaluation.protocols import Protocol, official_score, protocol_named
from mimiidg_build.evaluation.results import Evaluation, nullable
from mimiidg_build.evaluation.score_directory import ScoreDirectory, read_directory
from mimiidg_build.evaluation.scored_clips import by_section
from mimiidg_build.evaluation.section_metrics import Cells, pooled
from mimiidg_build.evaluation.section_rows import by_condition, cells_of, section_row, value_rows
from mimiidg_build.evaluation.small_cells import smallest_cell
from mimiidg_build.schemas.results import MachineTypeResult
from mimiidg_build.schemas.scores import ScoredClips, SectionResults, ValueResults
from mimiidg_build.schemas.sections import SectionId

Clips = Mapping[SectionId, pd.DataFrame]  # ``ScoredClips`` by section
Rows = Mapping[SectionId, Mapping[str, Any]]  # of ``SectionResults``
Means = dict[str, dict[str, float]]


def evaluate_scores(
    directory: str | Path,
    truth: str | Path | Iterable[str | Path] | None = None,
    sections: Iterable[tuple[str, str]] | None = None,
    protocol: str | None = None,
    partial: bool = False,
    interval: str = "jackknife",
) -> Evaluation:
    """Evaluate all score files of a directory, of this program or of any other.

    Parameters
    ----------
    directory : str or Path
        Holds score files in any form of the organisers' (``evaluation.score_names``), and decisions where there are
        any.
    truth : path or paths, optional
        Truth lists or directories of them, for clips whose names hide the truth; a whole evaluator's folder will do.
    sections : iterable of SectionId, optional
        The sections that must be there.
    protocol : {"mimii", "2020", "2021", "2022"}, optional
        Which AUCs and means make the official score; by default the one that the files' names tell.
    partial : bool
        Evaluate files that lack clips, which is an error otherwise; ``sections.n_missing`` counts these.
    interval : {"jackknife", "hanley_mcneil", "as_published", "none"}
        Which 95 % intervals (``evaluation.intervals``).

    Returns
    -------
    Evaluation
        Metrics in [0, 1]; NaN where the domains or decisions that one needs are not given. ``missing_sections`` are
        those that an official score is over as well.

    Raises
    ------
    DataError
        A file cannot be read, a section or a clip is missing, or a clip's truth is unknown.
    UsageError
        The directory, or a path of the truth, does not exist, or no protocol or interval has that name.
    """
    kind_named(interval)
    paths = [truth] if isinstance(truth, str | os.PathLike) else truth
    tables = None if paths is None else [Path(path) for path in paths]
    found = read_directory(Path(directory), tables, sections, protocol, partial)
    machine_types = set(found.clips["machine_type"])
    notes = [finding.message for finding in found.truth.findings if finding.table in machine_types]
    result = evaluate(found.clips, found.protocol, found.missing, notes, interval)
    return replace(result, missing_sections=tuple(missing_sections(found)))


def missing_sections(found: ScoreDirectory) -> list[SectionId]:
    """What an official score lacks: sections that the truth given lists, or Table 1 of the MIMII DG paper.

    Of the truth, sections whose numbers others have; of Table 1, those of the same set (development or evaluation),
    where all that is scored is in it.
    """
    scored = set(by_section(found.clips))
    numbers = {section.section for section in scored}
    expected = {section for section in found.truth.test_clips if section.section in numbers}
    table1 = load_recipe("table1").sections
    # other years share machine types with Table 1, and have other sections
    if found.protocol == "2022" and not found.year and scored <= {row.section_id for row in table1}:
        sets = {row.in_paper for row in table1 if row.section_id in scored}
        expected |= {row.section_id for row in table1 if row.in_paper in sets}
    order = {row.section_id: number for number, row in enumerate(table1)}
    return sorted(expected - scored, key=lambda section: (order.get(section, len(order)), section))


def evaluate(
    scored: pd.DataFrame,
    protocol: str = "2022",
    missing: Mapping[SectionId, int] | None = None,
    notes: Sequence[str] = (),
    interval: str = "jackknife",
) -> Evaluation:
    """Evaluate scored clips of any number of sections.

    Parameters
    ----------
    scored : pd.DataFrame
        ``schemas.scores.ScoredClips``: one row a clip, with score, truth and decision.
    protocol : {"mimii", "2020", "2021", "2022"}
    missing : mapping of SectionId to int, optional
        Test clips that have no score.
    notes : sequence of str
        What a reader of the numbers should know as well.
    interval : {"jackknife", "hanley_mcneil", "as_published", "none"}
        Which 95 % intervals (``evaluation.intervals``).

    Returns
    -------
    Evaluation
        Metrics in [0, 1]; NaN where the domains or decisions that one needs are not given.

    Raises
    ------
    DataError
        There is no clip, or a cell of a section (domain, condition) has none; the message names it.
    """
    rule, scored, lacks = protocol_named(protocol), ScoredClips.validate(scored), missing or {}
    if scored.empty:
        raise DataError("there are no scored clips to evaluate")
    clips = by_section(scored)
    rows = {section: section_row(section, group, lacks.get(section, 0)) for section, group in clips.items()}
    columns = list(SectionResults.columns)
    by_type, cells = _by_machine_type(rows), _known_cells(clips, rule)
    found = find_intervals(cells, rule, len(cells) == len(clips), kind_named(interval))
    return Evaluation(
        sections=SectionResults.validate(pd.DataFrame(list(rows.values()), columns=columns)),
        values=_values(clips),
        machine_types=_machine_types(by_type, scored, found),
        means=_mean_of_means(by_type) if rule.by_machine_type else means(list(rows.values())),
        official_score=official_score(rows.values(), rule.name),
        notes=(*notes, *_partial_notes(clips, lacks), *_notes(clips, rule)),
        protocol=rule.name,
        section_intervals=found.sections,
        mean_intervals=found.arithmetic,
        harmonic_mean_intervals=found.harmonic,
        official_score_interval=found.official_score,
        smallest_cell=smallest_cell(clips, rule),
    )


# ---- Means -----------------------------------------------------------------------------------------------------------


def _by_machine_type(rows: Rows) -> dict[str, Means]:
    """Means over the sections of each machine type."""
    return {
        machine_type: means([row for section, row in rows.items() if section.machine_type == machine_type])
        for machine_type in dict.fromkeys(section.machine_type for section in rows)
    }


def _mean_of_means(by_type: Mapping[str, Means]) -> Means:
    """Means of the machine types' means, each kind of its own kind."""
    return {kind: means([found[kind] for found in by_type.values()])[kind] for kind in ("arithmetic", "harmonic")}


def _machine_types(
    by_type: Mapping[str, Means], scored: pd.DataFrame, intervals: Intervals
) -> dict[str, MachineTypeResult]:
    """Means over the sections of each machine type, and the metrics of its pooled clips."""
    found = {}
    for machine_type, over in by_type.items():
        clips = scored[scored["machine_type"] == machine_type]
        together = pooled(*([scores] for scores in by_condition(clips)))
        found[machine_type] = MachineTypeResult(
            machine_type=machine_type,
            arithmetic=nullable(over["arithmetic"]),
            harmonic=nullable(over["harmonic"]),
            auc_pooled=together["auc_pooled"],
            pauc_pooled=together["pauc_pooled"],
            intervals=intervals.machine_types.get(machine_type, {}),
        )
    return found


# ---- All sections ----------------------------------------------------------------------------------------------------


def _values(clips: Clips) -> pd.DataFrame:
    """AUC per attribute value of every section, as ``ValueResults``."""
    columns = list(ValueResults.columns)
    rows = [(*section, *row) for section, group in clips.items() for row in value_rows(group)]
    # stated, because a table without rows has nothing to infer them from
    types = {"n_normal": "int64", "auc": "float64"}
    table = pd.DataFrame(rows, columns=columns)
    return ValueResults.validate(table.astype({name: types.get(name, "str") for name in columns}))


def _known_cells(clips: Clips, protocol: Protocol) -> dict[SectionId, Cells | Conditions]:
    """The scores of the sections whose truth is known as far as the protocol needs it."""
    return {
        section: found
        for section, group in clips.items()
        if (found := cells_of(section, group) if protocol.has_domains else by_condition(group)) is not None
    }


def _partial_notes(clips: Clips, missing: Mapping[SectionId, int]) -> list[str]:
    return [
        f"{section} is partial: {count} of {count + len(clips[section])} test clips have no score, every number is of "
        "the others alone"
        for section, count in missing.items()
    ]


def _notes(clips: Clips, protocol: Protocol) -> tuple[str, ...]:
    """Sections that some machine types have and others lack: their means do not compare."""
    if protocol.by_machine_type:  # machine IDs are each machine type's own
        return ()
    numbers = {section.section for section in clips}
    return tuple(
        f"{machine_type} has no section {number}, which other machine types have: means are over what is there"
        for machine_type in dict.fromkeys(section.machine_type for section in clips)
        for number in sorted(numbers)
        if (machine_type, number) not in clips
    )
