"""Benchmarks: what is run, what is reused, what the tables say."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mimiidg_build.benchmark.estimates import Estimate, combine
from mimiidg_build.benchmark.evaluate_runs import collect
from mimiidg_build.benchmark.finished_runs import read_runs
from mimiidg_build.benchmark.planning import plan_runs
from mimiidg_build.benchmark.plots import figure_name, known_anomalies_name, plot_losses, plot_snr_sweep, snr_sweep_name
from mimiidg_build.benchmark.published import published
from mimiidg_build.benchmark.results import Benchmark
from mimiidg_build.benchmark.rows import compare_rows, result_rows, value_rows
from mimiidg_build.benchmark.run_files import read_summary
from mimiidg_build.benchmark.runs import Run
from mimiidg_build.benchmark.stages import (
    BenchmarkExecutor,
    benchmark_models,
    benchmark_variants,
    stored,
)
from mimiidg_build.benchmark.train_network import choose_device, train_and_score
from mimiidg_build.datasets.variant import derive_grid, derive_variant, load_variant
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.evaluation.evaluate import evaluate_scores
from mimiidg_build.models import autoencoder, settings_of
from mimiidg_build.progress import Reporter
from mimiidg_build.schemas.runs import NetworkSummary
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.store.store import Store, variant_dir
from tests.small_store import make_store, record_files

pytestmark = pytest.mark.usefixtures("one_thread")

MODELS = ["autoencoder", "nearest_neighbour"]
PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def store(root: Path) -> Store:
    return make_store(root)


@pytest.fixture(scope="module")
def found(store: Store, root: Path) -> Benchmark:
    return benchmark_models(store, root, MODELS, profile="smoke", seeds=2, device="cpu", workers=1)


def on_store(found: Benchmark, store: Store) -> Benchmark:
    """The same results, as if they were of another store."""
    return Benchmark(store, tuple(replace(model, store=store) for model in found.models))


def test_what_is_run(store: Store, tmp_path: Path) -> None:
    runs = plan_runs(store, tmp_path, [*MODELS, "autoencoder"], "paper", seeds=3)
    assert [(run.model, run.seed) for run in runs] == [
        ("autoencoder", 0),
        ("autoencoder", 1),
        ("autoencoder", 2),
        ("nearest_neighbour", 0),  # a second seed would change nothing
    ]
    assert [network.name for network in runs[0].networks()] == ["fan", "valve"]
    assert runs[1].directory == tmp_path / "runs/small/small/autoencoder-paper-1"
    assert runs[0].n_epochs == 100
    assert not (tmp_path / "runs").exists(), "planning writes nothing"


@pytest.mark.parametrize(
    ("scope", "networks"),
    [
        ("machine_type", [("fan", ("fan",), None), ("valve", ("valve",), None)]),
        ("section", [("fan_00", ("fan",), "00"), ("fan_01", ("fan",), "01"), ("valve_00", ("valve",), "00")]),
        ("all", [("all", ("fan", "valve"), None)]),
    ],
)
def test_networks_by_scope(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str, networks: list[Any]
) -> None:
    monkeypatch.setattr(autoencoder.Autoencoder, "scope", scope)
    (run,) = plan_runs(store, tmp_path, ["autoencoder"], "smoke", 1, epochs=1)
    assert [(network.name, network.machine_types, network.section) for network in run.networks()] == networks
    result = benchmark_models(store, tmp_path, ["autoencoder"], profile="smoke", epochs=1, device="cpu", workers=1)
    assert len(result.models[0].sections) == 3


@pytest.mark.parametrize(
    ("epochs", "label"),
    [
        (None, "paper"),
        (100, "paper"),  # the profile's own
        (7, "paper-7epochs"),  # never mistaken for a run of the profile
    ],
)
def test_label(store: Store, tmp_path: Path, epochs: int | None, label: str) -> None:
    ae, nn = plan_runs(store, tmp_path, MODELS, "paper", 1, epochs)
    assert ae.label == label and ae.directory.name == f"autoencoder-{label}-0"
    assert nn.label == "paper"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["autoencoder"], "papers", 1), "autoencoder has no profile 'papers'"),
        ((["autoencodr"], "paper", 1), "there is no model 'autoencodr'"),
        ((["autoencoder"], "paper", 0), "at least one seed"),
        ((["autoencoder"], "paper", 1, 0), "one epoch"),
        (([], "paper", 1), "at least one model"),
    ],
)
def test_wrong_use(store: Store, tmp_path: Path, arguments: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_runs(store, tmp_path, *arguments)


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("warp", "cuda:99"):
        with pytest.raises(UsageError, match=f"no device '{name}'"):
            choose_device(name)


def test_run_directory(found: Benchmark) -> None:
    run = found.models[0].runs[1]
    names = {path.name for path in run.directory.iterdir() if not path.name.startswith(".lock_")}
    sections = ("fan_section_00", "fan_section_01", "valve_section_00")
    assert names == {
        "config.json",
        "results.json",
        *(f"{kind}_{section}_test.csv" for kind in ("anomaly_score", "decision_result") for section in sections),
        *(f"{kind}_{part}" for part in ("fan.pt", "valve.pt") for kind in ("weights",)),
        *(f"loss_{part}.csv" for part in ("fan", "valve")),
        *(f"{kind}_{part}.json" for kind in ("summary", "detector") for part in ("fan", "valve")),
    }
    summary = json.loads((run.directory / "summary_fan.json").read_text())
    assert summary["sections"] == ["fan/00", "fan/01"]
    assert summary["n_parameters"] == 267_928 and summary["epochs"] == 3 and summary["n_training_clips"] == 18
    assert json.loads((run.directory / "config.json").read_text())["seed"] == 1
    weights = torch.load(run.directory / "weights_fan.pt", weights_only=True)
    other = torch.load(found.models[0].runs[0].directory / "weights_fan.pt", weights_only=True)
    assert any(not torch.equal(weights[name], other[name]) for name in weights), "seeds differ"


def test_results_are_those_of_the_files(found: Benchmark) -> None:
    """Any evaluator of the official format finds what is reported."""
    for run in (run for model in found.models for run in model.runs):
        from_files = evaluate_scores(run.directory)
        assert from_files.to_dict() == run.evaluation.to_dict()
        assert json.loads((run.directory / "results.json").read_text()) == json.loads(run.evaluation.to_json())


def test_finds_the_anomalies_that_stand_out(found: Benchmark, tmp_path: Path) -> None:
    """Once trained for long enough."""
    learned = benchmark_models(
        found.store, tmp_path, ["autoencoder"], profile="smoke", epochs=20, device="cpu", workers=1
    )
    for model in (*learned.models, found.models[1]):
        assert model.mean("auc_all").value > 0.9, model.name


def test_a_second_time_does_nothing(found: Benchmark, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mimiidg_build.training.train as train_module

    def fails(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(train_module, "train", fails)
    stamps = {path: path.stat().st_mtime_ns for path in root.rglob("weights_*.pt")}
    again = benchmark_models(found.store, root, MODELS, profile="smoke", seeds=2, device="cpu", workers=1)
    assert again.to_dict() == found.to_dict()
    assert {path: path.stat().st_mtime_ns for path in root.rglob("weights_*.pt")} == stamps
    with pytest.raises(AssertionError, match="trained again"):
        benchmark_models(found.store, root, MODELS, profile="smoke", seeds=3, device="cpu", workers=1)


class Watching(BenchmarkExecutor):
    """Notes which stages are run, on what."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def run(self, stage: Any, call: Any, subject: str = "") -> Any:
        self.stages.append(f"{stage} {subject}")
        return call()

    def train(self, trainers: Any, trainings: Any) -> None:
        self.stages += [f"train {run.model} {network.name}" for run, network in trainings]
        trainers.run_all(trainings)


