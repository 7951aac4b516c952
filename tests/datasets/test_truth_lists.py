"""Every form of truth list that the organisers publish: made here in small, and the real ones line by line."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from mimiidg_build.datasets.truth import ClipTruth, known_mistake, read_truth, truth_of_name
from mimiidg_build.datasets.truth.mistakes import row_digest

NAME = "section_00_target_test_anomaly_0012_id_C1_spd_2_mic_2"
HIDDEN = NAME.replace("id_C1_spd_2_mic_2", "noAttribute")
TOLD = ClipTruth("target", "anomaly", "id_C1_spd_2_mic_2", f"{NAME}.wav")


@pytest.mark.parametrize(
    ("file", "text", "expected", "reason"),
    [
        (
            "ground_truth_attributes/ground_truth_Vacuum_section_00_test.csv",
            f"section_00_0007.wav,{NAME}\n",
            {("Vacuum", "section_00_0007.wav"): TOLD},
            "2023: full names without a suffix",
        ),
        (
            "ground_truth_attributes/ground_truth_3DPrinter_section_00_test.csv",
            f"section_00_0007.wav,{HIDDEN},{NAME}.wav\n",
            {("3DPrinter", "section_00_0007.wav"): TOLD},
            "2024: three columns, the attributes in the last",
        ),
        (
            "ground_truth_attributes/ground_truth_RoboticArm_section_00_test.csv",
            "section_00_0000.wav,section_00_source_normal_0035_weight15_BckgF\n",
            {
                ("RoboticArm", "section_00_0000.wav"): ClipTruth(
                    "source", "normal", "weight15_BckgF", "section_00_source_normal_0035_weight15_BckgF.wav"
                )
            },
            "2024: without _test",
        ),
        (
            "eval_data_list_2020.csv",
            "fan\nid_01_00000000.wav,normal_id_01_00000098.wav,0\nToyCar\nid_05_00000001.wav,anomaly_id_05_00000064.wav,1\n",
            {
                ("fan", "id_01_00000000.wav"): ClipTruth("", "normal", "", "normal_id_01_00000098.wav"),
                ("ToyCar", "id_05_00000001.wav"): ClipTruth("", "anomaly", "", "anomaly_id_05_00000064.wav"),
            },
            "2020: a line with the machine type, three columns, no domains",
        ),
        (
            "ground_truth_data/ground_truth_fan_section_03_target_test.csv",
            "section_03_target_test_0000.wav,1\n",
            {("fan", "section_03_target_test_0000.wav"): ClipTruth("target", "anomaly")},
            "2021: a list of one domain",
        ),
        (
            "ground_truth_data/ground_truth_ToyCar_id_05.csv",
            "id_05_00000000.wav,0\n",
            {("ToyCar", "id_05_00000000.wav"): ClipTruth("", "normal")},
            "2020: a list of one machine ID",
        ),
        (
            "my list.csv",
            "3DPrinter\r\nsection_03_source_test_0000.wav,section_03_source_test_anomaly_0004.wav\r\n",
            {
                ("3DPrinter", "section_03_source_test_0000.wav"): ClipTruth(
                    "source", "anomaly", "", "section_03_source_test_anomaly_0004.wav"
                )
            },
            "2021, by what it holds and not by its name",
        ),
        (
            "dev_data/gearbox/attributes_00_test_correspondence.csv",
            f"source_file_name,target_file_name\r\n{NAME}.wav,{HIDDEN}.wav\r\n",
            {("gearbox", f"{HIDDEN}.wav"): TOLD},
            "correspondence, of clips released without attributes",
        ),
        (
            "ToyTrain/attributes_05.csv",
            f"file_name,d1p,d1v,d2p,d2v,d3p,d3v,file_name_with_attributes\n"
            f"ToyTrain/test/section_05_0000.wav,car,H1,speed,8,noise,6,ToyTrain/test/{NAME}.wav\n",
            {("ToyTrain", "section_05_0000.wav"): TOLD},
            "three attributes in the table",
        ),
    ],
)
def test_every_form(tmp_path, file, text, expected, reason):
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    assert read_truth(path) == expected, reason
    if path.name != "my list.csv":
        assert read_truth(tmp_path) == expected, "a folder is searched for it"


def test_a_clip_is_found_under_every_name(tmp_path):
    folder = tmp_path / "ground_truth_attributes"
    folder.mkdir()
    (folder / "ground_truth_fan_section_00_test.csv").write_text(f"section_00_0007.wav,{HIDDEN},{NAME}.wav\n")
    found = read_truth(tmp_path)
    for name in ("section_00_0007.wav", f"{HIDDEN}.wav", f"{NAME}.wav"):
        assert found.find("fan", name) == TOLD
        assert found.released_name("fan", name) == "section_00_0007.wav"
    assert found.find("valve", "section_00_0007.wav") is None
    assert found.find("valve", f"{NAME}.wav") == TOLD, "a full name speaks for itself"


def test_attributes_follow_from_a_list_to_the_correspondence(tmp_path):
    """2024: the list names the clip without attributes, another list what that name hides."""
    (tmp_path / "eval_data_list_2024.csv").write_text(f"Drone\nsection_00_0007.wav,{HIDDEN}.wav\n")
    (tmp_path / "Drone").mkdir()
    (tmp_path / "Drone/attributes_00_test_correspondence.csv").write_text(
        f"source_file_name,target_file_name\n{NAME}.wav,{HIDDEN}.wav\n"
    )
    found = read_truth(tmp_path)
    assert found["Drone", "section_00_0007.wav"] == TOLD
    assert found.test_clips == {("Drone", "00"): {"section_00_0007.wav"}}, "one clip, whatever its names"


# ---- The real lists --------------------------------------------------------------------------------------------------


def lines(path: Path) -> list[list[str]]:
    """The rows that speak of a clip."""
    with path.open(newline="") as file:
        return [row for row in csv.reader(file) if len(row) > 1 and "file_name" not in row[0]]


def test_every_line_of_every_real_list_is_read(real: Path) -> None:
    paths = sorted((real / "truth").rglob("*.csv"))
    assert len(paths) == 41
    for path in paths:
        rows, found = lines(path), read_truth(path)
        if found.refused:  # of 2022, known to be wrong
            rows = [row for row in rows if "car_" not in row[1] + row[-1]]
        assert len(found) == len(rows) > 0 or found.refused
        clips = {clip: told for (_, clip), told in found.items()}
        if "correspondence" in path.name:
            assert {told.full_name for told in clips.values()} == {row[0] for row in rows}
        elif path.name.startswith("eval_data_list_2022"):
            assert {told.full_name for told in found.values()} == {row[1] for row in rows}
        elif rows and not re.fullmatch("[01]", rows[0][1]) and "2020" not in path.name and len(rows) == 200:
            assert all(clips[row[0]].full_name.removesuffix(".wav") == row[-1].removesuffix(".wav") for row in rows)


def test_the_whole_folder_of_2022_is_right_where_its_tables_are_wrong(real: Path) -> None:
    """The evaluator's labels and domains, the tables' attributes, and how many differ."""
    folder = real / "truth/evaluator_2022"
    found = read_truth(folder)
    for kind, field, values in (
        ("ground_truth_data", "condition", ("normal", "anomaly")),
        ("ground_truth_domain", "domain", ("source", "target")),
    ):
        for path in (folder / kind).iterdir():
            machine_type = path.name.split("_")[2]
            for clip, code in lines(path):
                assert getattr(found[machine_type, clip], field) == values[int(code)]
    differ = {(finding.table, finding.column): finding.message for finding in found.findings}
    assert {key: message.split(":")[1].split(" in ")[0] for key, message in differ.items()} == {
        ("ToyCar", "condition"): " 296 of 600 labels",
        ("ToyCar", "domain"): " 292 of 600 domains",
        ("ToyTrain", "condition"): " 312 of 600 labels",
        ("ToyTrain", "domain"): " 300 of 600 domains",
    }
    assert found.refused == {}
    assert found["ToyCar", "section_03_0000.wav"].attributes == "car_G2_spd_34V_mic_1_noise_6"


@pytest.mark.parametrize("given", ["eval_data_list_2022.csv", "evaluator_2022/ground_truth_attributes"])
def test_wrong_lists_alone_are_refused_by_machine_type(real: Path, given: str) -> None:
    found = read_truth(real / "truth" / given)
    assert set(found.refused) == {"ToyCar", "ToyTrain"}
    assert found.refused["ToyCar"].startswith(
        "ToyCar: the labels of 600 clips are not taken from the lists given: the attribute tables and the list"
    )
    assert "Give ground_truth_data of the organisers' evaluator as well" in found.refused["ToyCar"]
    assert not {"ToyCar", "ToyTrain"} & {machine_type for machine_type, _ in found}
    full = next(row[-1] for row in lines(real / "truth/eval_data_list_2022.csv") if "car_" in row[1])
    assert found.find("ToyCar", full) is None, "what its name says comes from the same hands"
    if given.endswith(".csv"):
        assert {machine_type for machine_type, _ in found} == {"bearing", "fan", "gearbox", "slider", "valve"}


def test_with_labels_alone_the_wrong_domains_are_not_taken(real: Path) -> None:
    folder = real / "truth/evaluator_2022"
    found = read_truth([folder / "ground_truth_data", folder / "ground_truth_attributes"])
    assert {told.domain for (machine_type, _), told in found.items() if machine_type == "ToyCar"} == {""}
    assert found.refused == {}
    assert any(f.column == "domain" and "Give ground_truth_domain" in f.message for f in found.findings)


def test_a_wrong_list_is_known_by_its_rows(real: Path) -> None:
    """In part, too; and no list of another year, of another machine, or put right is taken for it."""
    rows = [row for row in lines(real / "truth/eval_data_list_2022.csv") if "car_" in row[1]]
    toy_car = [(clip, full) for clip, full in rows[:600]]
    for start in range(0, 600, 30):
        assert known_mistake("ToyCar", toy_car[start : start + 30]), "30 rows are enough"
    assert not known_mistake("fan", toy_car)
    right = [
        (clip, full.replace("anomaly", "normal") if "anomaly" in full else full.replace("normal", "anomaly"))
        for clip, full in toy_car
    ]
    assert not known_mistake("ToyCar", right)
    for year in ("2020", "2021", "2024"):
        assert read_truth(real / f"truth/eval_data_list_{year}.csv").refused == {}
    digests = Counter(row_digest("ToyCar", *row) for row in toy_car)
    assert max(digests.values()) == 1


def test_real_full_names_give_back_their_own_text(real: Path) -> None:
    for year in ("2020", "2021", "2022", "2024"):
        for _, full, *_ in lines(real / f"truth/eval_data_list_{year}.csv"):
            told = truth_of_name(full)
            assert told is not None and told.full_name == full and full.endswith(f"{told.attributes}.wav")
