"""Evaluation of directories of score files: the official run, hidden names, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from mimiidg_build.errors import DataError
from mimiidg_build.evaluation import score_files
from mimiidg_build.evaluation.evaluate import evaluate, evaluate_scores
from mimiidg_build.evaluation.protocols import official_score
from mimiidg_build.evaluation.score_directory import read_directory
from mimiidg_build.schemas.sections import SectionId
from tests.conftest import REAL

GOLDEN, ATTRIBUTES = REAL / "baseline_ae_results", REAL / "attributes"
real = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"the official run is not at {GOLDEN} (see its README)")

# (domain, condition, value of m-n, score): two clips a cell. Against all four anomalies (3, 6, 3, 7) the source normals
# 1 and 4 win 4 and 2 of 4 pairs, the target normals 2 and 5 also 4 and 2.
CLIPS = [
    ("source", "normal", "W", 1.0),
    ("source", "normal", "X", 4.0),
    ("source", "anomaly", "W", 3.0),
    ("source", "anomaly", "W", 6.0),
    ("target", "normal", "Y", 2.0),
    ("target", "normal", "Y", 5.0),
    ("target", "anomaly", "Y", 3.0),
    ("target", "anomaly", "Y", 7.0),
]


def full_names(section: str) -> list[str]:
    return [f"section_{section}_{d}_test_{c}_{i:04d}_m-n_{v}.wav" for i, (d, c, v, _) in enumerate(CLIPS)]


def hidden_names(section: str) -> list[str]:
    return [f"section_{section}_{i:04d}.wav" for i in range(len(CLIPS))]


def write(
    directory: Path, machine_type: str, section: str, hidden: bool = False, threshold: float | None = 3.5
) -> None:
    """The scores above, and decisions where there is a threshold."""
    names = hidden_names(section) if hidden else full_names(section)
    scores = [score for *_, score in CLIPS]
    score_files.write_scores(directory, machine_type, section, names, scores)
    if threshold is not None:
        score_files.write_decisions(directory, machine_type, section, names, [score > threshold for score in scores])


def write_table(directory: Path, machine_type: str, section: str) -> Path:
    """The attribute table of hidden names."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = [
        f"{machine_type}/test/{hidden},m-n,{full[-5]},{machine_type}/test/{full}\n"
        for hidden, full in zip(hidden_names(section), full_names(section), strict=True)
    ]
    path = directory / f"attributes_{section}.csv"
    path.write_text("file_name,d1p,d1v,file_name_with_full_attributes\n" + "".join(rows))
    return path


def test_one_section_by_hand(tmp_path):
    write(tmp_path, "ToyCar", "00")
    result = evaluate_scores(tmp_path)
    (row,) = result.sections.to_dict("records")
    expected = {
        "machine_type": "ToyCar",
        "section": "00",
        "n_normal": 4,
        "n_anomaly": 4,
        "auc_source": 0.75,
        "auc_target": 0.75,
        "auc_all": 0.75,
        "auc_source_within": 0.75,
        "auc_target_within": 0.75,
        "precision_source": 0.5,  # above 3.5: normal 4, anomaly 6
        "recall_source": 0.5,
        "f1_source": 0.5,
        "precision_target": 0.5,
        "recall_target": 0.5,
        "f1_target": 0.5,
    }
    assert {name: row[name] for name in expected} == expected
    # Half of the anomalies (6, 7) rank above every normal clip: half of the strip.
    assert row["pauc_raw"] == pytest.approx(0.5)
    assert result.official_score == pytest.approx(3 / (1 / 0.75 + 1 / 0.75 + 1 / row["pauc"]))
    values = result.values.set_index("value")
    assert values.auc.to_dict() == {"W": 1.0, "X": 0.5, "Y": 0.75}
    assert values.domain.to_dict() == {"W": "source", "X": "source", "Y": "target"}
    assert values.n_normal.to_dict() == {"W": 1, "X": 1, "Y": 2}