def test_one_list_of_stages(store: Store, tmp_path: Path) -> None:
    """An executor gets every stage, in order; all stores are there before the first training."""
    watching, variant = Watching(), store.attributes.variant

    def build(wanted: Variant) -> Store:
        watching.stages.append(f"build {wanted.snr_offset_db:g}")
        return store

    options = {"profile": "smoke", "device": "cpu", "executor": watching}
    swept = derive_grid(variant, snr_offset_db=[0.0, 6.0])
    found = benchmark_variants(swept, str(tmp_path), ["nearest_neighbour"], build, **options)
    on_a_store = ["plan small", "train nearest_neighbour fan", "train nearest_neighbour valve", "evaluate small"]
    assert watching.stages == ["build 0", "build 6", *on_a_store, *on_a_store]
    assert [benchmark.store for benchmark in found] == [store, store]


def test_networks_in_any_order_give_the_same_files(found: Benchmark, tmp_path: Path) -> None:
    (run,) = plan_runs(found.store, tmp_path, ["autoencoder"], "smoke", 1)
    for network in reversed(run.networks()):
        train_and_score(run, network, "cpu")
    for path in found.models[0].runs[0].directory.glob("anomaly_score_*"):
        assert (run.directory / path.name).read_bytes() == path.read_bytes()


