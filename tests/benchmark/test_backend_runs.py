"""Back ends of runs: scored without training again, whenever they are asked for; systems of their own everywhere."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from mimiidg_build.benchmark import train_network
from mimiidg_build.benchmark.compare import compare_runs
from mimiidg_build.benchmark.cross_table import cross_records, cross_rows
from mimiidg_build.benchmark.finished_runs import read_runs
from mimiidg_build.benchmark.planning import plan_runs
from mimiidg_build.benchmark.results import Benchmark
from mimiidg_build.benchmark.rows import compare_rows
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.cli.benchmark import benchmark
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.evaluation.evaluate import evaluate_scores
from mimiidg_build.evaluation.score_files import read_decisions, read_scores
from mimiidg_build.models import model_class
from mimiidg_build.models.backends import BACKENDS
from mimiidg_build.models.base import Detector, Labels, Settings
from mimiidg_build.models.nearest_neighbour import NearestNeighbour
from mimiidg_build.report.headline import headline
from mimiidg_build.report.heat_maps import N_SHOWN, best_first, by_backend
from mimiidg_build.report.paired import with_best
from mimiidg_build.storage import places
from mimiidg_build.store.store import Store, open_store
from mimiidg_build.training import train
from tests.plain_store import TRAIN, make_plain_store
from tests.small_store import make_store

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS: dict[str, Any] = {"profile": "smoke", "device": "cpu", "epochs": 1}
SCORES, DECISIONS = (f"{kind}_fan_section_00_test.csv" for kind in ("anomaly_score", "decision_result"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def store(place: Path) -> Store:
    return make_store(place, sections=("fan/00", "valve/00"))


@pytest.fixture(scope="module")
def found(store: Store, place: Path) -> Benchmark:
    return benchmark_models(store, place, ["nearest_neighbour", "autoencoder"], backends=["all"], **OPTIONS)


def run_of(place: Path, model: str = "autoencoder") -> Path:
    (found,) = place.glob(f"runs/small/*/{model}-smoke*-0")
    return found


def scored(directory: Path) -> dict[str, bytes]:
    """Everything that a benchmark writes of its scores, and the states of back ends; no times."""
    files = [path for path in directory.rglob("*") if path.suffix == ".csv" or path.name.startswith("state_")]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files if not path.name.startswith("loss_")}


def test_back_ends_asked_for_later_train_nothing_again(
    store: Store, place: Path, found: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And give the same bytes as those asked for at once."""
    benchmark_models(store, tmp_path, ["autoencoder"], **OPTIONS)
    (run,) = plan_runs(store, tmp_path, ["autoencoder"], "smoke", 1, epochs=1)
    weights = {path: path.stat().st_mtime_ns for path in run.directory.iterdir() if path.is_file()}
    monkeypatch.setattr(train, "train", None)
    for backends in (["kmeans", "cosine_knn"], ["all"]):
        again = benchmark_models(store, tmp_path, ["autoencoder"], backends=backends, **OPTIONS)
        names = [name for name in BACKENDS if name in backends or "all" in backends]
        assert [model.name for model in again.models] == ["autoencoder", *(f"autoencoder/{name}" for name in names)]
    assert {path: path.stat().st_mtime_ns for path in run.directory.iterdir() if path.is_file()} == weights
    assert scored(run.directory) == scored(run_of(place))


