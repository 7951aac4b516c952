"""Runs: which anomalies a training knows, what it reads, and several scores of one model."""

from __future__ import annotations

import json
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mimiidg_build import models
from mimiidg_build.benchmark.finished_runs import read_runs
from mimiidg_build.benchmark.known_anomalies import draw_anomalies
from mimiidg_build.benchmark.planning import plan_runs
from mimiidg_build.benchmark.plots import plot_known_anomalies
from mimiidg_build.benchmark.results import Benchmark
from mimiidg_build.benchmark.rows import compare_rows
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.benchmark.train_network import train_and_score
from mimiidg_build.errors import UsageError
from mimiidg_build.evaluation.evaluate import evaluate_scores
from mimiidg_build.models.backends import BACKENDS
from mimiidg_build.models.base import MAIN, Array, Epoch, Labels, ScoreTable, Settings
from mimiidg_build.models.nearest_neighbour import NearestNeighbour
from mimiidg_build.report.attention_figures import figure_path
from mimiidg_build.storage import places
from mimiidg_build.store.store import Store, open_store
from tests.own_encoder import write_encoder
from tests.small_store import SHARD_CLIPS, make_store, mix_in_noise, record_files

pytestmark = pytest.mark.usefixtures("one_thread")

N_FRAMES, N_SAMPLES = 129, 65_600  # 4.1 s: some networks take nothing shorter


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def whole_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root = tmp_path_factory.mktemp("root")
    store = make_store(root, n_frames=N_FRAMES, n_samples=N_SAMPLES)
    return mix_in_noise(store, root / "recordings")


class Semi(NearestNeighbour):
    """Learns one weight, takes known anomalies, and has further scores."""

    profiles = {"smoke": Settings(epochs=1, learning_rate=1.0, batch_size=8, tuning_epochs=2)}
    scope = "section"
    width = None
    uses_outliers = True
    epochs: list[tuple[Epoch, list[bool]]] = []

    def __init__(self, settings: Settings, n_sections: int, seed: int) -> None:
        super().__init__(settings, n_sections, seed)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def begin_epoch(self, epoch: Epoch, chunks: Any) -> None:
        self.epochs.append((epoch, [known for _, labels in chunks for known in labels.known_anomaly.tolist()]))

    def loss(self, batch: torch.Tensor, labels: Labels) -> torch.Tensor:
        return -self.weight.sum()

    def _scores(self, features: torch.Tensor, labels: Labels) -> dict[str, torch.Tensor]:
        own = self._score(features, labels)
        return {MAIN: own, "reverse": -own}

    def derived_scores(self, training: ScoreTable, test: ScoreTable) -> tuple[dict[str, Array], dict[str, Array]]:
        truth = (test.clips["condition"] == "anomaly").to_numpy(np.float64)
        return {"oracle": training.scores[MAIN]}, {"oracle": truth}


def have_semi(monkeypatch: pytest.MonkeyPatch) -> type[Semi]:
    """The model ``semi`` is among the others."""
    module = types.ModuleType("mimiidg_build.models.semi")
    module.Semi = Semi  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(models.MODELS, "semi", "semi:Semi")
    Semi.epochs.clear()
    return Semi


@pytest.fixture
def semi(monkeypatch: pytest.MonkeyPatch) -> type[Semi]:
    return have_semi(monkeypatch)