class Interrupting(Reporter):
    """Stops at the second epoch's news, as Ctrl-C would."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, title: str, text: str) -> None:
        self.notes.append(f"{title}: {text}")
        if len(self.notes) == 2:
            raise KeyboardInterrupt


class Noting(Interrupting):
    def note(self, title: str, text: str) -> None:
        self.notes.append(f"{title}: {text}")


def test_interrupted_and_run_again(found: Benchmark, tmp_path: Path) -> None:
    (run,) = plan_runs(found.store, tmp_path, ["autoencoder"], "smoke", 1)
    fan, valve = run.networks()
    with pytest.raises(KeyboardInterrupt):
        train_and_score(run, fan, "cpu", Interrupting())
    assert (run.directory / "checkpoint_fan.pt").is_file()
    with pytest.raises(DataError, match="fan, valve not finished. Run the same benchmark again"):
        collect([run])
    noting = Noting()
    train_and_score(run, fan, "cpu", noting)
    assert len(noting.notes) == 1 and noting.notes[0].startswith("autoencoder fan seed 0: epoch 3 of 3, loss ")
    train_and_score(run, valve, "cpu")
    for path in found.models[0].runs[0].directory.glob("anomaly_score_*"):
        assert (run.directory / path.name).read_bytes() == path.read_bytes(), "as if it had not been interrupted"
    assert not list(run.directory.glob("checkpoint_*"))


def test_other_settings_in_the_directory(found: Benchmark, tmp_path: Path) -> None:
    (run,) = plan_runs(found.store, tmp_path, ["nearest_neighbour"], "smoke", 1)
    train_and_score(run, run.networks()[0], "cpu")
    path = run.directory / "config.json"
    path.write_text(path.read_text().replace('"batch_size": 128', '"batch_size": 64'))
    with pytest.raises(UsageError, match="holds a run of other settings: batch_size 64, expected 128. Move"):
        train_and_score(run, run.networks()[0], "cpu")
    path.write_text("{")
    with pytest.raises(DataError, match="config.json is damaged, or not of this version: the file: Invalid JSON"):
        train_and_score(run, run.networks()[0], "cpu")


def test_a_run_that_an_early_version_began_goes_on(found: Benchmark, tmp_path: Path) -> None:
    """Its configuration lacks the epochs that were asked for; its folder's name says them."""
    (run,) = plan_runs(found.store, tmp_path, ["autoencoder"], "smoke", 1, epochs=2)
    fan, valve = run.networks()
    train_and_score(run, fan, "cpu")
    path = run.directory / "config.json"
    content = json.loads(path.read_text())
    assert content.pop("epochs") == 2 == content["settings"]["epochs"]
    assert content["settings"].pop("threads") == 1, "early versions trained on as many threads as there were"
    path.write_text(early := json.dumps(content, indent=2) + "\n")
    train_and_score(run, fan, "cpu", Interrupting())  # finished: nothing is trained
    train_and_score(run, valve, "cpu")
    assert path.read_text() == early and run.is_finished(valve)
    (other,) = plan_runs(found.store, tmp_path, ["autoencoder"], "smoke", 1, epochs=4)
    shutil.copytree(run.directory, other.directory)
    with pytest.raises(UsageError, match="holds a run of other settings: epochs 2, expected 4"):
        train_and_score(other, fan, "cpu")


