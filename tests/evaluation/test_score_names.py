"""Names of score files: every form of the organisers' and of submissions, and what may not lie side by side."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimiidg_build.errors import DataError
from mimiidg_build.evaluation.score_names import DECISION, SCORE, ScoreFileName, file_name, find
from mimiidg_build.schemas.sections import SectionId


@pytest.mark.parametrize(
    ("name", "form", "section", "domain", "year"),
    [
        ("anomaly_score_fan_id_00.csv", "id", ("fan", "id_00"), "", ""),
        ("anomaly_score_ToyConveyor_id_06_test.csv", "id", ("ToyConveyor", "id_06"), "", ""),
        ("decision_result_fan_section_00_source_test.csv", "domain", ("fan", "00"), "source", ""),
        ("anomaly_score_fan_section_00_target_test.csv", "domain", ("fan", "00"), "target", ""),
        ("anomaly_score_3DPrinter_section_00_test.csv", "section", ("3DPrinter", "00"), "", ""),
        ("anomaly_score_fan_section_03.csv", "submission", ("fan", "03"), "", ""),
        (
            "anomaly_score_DCASE2023T2bearing_section_00_test_seed13711_id(0_).csv",
            "section",
            ("bearing", "00"),
            "",
            "DCASE2023T2",
        ),
        (
            "decision_result_DCASE2025T2ToyPet_section_00_test_seed13711_id(0_)_mahala_Eval.csv",
            "section",
            ("ToyPet", "00"),
            "",
            "DCASE2025T2",
        ),
        ("anomaly_score_DCASE2024T2fan_section_00_test.csv", "section", ("fan", "00"), "", "DCASE2024T2"),
        ("anomaly_score_my_own-pump_section_left-side_test.csv", "section", ("my_own-pump", "left-side"), "", ""),
    ],
)
def test_every_form(name: str, form: str, section: tuple[str, str], domain: str, year: str) -> None:
    kind = DECISION if name.startswith(DECISION) else SCORE
    assert ScoreFileName.parse(name) == ScoreFileName(form, kind, SectionId(*section), domain, year)


@given(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,8}", fullmatch=True),
    st.from_regex(r"([0-9]{2}|id_[0-9]{2}|[a-z]{1,9})", fullmatch=True),
)
def test_what_is_written_is_read(machine_type: str, section: str) -> None:
    said = ScoreFileName.parse(file_name(SCORE, machine_type, section))
    assert said is not None and said.section == (machine_type, section)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (
            ["anomaly_score_fan_section_00_test.csv", "anomaly_score_fan_section_00.csv"],
            "two files with scores of fan/00: anomaly_score_fan_section_00.csv and .*_section_00_test.csv",
        ),
        (
            ["anomaly_score_fan_section_00_test.csv", "anomaly_score_fan_section_00_source_test.csv"],
            "holds two files with scores of fan/00",
        ),
        (
            [
                "decision_result_DCASE2023T2fan_section_00_test_seed1_id(0_).csv",
                "decision_result_DCASE2023T2fan_section_00_test_seed2_id(0_).csv",
            ],
            "two files with decisions of fan/00",
        ),
        (
            ["anomaly_score_fan_section_00_source_test.csv"],
            "holds anomaly_score_fan_section_00_source_test.csv, but not anomaly_score_fan_section_00_target_test.csv",
        ),
        (
            [
                *(f"anomaly_score_fan_section_00_{domain}_test.csv" for domain in ("source", "target")),
                "decision_result_fan_section_00_target_test.csv",
            ],
            "but not decision_result_fan_section_00_source_test.csv",
        ),
    ],
)
def test_what_cannot_be_one_section(tmp_path: Path, names: list[str], match: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=match):
        find(tmp_path)


def test_a_section_of_two_domains_is_one(tmp_path: Path) -> None:
    for domain in ("target", "source"):
        (tmp_path / f"anomaly_score_fan_section_00_{domain}_test.csv").touch()
    (files,) = find(tmp_path).values()
    assert list(files.scores) == ["source", "target"] and files.decisions == {}