@pytest.fixture(scope="module")
def found(store: Store) -> Benchmark:
    """``semi`` with no and with two known anomalies, below the store's root."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        have_semi(monkeypatch)
        return benchmark_models(store, store.root, ["semi"], profile="smoke", device="cpu", known_anomalies=[0, 2])


def test_known_anomalies_are_the_first_of_more(store: Store) -> None:
    drawn = [draw_anomalies(store, "fan/00", k, 0)["clip"].tolist() for k in range(5)]
    assert [len(clips) for clips in drawn] == list(range(5))
    assert all(clips == drawn[4][: len(clips)] for clips in drawn)
    assert draw_anomalies(store, "fan/00", 4, 1)["clip"].tolist() != drawn[4], "another seed draws others"
    assert ["source" in clip for clip in drawn[4]] in ([True, False] * 2, [False, True] * 2), "domains take turns"
    chosen = draw_anomalies(store, "valve/00", 3, 0)
    assert set(chosen["condition"]) == {"anomaly"} and set(chosen["machine_type"]) == {"valve"}


@pytest.mark.parametrize(
    ("model", "numbers", "message"),
    [
        ("semi", [6], "fan/00 of .* has 6 anomalies: 6 known ones would leave none"),
        ("semi", [5], "5 known ones would leave none of a domain to test with"),
        ("semi", [-1], "from 0, found -1"),
        ("autoencoder", [0, 2], "autoencoder takes no known anomalies in its profile 'smoke'"),
    ],
)
def test_known_anomalies_used_wrongly(
    store: Store, tmp_path: Path, semi: type[Semi], model: str, numbers: list[int], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        plan_runs(store, tmp_path, [model], "smoke", 1, known_anomalies=numbers)


def test_known_anomalies_go_on_from_the_run_without(store: Store, tmp_path: Path, semi: type[Semi]) -> None:
    found = benchmark_models(store, tmp_path, ["semi"], profile="smoke", device="cpu", known_anomalies=[2])
    (run,) = plan_runs(store, tmp_path, ["semi"], "smoke", 1, known_anomalies=[2])
    assert found.models[0].runs[0].directory == run.directory
    assert run.directory.name == "semi-smoke-k2-0" and run.base.directory.name == "semi-smoke-0"
    epochs = [epoch for epoch, _ in semi.epochs[:3]]
    assert epochs == [Epoch(0, 1), Epoch(0, 2, True), Epoch(1, 2, True)]
    assert [sum(known) for _, known in semi.epochs[:3]] == [0, 2, 2]
    files = [each.directory / "weights_fan_00.pt" for each in (run.base, run)]
    base, tuned = (torch.load(file, weights_only=True)["weight"].item() for file in files)
    assert base == pytest.approx(4.0, abs=0.01), "27 clips in batches of 8: Adam's four steps of 1"
    assert tuned == pytest.approx(base + 2 * 4, abs=0.01), "29 clips, twice"
    assert len(run.known_clips()) == 6
    scored = (run.directory / "anomaly_score_fan_section_00_test.csv").read_text().splitlines()
    assert len(scored) == 12 - 2
    assert not any(f"{clip}.wav" in line for clip in run.known_clips(["fan/00"])["clip"] for line in scored)


@pytest.mark.usefixtures("semi")
def test_all_are_compared_on_clips_that_no_training_knows(store: Store, found: Benchmark) -> None:
    """Without the two that leave the test set, though the files of the run without known anomalies hold them."""
    assert found.known_anomalies == 2 and "tested without the 2 anomalies of each section" in found.title
    runs = plan_runs(store, store.root, ["semi"], "smoke", 1, known_anomalies=[0, 2])
    assert [run.known_anomalies for run in runs] == [0, 2]
    known = runs[1].known_clips()["clip"].tolist()
    for run, model in zip(runs, found.models[::3], strict=True):
        test = store.clips[(store.clips["split"] == "test") & ~store.clips["clip"].isin(known[:2])]
        fan_00 = test[(test["machine_type"] == "fan") & (test["section"] == "00")]
        lines = (run.directory / "anomaly_score_fan_section_00_test.csv").read_text().split()
        scores = {name.removesuffix(".wav"): float(score) for name, score in (line.split(",") for line in lines)}
        normal, anomaly = (
            [scores[clip] for clip in fan_00[fan_00["condition"] == condition]["clip"]]
            for condition in ("normal", "anomaly")
        )
        assert (len(scores), len(normal), len(anomaly)) == (12 - run.known_anomalies, 6, 4)
        by_hand = np.mean([a > n for a in anomaly for n in normal])
        assert model.runs[0].evaluation.sections["auc_all"][0] == pytest.approx(by_hand)
        own = json.loads((run.directory / "results.json").read_text())
        assert own == json.loads(evaluate_scores(run.directory).to_json()), "results.json is of the run's own files"
    alone = benchmark_models(store, store.root, ["semi"], profile="smoke", device="cpu")
    assert alone.known_anomalies == 0 and "tested without" not in alone.title


@pytest.mark.usefixtures("semi")
def test_every_score_is_written_and_evaluated(found: Benchmark, tmp_path: Path) -> None:
    names = [model.name for model in found.models]
    assert names == [
        *("semi", "semi (reverse)", "semi (oracle)"),
        *("semi, k = 2", "semi (reverse), k = 2", "semi (oracle), k = 2"),
    ]
    own, reverse, oracle = (model.mean("auc_all").value for model in found.models[:3])
    assert (own + reverse, oracle) == pytest.approx((1.0, 1.0))
    rows = compare_rows([found])
    assert [row["model"] for row in rows] == names
    assert {row["parameters"] for row in rows} == {"1 x 3"}
    assert all(row["training"].endswith(" s") for row in rows)
    directory = found.models[0].runs[0].directory
    assert (directory / "oracle" / "results.json").is_file()
    content = found.to_dict()["models"]
    assert [(model["score"], model["known_anomalies"]) for model in content[1::3]] == [("reverse", 0), ("reverse", 2)]
    path = plot_known_anomalies(found, tmp_path / "k.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def files(directory: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in directory.rglob("*")}


def test_a_read_only_root_is_benchmarked_in_the_work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is finished under ROOT is used from there; what is new goes to the work folder, and is found again."""
    root, work = tmp_path / "root", tmp_path / "work"
    store = make_store(root)
    options: dict[str, Any] = {"profile": "smoke", "device": "cpu"}
    benchmark_models(store, root, ["nearest_neighbour"], **options)
    before = files(root)
    monkeypatch.setenv("MIMIIDG_WORK", str(work))
    monkeypatch.setattr(places, "_is_writable", lambda directory: not directory.is_relative_to(root))
    models = ["nearest_neighbour", "nearest_neighbour_max"]
    found = benchmark_models(store, root, models, **options)
    old, new = (model.runs[0].directory for model in found.models)
    assert old.is_relative_to(root) and new.is_relative_to(work)
    assert figure_path(plan_runs(store, root, models, "smoke", 1)[1], "a/b").is_relative_to(work)
    again = read_runs(store, root)
    assert [model.to_dict() for model in again.models] == [model.to_dict() for model in found.models]
    shutil.copytree(old, new.with_name(old.name), ignore=lambda *_: ["results.json"])
    assert [model.runs[0].directory for model in read_runs(store, root).models] == [old, new], "the finished one"
    assert files(root) == before


