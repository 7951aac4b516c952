"""Benchmarks of any dataset: machine IDs, no domains, several lengths, sections without test clips or without truth."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mimiidg_build.benchmark.known_anomalies import draw_anomalies
from mimiidg_build.benchmark.planning import plan_runs
from mimiidg_build.benchmark.plots import plot_known_anomalies, plot_snr_sweep, snr_sweep_name
from mimiidg_build.benchmark.results import Benchmark
from mimiidg_build.benchmark.rows import compare_rows, result_rows
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.benchmark.suitability import cut_clips, left_out
from mimiidg_build.benchmark.tested import not_evaluated
from mimiidg_build.benchmark.train_network import choose_clips, new_model
from mimiidg_build.benchmark.variant_rows import variant_rows, variant_titles
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.models import ABLATIONS, MODELS
from mimiidg_build.store.store import Store
from tests.plain_store import ANOMALY, CELLS, NORMAL, TRAIN, UNKNOWN, make_plain_store

pytestmark = pytest.mark.usefixtures("one_thread")

IDS = {"ToyCar/id_01": 2.5, "ToyCar/id_02": 2.5, "fan/id_00": 2.2, "fan/id_02": 2.2}  # s: mobilenetv2 needs 64 frames
LONGER = {"ToyCar/id_01": 4.5, "fan/id_00": 4.2}  # bce needs 128
QUICK = ["autoencoder_mahalanobis", "mobilenetv2", "nearest_neighbour", "conformer"]
PNG = b"\x89PNG\r\n"


def notes_of_sections(found: Benchmark) -> list[str]:
    """What is noted of sections: not that they have few clips, which all have here."""
    return [note for note in found.notes if note not in found.few_clips_notes]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def store(root: Path) -> Store:
    return make_plain_store(root, IDS)


@pytest.fixture(scope="module")
def found(store: Store, root: Path) -> Benchmark:
    return benchmark_models(store, root, QUICK, profile="smoke", device="cpu")


# ---- Without domains -------------------------------------------------------------------------------------------------


def test_models_run_on_ids_without_domains_and_attributes(found: Benchmark, store: Store) -> None:
    assert [model.model for model in found.models if not model.score] == QUICK
    for model in found.models:
        assert [str(key) for key in map("/".join, model.sections.index)] == list(IDS)
        assert math.isfinite(model.official_score.value) and 0 <= model.official_score.value <= 1
    own = next(model for model in found.models if model.model == "nearest_neighbour")
    assert own.mean("auc_all").value > 0.9, "the anomalies stand out"
    names = {path.name for path in own.runs[0].directory.glob("anomaly_score_*")}
    assert names == {f"anomaly_score_{section.replace('/', '_')}.csv" for section in IDS}


def test_tables_without_domains(found: Benchmark) -> None:
    rows = result_rows(found)
    assert list(rows[0]) == ["model", "section", "AUC", "pAUC"]
    assert [row["section"] for row in rows[:6]] == [*IDS, "mean", "official score"]
    assert all(row["AUC"] for row in rows), "no cell is empty for want of a domain"
    mean = rows[4]["AUC"]
    assert "(" in mean and " .. " in mean, f"with its interval: {mean}"
    assert [title for title in compare_rows([found])[0] if "AUC" in title] == ["AUC", "pAUC"]


def test_json_without_domains(found: Benchmark) -> None:
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert content["models"][0]["sections"][0].keys() == {"machine_type", "section", "auc_all", "pauc"}
    assert content["models"][0]["sections"][0]["section"] == "id_01"
    assert [note[:17] for note in content["notes"]] == ["* Few test clips:"]
    section = content["models"][0]["runs"][0]["sections"][0]
    assert section["auc_source"] is None and section["auc_all"] is not None


@pytest.mark.slow
def test_every_model_runs_on_ids(tmp_path: Path) -> None:
    """Attention with clips of 4.2 s: its network is made for the shortest."""
    store = make_plain_store(tmp_path, LONGER | {"ToyCar/id_02": 4.5, "fan/id_02": 4.2})
    found = benchmark_models(store, tmp_path, ["all"], profile="smoke", device="cpu")
    assert list(dict.fromkeys(model.model for model in found.models)) == list(MODELS)


def test_known_anomalies_without_domains(tmp_path: Path) -> None:
    """Drawn, left out of the test set of all, and drawn as one curve."""
    store = make_plain_store(tmp_path, LONGER)
    assert len(draw_anomalies(store, "fan/id_00", 3, 0)) == 3
    with pytest.raises(UsageError, match="4 known ones would leave none to test with"):
        plan_runs(store, tmp_path, ["bce"], "smoke", 1, known_anomalies=[4])
    found = benchmark_models(store, tmp_path, ["bce"], profile="smoke", device="cpu", known_anomalies=[0, 2])
    assert [model.known_anomalies for model in found.models] == [0, 2]
    assert found.models[0].runs[0].evaluation.sections["n_anomaly"].tolist() == [CELLS[ANOMALY] - 2] * 2
    assert plot_known_anomalies(found, tmp_path / "k.png").read_bytes().startswith(PNG)


# ---- Classes and lengths ---------------------------------------------------------------------------------------------

DEVELOPMENT = {m: ("00", "02", "04", "06") for m in ("fan", "pump", "slider", "valve")}
DEVELOPMENT |= {"ToyCar": ("01", "02", "03", "04"), "ToyConveyor": ("01", "02", "03")}
ADDITIONAL = {m: ("01", "03", "05") for m in ("fan", "pump", "slider", "valve")}
ADDITIONAL |= {"ToyCar": ("05", "06", "07"), "ToyConveyor": ("04", "05", "06")}


def sections_of_2020() -> dict[str, Any]:
    """All machine types and IDs; those of the additional training data have no test clips here."""
    tested, trained = {TRAIN: 1, NORMAL: 1, ANOMALY: 1}, {TRAIN: 1}
    seconds = {m: 10.5 if m == "ToyCar" else 10.0 for m in DEVELOPMENT}
    sections = {f"{m}/id_{n}": (seconds[m], tested) for m, ids in DEVELOPMENT.items() for n in ids}
    sections |= {f"{m}/id_{n}": (seconds[m], trained) for m, ids in ADDITIONAL.items() for n in ids}
    return dict(sorted(sections.items()))


def test_the_41_classes_of_dcase_2020(tmp_path: Path) -> None:
    store = make_plain_store(tmp_path, sections_of_2020())
    for profile, n_parameters in (("released", 884_376), ("paper", 873_839 + 128 * 41)):
        (run,) = plan_runs(store, tmp_path, ["attention"], profile, 1)
        (network,) = run.networks()
        clips = choose_clips(run, network)
        assert len(clips.training.section_ids) == 41
        assert new_model(run, clips.training).n_trainable() == n_parameters
    assert clips.training.n_frames == clips.test.n_frames == 160_000, "ToyCar's longer clips are cut, as in the paper"
    assert clips.test.section_ids == clips.training.section_ids, "a number means one section"
    assert set(clips.test.labels().section.tolist()) == {
        number
        for number, section in enumerate(clips.training.section_ids)
        if section.section[3:] in DEVELOPMENT[section.machine_type]
    }
    assert cut_clips(store, ["attention", "nearest_neighbour"]) == [
        "attention takes the first 10 s of every clip, as long as those of ToyConveyor/id_01: "
        "7 of 41 sections have longer clips, ToyCar/id_01 among them"
    ]


def test_a_section_without_test_clips_is_trained_on_alone(tmp_path: Path) -> None:
    sections = {"fan/id_00": 1.0, "fan/id_01": (1.0, {TRAIN: 6}), "pump/id_01": (1.0, {TRAIN: 6})}
    store = make_plain_store(tmp_path, sections)
    found = benchmark_models(store, tmp_path, ["autoencoder"], profile="smoke", device="cpu")
    (summary,) = found.models[0].runs[0].summaries
    assert summary.sections == ["fan/id_00", "fan/id_01"] and summary.n_training_clips == 12
    assert found.models[0].evaluated == ["fan/id_00"]
    assert notes_of_sections(found) == ["fan/id_01, pump/id_01: trained on and not tested, for want of test clips"]
    (bce,) = plan_runs(store, tmp_path, ["bce"], "paper", 1)
    assert [network.name for network in bce.networks()] == ["fan_id_00"], "the others are its outliers"
    assert choose_clips(bce, bce.networks()[0]).n_outliers == 12


def test_outliers_of_another_length_are_brought_to_the_networks(tmp_path: Path) -> None:
    store = make_plain_store(tmp_path, {"fan/id_00": 2.0, "pump/id_00": 3.0, "valve/id_00": 1.0})
    (run,) = plan_runs(store, tmp_path, ["dsad"], "paper", 1)
    clips = choose_clips(run, run.networks()[0])
    lengths = {name: store.logmel(*name.split("/")).shape[1] for name in store.sections}
    assert lengths == {"fan/id_00": 63, "pump/id_00": 94, "valve/id_00": 32}
    assert clips.training.n_frames == clips.test.n_frames == clips.pool.n_frames == 63
    for name, rows in clips.pool.clips.groupby(clips.pool.clips["machine_type"] + "/" + clips.pool.clips["section"]):
        read = clips.pool.read(rows.index.to_numpy()).numpy()
        stored = store.logmel(*name.split("/"))[:][rows["row"].to_numpy()]
        assert (read[:, : lengths[name]] == stored[:, :63]).all()
        assert (read[:, lengths[name] :] == stored[:, : max(0, 63 - lengths[name])]).all(), (
            "repeated from its beginning"
        )
    assert cut_clips(store, ["dsad", "autoencoder"]) == [], "no network's own clips are cut"


# ---- Truth -----------------------------------------------------------------------------------------------------------


def test_clips_of_unknown_condition_are_scored_and_not_evaluated(tmp_path: Path) -> None:
    sections = {"fan/id_00": (1.0, CELLS | {UNKNOWN: 3}), "fan/id_01": (1.0, {TRAIN: 6, UNKNOWN: 5})}
    store = make_plain_store(tmp_path, sections | {"fan/id_02": (1.0, {TRAIN: 6, NORMAL: 5})})
    found = benchmark_models(store, tmp_path, ["nearest_neighbour"], profile="smoke", device="cpu")
    (model,) = found.models
    directory = model.runs[0].directory
    assert len((directory / "anomaly_score_fan_id_00.csv").read_text().splitlines()) == 11
    assert len((directory / "anomaly_score_fan_id_01.csv").read_text().splitlines()) == 5
    table = model.runs[0].evaluation.sections
    assert table[["section", "n_normal", "n_anomaly"]].to_numpy().tolist() == [["id_00", 4, 4]]
    notes = [
        "8 of 21 test clips are scored and not evaluated: nobody told their condition",
        "fan/id_01, fan/id_02: scored and not evaluated, for want of normal or of anomalous test clips whose condition "
        "is known",
    ]
    assert notes_of_sections(found) == notes == not_evaluated(store)
    assert json.loads((directory / "results.json").read_text())["notes"][:2] == notes


def test_without_any_truth_there_are_scores_alone(tmp_path: Path) -> None:
    store = make_plain_store(tmp_path, {"fan/00": (1.0, {TRAIN: 6, UNKNOWN: 5})})
    found = benchmark_models(store, tmp_path, ["nearest_neighbour"], profile="smoke", device="cpu")
    assert found.models == () and found.title == "plain (synthetic data, for trying only): no results"
    (run,) = plan_runs(store, tmp_path, ["nearest_neighbour"], "smoke", 1)
    assert (run.directory / "anomaly_score_fan_section_00_test.csv").is_file()
    assert found.to_dict()["models"] == [] and found.notes[0].startswith("5 of 5 test clips are scored")


# ---- What cannot be run ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sections", "audio", "models", "error", "message"),
    [
        (
            IDS,
            {"channels": 8},
            ["autoencoder"],
            UsageError,
            r"autoencoder takes one channel, and ToyCar/id_01 of .* has 8\. .*channels = 0",
        ),
        (
            IDS,
            {"sample_rate": 48_000},
            ["attention"],
            UsageError,
            "attention is made for sample_rate = 16000",
        ),
        (
            {"fan/00": 1.0, "pump/00": 1.0, "pump/01": 1.0},
            {},
            ["mobilenetv2"],
            UsageError,
            "mobilenetv2 learns to classify sections: it needs two or more in a network, found 1, fan/00",
        ),
        (
            {"fan/00": 4.5, "fan/01": 1.5},
            {},
            ["mobilenetv2"],
            UsageError,
            "mobilenetv2, profile smoke: the clips of fan/01 have 47 frames, and its network needs 64 or more",
        ),
        ({"fan/00": 4.5, "fan/01": 1.5}, {}, ["bce"], UsageError, "the clips of fan/01 have 47 frames.* needs 128"),
        ({"fan/00": 4.5, "fan/01": 0.05}, {}, ["attention"], UsageError, "fan/01 have 800 samples.* needs 1,024"),
        (
            {"fan/00": 4.5, "fan/01": 4.5},
            {},
            ["conformer"],
            DataError,
            "conformer: its networks need outliers, the training clips of other machine types, .* none beside fan/00",
        ),
        ({"fan/a_b": 4.5, "fan_a/b": 4.5}, {}, ["bce"], UsageError, "networks of one name, fan_a_b: rename one"),
        ({"fan/00": (4.5, {TRAIN: 6})}, {}, ["autoencoder"], DataError, "autoencoder: .* has no test clips to score"),
        ({"fan/00": (4.5, {TRAIN: 6})}, {}, ["all"], DataError, "has no test clips to score"),
    ],
)
def test_what_does_not_suit_is_refused_before_any_work(
    tmp_path: Path, sections: Any, audio: Any, models: list[str], error: type[Exception], message: str
) -> None:
    store = make_plain_store(tmp_path, sections, audio=audio)
    with pytest.raises(error, match=message):
        benchmark_models(store, tmp_path, models, profile="smoke", device="cpu")
    assert not (tmp_path / "runs").exists()


def test_all_are_those_that_suit(tmp_path: Path) -> None:
    """As with DCASE 2023 on, whose machine types have one section each."""
    store = make_plain_store(tmp_path, {"fan/00": 4.5, "pump/00": 4.5}, protocol="2022")
    runs = plan_runs(store, tmp_path, ["all"], "smoke", 1)
    assert [run.model for run in runs] == [name for name in MODELS if name not in ("mobilenetv2", "conformer")]
    lines = left_out(store, ["all"], "smoke")
    assert [line.split()[2] for line in lines] == ["mobilenetv2", "conformer"] and "two or more" in lines[0]
    assert left_out(store, ["mobilenetv2"], "smoke") == [], "a model that is named is refused"
    runs = plan_runs(store, tmp_path, ["ablations"], "paper", 1)
    assert [run.model for run in runs] == ["attention", *ABLATIONS]


# ---- Several variants ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three_snrs(tmp_path_factory: pytest.TempPathFactory) -> list[Benchmark]:
    """A store of each of MIMII's SNRs, of one ID a machine type, with results that say to be the conformer's."""
    found, root = [], tmp_path_factory.mktemp("snrs")
    for snr in ("-6", "0", "6"):
        sections = {f"{m}/id_{n}": 0.5 for m in ("fan", "pump", "slider", "valve") for n in ("00", "02", "04", "06")}
        said = {"synthetic": False, "dataset": f"mimii_{snr}_dB", "protocol": "mimii", "layout": "mimii"}
        store = make_plain_store(root, sections, name=f"mimii{snr}", **said)
        (own,) = benchmark_models(store, root, ["nearest_neighbour"], profile="smoke", device="cpu").models
        conformer = replace(own, model="conformer", profile="paper", score="selected", settings={})
        found.append(Benchmark(store, (conformer,)))
    return found


def test_three_snrs_beside_the_papers(three_snrs: list[Benchmark], tmp_path: Path) -> None:
    assert variant_titles(three_snrs) == ["mimii-6", "mimii0", "mimii6"]
    rows = variant_rows(three_snrs)
    assert [row["machine type"] for row in rows] == ["fan", "pump", "slider", "valve", "mean"]
    papers = [[row[f"paper {title}"] for title in ("mimii-6", "mimii0", "mimii6", "mean")] for row in rows]
    assert papers[0] == ["87.78", "92.60", "96.82", "92.40"]
    assert papers[-1] == ["92.48", "94.89", "98.81", "95.39"], "the total of the paper's Table 1"
    (model,) = three_snrs[0].models
    by_hand = 100 * model.sections.loc["fan", "auc_all"].mean()
    assert rows[0]["mimii-6"] == f"{by_hand:.2f}"
    assert rows[-1]["mimii-6"] == f"{100 * model.official_score.value:.2f}", "the mean AUC is what MIMII goes by"
    assert [row["variant"] for row in compare_rows(three_snrs)] == ["mimii-6", "mimii0", "mimii6"]
    path = tmp_path / snr_sweep_name(three_snrs)
    assert path.name == "mimii-6+mimii0+mimii6-paper-conformer-variants.png"
    assert plot_snr_sweep(three_snrs, path).read_bytes().startswith(PNG)


def test_variants_without_a_paper_have_no_columns_for_it(found: Benchmark, three_snrs: list[Benchmark]) -> None:
    assert list(variant_rows([found])[0]) == ["model", "machine type", "plain", "mean"]
    fewer = replace(three_snrs[0], models=(replace(three_snrs[0].models[0], profile="cpu"),))
    rows = variant_rows([fewer, *three_snrs[1:]])
    assert {"paper mimii0"} <= set(rows[0]) and not any(row.get("paper mimii-6") for row in rows)
