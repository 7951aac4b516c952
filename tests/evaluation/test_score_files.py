"""Score and decision files: the official bytes, and every way they can be wrong."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.evaluation import score_files, score_names
from mimiidg_build.evaluation.score_names import SectionFiles
from tests.conftest import REAL

GOLDEN = REAL / "baseline_ae_results"
CLIPS = ["section_00_source_test_normal_0000_m-n_W.wav", "section_00_target_test_anomaly_0001_m-n_Y.wav"]
SCORES = "anomaly_score_fan_section_00_test.csv"
DECISIONS = "decision_result_fan_section_00_test.csv"


def test_bytes_are_the_official_ones(tmp_path):
    path = score_files.write_scores(tmp_path, "fan", "00", CLIPS, np.array([0.1, 1e-17]))
    assert path == tmp_path / SCORES
    assert path.read_bytes() == f"{CLIPS[0]},0.1\n{CLIPS[1]},1e-17\n".encode()
    path = score_files.write_decisions(tmp_path, "fan", "00", CLIPS, np.array([True, False]))
    assert path == tmp_path / DECISIONS
    assert path.read_bytes() == f"{CLIPS[0]},1\n{CLIPS[1]},0\n".encode()
    assert sorted(p.name for p in tmp_path.iterdir()) == [SCORES, DECISIONS], "nothing temporary is left"


@pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"the official run is not at {GOLDEN} (see its README)")
def test_official_files_survive_a_round_trip_byte_for_byte(tmp_path):
    found = score_names.find(GOLDEN)
    assert len(found) == 15
    for (machine_type, section), files in found.items():
        scores = score_files.read_scores(files.scores[""])
        decisions = score_files.read_decisions(files.decisions[""])
        written = score_files.write_scores(tmp_path, machine_type, section, list(scores.file_name), scores.score)
        assert written.read_bytes() == files.scores[""].read_bytes()
        written = score_files.write_decisions(
            tmp_path, machine_type, section, list(decisions.file_name), decisions.decision == 1
        )
        assert written.read_bytes() == files.decisions[""].read_bytes()


@settings(deadline=None)  # it writes and flushes a file
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_scores_read_back_as_the_same_float64(tmp_path_factory, values):
    clips = [f"section_00_{index:04d}.wav" for index in range(len(values))]
    path = score_files.write_scores(tmp_path_factory.mktemp("scores"), "ToyCar", "00", clips, values)
    table = score_files.read_scores(path)
    assert table.score.tolist() == values
    assert table.file_name.tolist() == clips


def test_float32_scores_keep_every_digit(tmp_path):
    score = np.float32(0.1)
    table = score_files.read_scores(score_files.write_scores(tmp_path, "fan", "00", CLIPS[:1], [score]))
    assert np.float32(table.score[0]) == score


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (f"{CLIPS[0]},1.5\r\n{CLIPS[1]},2\r\n", "CRLF"),
        (f"\ufeff{CLIPS[0]},1.5\n{CLIPS[1]},2\n", "byte order mark"),
        (f"{CLIPS[0]},1.5\n\n{CLIPS[1]},2\n\n", "blank lines"),
        (f"{CLIPS[0]},1.5\n{CLIPS[1]},2", "no line end at the end"),
        (f"fan/test/{CLIPS[0]}, 1.5\nfan\\test\\{CLIPS[1]} ,2\n", "paths and spaces around"),
        (f'"{CLIPS[0]}","1.5"\n"{CLIPS[1]}","2"\n', "quoted"),
    ],
)
def test_reading_takes_what_other_systems_write(tmp_path, data, reason):
    (tmp_path / SCORES).write_bytes(data.encode())
    table = score_files.read_scores(tmp_path / SCORES)
    assert table.file_name.tolist() == CLIPS, reason
    assert table.score.tolist() == [1.5, 2.0], reason


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "fan_section_00_test.csv is empty"),
        (b"\n\n", "fan_section_00_test.csv is empty"),
        (f"{CLIPS[0]},1\n{CLIPS[1]},nan\n".encode(), rf"line 2: the score of {CLIPS[1]} is 'nan', expected a finite"),
        (f"{CLIPS[0]},-inf\n".encode(), "line 1: .* is '-inf', expected a finite number"),
        (f"{CLIPS[0]},1e999\n".encode(), "line 1: .* is '1e999', expected a finite number"),
        (f"{CLIPS[0]},high\n".encode(), "line 1: .* is not a number: 'high'"),
        (f"{CLIPS[0]},\n".encode(), "line 1: .* is not a number: ''"),
        (f"{CLIPS[0]}\n".encode(), r"line 1: expected 2 values \(file name, score\), found 1"),
        (f"{CLIPS[0]},1,2\n".encode(), "line 1: expected 2 values .* found 3"),
        (f"{CLIPS[0]},1\n\n{CLIPS[0]},2\n".encode(), rf"line 3: {CLIPS[0]} is repeated; it is first on line 1"),
        (f"{CLIPS[0]},1\nfan/{CLIPS[0]},2\n".encode(), "is repeated"),
        (
            b"file_name,score\n",
            r"line 1: expected a clip of the file's section, section_00_\.\.\.\.wav, found 'file_name'",
        ),
        (
            b"normal_id_00_00000000.wav,1\n",
            "line 1: expected a clip of the file's section, section_00_.*'normal_id_00_00000000.wav'",
        ),
        (
            b"section_01_0000.wav,1\n",
            "line 1: expected a clip of the file's section, section_00_.*'section_01_0000.wav'",
        ),
        (f"{CLIPS[0]},1_000\n".encode(), "line 1: .* is not a number: '1_000'"),
        (f"{CLIPS[0]},٣\n".encode(), "line 1: .* is not a number: '٣'"),
        (f"{CLIPS[0]};1\n".encode(), r"line 1: expected 2 values \(file name, score\), found 1"),
        (b"file_name,score\n", "Likely it is a header, which official files do not have"),
        (b"\xff\xfe,1\n", "expected CSV text in UTF-8"),
        (f"{CLIPS[0]},1\n".encode("utf-16"), "line 1: expected CSV text in UTF-8.* Likely it is UTF-16"),
        (f"{CLIPS[0]},1\n".encode() + b"\xe9.wav,1\n", "line 2: expected CSV text in UTF-8, but .* byte 0xe9"),
        (b'"section_00_0000.wav,1\n', "expected CSV text in UTF-8, but unexpected end"),
        (b'\n"section_00_0000.wav,1\n', "line 2: expected CSV text.* Is a quote left open"),
        (b"x" * 200_000, "line 1: expected CSV text in UTF-8, but field larger"),
        (bytes(2**26 + 1), "has more than 67,108,864 bytes"),
    ],
)
def test_reading_names_file_line_and_value(tmp_path, data, match):
    (tmp_path / SCORES).write_bytes(data)
    with pytest.raises(DataError, match=match) as caught:
        score_files.read_scores(tmp_path / SCORES)
    assert str(tmp_path / SCORES) in str(caught.value)


@pytest.mark.parametrize(("text", "decision"), [("0", 0), ("1", 1), ("0.0", 0), ("1.0", 1)])
def test_decisions_are_zero_or_one(tmp_path, text, decision):
    (tmp_path / DECISIONS).write_text(f"{CLIPS[0]},{text}\n")
    assert score_files.read_decisions(tmp_path / DECISIONS).decision.tolist() == [decision]


@pytest.mark.parametrize("text", ["2", "-1", "0.5", "yes", "", "nan"])
def test_other_decisions_are_refused(tmp_path, text):
    (tmp_path / DECISIONS).write_text(f"{CLIPS[1]},1\n{CLIPS[0]},{text}\n")
    with pytest.raises(DataError, match=rf"line 2: the decision on {CLIPS[0]} is '{text}', expected 0 or 1"):
        score_files.read_decisions(tmp_path / DECISIONS)


def test_find_sorts_sections_and_leaves_other_files_alone(tmp_path):
    for name in ("anomaly_score_valve_section_01_test.csv", SCORES, DECISIONS, "result.csv", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "anomaly_score_ToyCar_section_03_test.csv").touch()
    found = score_names.find(tmp_path)
    assert list(found) == [("ToyCar", "03"), ("fan", "00"), ("valve", "01")]
    expected = SectionFiles("section", scores={"": tmp_path / SCORES}, decisions={"": tmp_path / DECISIONS})
    assert found["fan", "00"] == expected


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ([], "holds no score files; expected names like anomaly_score_fan_section_00_test.csv"),
        ([DECISIONS], f"holds {DECISIONS}, but not {SCORES}"),
    ],
)
def test_find_says_what_is_missing(tmp_path, names, match):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=match):
        score_names.find(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "anomaly_score_fan_section_1.csv",
        "anomaly_score_fan_section_00_train.csv",
        "anomaly_score_fan_section_00_source.csv",
        "anomaly_score_fan_id_0.csv",
        "anomaly_score_fan.csv",
        "Anomaly_Score_fan_section_01_test.csv",
        "decision_result_fan_section_00_test.CSV",
        "decision_result_fan_section_00_test (1).csv",
    ],
)
def test_a_name_that_no_reader_finds_is_not_passed_over(tmp_path, name):
    (tmp_path / SCORES).touch()
    (tmp_path / name).touch()
    with pytest.raises(
        DataError, match=rf"{re.escape(name)}: not the name of a score or decision file; expected one l"
    ):
        score_names.find(tmp_path)


def test_what_a_killed_writer_left_is_no_score_file(tmp_path):
    for name in (SCORES, f"{SCORES}.7.partial", f"._{SCORES}"):
        (tmp_path / name).touch()
    assert list(score_names.find(tmp_path)) == [("fan", "00")]


def test_find_names_the_folder_below_that_has_the_files(tmp_path):
    (tmp_path / "run 1").mkdir()
    (tmp_path / "run 1" / SCORES).touch()
    with pytest.raises(DataError, match="holds no score files; .*run 1 holds some: give that directory"):
        score_names.find(tmp_path)


def test_find_refuses_what_is_no_directory(tmp_path):
    with pytest.raises(UsageError, match="is not a directory"):
        score_names.find(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("clips", "scores", "match"),
    [
        (CLIPS, [1.0, float("nan")], f"fan/00: the score of {CLIPS[1]} is nan, expected a finite number"),
        ([CLIPS[0], CLIPS[0]], [1.0, 2.0], f"expected every test clip once, found {CLIPS[0]} twice"),
        ([], [], "found no clip"),
    ],
)
def test_writing_refuses_what_could_not_be_read(tmp_path, clips, scores, match):
    with pytest.raises(DataError, match=match):
        score_files.write_scores(tmp_path, "fan", "00", clips, scores)
    assert list(tmp_path.iterdir()) == []


def test_writing_needs_as_many_scores_as_clips(tmp_path):
    with pytest.raises(ValueError, match=r"zip\(\) argument"):
        score_files.write_scores(tmp_path, "fan", "00", CLIPS, [1.0])


@pytest.mark.parametrize(
    ("machine_type", "section"), [("fan", "0 0"), ("fan", "00_source"), ("../fan", "00"), ("", "00")]
)
def test_names_that_no_reader_would_find_are_refused(machine_type, section):
    with pytest.raises(ValueError, match="is not the name of a score file"):
        score_names.file_name(score_names.SCORE, machine_type, section)


def test_a_failed_rename_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    score_files.write_scores(tmp_path, "fan", "00", CLIPS, [1.0, 2.0])

    def refuse(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(DataError, match=f"{SCORES} cannot be written: No space left on device"):
        score_files.write_scores(tmp_path, "fan", "00", CLIPS, [3.0, 4.0])
    assert [p.name for p in tmp_path.iterdir()] == [SCORES]
    assert score_files.read_scores(tmp_path / SCORES).score.tolist() == [1.0, 2.0]