def poison(store: Store, target: Path, spared: set[tuple[str, str, int]]) -> Store:
    """A copy whose test clips are others, but for those spared, and hold other noise."""
    shutil.copytree(store.path, target)
    plan, clips, is_test = store.mix_plan.copy(), store.clips.copy(), (store.clips["split"] == "test").to_numpy()
    one, *others = sorted(set(plan["noise_1_clip"][is_test]))
    assert others and not {one, *others} & set(plan["noise_1_clip"][~is_test])
    plan.loc[is_test, "noise_1_clip"] = one
    plan.to_parquet(target / "mix_plan.parquet")
    clips["power"] *= np.where(is_test, 7.0, 1.0)
    clips.to_parquet(target / "clips.parquet")
    for row in store.clips[store.clips["split"] == "test"].to_dict("records"):
        if (row["machine_type"], row["section"], row["row"]) in spared:
            continue
        number, inner = divmod(row["row"], SHARD_CLIPS)
        section = target / f"{row['machine_type']}/section_{row['section']}"
        for name, tail, clip in (
            ("logmel", "0/0", np.linspace(-50, 20, N_FRAMES * 128, dtype=np.float32)),
            ("audio", "0", np.arange(N_SAMPLES, dtype=np.int16)),
        ):
            with (section / f"{name}/c/{number}/{tail}").open("r+b") as shard:
                shard.seek(inner * clip.nbytes)
                shard.write(clip.tobytes())
    record_files(target)
    return open_store(target)


