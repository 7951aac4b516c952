"""Score files joined with the truth: the table that every metric is computed from (``schemas.scores.ScoredClips``).

The truth comes from one of two places:

- a run of this program has a store, whose clip table says everything: ``read_with_clip_table``;
- for any other directory of score files it is in the clips' names, or in the organisers' ground-truth tables:
  ``read_directory``.

Scores are larger = more anomalous; a decision is 1 anomalous, 0 normal, -1 not given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from mimiidg_build.datasets.rows import row_attributes
from mimiidg_build.datasets.truth import ClipTruth, Truth, read_truth, truth_of_name
from mimiidg_build.errors import DataError
from mimiidg_build.evaluation import score_files
from mimiidg_build.schemas.scores import ScoredClips
from mimiidg_build.schemas.sections import SectionId

KIND_NAMES = {score_files.SCORE: "scores", score_files.DECISION: "decisions"}


def read_directory(
    directory: Path, truth: Path | Iterable[Path] | None = None, sections: Iterable[tuple[str, str]] | None = None
) -> pd.DataFrame:
    """Read a directory of score files, with the truth from the clips' names or from ground-truth tables.

    Parameters
    ----------
    directory : Path
        Holds ``anomaly_score_<machine>_section_<NN>_test.csv``, and decisions where there are any.
    truth : Path or paths, optional
        Ground-truth tables or directories of them, for clips whose names hide the truth.
    sections : iterable of SectionId, optional
        The sections that must be there.

    Returns
    -------
    pd.DataFrame
        ``ScoredClips``; sections sorted, clips in their files' order.

    Raises
    ------
    DataError
        A file cannot be read, a section or a clip is missing, or a clip's truth is unknown.
    UsageError
        The directory, or a path of the truth, does not exist.
    """
    found = score_files.find(directory)
    missing = [section for section in sections or () if section not in found]
    if missing:
        names = ", ".join(score_files.file_name(score_files.SCORE, *section) for section in missing)
        raise DataError(f"{directory} has no scores of {len(missing)} section(s): missing {names}")
    tables = read_truth(truth) if truth is not None else Truth()
    return pd.concat([_read_section(section, files, tables) for section, files in found.items()], ignore_index=True)


def read_with_clip_table(
    directory: Path, clips: pd.DataFrame, *, is_complete: bool = True, with_decisions: bool = True
) -> pd.DataFrame:
    """Read the score files of a run, with the truth from rows of a store's clip table.

    Parameters
    ----------
    directory : Path
        Holds the score files, and the decision files if ``with_decisions``.
    clips : pd.DataFrame
        The test clips: rows of ``schemas.tables.StoredClips``.
    is_complete : bool
        Every one of the clips must have a score. Otherwise those that have none are left out: a run with known
        anomalies is not tested on them.
    with_decisions : bool
        Read the decisions as well; otherwise they are -1.

    Returns
    -------
    pd.DataFrame
        ``ScoredClips``; sections sorted, clips in the clip table's order.

    Raises
    ------
    DataError
        A file cannot be read, a section or a clip has no score (or decision), or a score belongs to none of the clips.
        The message names file and clip.
    """
    found = score_files.find(directory)
    kinds = (score_files.SCORE, score_files.DECISION) if with_decisions else (score_files.SCORE,)
    parts = []
    for section, rows in by_section(clips).items():
        files = {kind: path for kind, path in found.get(section, {}).items() if kind in kinds}
        if missing := [kind for kind in kinds if kind not in files]:
            what = " and ".join(KIND_NAMES[kind] for kind in missing)
            names = ", ".join(score_files.file_name(kind, *section) for kind in missing)
            raise DataError(f"{directory} holds no {what} of {section}: expected {names}. Run the benchmark again.")
        parts.append(_read_run_section(section, files, rows, is_complete))
    return ScoredClips.validate(pd.concat(parts, ignore_index=True))


def by_section(clips: pd.DataFrame) -> dict[SectionId, pd.DataFrame]:
    """Clips by section, sorted."""
    return {
        SectionId(str(machine_type), str(section)): rows
        for (machine_type, section), rows in clips.groupby(["machine_type", "section"])
    }


def file_names(clips: pd.DataFrame) -> list[str]:
    """Base names of the files of clips, rows of the clip table."""
    return [f"{clip}.wav" for clip in clips["clip"]]


def attribute_tails(clips: pd.DataFrame) -> list[str]:
    """Attributes of clips, rows of the clip table, as a full file name ends in them: ``vel_6_f-n_A``."""
    rows = ({"attributes": text} for text in clips["attributes"])
    return ["_".join(f"{key}_{value}" for key, value in row_attributes(row).items()) for row in rows]


# ---- One section -----------------------------------------------------------------------------------------------------


def _scored_section(
    section: SectionId,
    names: Sequence[str],
    truth: Sequence[ClipTruth],
    scores: Iterable[float],
    decisions: Iterable[int],
) -> pd.DataFrame:
    """Rows of ``ScoredClips``, clip by clip in the order given."""
    return pd.DataFrame(
        {
            "machine_type": section.machine_type,
            "section": section.section,
            "file_name": list(names),
            "domain": [clip.domain for clip in truth],
            "condition": [clip.condition for clip in truth],
            "attributes": [clip.attributes for clip in truth],
            "score": list(scores),
            "decision": list(decisions),
        }
    )


def _read_run_section(
    section: SectionId, files: Mapping[str, Path], clips: pd.DataFrame, is_complete: bool
) -> pd.DataFrame:
    """One section's files, with the truth from rows of the clip table, in their order."""
    path = files[score_files.SCORE]
    scores = score_files.read_scores(path)
    _check_are_test_clips(path, scores["file_name"], file_names(clips), is_complete)
    decisions = _decisions(files.get(score_files.DECISION), scores["file_name"])
    score_of = dict(zip(scores["file_name"], scores["score"], strict=True))
    decision_of = dict(zip(scores["file_name"], decisions, strict=True))
    clips = clips[[name in score_of for name in file_names(clips)]]
    names = file_names(clips)
    truth = [
        ClipTruth(domain, condition, attributes)
        for domain, condition, attributes in zip(
            clips["domain"], clips["condition"], attribute_tails(clips), strict=True
        )
    ]
    return _scored_section(
        section, names, truth, [score_of[name] for name in names], [decision_of[name] for name in names]
    )


