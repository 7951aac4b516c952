"""Which clips of a section a score file lacks: against the truth, or against the numbers of the clips' own names.

Numbers
-------
Every release numbers its clips without a gap, from 0 or 1: those of each cell (domain, condition), of each domain, of
each condition, or of the whole section. A file whose numbers have gaps in every one of these lacks clips. Since 2022
the cells of a test set are of one size as well, so a file that was cut off at its end is seen, unless the numbers run
over the whole section.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from pydantic import ValidationError

from mimiidg_build.datasets.truth import ClipTruth, Truth, section_of_name
from mimiidg_build.schemas.runs import NetworkSummary, summary_name
from mimiidg_build.schemas.sections import SectionId

_NUMBER = re.compile(r"_([0-9]{4,8})(?:_|\.)")

_GROUPINGS = (("domain", "condition"), ("domain",), ("condition",), ())  # within which clips may be numbered

Clip = tuple[ClipTruth, str]  # what a clip is, and the name that it is scored under


class Missing(NamedTuple):
    """How many clips lack a score, and which or why, as part of a message."""

    n_clips: int
    which: str


def missing_clips(
    section: SectionId, clips: pd.DataFrame, truth: Truth, known: Collection[tuple[str, str]], equal_cells: bool
) -> Missing:
    """The test clips of a section that have no score.

    Parameters
    ----------
    section : SectionId
    clips : pd.DataFrame
        Its scored clips, ``ScoredClips``.
    truth : Truth
        Of these clips, or empty.
    known : collection of (machine type, base name)
        Clips that need no score.
    equal_cells : bool
        Every domain and condition has as many test clips.

    Returns
    -------
    Missing
    """
    machine_type = section.machine_type
    own = {name for name in clips["file_name"]} | {
        name for kind, name in known if kind == machine_type and section_of_name(name) == section.section
    }
    scored = {truth.released_name(machine_type, name) for name in own}
    listed = truth.test_clips.get(section, set())
    if listed & scored:
        lacks = sorted(listed - scored)
        return Missing(len(lacks), f"the first is {lacks[0]}" if lacks else "")
    rows = zip(clips["file_name"], clips["domain"], clips["condition"], strict=True)
    cells = {name: ClipTruth(*cell) for name, *cell in rows}
    told = [(cells.get(name) or truth.find(machine_type, name) or ClipTruth(), name) for name in sorted(own)]
    return Missing(n_missing_by_number(told, equal_cells), "as the numbers in the names of the others tell")


def known_anomalies(directory: Path) -> set[tuple[str, str]]:
    """(machine type, base name) of the test clips that a run of this program was trained with: they leave its test set.

    A run's summaries lie beside its scores, or above where a score has a folder of its own.
    """
    known = set()
    for path in (path for folder in (directory, directory.parent) for path in folder.glob(summary_name("*"))):
        try:
            summary = NetworkSummary.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            continue  # another program's, and no matter here
        types = {section.machine_type for section in summary.section_ids}
        known |= {(machine_type, f"{clip}.wav") for machine_type in types for clip in summary.known_anomalies}
    return known


def n_missing_by_number(clips: Sequence[Clip], equal_cells: bool) -> int:
    """How many clips a file lacks, by the numbers in the names of those that it has.

    Parameters
    ----------
    clips : sequence of (ClipTruth, name)
        Of one section.
    equal_cells : bool
        Every domain and condition has as many clips.

    Returns
    -------
    int
        0 where the names are numbered without a gap, or not numbered.

    Examples
    --------
    >>> def clip(domain, condition, number):
    ...     return ClipTruth(domain, condition), f"section_00_{domain}_test_{condition}_{number:04d}.wav"
    >>> normal = [clip("source", "normal", number) for number in (0, 1, 3)]
    >>> n_missing_by_number(normal, equal_cells=False)
    1
    >>> anomalous = [clip("source", "anomaly", number) for number in (0, 1)]
    >>> n_missing_by_number(normal + anomalous, equal_cells=True)
    3
    """
    counts = []
    for fields in _GROUPINGS:
        groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for truth, name in clips:
            if match := _NUMBER.search(name):
                groups[tuple(getattr(truth, field) for field in fields)].append(int(match[1]))
        # else the numbers begin anew within such a group
        if all(len(set(numbers)) == len(numbers) for numbers in groups.values()):
            counts.append(_n_gaps(groups.values(), equal_cells))
    return min(counts, default=0)


def _n_gaps(groups: Iterable[Sequence[int]], same_size: bool) -> int:
    """Numbers that are not there, in groups that all begin at 0 or all at 1."""
    known = list(groups)
    if not known:
        return 0
    first = min(1, min(map(min, known)))
    sizes = [max(numbers) - first + 1 for numbers in known]
    if same_size:
        sizes = [max(sizes)] * len(sizes)
    return sum(sizes) - sum(map(len, known))