def test_the_files_that_say_what_a_run_is(found: Benchmark) -> None:
    """Keys, their order and types as they always were, but for ``epochs``, ``threads`` and what the last two say."""
    model, yardstick = found.models
    directory = model.runs[1].directory
    text = (directory / "config.json").read_text()
    assert list(json.loads(text)) == ["model", "profile", "settings", "seed", "variant", "fingerprint", "epochs"]
    assert text == json.dumps(json.loads(text), indent=2) + "\n" and '"epochs": null' in text
    assert list(json.loads((directory / "summary_fan.json").read_text())) == [
        *("sections", "n_training_clips", "n_outlier_clips", "known_anomalies", "n_test_clips", "n_parameters"),
        *("epochs", "last_loss", "scores", "threshold", "device", "threads", "training_s", "duration_s"),
        *("scoring_s", "device_name"),
    ]
    text = (yardstick.runs[0].directory / "summary_fan.json").read_text()
    assert '"last_loss": null' in text and '"training_s": 0,' in text and '"epochs": 0' in text


SUMMARY = {
    **{"sections": ["fan/00"], "n_training_clips": 9, "n_outlier_clips": 0, "known_anomalies": [], "n_test_clips": 12},
    **{"n_parameters": 1, "epochs": 1, "last_loss": 0.5, "scores": [""], "threshold": {"fan": 1.0}, "device": "cpu"},
    **{"training_s": 1.0, "duration_s": 1.0},
}


def test_a_summary_of_an_early_version_is_read() -> None:
    summary = NetworkSummary.model_validate_json(json.dumps(SUMMARY))
    assert summary.threads is None and summary.threshold == {"fan": 1.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sections": []}, "sections: List should have at least 1 item"),
        ({"sections": ["fan"]}, "sections.0: String should match pattern"),
        ({"threshold": {}}, r"threshold: expected one of each of \['fan'\], found \[\]"),
        ({"threshold": {"fan": math.nan}}, "threshold.fan: Input should be a finite number"),
        ({"last_loss": math.inf}, "last_loss: Input should be a finite number"),
        ({"scores": []}, 'expected "" first, the model\'s own score'),
        ({"scores": ["oracle"]}, 'expected "" first, the model\'s own score'),
        (
            {"scores": ["", "../../elsewhere"]},
            "a score's files lie in a folder of its name, which '../../elsewhere' cannot be",
        ),
        ({"n_parameters": -1}, "n_parameters: Input should be greater than or equal to 0"),
        ({"threads": 0}, "threads: Input should be greater than or equal to 1"),
    ],
)
def test_a_damaged_summary_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    (tmp_path / "summary_fan.json").write_text(json.dumps(SUMMARY | changes))
    with pytest.raises(DataError, match=f"summary_fan.json is damaged, or not of this version: {message}.*Remove"):
        read_summary(tmp_path, "fan")


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "no text": lambda content: content.replace(b"0", b"\xff", 1),
    "other text": lambda content: content.replace(b"0", b"o", 1),
    "nested": lambda content: b"[" * 100_000,
    "list": lambda content: b"[]",
}


@pytest.mark.parametrize("name", ["config.json", "summary_fan.json", "results.json", "loss_valve.csv"])
@pytest.mark.parametrize("damage", [*DAMAGE.values(), None], ids=[*DAMAGE, "a folder"])
def test_a_damaged_file_of_a_run_is_named(
    found: Benchmark, tmp_path: Path, name: str, damage: Callable[[bytes], bytes] | None
) -> None:
    """Whoever reads the runs, a report or a benchmark that adds to them, sees one error."""
    (run, _) = plan_runs(found.store, tmp_path, ["autoencoder"], "smoke", 2)
    shutil.copytree(found.models[0].runs[0].directory, run.directory)
    path = run.directory / name
    content = path.read_bytes()
    path.unlink()
    if damage is None:
        path.mkdir()
        if name in ("config.json", "results.json"):  # then there is no finished run
            return
    else:
        path.write_bytes(damage(content))
    other_section = f"the summaries in {re.escape(str(run.directory))} are of the sections fan/o0"
    with pytest.raises(DataError, match=f"{re.escape(str(path))}|{other_section}"):
        [model.losses for model in read_runs(found.store, tmp_path).models]


