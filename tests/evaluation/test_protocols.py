"""Protocols: the numbers that the organisers' scripts of 2020, 2021 and 2023 printed, to 1e-12; and official scores.

2022 is in ``test_official_run.py``.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import pytest

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.evaluation import score_files
from mimiidg_build.evaluation.evaluate import evaluate_scores
from mimiidg_build.evaluation.means import harmonic_mean, means
from mimiidg_build.evaluation.protocols import official_score, protocol_named
from mimiidg_build.evaluation.results import Evaluation


def rows_of(path: Path) -> list[list[str]]:
    """The rows of a printed table that are not blank."""
    with path.open(newline="") as file:
        return [row for row in csv.reader(file) if any(row)]


def section(found: Evaluation, machine_type: str, number: str) -> dict[str, float]:
    rows = found.sections.set_index(["machine_type", "section"])
    return rows.loc[(machine_type, number)].to_dict()


def exactly(value: str) -> object:
    return pytest.approx(float(value), abs=1e-12, rel=0)


def test_2020_as_printed(real: Path) -> None:
    found = evaluate_scores(real / "scores/dcase2020_fan")
    assert found.protocol == "2020"
    printed = {row[0]: row[1:] for row in rows_of(real / "scores/dcase2020_fan/result.csv")[2:]}
    assert set(printed) == {"00", "02", "04", "06", "Average"}
    for number in ("00", "02", "04", "06"):
        own = section(found, "fan", f"id_{number}")
        assert [own["auc_all"], own["pauc"]] == [exactly(value) for value in printed[number]]
    average = found.machine_types["fan"].arithmetic
    assert [average["auc_all"], average["pauc"]] == [exactly(value) for value in printed["Average"]]
    assert found.official_score == pytest.approx(sum(map(float, printed["Average"])) / 2, abs=1e-12)
    plain = json.loads(found.to_json())
    assert [row["section"] for row in plain["sections"]] == ["id_00", "id_02", "id_04", "id_06"]
    assert plain["sections"][0]["auc_source"] is None and set(plain["sections"][0]["intervals"]) == {
        *("auc_all", "pauc", "pauc_raw")
    }
    low, high = plain["official_score_interval"]
    assert low < found.official_score < high


METRICS_2021 = ("auc_{}_within", "pauc_{}_within", "precision_{}", "recall_{}", "f1_{}")
MEANS_2021 = ("auc_within", "pauc_within", "precision", "recall", "f1")


def test_2021_as_printed(real: Path) -> None:
    found = evaluate_scores(real / "scores/dcase2021", interval="none")
    assert found.protocol == "2021"
    machine_type, everything, n_values = "", [], 0
    for row in rows_of(real / "scores/dcase2021/result.csv"):
        if len(row) == 1:
            machine_type, sections = row[0], {}
        elif row[1] in ("source", "target"):
            names = [name.format(row[1]) for name in METRICS_2021]
            printed = dict(zip(names, row[2:], strict=True))
            sections.setdefault(row[0], {}).update({name: float(value) for name, value in printed.items()})
            if machine_type in found.machine_types:
                own = section(found, machine_type, row[0])
                assert {name: own[name] for name in names} == {name: exactly(printed[name]) for name in names}
                n_values += len(names)
        elif row[0] in ("arithmetic mean", "harmonic mean"):
            kind = row[0].removesuffix(" mean")
            if kind == "arithmetic":
                everything += sections.values()
            if machine_type in found.machine_types:
                own = getattr(found.machine_types[machine_type], kind)
                assert [own[name] for name in MEANS_2021] == [exactly(value) for value in row[2:]]
        elif "over all machine types" in row[0]:
            # scores of the other machine types are not there: their rows are taken as printed
            own = means(everything)[row[0].split()[0]]
            assert [own[name] for name in MEANS_2021] == [pytest.approx(float(v), rel=1e-12, abs=0) for v in row[2:]]
    assert len(everything) == 21 and n_values == 2 * 3 * 2 * 5
    values = [row[name] for row in found.sections.to_dict("records") for name in protocol_named("2021").official]
    assert len(values) == 24 and found.official_score == pytest.approx(float(harmonic_mean(values)), abs=1e-15)


METRICS_2023 = (
    *("auc_source", "auc_target", "pauc", "pauc_source_within", "pauc_target_within"),
    *("precision_source", "precision_target", "recall_source", "recall_target", "f1_source", "f1_target"),
)


def test_2023_as_printed(real: Path) -> None:
    """Long names, a blank line first in the table."""
    folder = real / "scores/dcase2023"
    found = evaluate_scores(folder, interval="none")
    assert found.protocol == "2022" and list(found.machine_types) == ["ToyCar", "bearing"]
    assert found.missing_sections == (), "no subset of Table 1, though bearing/00 is in it"
    for machine_type, over in found.machine_types.items():
        (path,) = folder.glob(f"result_DCASE2023T2{machine_type}_*_roc.csv")
        printed = {row[0]: row[1:] for row in rows_of(path)[1:]}
        own = section(found, machine_type, "00")
        assert [own[name] for name in METRICS_2023] == [exactly(value) for value in printed["00"]]
        for kind in ("arithmetic", "harmonic"):
            own = getattr(over, kind)
            assert [own[name] for name in METRICS_2023] == [exactly(value) for value in printed[f"{kind} mean"]]


def test_2023_evaluation_files_are_read_as_well(real: Path, tmp_path: Path) -> None:
    for path in (real / "scores/dcase2023").glob("*bearing*_test_seed*"):
        if not path.name.startswith("result"):
            shutil.copy(path, tmp_path / path.name.replace(".csv", "_Eval.csv"))
    found = evaluate_scores(tmp_path, interval="none")
    assert found.sections["auc_source"].tolist() == [0.668]


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        # fan: two IDs, pump: one; each value told apart by its size
        ("mimii", ((0.5 + 0.7) / 2 + 0.8) / 2),
        ("2020", (((0.5 + 0.7) / 2 + 0.8) / 2 + ((0.6 + 0.6) / 2 + 0.9) / 2) / 2),
        ("2021", 12 / (3 * (1 / 0.5 + 1 / 1.0 + 1 / 0.5 + 1 / 1.0))),
        ("2022", 9 / (3 / 0.4 + 3 / 0.8 + 1 / 0.6 + 1 / 0.6 + 1 / 0.9)),
    ],
)
def test_official_scores_by_hand(protocol: str, expected: float) -> None:
    domains = {
        **{"auc_source": 0.4, "auc_target": 0.8, "auc_source_within": 0.5, "auc_target_within": 1.0},
        **{"pauc_source_within": 0.5, "pauc_target_within": 1.0},
    }
    rows = [
        {"machine_type": machine_type, "auc_all": auc, "pauc": pauc, **domains}
        for machine_type, auc, pauc in (("fan", 0.5, 0.6), ("fan", 0.7, 0.6), ("pump", 0.8, 0.9))
    ]
    assert official_score(rows, protocol) == pytest.approx(expected)


def test_means_of_machine_ids_are_of_the_machine_types(tmp_path: Path) -> None:
    """ToyConveyor has three IDs, others four: every machine type counts alike."""
    for machine_type, ids in (("fan", 3), ("ToyConveyor", 1)):
        for number in range(ids):
            names = [f"{c}_id_0{number}_0000000{i}.wav" for c in ("normal", "anomaly") for i in range(2)]
            scores = [1, 2, 3, 4] if machine_type == "fan" else [1, 3, 2, 4]
            score_files.write_scores(tmp_path, machine_type, f"id_0{number}", names, scores)
    found = evaluate_scores(tmp_path)
    assert found.means["arithmetic"]["auc_all"] == (1.0 + 0.75) / 2
    assert found.notes == (), "IDs that one machine type has need not be another's"
    low, high = found.mean_intervals["auc_all"]
    assert low <= 0.875 <= high <= 1.0


def test_the_protocol_can_be_asked_for(real: Path) -> None:
    folder = real / "baseline_ae_results"
    found = evaluate_scores(folder, protocol="2021")
    rows = found.sections.to_dict("records")
    assert found.protocol == "2021" and found.official_score == official_score(rows, "2021")
    assert found.official_score != evaluate_scores(folder, interval="none").official_score
    low, high = found.official_score_interval
    assert low < found.official_score < high
    with pytest.raises(UsageError, match="no protocol is named '2019'"):
        evaluate_scores(folder, protocol="2019")


def write(folder: Path, name: str, clips: dict[str, float]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(f"{clip},{score}\n" for clip, score in clips.items()))


@pytest.mark.parametrize(
    ("template", "protocol", "reason"),
    [
        ("{condition}_id_00_0000000{i}.wav", "2020", "names of DCASE 2020"),
        ("fan/id_00/{folder}/0000000{i}.wav", "mimii", "MIMII: folders tell what the numbers do not"),
        ("id_00_{folder}_0000000{i}.wav", "mimii", "the same in one word"),
    ],
)
def test_machine_ids_of_2020_and_of_mimii(tmp_path: Path, template: str, protocol: str, reason: str) -> None:
    clips = {}
    for condition, folder in (("normal", "normal"), ("anomaly", "abnormal")):
        for i in range(3):
            clips[template.format(condition=condition, folder=folder, i=i)] = i + 2.0 * (condition == "anomaly")
    write(tmp_path, "anomaly_score_fan_id_00.csv", clips)
    found = evaluate_scores(tmp_path)
    assert (found.protocol, found.sections["n_normal"].tolist()) == (protocol, [3]), reason
    assert found.official_score == pytest.approx(
        8.5 / 9 if protocol == "mimii" else (8.5 / 9 + found.sections["pauc"][0]) / 2
    )


def test_files_of_two_years_are_not_averaged(tmp_path: Path) -> None:
    write(tmp_path, "anomaly_score_fan_id_00.csv", {"normal_id_00_00000000.wav": 1.0, "anomaly_id_00_00000000.wav": 2})
    cells = [f"section_00_{d}_test_{c}_0000.wav" for d in ("source", "target") for c in ("normal", "anomaly")]
    write(tmp_path, "anomaly_score_fan_section_00_test.csv", {name: n for n, name in enumerate(cells)})
    with pytest.raises(DataError, match="files of several years' forms .*anomaly_score_fan_id_00.csv.*--protocol"):
        evaluate_scores(tmp_path)
    found = evaluate_scores(tmp_path, protocol="2020", interval="none")
    assert found.sections["section"].tolist() == ["00", "id_00"] and not math.isnan(found.official_score)