def cases() -> list[Any]:
    takes_anomalies = [name for name in models.MODELS if models.model_class(name).profiles["smoke"].tuning_epochs]
    # What training reads is decided in one place for all. These read log-mel and audio, and train nothing, a network
    # for each machine type, for each section with known anomalies beside, and behind an encoder of somebody else's.
    by_default = ("nearest_neighbour", "autoencoder", "two_branch")
    every = [pytest.param(k, 0, marks=[pytest.mark.slow] * (k not in by_default)) for k in models.MODELS]
    more = [("encoder", 0), pytest.param("augmented", 0, marks=pytest.mark.slow)]
    return [*every, *((name, 2) for name in takes_anomalies[-1:]), *more]


@pytest.mark.parametrize(("name", "k"), cases())
def test_training_reads_no_test_clip_but_the_known_anomalies(
    whole_store: Store, tmp_path: Path, name: str, k: int
) -> None:
    """Weights, and thresholds, which come from training scores, are the same whatever the other test clips hold.

    So is everything that back ends fit, and what the fusion, which holds one of each, standardises by. Of an encoder,
    all clips' embeddings are cached together. Noise that is added in training is that of training clips.
    """
    chosen: dict[str, Any] = {"models": [name]}
    if name == "augmented":
        chosen = {"models": ["autoencoder"], "changes": {"noise": 0.5, "mixup": 0.5, "frequency_masks": 1}}
    if name == "encoder":
        chosen = {"models": [], "encoders": [write_encoder(tmp_path, "own.pt2", n_samples=N_SAMPLES)]}
    backends = tuple(BACKENDS) if name == "nearest_neighbour" else ("fusion",)
    options: dict[str, Any] = {"epochs": 1, "known_anomalies": [k], "backends": backends}
    options |= {"profile": "smoke", "seeds": 1, **chosen}
    (run,) = plan_runs(whole_store, tmp_path / "clean", **options)
    known = run.known_clips() if k else run.known_clips().iloc[:0]
    spared = set(zip(known["machine_type"], known["section"], known["row"], strict=True))
    poisoned = poison(whole_store, tmp_path / "small.zarr", spared)
    (other,) = plan_runs(poisoned, tmp_path / "poisoned", **options)
    network = run.networks()[0]
    for each in (run, other):
        train_and_score(each, network, "cpu")
    weights = [torch.load(each.directory / f"weights_{network.name}.pt", weights_only=True) for each in (run, other)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    summaries = [json.loads((each.directory / f"summary_{network.name}.json").read_text()) for each in (run, other)]
    assert summaries[0]["threshold"] == summaries[1]["threshold"]
    assert len(summaries[0]["known_anomalies"]) == k * len(summaries[0]["sections"])
    scored = "anomaly_score_fan_section_00_test.csv"
    scores = [(each.directory / scored).read_bytes() for each in (run, other)]
    assert scores[0] != scores[1], "the test clips were the same"
    for backend in backends:
        folders = [each.directory / f"backend_{backend}" for each in (run, other)]
        states = [torch.load(folder / f"state_{network.name}.pt", weights_only=True) for folder in folders]
        assert states[0] and all(torch.equal(states[0][key], states[1][key]) for key in states[0])
        summaries = [json.loads((folder / f"summary_{network.name}.json").read_text()) for folder in folders]
        assert all(summaries[0][key] == summaries[1][key] for key in ("threshold", "training_scores"))
        assert len({(folder / scored).read_bytes() for folder in folders}) == 2, "the test clips were the same"