def test_seeds_of_other_scores_are_named(found: Benchmark, tmp_path: Path) -> None:
    runs = plan_runs(found.store, tmp_path, ["autoencoder"], "smoke", 2)
    for run, done in zip(runs, found.models[0].runs, strict=True):
        shutil.copytree(done.directory, run.directory)
    path = runs[1].directory / "summary_fan.json"
    path.write_text(path.read_text().replace('"scores": [\n    ""', '"scores": [\n    "",\n    "oracle"'))
    shutil.copytree(runs[1].directory, runs[1].directory / "oracle")
    with pytest.raises(DataError, match=r"autoencoder-smoke-1 has the scores \['', 'oracle'\], .*-0 \[''\]"):
        collect(runs)


def test_table(found: Benchmark) -> None:
    rows = result_rows(found)
    assert [row["section"] for row in rows] == ["fan/00", "fan/01", "valve/00", "mean", "official score"] * 2
    assert list(rows[0]) == ["model", "section", "source", "target", "all", "pAUC"]
    model = found.models[0]
    values = [run.evaluation.sections["auc_source"][0] for run in model.runs]
    assert rows[0]["source"] == f"{100 * np.mean(values):.2f} ± {100 * np.std(values, ddof=1):.2f}"
    assert "±" not in rows[5]["source"], "one seed has no spread"
    mean = model.mean("auc_target")
    assert rows[3]["target"] == f"{100 * mean.value:.2f}* ({100 * mean.low:.1f} .. {100 * mean.high:.1f})"
    assert found.notes[-1].startswith("* Few test clips: ") and found.to_dict()["models"][0]["few_clips"] is True
    assert found.to_dict()["models"][0]["means"]["auc_target"]["few_clips"] is True
    assert rows[4]["source"] == str(model.official_score)
    assert mean.value == pytest.approx(model.sections["auc_target"].mean(), abs=1e-15)


def test_title_says_synthetic(found: Benchmark, tmp_path: Path) -> None:
    assert found.title == "small (synthetic data, for trying only): smoke profile, 2 seeds, AUC in %"
    store = make_store(tmp_path, synthetic=False, dataset="mimii_dg", dataset_title="MIMII DG")
    assert on_store(found, store).title.startswith("small (MIMII DG): smoke profile")


def test_the_papers_table_beside_ours(found: Benchmark, tmp_path: Path) -> None:
    store = make_store(tmp_path, synthetic=False, dataset="mimii_dg", dataset_title="MIMII DG")
    of_smoke = on_store(found, store)
    assert not any("paper source" in row for row in result_rows(of_smoke)), "another profile is not the paper's"
    by_name = Benchmark(store, tuple(replace(model, profile="released") for model in of_smoke.models))
    assert not any("paper source" in row for row in result_rows(by_name)), "nor are its settings by another's name"
    rows = result_rows(of_recipe(of_smoke))
    assert (rows[0]["paper source"], rows[0]["paper target"]) == ("84.69", "39.35")
    assert (rows[2]["section"], rows[2]["paper source"]) == ("valve/00", "54.24")
    assert (rows[3]["section"], rows[3]["paper source"], rows[3]["paper target"]) == ("mean", "", ""), "of 3 sections"
    assert {row["paper source"] for row in rows[4:]} == {""}, "the paper has no nearest neighbour"


def of_recipe(found: Benchmark) -> Benchmark:
    """The same numbers, as if the profile ``released`` had made them."""
    models = (
        replace(model, profile="released", settings=asdict(settings_of(model.model, "released")))
        for model in found.models
    )
    return replace(found, models=tuple(models))


