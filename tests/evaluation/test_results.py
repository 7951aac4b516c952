"""results.json: the same bytes as ever, read back to the last bit, and nothing else taken for one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mimiidg_build.errors import DataError
from mimiidg_build.evaluation.evaluate import evaluate, evaluate_scores
from mimiidg_build.evaluation.results import Evaluation, read_results
from mimiidg_build.schemas.results import Results, SectionResult, ValueResult
from mimiidg_build.schemas.scores import SectionResults, ValueResults
from mimiidg_build.schemas.sections import SectionId
from tests.conftest import REAL

GOLDEN = REAL / "baseline_ae_results"

# Two sections: one with domains, attributes and decisions, one without any of the three.
ROWS = [
    ("fan", "00", "s_0.wav", "source", "normal", '{"m-n":"W"}', 1.0, 0),
    ("fan", "00", "s_1.wav", "source", "normal", '{"m-n":"X"}', 4.0, 1),
    ("fan", "00", "s_2.wav", "source", "anomaly", '{"m-n":"W"}', 3.0, 0),
    ("fan", "00", "s_3.wav", "target", "normal", '{"m-n":"Y"}', 2.0, 0),
    ("fan", "00", "s_4.wav", "target", "anomaly", '{"m-n":"Y"}', 5.0, 1),
    ("valve", "01", "s_0.wav", "", "normal", "{}", 1e-7, -1),
    ("valve", "01", "s_1.wav", "", "normal", "{}", 2e-7, -1),
    ("valve", "01", "s_2.wav", "", "anomaly", "{}", 2e-7, -1),
]
COLUMNS = ("machine_type", "section", "file_name", "domain", "condition", "attributes", "score", "decision")


def scored(*sections: str) -> pd.DataFrame:
    """The rows above, of some sections."""
    return pd.DataFrame([row for row in ROWS if f"{row[0]}/{row[1]}" in sections], columns=list(COLUMNS))


def evaluations() -> list[Evaluation]:
    """Everything known; no intervals; unknown domains; a mixture."""
    return [
        evaluate(scored("fan/00")),
        evaluate(scored("fan/00"), interval="none"),
        evaluate(scored("valve/01")),
        evaluate(scored("fan/00", "valve/01")),
    ]


def test_the_text_is_that_of_every_version_before() -> None:
    """A file kept by hand: its order of keys, its numbers, its nulls."""
    expected = (Path(__file__).parent / "results.json").read_text()
    assert evaluate(scored("fan/00", "valve/01")).to_json() == expected


def test_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """What they lack is unknown, or none; what they have is as it was."""
    old = json.loads((Path(__file__).parent / "results_of_version_1.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps(old))
    found = read_results(tmp_path / "results.json")
    assert found.protocol == "2022" and found.n_missing_clips == 0
    assert found.sections["pauc_source_within"].isna().all()
    now = evaluate(scored("fan/00", "valve/01"))
    for before, after in zip(old["sections"], json.loads(now.to_json())["sections"], strict=True):
        assert {name: after[name] for name in before if name != "intervals"} == {
            name: value for name, value in before.items() if name != "intervals"
        }
        if before["intervals"]:
            section = SectionId(before["machine_type"], before["section"])
            assert found.section_intervals[section] == {k: tuple(v) for k, v in before["intervals"].items()}
    assert (found.few_clips, found.smallest_cell, found.harmonic_mean_intervals) == (False, None, {})
    assert (found.official_score, found.means["arithmetic"]["auc_all"]) == (
        pytest.approx(now.official_score, nan_ok=True),
        now.means["arithmetic"]["auc_all"],
    )


@pytest.mark.parametrize("number", range(4), ids=["all there is", "no intervals", "no domains", "both"])
def test_results_read_back_as_they_were(tmp_path: Path, number: int) -> None:
    """To the last bit, what is unknown included."""
    expected = evaluations()[number]
    (tmp_path / "results.json").write_text(expected.to_json())
    found = read_results(tmp_path / "results.json")
    assert found.to_json() == expected.to_json()
    pd.testing.assert_frame_equal(found.sections, expected.sections)
    pd.testing.assert_frame_equal(found.values, expected.values)
    assert found.section_intervals == expected.section_intervals
    assert found.machine_types == expected.machine_types
    assert math.isnan(found.official_score) == math.isnan(expected.official_score) == (number > 1)


@pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"the official run is not at {GOLDEN} (see its README)")
def test_the_official_run_reads_back_as_it_was(tmp_path: Path) -> None:
    expected = evaluate_scores(GOLDEN)
    (tmp_path / "results.json").write_text(expected.to_json())
    assert read_results(tmp_path / "results.json").to_json() == expected.to_json()


@given(st.floats(0, 1))
def test_every_float_reads_back_as_the_same_float64(value: float) -> None:
    plain = json.loads((Path(__file__).parent / "results.json").read_text())
    plain["official_score"] = plain["sections"][0]["auc_all"] = value
    found = Results.model_validate_json(json.dumps(plain))
    assert (found.official_score, found.sections[0].auc_all) == (value, value)


def changed(*keys: str | int, value: object) -> str:
    """The file kept by hand with another value at one place."""
    plain = json.loads((Path(__file__).parent / "results.json").read_text())
    place = plain
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    return json.dumps(plain)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("{}", "sections: Field required"),
        ("[", "the file: Invalid JSON"),
        ('{"sections": 1}', "sections: Input should be a valid array"),
        (changed("median", value=0.5), "median: unknown key"),
        (changed("sections", 1, "auc_middle", value=0.5), "sections.1.auc_middle: unknown key"),
        (changed("means", "geometric", value={}), "means.geometric: unknown key"),
        (changed("machine_types", 0, "n", value=1), "machine_types.0.n: unknown key"),
        (changed("values", 0, "n", value=1), "values.0.n: unknown key"),
        (changed("sections", 0, "auc_all", value=None), "sections.0.auc_all: Input should be a valid number"),
        (changed("sections", 0, "pauc", value=1.5), "sections.0.pauc: Input should be less than or equal to 1"),
        (changed("sections", 0, "n_normal", value=0), "sections.0.n_normal: Input should be greater"),
        (changed("sections", 0, "section", value="0 0"), "sections.0.section: String should match"),
        (changed("sections", 0, "intervals", "auc_all", value=[0.1]), "sections.0.intervals.auc_all.1: Field required"),
        (changed("official_score", value=float("nan")), "official_score: Input should be a finite number"),
        (changed("notes", value="none"), "notes: Input should be a valid array"),
    ],
)
def test_another_file_is_not_taken_for_results(tmp_path: Path, text: str, mistake: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(DataError, match=rf"results.json: not a results file of this version: {mistake}"):
        read_results(tmp_path / "results.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="results.json: cannot be read: No such file"):
        read_results(tmp_path / "results.json")


def test_tables_and_file_have_the_same_columns() -> None:
    """The two declarations of a row, for pandas and for JSON, are one."""
    assert [*SectionResults.to_schema().columns, "intervals"] == list(SectionResult.model_fields)
    assert list(ValueResults.to_schema().columns) == list(ValueResult.model_fields)


def test_results_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        evaluations()[0].to_results().official_score = 1.0
