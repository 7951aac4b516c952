"""Score directories of any system with truth lists of any year: what is joined, and what is refused by name."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from mimiidg_build.errors import DataError
from mimiidg_build.evaluation import score_files
from mimiidg_build.evaluation.evaluate import evaluate_scores
from mimiidg_build.evaluation.roc import auc
from mimiidg_build.evaluation.score_directory import read_directory


def codes(path: Path) -> dict[str, int]:
    with path.open(newline="") as file:
        return {clip: int(code) for clip, code in csv.reader(file)}


@pytest.fixture
def submission(real: Path, tmp_path: Path) -> Path:
    """Scores of 2022's evaluation clips that know the evaluator's labels, in a submission's names."""
    rng = np.random.default_rng(0)
    for path in sorted((real / "truth/evaluator_2022/ground_truth_data").iterdir()):
        labels = codes(path)
        scores = [3 * label + rng.normal() for label in labels.values()]
        name = path.name.replace("ground_truth_", "anomaly_score_").replace("_test.csv", ".csv")
        (tmp_path / name).write_text("".join(f"{clip},{score}\n" for clip, score in zip(labels, scores, strict=True)))
    return tmp_path


def test_labels_of_2022_are_the_evaluators(real: Path, submission: Path) -> None:
    """Their tables say otherwise of ToyCar and ToyTrain, and a note says of how many."""
    folder = real / "truth/evaluator_2022"
    found = evaluate_scores(submission, folder, interval="none")
    assert found.protocol == "2022" and len(found.sections) == 9
    for row in found.sections.to_dict("records"):
        name = f"ground_truth_{row['machine_type']}_section_{row['section']}_test.csv"
        labels, domains = codes(folder / "ground_truth_data" / name), codes(folder / "ground_truth_domain" / name)
        score_name = name.replace("ground_truth_", "anomaly_score_").replace("_test", "")
        score = score_files.read_scores(submission / score_name).set_index("file_name")["score"]
        anomalous = score[[clip for clip in labels if labels[clip]]]
        for number, domain in enumerate(("source", "target")):
            normal = score[[clip for clip in labels if not labels[clip] and domains[clip] == number]]
            assert row[f"auc_{domain}"] == auc(normal, anomalous) > 0.9
    assert [note.split(" in ")[0] for note in found.notes[:4]] == [
        "ToyCar: 292 of 600 domains",
        "ToyCar: 296 of 600 labels",
        "ToyTrain: 300 of 600 domains",
        "ToyTrain: 312 of 600 labels",
    ]


def test_machine_types_with_wrong_lists_alone_are_refused(real: Path, submission: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ToyCar: the labels of 600 clips are not taken .*ground_truth_data"):
        evaluate_scores(submission, real / "truth/eval_data_list_2022.csv")
    others = tmp_path / "others"
    others.mkdir()
    for path in submission.glob("anomaly_score_fan_*"):
        shutil.copy(path, others)
    found = evaluate_scores(others, real / "truth/eval_data_list_2022.csv", interval="none")
    assert found.sections["auc_source"].min() > 0.9 and found.notes == ()
    assert {str(section) for section in found.missing_sections} == {
        f"{machine_type}/0{number}"
        for machine_type in ("bearing", "gearbox", "slider", "valve")
        for number in (3, 4, 5)
    }


def test_full_names_join_the_truth(real: Path, submission: Path) -> None:
    """Of ToyCar, whose full names themselves are wrong, too."""
    folder = real / "truth/evaluator_2022"
    expected = evaluate_scores(submission, folder, interval="none").sections
    with (folder / "ground_truth_attributes/ToyCar/attributes_03.csv").open(newline="") as file:
        full = {row[0].split("/")[-1]: row[-1].split("/")[-1] for row in csv.reader(file)}
    path = submission / "anomaly_score_ToyCar_section_03.csv"
    path.write_text("".join(f"{full[c]},{s}\n" for c, s in (line.split(",") for line in path.read_text().splitlines())))
    assert evaluate_scores(submission, folder, interval="none").sections.equals(expected)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (
            "eval_data_list_2021.csv",
            r"line 1: is section_03_0000.wav normal or anomalous\? it is not in the ground truth given, which has "
            r"clips of ToyCar/03 as section_03_source_test_0000.wav .*: is it another year's\?",
        ),
        ("eval_data_list_2020.csv", "which has sections id_05, id_06, id_07 of ToyCar .*another year's"),
        ("evaluator_2024", "which has clips of 3DPrinter, BrushlessMotor, RoboticArm .*another year's"),
    ],
)
def test_lists_of_another_year(real: Path, submission: Path, given: str, match: str) -> None:
    with pytest.raises(DataError, match=match):
        evaluate_scores(submission, real / "truth" / given)