def test_what_a_papers_number_stands_for_is_said(found: Benchmark, tmp_path: Path) -> None:
    """In the notes, which are printed and are in the JSON; of systems whose numbers are shown alone."""
    store = make_store(tmp_path, synthetic=False, dataset="mimii_dg", dataset_title="MIMII DG")
    of_smoke = on_store(found, store)
    assert not any("official run" in note for note in of_smoke.notes)
    (note,) = [note for note in of_recipe(of_smoke).notes if "official run" in note]
    assert note.startswith("MIMII DG, arXiv:2205.13879, Table 3: an official run of the released code is within 0.9")
    swings = replace(of_recipe(of_smoke).models[0], model="mobilenetv2", settings={})
    (note,) = Benchmark(store, (swings,)).to_dict()["notes"][-1:]
    assert "differs by 8 points on average, by up to 33; compare the mean and the spread of several seeds" in note


@pytest.mark.parametrize("model", ["autoencoder", "mobilenetv2"])
def test_published_averages(model: str) -> None:
    """The paper's own averages follow from its table."""
    table = published(model)
    average = table.pop("average")
    assert len(table) == 15
    for column in (0, 1):
        assert average[column] == pytest.approx(np.mean([row[column] for row in table.values()]), abs=0.0051)


def test_per_attribute_value(found: Benchmark) -> None:
    rows = value_rows(found)
    assert len(rows) == 3 * 3
    assert rows[0].keys() == {"section", "attribute", "value", "domain", "normal clips", *MODELS}
    first = [row for row in rows if row["section"] == "fan/00"]
    assert [(row["attribute"], row["value"], row["domain"], row["normal clips"]) for row in first] == [
        ("m-n", "W", "source", 2),
        ("m-n", "X", "source", 1),
        ("m-n", "Y", "target", 3),
    ]
    target = next(row for row in first if row["value"] == "Y")  # all target normals carry it
    assert target["autoencoder"] == f"{100 * found.models[0].sections['auc_target'].iloc[0]:.2f}"


def test_json(found: Benchmark) -> None:
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert content["synthetic"] is True and content["variant"] == "small"
    model = content["models"][0]
    assert model["model"] == "autoencoder" and [run["seed"] for run in model["runs"]] == [0, 1]
    assert {"machine_type", "section", "auc_source", "auc_target", "auc_all", "pauc"} == set(model["sections"][0])
    assert model["official_score_interval"][0] <= model["official_score"] <= model["official_score_interval"][1]
    official = [run["official_score"] for run in model["runs"]]
    assert model["official_score"] == pytest.approx(np.mean(official), abs=1e-15)


@pytest.mark.parametrize(
    ("values", "intervals", "expected"),
    [
        ([0.7], [(0.65, 0.8)], (0.7, 0.65, 0.8)),
        # equal seeds: the clips' interval alone
        ([0.7, 0.7], [(0.6, 0.8), (0.6, 0.8)], (0.7, 0.6, 0.8)),
        # t of 1 degree of freedom 12.706, s / sqrt(2) = 0.01; clips reach 0.1 down, 0.05 up
        (
            [0.69, 0.71],
            [(0.59, 0.74), (0.61, 0.76)],
            (0.7, 0.7 - math.hypot(0.1, 0.12706), 0.7 + math.hypot(0.05, 0.12706)),
        ),
        ([0.0, 1.0], [(0.0, 0.0), (1.0, 1.0)], (0.5, 0.0, 1.0)),
    ],
)
def test_seeds_drawn_together(values: Any, intervals: Any, expected: tuple[float, float, float]) -> None:
    found = combine(values, intervals)
    assert (found.value, found.low, found.high) == pytest.approx(expected, abs=1e-5)
    assert isinstance(found, Estimate)


def at_offset(found: Benchmark, root: Path, offset_db: float) -> Benchmark:
    name = f"small-snr{offset_db:+g}dB"
    store = make_store(root, name, variant={"name": name, "snr_offset_db": offset_db})
    return on_store(found, store)


