"""Score files that lack clips: against the truth, and against the numbers in the clips' own names."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest

from mimiidg_build.datasets.truth import ClipTruth, truth_of_name
from mimiidg_build.errors import DataError
from mimiidg_build.evaluation import score_files
from mimiidg_build.evaluation.completeness import n_missing_by_number
from mimiidg_build.evaluation.evaluate import evaluate_scores

SCORES = "anomaly_score_fan_section_00_test.csv"
CELLS = [(domain, condition) for domain in ("source", "target") for condition in ("normal", "anomaly")]
NAMES = [f"section_00_{domain}_test_{condition}_{n:04d}_m-n_W.wav" for domain, condition in CELLS for n in range(50)]


def numbered(names: list[str]) -> list[tuple[ClipTruth, str]]:
    return [(truth_of_name(name) or ClipTruth(), name) for name in names]


@pytest.mark.parametrize(
    ("kept", "missing", "reason"),
    [
        (slice(None), 0, "all"),
        (slice(0, 170), 30, "cut off at the end"),
        (slice(30, None), 30, "the first are gone"),
        (slice(None, None, 2), 96, "every other, but the last of each cell"),
        (slice(0, 150), 0, "a cell that is not there at all is another error's"),
    ],
)
def test_numbers_tell_what_is_missing(kept: slice, missing: int, reason: str) -> None:
    assert n_missing_by_number(numbered(NAMES[kept]), equal_cells=True) == missing, reason


def test_any_thirty_of_two_hundred() -> None:
    for seed in range(20):
        kept = random.Random(seed).sample(NAMES, 170)
        assert n_missing_by_number(numbered(kept), equal_cells=True) == 30


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([name.replace("_0049", "_0050").replace("_0000", "_0049") for name in NAMES if "_0050" not in name], "from 1"),
        ([f"section_00_{d}_test_{c}_{n:04d}.wav" for n, (d, c) in enumerate(CELLS * 3)], "over the whole section"),
        (
            [
                f"section_00_{d}_test_{('normal', 'anomaly')[n % 3 == 0]}_{n:04d}.wav"
                for d in ("source", "target")
                for n in range(9)
            ],
            "over each domain",
        ),
        (["knock.wav", "squeal_2.wav"], "not numbered"),
    ],
)
def test_every_way_of_numbering_is_complete(names: list[str], reason: str) -> None:
    assert n_missing_by_number(numbered(names), equal_cells=False) == 0, reason


@pytest.mark.parametrize("year", ["2020", "2021", "2022", "2024"])
def test_real_lists_are_complete_and_less_is_not(real: Path, year: str) -> None:
    """Full names of every section; and without thirty of them."""
    sections: dict[tuple[str, str], list[str]] = {}
    machine_type = ""
    with (real / f"truth/eval_data_list_{year}.csv").open(newline="") as file:
        for row in csv.reader(file):
            machine_type = row[0] if len(row) == 1 else machine_type
            if len(row) > 1:
                section = row[0].rpartition("_")[0].replace("_target", "_source")
                sections.setdefault((machine_type, section), []).append(row[1])
    for names in sections.values():
        assert n_missing_by_number(numbered(names), equal_cells=year in ("2022", "2024")) == 0
        fewer = random.Random(0).sample(names, len(names) - 30)
        assert n_missing_by_number(numbered(fewer), equal_cells=year in ("2022", "2024")) > 20


def test_an_incomplete_file_is_an_error_unless_partial(tmp_path: Path) -> None:
    score_files.write_scores(tmp_path, "fan", "00", NAMES[:170], range(170))
    with pytest.raises(DataError, match=r"30 of 200 test clips of fan/00 have no score, as the numbers .*--partial"):
        evaluate_scores(tmp_path)
    found = evaluate_scores(tmp_path, partial=True)
    plain = json.loads(found.to_json())
    assert plain["sections"][0]["n_missing"] == 30 and found.n_missing_clips == 30
    assert plain["notes"][0].startswith("fan/00 is partial: 30 of 200 test clips have no score")


def test_against_the_truth_names_need_not_tell(tmp_path: Path) -> None:
    """Under hidden or full names, the first that lacks is named."""
    hidden = {full: f"section_00_{n:04d}.wav" for n, full in enumerate(NAMES)}
    rows = [f"{name},{full.removesuffix('.wav')}\n" for full, name in hidden.items()]
    folder = tmp_path / "ground_truth_attributes"
    folder.mkdir()
    (folder / "ground_truth_fan_section_00_test.csv").write_text("".join(rows))
    for number, names in enumerate((list(hidden.values()), NAMES)):
        scores = tmp_path / str(number)
        score_files.write_scores(scores, "fan", "00", names, range(200))
        assert evaluate_scores(scores, folder, interval="none").n_missing_clips == 0
        score_files.write_scores(scores, "fan", "00", names[:170], range(170))
        with pytest.raises(DataError, match="30 of 200 .* of fan/00 have no score, the first is section_00_0170.wav"):
            evaluate_scores(scores, folder)
        assert evaluate_scores(scores, folder, interval="none", partial=True).n_missing_clips == 30


def test_cells_of_2021_need_not_be_of_one_size(tmp_path: Path) -> None:
    """Gearbox and slider of 2021 have as many clips as there were."""
    for domain, n_anomalous in (("source", 7), ("target", 5)):
        names = [f"section_00_{domain}_test_normal_{n:04d}_strength_1_ambient.wav" for n in range(6)]
        names += [f"section_00_{domain}_test_anomaly_{n:04d}_strength_1_ambient.wav" for n in range(n_anomalous)]
        path = tmp_path / f"anomaly_score_gearbox_section_00_{domain}_test.csv"
        path.write_text("".join(f"{name},{number}\n" for number, name in enumerate(names)))
    found = evaluate_scores(tmp_path, interval="none")
    assert (found.protocol, found.n_missing_clips, found.sections["n_anomaly"].tolist()) == ("2021", 0, [12])
    assert found.values["attribute"].tolist() == ["tail"], "free text is one attribute"