@real
def test_official_run_and_its_json(tmp_path):
    result = evaluate_scores(GOLDEN)
    plain = json.loads(result.to_json())
    assert [(row["machine_type"], row["section"]) for row in plain["sections"]] == [
        (machine_type, section)
        for machine_type in ("bearing", "fan", "gearbox", "slider", "valve")
        for section in ("00", "01", "02")
    ]
    fan = plain["sections"][3]
    assert fan["auc_source"] == result.sections.auc_source[3], "numbers at full precision"
    assert fan["auc_source"] == pytest.approx(0.8474, abs=1e-12)
    assert fan["f1_target"] == pytest.approx(0.6486486486486486, abs=1e-12)
    low, high = fan["intervals"]["auc_source"]
    assert 0.75 < low < 0.8474 < high < 0.95
    by_type = {row["machine_type"]: row for row in plain["machine_types"]}
    assert by_type["fan"]["harmonic"]["pauc"] == pytest.approx(0.5841880642564521, abs=1e-12)
    assert by_type["fan"]["arithmetic"]["auc_target"] == pytest.approx(0.4912, abs=1e-12)
    rows = [row for row in plain["sections"]]
    assert plain["official_score"] == official_score(rows)
    low, high = plain["official_score_interval"]
    assert low < plain["official_score"] < high < low + 0.06
    assert plain["means"]["arithmetic"]["auc_source"] == pytest.approx(sum(row["auc_source"] for row in rows) / 15)
    assert evaluate_scores(GOLDEN).to_json() == result.to_json(), "seeded"
    assert plain["notes"] == []


def test_hidden_names_give_the_same_results_as_full_names(tmp_path):
    write(tmp_path / "full", "fan", "03")
    write(tmp_path / "hidden", "fan", "03", hidden=True)
    table = write_table(tmp_path / "tables", "fan", "03")
    expected = evaluate_scores(tmp_path / "full").to_json()
    for given in (table, tmp_path / "tables", [table]):
        assert evaluate_scores(tmp_path / "hidden", given).to_json() == expected


@pytest.mark.skipif(not ATTRIBUTES.is_dir(), reason=f"the released tables are not at {ATTRIBUTES}")
def test_released_ground_truth_of_an_evaluation_section(tmp_path):
    names = [f"section_03_{index:04d}.wav" for index in range(200)]
    score_files.write_scores(tmp_path, "fan", "03", names, range(200))
    scored = read_directory(tmp_path, ATTRIBUTES).clips
    assert scored.groupby(["domain", "condition"]).size().tolist() == [50, 50, 50, 50]
    assert evaluate(scored, interval="none").values.value.tolist() == ["W", "X", "Y", "Z"]


def test_lists_without_domains_give_what_needs_none(tmp_path):
    write(tmp_path, "fan", "03", hidden=True)
    truth = tmp_path / "ground_truth_data"
    truth.mkdir()
    rows = [f"{name},{int(c == 'anomaly')}\n" for name, (_, c, *_) in zip(hidden_names("03"), CLIPS, strict=True)]
    (truth / "ground_truth_fan_section_03_test.csv").write_text("".join(rows))
    result = evaluate_scores(tmp_path, truth)
    (row,) = json.loads(result.to_json())["sections"]
    assert row["auc_all"] == 0.75
    assert [row[name] for name in ("auc_source", "auc_target_within", "precision_source", "f1_target")] == [None] * 4
    assert row["intervals"] == {}
    assert math.isnan(result.official_score)
    assert json.loads(result.to_json())["official_score"] is None
    assert json.loads(result.to_json())["official_score_interval"] is None


def test_scores_without_decisions_have_no_precision(tmp_path):
    write(tmp_path, "fan", "00", threshold=None)
    (row,) = json.loads(evaluate_scores(tmp_path).to_json())["sections"]
    assert row["auc_source"] == 0.75
    assert (row["precision_source"], row["recall_target"], row["f1_source"]) == (None, None, None)


def test_no_resamples_no_intervals(tmp_path):
    write(tmp_path, "fan", "00")
    plain = json.loads(evaluate_scores(tmp_path, interval="none").to_json())
    assert plain["sections"][0]["intervals"] == {}
    assert plain["official_score_interval"] is None