def test_a_back_end_that_is_finished_is_not_scored_again(
    store: Store, place: Path, found: Benchmark, tmp_path: Path
) -> None:
    """One whose summary is missing is: it was killed before it was finished."""
    copy = shutil.copytree(place / "runs", tmp_path / "runs")
    folder = run_of(copy.parent)
    (folder / "backend_kmeans" / "summary_fan.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    benchmark_models(store, tmp_path, ["autoencoder"], backends=["kmeans", "fusion"], **OPTIONS)
    changed = {path.relative_to(folder) for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert {path.parts[0] for path in changed} == {"backend_kmeans"} and not any("valve" in str(p) for p in changed)
    assert scored(folder) == scored(run_of(place))


def test_a_network_that_is_trained_anew_is_scored_anew(
    store: Store, place: Path, found: Benchmark, tmp_path: Path
) -> None:
    """Somebody removed its summary, as an error may advise: what back ends found before is of other weights."""
    shutil.copytree(place / "runs", tmp_path / "runs")
    folder = run_of(tmp_path)
    (folder / "summary_fan.json").unlink()
    benchmark_models(store, tmp_path, ["autoencoder"], **OPTIONS)
    names = {model.name for model in read_runs(store, tmp_path).models if model.model == "autoencoder"}
    assert names == {"autoencoder"} and not (folder / "backend_kmeans/summary_fan.json").exists()
    benchmark_models(store, tmp_path, ["autoencoder"], backends=["all"], **OPTIONS)
    assert scored(folder) == scored(run_of(place))


def test_a_run_in_a_read_only_root_gets_back_ends_in_the_work_folder(
    store: Store, place: Path, found: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained there, it is not trained again; what has all that is asked for is used where it is."""
    shutil.copytree(place / "variants", tmp_path / "root/variants")
    kept = shutil.copytree(place / "runs", tmp_path / "root/runs")
    (run_of(kept.parent) / "backend_kmeans/results.json").unlink()
    monkeypatch.setenv("MIMIIDG_WORK", str(tmp_path / "work"))
    monkeypatch.setattr(places, "_is_writable", lambda directory: not directory.is_relative_to(tmp_path / "root"))
    monkeypatch.setattr(train, "train", None)
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*")}
    own = open_store(tmp_path / "root/variants/small")
    for backends, where in ((["fusion"], "root"), (["kmeans", "fusion"], "work"), (["kmeans"], "work")):
        again = benchmark_models(own, tmp_path / "root", ["autoencoder"], backends=backends, **OPTIONS)
        assert all(model.runs[0].directory.is_relative_to(tmp_path / where) for model in again.models)
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*")} == before
    names = {model.name for model in read_runs(own, tmp_path / "root").models}
    assert {"autoencoder/kmeans", "autoencoder/fusion"} <= names


def test_of_pooled_log_mels_the_cosine_neighbour_is_the_model_itself(place: Path, found: Benchmark) -> None:
    run = run_of(place, "nearest_neighbour")
    own, backend = (read_scores(run / folder / SCORES) for folder in ("", "backend_cosine_knn"))
    np.testing.assert_allclose(backend["score"], own["score"], rtol=1e-9, atol=1e-12)
    assert read_scores(run / "backend_kmeans" / SCORES)["file_name"].tolist() == own["file_name"].tolist()


@pytest.mark.parametrize("backend", BACKENDS)
def test_decisions_are_of_the_back_ends_own_threshold(place: Path, found: Benchmark, backend: str) -> None:
    folder = run_of(place) / f"backend_{backend}"
    summary = json.loads((folder / "summary_fan.json").read_text())
    scores, decisions = read_scores(folder / SCORES), read_decisions(folder / DECISIONS)
    assert decisions["decision"].tolist() == (scores["score"] > summary["threshold"]["fan"]).astype(int).tolist()
    assert summary["embedding_size"] == 8
    assert {name: len(own) for name, own in summary["training_scores"].items()} == {"fan/00": 9}
    (result,) = [r for r in found.models if r.name == f"autoencoder/{backend}"]
    assert result.thresholds["fan/00"] == summary["threshold"]["fan"]
    assert json.loads((folder / "results.json").read_text()) == json.loads(evaluate_scores(folder).to_json())


def test_they_are_systems_of_their_own(store: Store, place: Path, found: Benchmark) -> None:
    """In what is read again, in tables, in comparisons, in the report's first screen."""
    read = read_runs(store, place).models
    names = [
        f"{model}{end}" for model in ("autoencoder", "nearest_neighbour") for end in ("", *(f"/{b}" for b in BACKENDS))
    ]
    assert {result.name for result in read} == set(names) and len(read) == len(names)
    assert [row["model"] for row in compare_rows([found])] == [*names[7:], *names[:7]]
    content = {(model["model"], model.get("backend")): model for model in found.to_dict()["models"]}
    assert (
        content["autoencoder", "kmeans"]["score"] == "backend_kmeans" and "backend" not in content["autoencoder", None]
    )
    pairs = compare_runs("small/autoencoder-smoke-1epochs", "small/autoencoder-smoke-1epochs/backend_fusion", place)
    assert pairs.second == "small/autoencoder-smoke-1epochs/backend_fusion" and pairs.differences
    first = headline(read, with_best(read))
    assert first is not None and first.score.number == max(result.official_score.value for result in read)
    assert len(best_first(read)) == len(names) <= N_SHOWN


def test_models_by_back_ends(found: Benchmark) -> None:
    rows = cross_rows(found.models)
    assert [(row["model"], row["metric"]) for row in rows] == [
        (model, metric)
        for model in ("nearest_neighbour smoke", "autoencoder smoke-1epochs")
        for metric in ("source", "target", "official score")
    ]
    assert list(rows[0])[2:] == ["own score", *BACKENDS]
    by_name = {model.name: model for model in found.models}
    expected = by_name["autoencoder/pca_residual"].mean("auc_target").value
    assert rows[4]["pca_residual"].startswith(f"{100 * expected:.2f}")
    assert rows[5]["own score"].startswith(f"{100 * by_name['autoencoder'].official_score.value:.2f}")
    records = {(row["model"], row["backend"]): row for row in cross_records(found.models)}
    assert len(records) == 14 and records["autoencoder", "pca_residual"]["auc_target"] == expected
    assert found.to_dict()["cross_table"] == cross_records(found.models)
    table = by_backend(found.models)
    assert table is not None and len(table.rows) == 6 and table.columns[3:] == ("own score", *BACKENDS)
    plain = replace(found, models=tuple(model for model in found.models if not model.backend))
    assert cross_rows(plain.models) == [] and "cross_table" not in plain.to_dict() and by_backend(plain.models) is None


def test_the_command_prints_and_writes_the_table(place: Path, found: Benchmark) -> None:
    arguments = [
        "small",
        "--model",
        "autoencoder",
        "--backend",
        "kmeans",
        "--backend",
        "cosine_knn",
        "--profile",
        "smoke",
    ]
    arguments += ["--epochs", "1", "--root", str(place), "--quiet", "--workers", "1"]
    done = CliRunner().invoke(benchmark, arguments, catch_exceptions=False)
    assert "models by back ends" in done.stdout and "autoencoder/kmeans" in done.stdout
    (path,) = [Path(line) for line in done.stdout.splitlines() if line.endswith("-backends.csv")]
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["backend"] for row in rows] == ["", "cosine_knn", "kmeans"]
    assert {"auc_source", "auc_target_low", "official_score_high"} <= set(rows[0])
    content = json.loads(CliRunner().invoke(benchmark, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert content["cross_tables"] == [str(path)]
    assert [row["backend"] for row in content["variants"][0]["cross_table"]] == [None, "cosine_knn", "kmeans"]
    done = CliRunner().invoke(benchmark, ["small", "--model", "autoencoder", "--backend", "kmens"])
    assert done.exit_code == 2 and "Did you mean 'kmeans'" in done.stderr


# ---- Where there is less, or nothing, to score -----------------------------------------------------------------------


class Silent(NearestNeighbour):
    """A model that gives no embeddings."""

    profiles = {"smoke": Settings(epochs=0)}
    _embed_clips = Detector._embed_clips


class Broken(NearestNeighbour):
    """One whose embeddings are of training clips alone."""

    def _embed_clips(self, logmel: torch.Tensor, labels: Labels) -> torch.Tensor:
        return self.pool(logmel).masked_fill(labels.training_row[:, None] < 0, torch.nan)


class Constant(NearestNeighbour):
    """One that gives every clip the same."""

    def _embed_clips(self, logmel: torch.Tensor, labels: Labels) -> torch.Tensor:
        return torch.ones(len(logmel), 3)


@pytest.fixture
def own_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


def test_a_model_without_embeddings_is_refused_before_any_work(store: Store, tmp_path: Path, own_models: None) -> None:
    name = "tests.benchmark.test_backend_runs:Silent"
    assert not model_class(name).embeds()
    with pytest.raises(
        UsageError, match=r"Silent gives no embeddings for back ends.*autoencoder, .*two_branch_multiresolution; and a"
    ):
        benchmark_models(store, tmp_path, ["autoencoder", name], backends=["fusion"], **OPTIONS)
    assert not (tmp_path / "runs").exists()


def test_embeddings_that_are_not_finite_name_the_clip(store: Store, tmp_path: Path, own_models: None) -> None:
    name = "tests.benchmark.test_backend_runs:Broken"
    with pytest.raises(DataError, match="the embedding of fan/section_00_source_test_anomaly_0000_m-n_W has values"):
        benchmark_models(store, tmp_path, [name], backends=["kmeans"], **OPTIONS)


def test_a_network_that_gives_one_embedding_loses_no_benchmark(store: Store, tmp_path: Path, own_models: None) -> None:
    name = "tests.benchmark.test_backend_runs:Constant"
    found = benchmark_models(store, tmp_path, [name], backends=["kmeans", "fusion"], **OPTIONS)
    assert [model.mean("auc_all").value for model in found.models[1:]] == [0.5, 0.5]


def test_a_section_of_one_training_clip_is_refused_before_any_work(tmp_path: Path) -> None:
    store = make_plain_store(tmp_path, {"fan/00": 0.5, "pump/00": (0.5, {TRAIN: 1})}, variant={"name": "plain"})
    with pytest.raises(DataError, match="pump/00 of .* has one. Leave the section out"):
        plan_runs(store, tmp_path, ["autoencoder"], "smoke", 1, backends=["kmeans"])


def test_without_domains(tmp_path: Path) -> None:
    store = make_plain_store(tmp_path, {"fan/00": 0.5}, variant={"name": "plain", "mixing": "none"})
    found = benchmark_models(store, tmp_path, ["nearest_neighbour"], backends=["fusion"], **OPTIONS)
    assert [model.name for model in found.models] == ["nearest_neighbour", "nearest_neighbour/fusion"]
    assert [row["metric"] for row in cross_rows(found.models)] == ["AUC", "pAUC", "official score"]


def test_known_anomalies_are_in_no_bank(store: Store, tmp_path: Path, own_models: None) -> None:
    """Back ends are fitted to the normal clips of the tuned network, and do not score what it knows."""
    options: dict[str, Any] = {"known_anomalies": [1], "backends": ["cosine_knn"]}
    (run,) = plan_runs(store, tmp_path, ["tests.benchmark.test_runs:Semi"], "smoke", 1, **options)
    train_network.train_and_score(run, run.networks()[0], "cpu")
    summary = json.loads((run.directory / "backend_cosine_knn/summary_fan_00.json").read_text())
    assert len(summary["training_scores"]["fan/00"]) == 9
    names = set(read_scores(run.directory / "backend_cosine_knn" / SCORES)["file_name"])
    known = {f"{clip}.wav" for clip in run.known_clips(["fan/00"])["clip"]}
    assert len(names) == 11 and not names & known
    assert not (run.base.directory / "backend_cosine_knn").exists(), "of the run without, only weights are needed"
