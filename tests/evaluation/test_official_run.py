"""The official baseline's score files: every number of its result table to 1e-12."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from mimiidg_build.evaluation.decisions import precision_recall_f1
from mimiidg_build.evaluation.means import means
from mimiidg_build.evaluation.section_metrics import Cells, section_metrics
from tests.conftest import REAL

GOLDEN = REAL / "baseline_ae_results"
MACHINE_TYPES = ("bearing", "fan", "gearbox", "slider", "valve")
COLUMNS = (
    "auc_source",
    "auc_target",
    "pauc",
    "precision_source",
    "precision_target",
    "recall_source",
    "recall_target",
    "f1_source",
    "f1_target",
)

golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"the official run is not at {GOLDEN} (see its README)")


def golden_table() -> dict[tuple[str, str], dict[str, float]]:
    """result.csv as {(machine type, row): {metric: value}}; the last two rows belong to machine type ''."""
    table, machine_type = {}, ""
    with (GOLDEN / "result.csv").open(newline="") as file:
        for row in csv.reader(file):
            if len(row) == 1:
                machine_type = row[0]
            elif row and row[0] == "":
                machine_type = ""
            elif row and row[0] != "section":
                table[machine_type, row[0]] = dict(zip(COLUMNS, map(float, row[1:]), strict=True))
    return table


def golden_section(machine_type: str, section: str) -> dict[str, float]:
    """Our metrics of one section of the official run, read here without the package's own reader."""
    columns = {}
    for kind in ("anomaly_score", "decision_result"):
        with (GOLDEN / f"{kind}_{machine_type}_section_{section}_test.csv").open(newline="") as file:
            columns[kind] = list(csv.reader(file))
    names = [name.split("_") for name, _ in columns["anomaly_score"]]
    assert [name for name, _ in columns["decision_result"]] == ["_".join(name) for name in names]
    domains, conditions = [name[2] for name in names], [name[4] for name in names]
    found = section_metrics(Cells.of([float(value) for _, value in columns["anomaly_score"]], domains, conditions))
    anomalous = np.array(conditions) == "anomaly"
    decided = np.array([value == "1" for _, value in columns["decision_result"]])
    for domain in ("source", "target"):
        here = np.array(domains) == domain
        measured = precision_recall_f1(anomalous[here], decided[here])
        found |= {f"{name}_{domain}": value for name, value in measured.items()}
    return found


@golden
@pytest.mark.parametrize("machine_type", MACHINE_TYPES)
def test_official_run_every_section_and_mean(machine_type):
    table = golden_table()
    sections = [golden_section(machine_type, section) for section in ("00", "01", "02")]
    for section, found in zip(("00", "01", "02"), sections, strict=True):
        for name, value in table[machine_type, section].items():
            assert found[name] == pytest.approx(value, abs=1e-12, rel=0), (machine_type, section, name)
    for kind, found in means(sections).items():
        for name, value in table[machine_type, f"{kind} mean"].items():
            assert found[name] == pytest.approx(value, abs=1e-12, rel=0), (machine_type, kind, name)


@golden
def test_official_run_grand_means_over_all_seven_machine_types():
    # Scores of ToyCar and ToyTrain are not there: their rows are taken as printed.
    table = golden_table()
    sections = [row for (_, name), row in table.items() if name in ("00", "01", "02")]
    assert len(sections) == 21
    for kind, found in means(sections).items():
        row = table["", f"{kind} mean over all machine types, sections, and domains"]
        for name, value in row.items():
            assert found[name] == pytest.approx(value, rel=1e-12, abs=0), (kind, name)


@golden
def test_official_run_has_135_golden_values_and_within_domain_auc_differs():
    table = golden_table()
    assert sum(len(table[m, s]) for m in MACHINE_TYPES for s in ("00", "01", "02")) == 135
    fan = golden_section("fan", "00")
    assert (round(fan["auc_source"], 4), round(fan["auc_source_within"], 4)) == (0.8474, 0.6992)
