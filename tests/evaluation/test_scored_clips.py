"""Score files with the truth of a clip table: every clip or only some, and whatever does not fit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mimiidg_build.errors import DataError
from mimiidg_build.evaluation import score_files
from mimiidg_build.evaluation.scored_clips import by_section, file_names, notes_on, read_with_clip_table
from mimiidg_build.schemas.sections import SectionId
from tests.small_store import SECTIONS, clip_rows

SCORES, DECISIONS = "anomaly_score_fan_section_00_test.csv", "decision_result_valve_section_00_test.csv"


@pytest.fixture
def clips() -> pd.DataFrame:
    """The test clips of a store whose names hide the truth, as those of the evaluation sections do."""
    table = pd.concat([clip_rows(section) for section in SECTIONS], ignore_index=True)
    table = table.assign(clip=[f"section_{section}_{n:04d}" for n, section in enumerate(table["section"])])
    return table[table["split"] == "test"]


@pytest.fixture
def directory(tmp_path: Path, clips: pd.DataFrame) -> Path:
    """A score and a decision for each clip: the clip's row in the whole table, and whether that is even."""
    for section, rows in by_section(clips).items():
        score_files.write_scores(tmp_path, *section, file_names(rows), rows.index)
        score_files.write_decisions(tmp_path, *section, file_names(rows), rows.index % 2 == 0)
    return tmp_path


def test_truth_comes_from_the_table_not_the_names(directory: Path, clips: pd.DataFrame) -> None:
    table = read_with_clip_table(directory, clips)
    for column in ("machine_type", "section", "domain", "condition"):
        assert table[column].tolist() == clips[column].tolist()
    assert table["file_name"].tolist() == file_names(clips)
    assert table["attributes"].tolist() == clips["attributes"].tolist()
    np.testing.assert_array_equal(table["score"], clips.index)
    np.testing.assert_array_equal(table["decision"], clips.index % 2 == 0)


def test_rows_are_in_the_tables_order_whatever_the_files(directory: Path, clips: pd.DataFrame) -> None:
    expected = read_with_clip_table(directory, clips)
    for path in directory.iterdir():
        path.write_text("".join(path.read_text().splitlines(keepends=True)[::-1]))
    pd.testing.assert_frame_equal(read_with_clip_table(directory, clips), expected)


def test_without_decisions_they_are_not_looked_at(directory: Path, clips: pd.DataFrame) -> None:
    (directory / DECISIONS).write_text("no decisions")
    table = read_with_clip_table(directory, clips, with_decisions=False)
    assert set(table["decision"]) == {-1}
    np.testing.assert_array_equal(table["score"], clips.index)


def test_a_run_may_be_of_some_of_the_clips(directory: Path, clips: pd.DataFrame) -> None:
    """One with known anomalies is not tested on them."""
    drop_first(directory / SCORES)
    table = read_with_clip_table(directory, clips, is_complete=False, with_decisions=False)
    np.testing.assert_array_equal(table["score"], clips.index[1:])


def drop_first(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))


def rename_first(path: Path) -> None:
    name = path.read_text().split(",")[0]
    path.write_text(path.read_text().replace(name, "section_00_9999.wav"))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (SCORES, drop_first, rf"{SCORES}: 1 of 12 test clips have no score, the first is section_00_0009.wav"),
        (SCORES, rename_first, rf"{SCORES} scores section_00_9999.wav, which is not a test clip of the store"),
        (DECISIONS, drop_first, rf"{DECISIONS}: its clips are not those of the score file: 1 differ"),
        (DECISIONS, Path.unlink, rf"holds no decisions of valve/00: expected {DECISIONS}"),
    ],
)
def test_incomplete_files(
    directory: Path, clips: pd.DataFrame, name: str, damage: Callable[[Path], None], message: str
) -> None:
    damage(directory / name)
    with pytest.raises(DataError, match=message):
        read_with_clip_table(directory, clips)


def test_a_section_without_files_and_a_directory_without_any(directory: Path, clips: pd.DataFrame) -> None:
    for path in directory.glob("*_fan_section_01_*"):
        path.unlink()
    expected = "holds no scores and decisions of fan/01: expected anomaly_score_fan_section_01_test.csv, decision_"
    with pytest.raises(DataError, match=expected):
        read_with_clip_table(directory, clips)
    for path in directory.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="holds no score files"):
        read_with_clip_table(directory, clips)


def test_clips_whose_truth_nobody_told_are_left_out_and_said(directory: Path, clips: pd.DataFrame) -> None:
    clips.loc[clips.index[:2], "condition"] = ""
    table = read_with_clip_table(directory, clips)
    assert table["file_name"].tolist() == file_names(clips)[2:]
    assert notes_on(clips) == (
        "fan/00: 2 test clips are in no metric, because no truth was given when the store was built",
    )


def test_sections_are_section_ids(clips: pd.DataFrame) -> None:
    assert list(by_section(clips)) == [SectionId.parse(section) for section in SECTIONS]
    assert all(isinstance(section, SectionId) for section in by_section(clips))


def test_scores_are_evaluated_without_torch() -> None:
    """Anybody's score files can be evaluated, loss curves read, and pages written, without importing it; nor
    scipy.stats, most of a second."""
    code = (
        "import sys, mimiidg_build.evaluation.evaluate, mimiidg_build.training.loss_curve, mimiidg_build.report.page\n"
        "print({'torch', 'scipy.stats'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