def test_machine_types_keep_their_means_and_pooled_values_apart(tmp_path):
    write(tmp_path, "fan", "00")
    write(tmp_path, "fan", "01")
    write(tmp_path, "valve", "00")
    result = evaluate_scores(tmp_path)
    assert list(result.machine_types) == ["fan", "valve"]
    assert result.machine_types["fan"].arithmetic["auc"] == 0.75
    assert result.machine_types["fan"].auc_pooled == 0.75
    assert result.notes == ("valve has no section 01, which other machine types have: means are over what is there",)


def test_an_attribute_value_of_both_domains_says_so(tmp_path):
    names = [
        f"section_01_{d}_test_{c}_{i:04d}_vel_{4 if i % 2 else 12}_loc_{'A' if d == 'source' else 'E'}.wav"
        for i, (d, c, *_) in enumerate(CLIPS)
    ]
    score_files.write_scores(tmp_path, "bearing", "01", names, [score for *_, score in CLIPS])
    values = evaluate_scores(tmp_path, interval="none").values
    assert values[["attribute", "value", "domain"]].to_numpy().tolist() == [
        ["vel", "12", "both"],
        ["vel", "4", "both"],
        ["loc", "A", "source"],
        ["loc", "E", "target"],
    ]


def test_sections_that_must_be_there(tmp_path):
    write(tmp_path, "fan", "00")
    assert len(evaluate_scores(tmp_path, sections=[SectionId("fan", "00")], interval="none").sections) == 1
    with pytest.raises(
        DataError, match=r"no scores of 1 section\(s\): missing anomaly_score_valve_section_02_test.csv"
    ):
        evaluate_scores(tmp_path, sections=[("fan", "00"), ("valve", "02")])


def test_hidden_names_need_ground_truth(tmp_path):
    write(tmp_path, "fan", "03", hidden=True)
    with pytest.raises(DataError, match=r"line 1: is section_03_0000.wav normal or anomalous\? its name does not say"):
        evaluate_scores(tmp_path)
    table = write_table(tmp_path / "tables", "valve", "03")
    with pytest.raises(DataError, match="is not in the ground truth given"):
        evaluate_scores(tmp_path, table)


def test_a_clip_of_the_ground_truth_without_a_score(tmp_path):
    names = hidden_names("03")[:-1]
    score_files.write_scores(tmp_path, "fan", "03", names, range(len(names)))
    table = write_table(tmp_path / "tables", "fan", "03")
    with pytest.raises(DataError, match="1 of 8 test clips of fan/03 have no score, the first is section_03_0007.wav"):
        evaluate_scores(tmp_path, table)


def test_decisions_on_other_clips_than_scores(tmp_path):
    write(tmp_path, "fan", "00")
    score_files.write_decisions(tmp_path, "fan", "00", full_names("00")[:-1], [True] * 7)
    with pytest.raises(
        DataError,
        match="not those of the score file: 1 differ, the first is section_00_target_test_anomaly_0007_m-n_Y.wav",
    ):
        evaluate_scores(tmp_path)


def test_decisions_are_matched_by_clip_not_by_line(tmp_path):
    write(tmp_path, "fan", "00")
    expected = evaluate_scores(tmp_path, interval="none").to_json()
    names, decisions = full_names("00")[::-1], [score > 3.5 for *_, score in CLIPS][::-1]
    score_files.write_decisions(tmp_path, "fan", "00", names, decisions)
    assert evaluate_scores(tmp_path, interval="none").to_json() == expected


def test_a_section_without_a_cell_is_named(tmp_path):
    names = [name for name in full_names("00") if "target_test_anomaly" not in name]
    score_files.write_scores(tmp_path, "fan", "00", names, range(len(names)))
    with pytest.raises(DataError, match="fan/00: target anomaly scores: expected .* at least one score"):
        evaluate_scores(tmp_path)


def test_nothing_to_evaluate():
    types = {"score": "float64", "decision": "int64"}
    columns = ["machine_type", "section", "file_name", "domain", "condition", "attributes", "score", "decision"]
    empty = pd.DataFrame({name: pd.Series([], dtype=types.get(name, "str")) for name in columns})
    with pytest.raises(DataError, match="no scored clips"):
        evaluate(empty)