def test_comparison(found: Benchmark, tmp_path: Path) -> None:
    sweep = [at_offset(found, tmp_path, offset) for offset in (6.0, -6.0)]
    rows = compare_rows(sweep)
    assert [(row["SNR offset [dB]"], row["model"]) for row in rows] == [
        ("-6", "autoencoder"),
        ("-6", "nearest_neighbour"),
        ("+6", "autoencoder"),
        ("+6", "nearest_neighbour"),
    ]
    assert rows[0]["official score"] == str(found.models[0].official_score)
    path = plot_snr_sweep(sweep, tmp_path / "reports" / "snr.png")
    assert path.read_bytes().startswith(PNG)


def test_figures_do_not_overwrite_each_other(found: Benchmark, tmp_path: Path) -> None:
    """Another sweep, another variant, other models or epochs: another file."""
    sweep = [at_offset(found, tmp_path, offset) for offset in (-6.0, 6.0, 12.0)]
    fewer = [replace(benchmark, models=benchmark.models[:1]) for benchmark in sweep]
    longer = [replace(one, models=tuple(replace(model, epochs=99) for model in one.models)) for one in sweep]
    many = [replace(one, models=tuple(replace(m, model=m.model * 9) for m in one.models)) for one in sweep]
    own = [replace(one, models=(replace(one.models[0], model="my.module:Class/../x"),)) for one in sweep]
    names = [snr_sweep_name(shown) for shown in (sweep, sweep[:2], sweep[1:], fewer, longer, many, own)]
    assert names[1] == f"small-{found.models[0].label}-autoencoder+nearest_neighbour-snr-6_+6dB.png"
    assert snr_sweep_name(sweep[1::-1]) == names[1], "the same sweep in another order"
    names += [figure_name("small", found.models, shown) for shown in ("loss", "other")]
    names += [figure_name("other", found.models, "loss"), known_anomalies_name(found)]
    assert len(set(names)) == len(names) and not any("/" in name or len(name) > 200 for name in names)


def test_loss_plot(found: Benchmark, tmp_path: Path) -> None:
    assert plot_losses(found, tmp_path / "loss.png").read_bytes().startswith(PNG)


def test_stored(store: Store, tmp_path: Path) -> None:
    """A finished store of this very variant is taken as it is; any other is built."""
    variant = derive_variant(load_variant("demo"), sections=["fan"])
    there = make_store(tmp_path, variant.name, variant=json.loads(variant.model_dump_json()))
    built: list[str] = []

    def build(wanted: Any) -> Store:
        built.append(wanted.name)
        return store

    assert stored(variant, tmp_path, build).path == there.path and built == []
    changed = variant.model_copy(update={"seed": 5})
    assert stored(changed, tmp_path, build) is store and built == [variant.name]
    (variant_dir(tmp_path, variant.name) / "latest").unlink()
    stored(variant, tmp_path, build)
    assert len(built) == 2


def test_mismatched_splits(tmp_path: Path) -> None:
    """A section without training clips cannot be scored by a model that numbers sections."""
    store = make_store(tmp_path)
    clips = store.clips
    lacking = (clips["machine_type"] == "fan") & (clips["section"] == "00") & (clips["split"] == "train")
    clips[~lacking].to_parquet(store.path / "clips.parquet")
    record_files(store.path)
    from mimiidg_build.store.store import open_store

    again = open_store(store.path)
    run = Run(again, tmp_path, "autoencoder", "smoke", 0)
    with pytest.raises(DataError, match=r"fan: training clips of .*fan/01.*, test clips of .*fan/00.*fan/01"):
        train_and_score(run, run.networks()[0], "cpu")


@pytest.mark.parametrize(
    ("variant", "offset", "base"),
    [
        ("demo-snr-6dB", -6.0, "demo"),
        ("demo-snr+1.5dB", 1.5, "demo"),
        ("demo", 0.0, "demo"),
        ("snr+6dB", 0.0, "snr+6dB"),
    ],
)
def test_a_sweep_has_one_name(found: Benchmark, variant: str, offset: float, base: str) -> None:
    attributes = found.store.attributes.model_copy(update={"variant": Variant(name=variant, snr_offset_db=offset)})
    assert on_store(found, Store(found.store.path, attributes)).base_variant == base