def _read_section(section: SectionId, files: Mapping[str, Path], tables: Truth) -> pd.DataFrame:
    """One section's files, with the truth from names or tables."""
    path = files[score_files.SCORE]
    scores = score_files.read_scores(path)
    truth = [
        _truth_of(path, line, clip, section, tables)
        for line, clip in zip(scores["line"], scores["file_name"], strict=True)
    ]
    _check_complete(path, set(scores["file_name"]), section, tables)
    decisions = _decisions(files.get(score_files.DECISION), scores["file_name"])
    return _scored_section(section, list(scores["file_name"]), truth, scores["score"], decisions)


def _truth_of(path: Path, line: int, clip: str, section: SectionId, tables: Truth) -> ClipTruth:
    truth = truth_of_name(clip) or tables.get((section.machine_type, clip))
    # lists of domains alone name a clip and leave its condition open
    if truth is None or not truth.condition:
        why = "is not in the ground truth given" if tables else "its name does not say: give the ground truth"
        raise DataError(f"{path}, line {line}: is {clip} normal or anomalous? {why} (attribute tables or lists)")
    return truth


def _check_complete(path: Path, scored: set[str], section: SectionId, tables: Truth) -> None:
    """Every clip of the section that the tables list has a score, where its name hides the truth."""
    prefix = f"section_{section.section}_"
    listed = {clip for machine_type, clip in tables if machine_type == section.machine_type and clip.startswith(prefix)}
    hidden = {clip for clip in listed if truth_of_name(clip) is None}
    if missing := sorted(hidden - scored):
        raise DataError(f"{path}: {len(missing)} of {len(hidden)} test clips have no score, the first is {missing[0]}")


def _check_are_test_clips(path: Path, clips: Iterable[str], expected: Sequence[str], is_complete: bool) -> None:
    """The scores are of the store's test clips: of those alone, and of all of them if ``is_complete``."""
    scored = set(clips)
    if foreign := sorted(scored - set(expected)):
        raise DataError(f"{path} scores {foreign[0]}, which is not a test clip of the store. Run the benchmark again.")
    missing = [clip for clip in expected if clip not in scored] if is_complete else []
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of {len(expected)} test clips have no score, the first is {missing[0]}. "
            "Run the benchmark again."
        )


def _decisions(path: Path | None, clips: pd.Series[str]) -> list[int]:
    """The decision on each clip, -1 where the section has no decision file."""
    if path is None:
        return [-1] * len(clips)
    table = score_files.read_decisions(path)
    # by clip: the two files need not list the clips in the same order
    decided = dict(zip(table["file_name"], table["decision"], strict=True))
    if different := sorted(set(clips) ^ set(decided)):
        raise DataError(
            f"{path}: its clips are not those of the score file: {len(different)} differ, the first is {different[0]}"
        )
    return [int(decided[clip]) for clip in clips]
