"""A run's score files joined with the truth from its store: the table that metrics are computed from (``ScoredClips``).

A store's clip table says what every clip is. For any other directory of score files the truth is in the clips' names,
or in the organisers' truth lists: :mod:`.score_directory`.

Scores are larger = more anomalous; a decision is 1 anomalous, 0 normal, -1 not given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from mimiidg_build.errors import DataError
from mimiidg_build.evaluation.score_directory import decisions_on
from mimiidg_build.evaluation.score_files import read_scores
from mimiidg_build.evaluation.score_names import DECISION, KIND_NAMES, SCORE, SectionFiles, file_name, find
from mimiidg_build.schemas.scores import ScoredClips
from mimiidg_build.schemas.sections import SectionId


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
        ``ScoredClips``; sections sorted, clips in the clip table's order, without those whose truth nobody told.

    Raises
    ------
    DataError
        A file cannot be read, a section or a clip has no score (or decision), or a score belongs to none of the clips.
        The message names file and clip.
    """
    found = find(directory)
    kinds = (SCORE, DECISION) if with_decisions else (SCORE,)
    parts = []
    for section, rows in by_section(clips).items():
        files = found.get(section, SectionFiles("section"))
        if missing := [kind for kind in kinds if "" not in files.of_kind(kind)]:
            what = " and ".join(KIND_NAMES[kind] for kind in missing)
            names = ", ".join(file_name(kind, *section) for kind in missing)
            raise DataError(f"{directory} holds no {what} of {section}: expected {names}. Run the benchmark again.")
        files = files if with_decisions else SectionFiles(files.form, scores=files.scores)
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


def notes_on(clips: pd.DataFrame) -> tuple[str, ...]:
    """What is to be said beside metrics of test clips, rows of the clip table: how many no metric is of."""
    unknown = clips[clips["condition"] == ""]
    return tuple(
        f"{section}: {len(rows)} test clips are in no metric, because no truth was given when the store was built"
        for section, rows in by_section(unknown).items()
    )


# ---- One section -----------------------------------------------------------------------------------------------------


def _read_run_section(section: SectionId, files: SectionFiles, clips: pd.DataFrame, is_complete: bool) -> pd.DataFrame:
    """One section's files, with the truth from rows of the clip table, in their order."""
    path = files.scores[""]
    scores = read_scores(path)
    _check_are_test_clips(path, scores["file_name"], file_names(clips), is_complete)
    decisions = decisions_on(files.decisions.get(""), scores["file_name"])
    score_of = dict(zip(scores["file_name"], scores["score"], strict=True))
    decision_of = dict(zip(scores["file_name"], decisions, strict=True))
    # nobody told what the others are: they have a score, and no place in any metric
    clips = clips[clips["condition"] != ""]
    clips = clips[[name in score_of for name in file_names(clips)]]
    names = file_names(clips)
    return pd.DataFrame(
        {
            **{column: clips[column].tolist() for column in ("machine_type", "section")},
            "file_name": names,
            **{column: clips[column].tolist() for column in ("domain", "condition", "attributes")},
            "score": [score_of[name] for name in names],
            "decision": [decision_of[name] for name in names],
        }
    )


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
