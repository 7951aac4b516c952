"""The papers' numbers: what the file holds, beside which runs they stand, and over what ours are taken."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimiidg_build.benchmark.beside_papers import beside, rows_beside_papers
from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.benchmark.published import AVERAGE, PaperTable, paper_tables, published, tables_beside
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.models import ABLATIONS, MODELS, settings_of
from mimiidg_build.report.result_tables import beside_papers
from mimiidg_build.store.store import Store
from tests.plain_store import make_plain_store

pytestmark = pytest.mark.usefixtures("one_thread")

# All machine types and IDs of DCASE 2020's development data, and one that is not of them.
IDS = {m: ("00", "02", "04", "06") for m in ("fan", "pump", "slider", "valve")}
IDS |= {"ToyCar": ("01", "02", "03", "04"), "ToyConveyor": ("01", "02", "03")}
SECTIONS = {f"{m}/id_{n}": 0.2 for m, ids in sorted(IDS.items()) for n in ids} | {"fan/id_01": 0.2}


@pytest.mark.parametrize("table", paper_tables(), ids=lambda table: table.source)
def test_averages_follow_from_the_rows(table: PaperTable) -> None:
    for model, rows in table.rows.items():
        assert model in MODELS | ABLATIONS
        numbers = [row for place, row in rows.items() if place != AVERAGE]
        assert all(len(row) == len(table.metrics) for row in rows.values())
        settings_of(model, table.profile)  # the recipe is there
        assert table.profile in ("paper", "released") and set(table.notes) <= set(table.rows)
        if table.source.startswith("Neri"):
            assert "no target" in table.notes.get(model, "")
            continue  # Table 2's averages are not the means of Table 1, as the file says
        assert np.mean(numbers, axis=0) == pytest.approx(rows[AVERAGE], abs=0.0051)


def test_the_papers_tables() -> None:
    """Some numbers as printed, and the systems that each dataset has."""
    of = {
        dataset: {model for table in paper_tables() if dataset in table.datasets for model in table.rows}
        for dataset in ("mimii_dg", "dcase2020", "mimii_-6_dB", "mimii_0_dB", "mimii_6_dB")
    }
    assert of["mimii_dg"] == {"autoencoder", "mobilenetv2"}
    assert of["dcase2020"] == {
        *("bce", "dsad", "ddcsad", "bce_dsad", "bce_ddcsad", "attention", "conformer"),
        *(set(ABLATIONS) - {"attention_dense"}),  # ours, in no paper
    }
    assert of["mimii_-6_dB"] == of["mimii_0_dB"] == of["mimii_6_dB"] == {"conformer"}
    by_source: dict[str, dict[str, dict[str, list[float]]]] = {}
    for table in paper_tables():
        by_source[table.source] = by_source.get(table.source, {}) | table.rows
    neri = by_source["Neri and Carli 2024, Tables 1 to 4 (development data)"]
    assert neri["attention"]["ToyConveyor"] == [84.59, 73.55] and neri["attention"][AVERAGE] == [93.44, 85.71]
    kuroyanagi = by_source["Kuroyanagi et al., EUSIPCO 2021, Table II (evaluation data)"]
    assert kuroyanagi["bce_ddcsad"] == {
        **{"fan": [95.14], "pump": [92.14], "slider": [97.60], "ToyCar": [93.85], "ToyConveyor": [82.05]},
        **{"valve": [96.08], AVERAGE: [92.81]},
    }
    assert published("autoencoder")["fan/00"] == (84.69, 39.35)


def test_alphas_of_the_paper() -> None:
    """Table I: for every machine type of DCASE 2020."""
    zeros = dict.fromkeys(("slider", "ToyCar", "ToyConveyor", "valve"), 0)
    for profile in ("paper", "cpu", "smoke"):
        alphas = {name: settings_of(name, profile).oracle_alpha for name in ("bce_dsad", "bce_ddcsad")}
        assert alphas["bce_dsad"] == {"fan": 0.1, "pump": 0.2} | zeros
        assert alphas["bce_ddcsad"] == {
            **{"fan": 0.1, "pump": 1, "slider": 1},
            **{"ToyCar": 0.1, "ToyConveyor": 0, "valve": 1},
        }


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root = tmp_path_factory.mktemp("root")
    return make_plain_store(root, SECTIONS, synthetic=False, dataset="dcase2020", dataset_title="DCASE 2020")


@pytest.fixture(scope="module")
def result(store: Store, tmp_path_factory: pytest.TempPathFactory) -> ModelResult:
    root = tmp_path_factory.mktemp("runs")
    return benchmark_models(store, root, ["nearest_neighbour"], profile="smoke", device="cpu").models[0]


NERI = "Neri and Carli 2024, Tables 1 to 4 (development data)"
ZHANG = [f"Zhang et al., Interspeech 2023, Table {n} data)" for n in ("2 (development", "3 (evaluation")]
KUROYANAGI = "Kuroyanagi et al., EUSIPCO 2021, Table II (evaluation data)"


@pytest.mark.parametrize(
    ("changes", "sources"),
    [
        ({}, [NERI]),
        ({"model": "conformer", "profile": "paper", "score": "selected"}, ZHANG),
        ({"model": "bce", "profile": "paper"}, [KUROYANAGI]),
        ({"model": "bce_ddcsad", "profile": "paper", "score": "oracle"}, [KUROYANAGI]),
        # another recipe: what the text says, what is quick, other scores, other epochs, known anomalies, another system
        ({"profile": "paper"}, []),
        ({"profile": "cpu"}, []),
        ({"profile": "smoke"}, []),
        ({"model": "conformer", "profile": "paper"}, []),
        ({"model": "conformer", "profile": "paper", "score": "oracle"}, []),
        ({"model": "conformer", "profile": "paper", "score": "id"}, []),
        ({"model": "bce_ddcsad", "profile": "paper"}, []),
        ({"epochs": 3}, []),
        ({"known_anomalies": 1}, []),
        ({"model": "nearest_neighbour"}, []),
    ],
)
def test_which_results_they_stand_beside(result: ModelResult, changes: dict[str, Any], sources: list[str]) -> None:
    named = {"model": "attention", "profile": "released", "epochs": None, "settings": {}}
    assert [table.source for table in replace(result, **named | changes).papers] == sources


@pytest.mark.parametrize(
    ("profile", "changes", "stands"),
    [
        ("released", {}, True),
        ("released", {"threads": 2}, True),  # no paper says them
        ("released", {"batch_size": 32}, False),
        ("released", {"precision": "bf16"}, False),
        ("released", {"held_out": 0.0}, False),
        ("paper", {}, False),
        # another profile, with all of the recipe's settings
        (
            "paper",
            {"last_learning_rate": 0.1, "held_out": 0.05, "held_out_from": "anywhere", "unused_head": True},
            True,
        ),
        ("paper", {"last_learning_rate": 0.1, "held_out": 0.05, "held_out_from": "anywhere"}, False),
    ],
)
def test_settings_decide_beside_what_they_stand(
    result: ModelResult, profile: str, changes: dict[str, Any], stands: bool
) -> None:
    settings = asdict(settings_of("attention", profile, changes))
    changed = replace(result, model="attention", profile=profile, changes=changes, settings=settings)
    assert (
        bool(changed.papers) == bool(rows_beside_papers([changed])) == (beside_papers([changed]) is not None) == stands
    )


def test_a_run_of_an_early_version_stands_beside_its_recipe(result: ModelResult) -> None:
    """Its file names no setting that came later: the default is what it did, and no other."""
    settings = asdict(settings_of("conformer", "paper"))
    for name in ("precision", "held_out_from", "threads"):
        del settings[name]
    early = replace(result, model="conformer", profile="paper", score="selected", settings=settings)
    assert [table.source for table in early.papers] == ZHANG
    settings = asdict(settings_of("attention", "released"))
    early = replace(result, model="attention", profile="released", settings=settings)
    assert early.papers
    del settings["held_out_from"]  # from when clips were held out at the end
    assert not replace(early, settings=settings).papers


@pytest.mark.parametrize(
    "changes",
    [
        {"synthetic": True},
        {"dataset": "dcase2021"},
        {"protocol": "2021"},
        {"recording": "mixed"},  # with the noise of its variant, which adds some
        {"variant": {"snr_offset_db": 6.0}},
    ],
)
def test_which_data_they_stand_beside(store: Store, changes: dict[str, Any]) -> None:
    assert tables_beside(store, "attention", "released", "")
    if "variant" in changes:
        changes = {"variant": store.attributes.variant.model_copy(update=changes["variant"])}
    other = replace(store, attributes=store.attributes.model_copy(update=changes))
    assert not tables_beside(other, "attention", "released", "")


def test_ours_are_over_the_sections_of_the_table(result: ModelResult) -> None:
    """Not over fan's additional ID; pooled where the paper pools."""
    changed = replace(result, model="conformer", profile="paper", score="selected", settings={})
    development = [one for one in beside(changed) if "Table 2" in one.source]
    assert [(one.place, one.metric, one.paper) for one in development] == [
        ("fan", "auc_all", 88.80),
        ("pump", "auc_all", 94.12),
        ("slider", "auc_all", 96.52),
        ("valve", "auc_all", 100.00),
        ("average", "auc_all", 94.86),
    ]
    own = 100 * result.sections["auc_all"]
    by_type = [
        float(np.mean([own["fan", f"id_{n}"] for n in IDS["fan"]])),
        *(own[m].mean() for m in ("pump", "slider", "valve")),
    ]
    assert [one.own for one in development] == pytest.approx([*by_type, np.mean(by_type)])
    assert not [one for one in beside(changed) if "Table 3" in one.source], "the evaluation IDs were not run"
    rows = rows_beside_papers([replace(result, model="attention", profile="released", settings={})])
    assert [row["of"] for row in rows] == ["fan", "pump", "slider", "valve", "ToyCar", "ToyConveyor", "average"]
    assert list(rows[0]) == [
        *("model", "of", "AUC pooled", "paper AUC pooled", "pAUC pooled", "paper pAUC pooled", "source"),
    ]
    pump = result.runs[0].evaluation.machine_types["pump"]
    assert rows[1]["AUC pooled"] == f"{100 * pump.auc_pooled:.2f}" and rows[1]["paper AUC pooled"] == "91.97"
    assert rows[1]["pAUC pooled"] == f"{100 * pump.pauc_pooled:.2f}"
    table = beside_papers([changed])
    assert table is not None and [cell.text for cell in table.rows[0][2:4]] == ["fan", "AUC"]
    assert beside_papers([result]) is None and rows_beside_papers([result]) == []


def test_an_ablation_has_its_average(result: ModelResult) -> None:
    (row,) = rows_beside_papers([replace(result, model="attention_mel", profile="released", settings={})])
    assert (row["of"], row["paper AUC pooled"], row["paper pAUC pooled"]) == ("average", "92.26", "84.55")


def test_a_place_is_left_out_where_a_section_is_missing(tmp_path: Path) -> None:
    sections = {name: 0.2 for name in SECTIONS if name != "pump/id_06"}
    store = make_plain_store(tmp_path, sections, synthetic=False, dataset="dcase2020")
    (own,) = benchmark_models(store, tmp_path, ["nearest_neighbour"], profile="smoke", device="cpu").models
    rows = rows_beside_papers([replace(own, model="conformer", profile="paper", score="selected", settings={})])
    assert [row["of"] for row in rows] == ["fan", "slider", "valve"], "neither pump nor the average"
