"""The command ``evaluate`` on other years' files: what it recognises, shows and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mimiidg_build.cli.evaluate import evaluate
from mimiidg_build.errors import DataError, UsageError

CELLS = [(domain, condition) for domain in ("source", "target") for condition in ("normal", "anomaly")]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(evaluate, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """Source anomalies stand out within their domain, target normal clips score highest of all."""
    values = {("source", "normal"): 0, ("source", "anomaly"): 10, ("target", "normal"): 20, ("target", "anomaly"): 30}
    lines = [f"section_00_{d}_test_{c}_{n:04d}.wav,{values[d, c] + n}\n" for d, c in CELLS for n in range(5)]
    (tmp_path / "anomaly_score_ToyCar_section_00_test.csv").write_text("".join(lines))
    return tmp_path


def test_another_definition_is_shown_by_its_name(scores: Path) -> None:
    """Within its domain every anomaly is found; half of them score below the target's normal clips."""
    text = run(scores, "--definition", "within").stdout
    title = next(line for line in text.splitlines() if line.strip().startswith("section"))
    for column in ("source", "target", "source within", "target within", "pAUC source within", "pAUC target within"):
        assert column in title
    row = next(line for line in text.splitlines() if "ToyCar/00" in line).split()
    assert row[1:3] == ["100.00", "50.00"] and row[5:9] == ["100.00"] * 4
    assert next(line for line in text.splitlines() if "the same, within" in line).split()[-1] == "100.00*"
    assert "within" not in run(scores).stdout
    content = json.loads(run(scores, "--definition", "within", "--json").stdout)
    assert content["official_score_within"] == 1.0 > content["official_score"]
    assert {"auc_source_within", "auc_target_within", "pauc_source_within", "pauc_target_within"} <= set(
        content["sections"][0]
    )


def test_few_clips_are_marked_and_said(scores: Path) -> None:
    """Five of a kind: means and official score bear a mark, and a line says why; sections' own AUCs do not."""
    lines = run(scores).stdout.splitlines()
    assert [line.count("*") for line in lines if "ToyCar/00" in line] == [0]
    for row in ("arithmetic mean", "harmonic mean", "official score"):
        (line,) = (line for line in lines if row in line)
        assert "*" in line
    assert lines[-1].startswith('* Few test clips: ToyCar section 00 has 5 of the kind "source normal". Below 20')
    content = json.loads(run(scores, "--json").stdout)
    assert content["few_clips"] is True
    assert content["smallest_cell"] == {"section": "ToyCar/00", "cell": "source normal", "n": 5}


def test_enough_clips_are_not_marked(tmp_path: Path) -> None:
    lines = [f"section_00_{d}_test_{c}_{n:04d}.wav,{n + 3 * (c == 'anomaly')}\n" for d, c in CELLS for n in range(20)]
    (tmp_path / "anomaly_score_fan_section_00_test.csv").write_text("".join(lines))
    assert "*" not in run(tmp_path).stdout
    assert json.loads(run(tmp_path, "--json").stdout)["few_clips"] is False


def test_one_clip_of_a_kind_has_no_interval(tmp_path: Path) -> None:
    """It was 100.00 (100.00 .. 100.00)."""
    lines = [f"section_00_{d}_test_{c}_0000.wav,{int(c == 'anomaly')}\n" for d, c in CELLS]
    (tmp_path / "anomaly_score_fan_section_00_test.csv").write_text("".join(lines))
    text = run(tmp_path, "--interval", "jackknife").stdout
    assert "100.00*" in text and ".." not in text
    content = json.loads(run(tmp_path, "--json").stdout)
    assert content["official_score_interval"] is None and content["sections"][0]["intervals"] == {}


@pytest.mark.parametrize("kind", ["jackknife", "hanley_mcneil", "as_published"])
def test_intervals_of_a_kind_stand_beside_every_auc(scores: Path, kind: str) -> None:
    lines = run(scores, "--interval", kind).stdout.splitlines()
    (section,) = (line for line in lines if "ToyCar/00" in line)
    (of_type,) = (line for line in lines if "ToyCar, arithmetic mean" in line)
    n_aucs = 4 if kind == "jackknife" else 3  # Hanley and McNeil's are not of pAUC
    assert section.count("..") == of_type.count("..") == n_aucs
    content = json.loads(run(scores, "--interval", kind, "--json").stdout)
    assert ("pauc" in content["machine_types"][0]["intervals"]) == (kind == "jackknife")
    assert ("official score" in "".join(lines)) and (content["official_score_interval"] is None) == (
        kind != "jackknife"
    )


def test_2021_shows_its_own_and_the_other_on_demand(scores: Path) -> None:
    assert "protocol 2021" in run(scores, "--protocol", "2021").stdout
    content = json.loads(run(scores, "--protocol", "2021", "--definition", "all", "--json").stdout)
    assert content["protocol"] == "2021" and content["official_score"] == 1.0 > content["official_score_all"]


def test_without_domains(tmp_path: Path) -> None:
    lines = [f"{c}_id_00_0000000{n}.wav,{n + (c == 'anomaly')}\n" for c in ("normal", "anomaly") for n in range(3)]
    (tmp_path / "anomaly_score_fan_id_00.csv").write_text("".join(lines))
    content = json.loads(run(tmp_path, "--json").stdout)
    (section,) = content["sections"]
    assert (section["section"], content["protocol"], content["missing_sections"]) == ("id_00", "2020", [])
    assert section["auc_all"] == 7 / 9 and section["pauc"] and section["auc_source"] is None
    text = run(tmp_path).stdout
    assert "fan/id_00" in text and "source" not in text and "F1" not in text
    with pytest.raises(UsageError, match="--definition within is of domains, and the protocol 2020 has none"):
        run(tmp_path, "--definition", "within")


def test_partial_is_asked_for_and_stands_beside_every_number(scores: Path) -> None:
    (path,) = scores.iterdir()
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))
    with pytest.raises(DataError, match="2 of 20 test clips of ToyCar/00 have no score.*--partial"):
        run(scores)
    lines = run(scores, "--partial").stdout.splitlines()
    numbers = [line for line in lines if any(word in line for word in ("ToyCar/00", " mean", "official score"))]
    assert len(numbers) >= 4 and all("partial" in line for line in numbers)
    assert any("ToyCar/00 (partial: 2 of 20 clips missing)" in line for line in lines)
    content = json.loads(run(scores, "--partial", "--json").stdout)
    assert (content["complete"], content["partial"]) == (False, True) and content["sections"][0]["n_missing"] == 2


def test_unknown_choices_are_wrong_use(scores: Path) -> None:
    for option in ("--protocol", "--definition"):
        done = run(scores, option, "2019")
        assert done.exit_code == 2 and "'2019' is not one of" in done.stderr