def test_lists_of_another_year_where_names_tell(real: Path) -> None:
    with pytest.raises(
        DataError, match="names none of the clips that .* scores .*another year's.*leave the ground truth"
    ):
        evaluate_scores(real / "baseline_ae_results", real / "truth/eval_data_list_2021.csv")


def test_2020_and_2021_and_2024_join(real: Path, tmp_path: Path) -> None:
    """Every clip of one section a year, scored as its truth is: anomalous above normal."""
    for year, machine_type, prefix, names in (
        ("2020", "fan", "id_01_", ["anomaly_score_fan_id_01.csv"]),
        (
            "2021",
            "gearbox",
            "section_03_",
            [f"anomaly_score_gearbox_section_03_{d}_test.csv" for d in ("source", "target")],
        ),
        ("2024", "RoboticArm", "section_00_", ["anomaly_score_RoboticArm_section_00_test.csv"]),
    ):
        folder, listed, own = tmp_path / year, {}, ""
        folder.mkdir()
        with (real / f"truth/eval_data_list_{year}.csv").open(newline="") as file:
            for row in csv.reader(file):
                own = row[0] if len(row) == 1 else own
                if len(row) > 1 and own == machine_type and row[0].startswith(prefix):
                    listed[row[0]] = row[1]
        for name in names:
            domain = next((d for d in ("source", "target") if f"_{d}_" in name), "")
            lines = [f"{clip},{int('anomaly' in full)}\n" for clip, full in listed.items() if domain in clip]
            (folder / name).write_text("".join(lines))
        found = evaluate_scores(folder, real / f"truth/eval_data_list_{year}.csv", interval="none")
        assert found.protocol == {"2024": "2022"}.get(year, year)
        assert found.official_score == pytest.approx(1.0) and found.n_missing_clips == 0


def test_a_files_domain_is_its_clips(tmp_path: Path) -> None:
    for domain in ("source", "target"):
        names = [f"section_00_source_test_{c}_000{n}.wav" for c in ("normal", "anomaly") for n in range(2)]
        path = tmp_path / f"anomaly_score_fan_section_00_{domain}_test.csv"
        path.write_text("".join(f"{name},1.0\n" for name in names))
    with pytest.raises(
        DataError, match="target_test.csv, line 1: .* is of domain source, but the file's name says target"
    ):
        read_directory(tmp_path)


def test_a_clip_under_two_names_is_scored_twice(tmp_path: Path) -> None:
    full = "section_00_source_test_normal_0003.wav"
    (tmp_path / "eval_data_list_2030.csv").write_text(f"fan\nsection_00_0000.wav,{full}\n")
    scores = tmp_path / "anomaly_score_fan_section_00_test.csv"
    scores.write_text(f"section_00_0000.wav,1.0\n{full},2.0\n")
    with pytest.raises(
        DataError, match=f"section_00_0000.wav and {full} are one clip of fan/00, which has a score twice"
    ):
        evaluate_scores(tmp_path, tmp_path)


def test_a_clip_in_the_files_of_both_domains(tmp_path: Path) -> None:
    """2021, scored under names that hide the domain's condition, with lists that give no domain."""
    for domain in ("source", "target"):
        (tmp_path / f"anomaly_score_fan_section_00_{domain}_test.csv").write_text("section_00_0000.wav,1.0\n")
    (tmp_path / "ground_truth_fan_section_00_test.csv").write_text("section_00_0000.wav,1\n")
    with pytest.raises(DataError, match="section_00_0000.wav and section_00_0000.wav are one clip of fan/00"):
        evaluate_scores(tmp_path, tmp_path)


def test_a_leading_blank_line_and_paths(tmp_path: Path) -> None:
    names = [f"section_00_{d}_test_{c}_0000.wav" for d in ("source", "target") for c in ("normal", "anomaly")]
    path = tmp_path / "anomaly_score_fan_section_00_test.csv"
    path.write_text("\n" + "".join(f"eval/fan/test/{name},{n}\n" for n, name in enumerate(names)))
    assert read_directory(tmp_path).clips["file_name"].tolist() == names
