"""Frozen encoders of the user's own: scores as computed by hand, the cache of embeddings, what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from mimiidg_build.audio.resampling import resample
from mimiidg_build.benchmark.encoders import embeddings
from mimiidg_build.benchmark.encoders.description import read_encoders
from mimiidg_build.benchmark.encoders.loaded import load_encoder
from mimiidg_build.benchmark.planning import plan_runs
from mimiidg_build.benchmark.results import Benchmark
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.cli.benchmark import benchmark
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.evaluation.score_files import read_scores
from mimiidg_build.progress import PlainReporter
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.storage import places
from mimiidg_build.store.store import Store, open_store
from tests.own_encoder import BATCH, SIZE, Convolutions, describe, write_encoder
from tests.plain_store import make_plain_store
from tests.small_store import N_CLIPS, make_store

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS: dict[str, Any] = {"profile": "smoke", "device": "cpu"}
SECTIONS = ("fan/00", "fan/01", "valve/00")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("root"), sections=SECTIONS)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``own.pt2`` and ``own.toml``."""
    folder = tmp_path_factory.mktemp("encoder")
    write_encoder(folder, "own.pt2")
    return folder


def run(store: Store, root: Path, *encoders: Path, **options: Any) -> Benchmark:
    return benchmark_models(store, root, [], encoders=encoders, **(OPTIONS | options))


def scores(found: Benchmark, section: str, score: str = "") -> np.ndarray:
    """Of a section's test clips, in the order of the clip table."""
    directory, (machine_type, number) = found.models[0].runs[0].directory / score, SectionId.parse(section)
    table = read_scores(directory / f"anomaly_score_{machine_type}_section_{number}_test.csv")
    own = test_clips(found.store, section)
    return table.set_index("file_name").loc[own["clip"] + ".wav", "score"].to_numpy()


def test_clips(store: Store, section: str) -> Any:
    return store.clips.query(f"machine_type == '{section.split('/')[0]}' and section == '{section[-2:]}'").query(
        "split == 'test'"
    )


test_clips.__test__ = False  # type: ignore[attr-defined]


def frames_of(store: Store, section: str) -> np.ndarray:
    """What the network gives of all clips of a section, one by one [shape=(n_clips, n_frames, SIZE)]."""
    audio = np.asarray(store.audio(*SectionId.parse(section))[:]) / np.float32(32768)
    with torch.no_grad():
        return np.stack([Convolutions()(torch.from_numpy(clip[None]))[0].double().numpy() for clip in audio])


POOLINGS = {
    "mean": lambda frames: frames.mean(axis=1),
    "max": lambda frames: frames.max(axis=1),
    "gem": lambda frames: (np.maximum(frames, 1e-6) ** 2.5).mean(axis=1) ** (1 / 2.5),
}


def by_hand(store: Store, section: str, pooling: str = "mean") -> np.ndarray:
    """Cosine distances of the section's test clips to its nearest training clip."""
    vectors = POOLINGS[pooling](frames_of(store, section))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    test = test_clips(store, section)["row"].to_numpy()
    bank = np.setdiff1d(np.arange(N_CLIPS), test)
    return 1 - (vectors[test] @ vectors[bank].T).max(axis=1)


@pytest.mark.parametrize("name", ["own.pt2", "own.pt", pytest.param("own.onnx", marks=pytest.mark.slow)])
def test_scores_are_those_computed_by_hand(store: Store, tmp_path: Path, name: str) -> None:
    """In every form that a file may have; 21 clips in batches of two, and the back end as any other model has it."""
    if name.endswith(".onnx"):
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package)
    found = run(store, tmp_path, write_encoder(tmp_path, name), backends=["cosine_knn"])
    for section in SECTIONS:
        for score in ("", "backend_cosine_knn"):
            assert np.abs(scores(found, section, score) - by_hand(store, section)).max() < 1e-5


@pytest.mark.parametrize("pooling", ["max", "gem"])
def test_pooling_over_time(store: Store, files: Path, tmp_path: Path, pooling: str) -> None:
    shutil.copy(files / "own.pt2", tmp_path)
    chosen = {"pooling": pooling} | ({"p": 2.5} if pooling == "gem" else {})
    found = run(store, tmp_path, describe(tmp_path / "own.pt2", **chosen))
    assert np.abs(scores(found, "fan/00") - by_hand(store, "fan/00", pooling)).max() < 1e-5


def test_what_a_run_says_of_it(store: Store, files: Path, tmp_path: Path) -> None:
    """And it stands beside other models."""
    found = benchmark_models(store, tmp_path, ["nearest_neighbour"], encoders=[files / "own.pt2"], **OPTIONS)
    (encoder,) = read_encoders([files / "own.toml"])
    assert [model.model for model in found.models] == ["nearest_neighbour", encoder.name]
    assert encoder.name == f"own@{encoder.settings.digest[:8]}"
    result = found.models[1]
    assert (result.n_parameters, result.runs[0].directory.name) == (0, f"{encoder.name}-smoke-0")
    settings = json.loads((result.runs[0].directory / "config.json").read_text())["settings"]
    expected = {"file": str((files / "own.pt2").resolve()), "sha256": encoder.settings.sha256, "sample_rate": 16_000}
    assert settings.items() >= (expected | {"pooling": "mean", "p": 3.0, "batch_size": BATCH}).items()


def cached(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("embeddings/**/*.npy"))}


def test_embeddings_are_computed_once(
    store: Store, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For another profile and back ends, too; numpy reads what is kept."""
    run(store, tmp_path, files / "own.toml")
    (name,) = (encoder.name for encoder in read_encoders([files / "own.toml"]))
    paths = list(cached(tmp_path))
    assert paths == [f"embeddings/small/small/{name}/{SectionId.parse(each).group}.npy" for each in SECTIONS]
    kept = np.load(tmp_path / paths[0])
    assert (kept.shape, kept.dtype) == ((N_CLIPS, SIZE), np.float32)
    assert np.abs(kept - frames_of(store, "fan/00").mean(axis=1)).max() < 1e-5
    monkeypatch.setattr(embeddings, "load_encoder", None)
    found = run(store, tmp_path, files / "own.toml", profile="paper", backends=["kmeans"])
    assert [model.name for model in found.models] == [name, f"{name}/kmeans"]
    (tmp_path / paths[0]).unlink()
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):  # what is missing would be computed
        run(store, tmp_path, files / "own.toml", profile="cpu")


@pytest.mark.parametrize("damage", ["flipped", "cut", "another"])
def test_damaged_embeddings_are_computed_again(store: Store, files: Path, tmp_path: Path, damage: str) -> None:
    run(store, tmp_path, files / "own.toml")
    before = cached(tmp_path)
    path, other = [tmp_path / name for name in before][:2]
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    damages = {"flipped": bytes(content), "cut": content[:-40], "another": other.read_bytes()}
    path.write_bytes(damages[damage])
    lines: list[str] = []
    found = run(store, tmp_path, files / "own.toml", profile="cpu", reporter=PlainReporter(lines.append))
    assert any("the cached ones of fan/00 are damaged: computed again" in line for line in lines)
    assert cached(tmp_path) == before
    assert np.abs(scores(found, "fan/00") - by_hand(store, "fan/00")).max() < 1e-5


def test_another_file_of_the_same_name_is_another_encoder(store: Store, files: Path, tmp_path: Path) -> None:
    """The same one, given twice, is one; where it lies makes no difference, and a run notes where it was last."""
    mine = write_encoder(tmp_path / "other", "own.pt2", Convolutions(seed=1))
    found = run(store, tmp_path, files / "own.toml", files / "own.pt2", mine)
    names = [model.model for model in found.models]
    assert len(set(names)) == 2 and all(name.startswith("own@") for name in names)
    assert len(cached(tmp_path)) == 2 * len(SECTIONS)
    moved = shutil.copytree(files, tmp_path / "moved")
    (again,) = run(store, tmp_path, moved / "own.toml").models
    assert again.model == names[0] and again.runs[0].directory == found.models[0].runs[0].directory
    config = json.loads((again.runs[0].directory / "config.json").read_text())
    assert config["settings"]["file"] == str((moved / "own.pt2").resolve())


def test_a_read_only_root(store: Store, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept there is used; the rest goes to the work folder."""
    root, work = tmp_path / "root", tmp_path / "work"
    run(store, root, files / "own.toml")
    kept = list(cached(root))
    (root / kept[0]).unlink()
    shutil.rmtree(root / "runs")
    monkeypatch.setenv("MIMIIDG_WORK", str(work))
    monkeypatch.setattr(places, "_is_writable", lambda directory: not directory.is_relative_to(root))
    run(store, root, files / "own.toml")
    assert [path.name for path in work.rglob("*.npy")] == [Path(kept[0]).name] and list(cached(root)) == kept[1:]


def test_other_rates_and_several_channels(tmp_path: Path) -> None:
    """The first channel, at the encoder's rate."""
    write_encoder(tmp_path, "own.pt2", n_samples=1500, sample_rate=48_000)
    store = make_plain_store(tmp_path, {"fan/00": 0.03125}, audio={"channels": 2, "n_samples": 500})
    (encoder,) = read_encoders([tmp_path / "own.toml"])
    (own,) = plan_runs(store, tmp_path, [], "smoke", 1, encoders=[tmp_path / "own.toml"])
    found = embeddings.section_embeddings(own, own.networks()[0])["fan/00"]
    audio = np.asarray(store.audio("fan", "00")[:])[:, 0] / 32768
    samples = torch.from_numpy(resample(audio, 16_000, 48_000, 1500).astype(np.float32))
    with torch.no_grad():
        expected = Convolutions()(samples).mean(dim=1).numpy()
    assert np.abs(found - expected).max() < 1e-5 and encoder.settings.sample_rate == 48_000


class Vectors(Convolutions):
    """One vector a clip, and a second output."""

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        frames = super().forward(samples)
        return frames.mean(dim=1), samples


class Flat(nn.Module):
    """No embedding: one number a clip."""

    def forward(self, samples: Tensor) -> Tensor:
        return samples.mean(dim=1)


class Level(nn.Module):
    """Not finite where a clip is silent."""

    def forward(self, samples: Tensor) -> Tensor:
        return samples[:, :SIZE] / samples.square().mean(dim=1, keepdim=True)


def test_vectors_need_no_pooling(tmp_path: Path) -> None:
    settings = [read_encoders([write_encoder(tmp_path, name, Vectors())])[0].settings for name in ("a.pt2", "b.pt")]
    clips = np.random.default_rng(0).integers(-999, 999, (3, 660), dtype=np.int16)
    with torch.no_grad():
        expected = Convolutions()(torch.from_numpy(clips / np.float32(32768))).mean(dim=1).numpy()
    for each in settings:
        assert np.abs(load_encoder(each, torch.device("cpu"))(clips, 16_000, "abc") - expected).max() < 1e-5


def test_an_embedding_that_is_not_finite_names_the_clip(tmp_path: Path) -> None:
    settings = read_encoders([write_encoder(tmp_path, "level.pt", Level())])[0].settings
    clips = np.ones((3, 660), np.int16)
    clips[2] = 0
    with pytest.raises(DataError, match=r"level.pt gives fan/quiet an embedding .* not finite.*silent"):
        load_encoder(settings, torch.device("cpu"))(clips, 16_000, ["fan/a", "fan/b", "fan/quiet"])


@pytest.mark.parametrize(
    ("network", "n_samples", "message"),
    [
        (Flat(), 660, r"own.pt gives shape \(2,\) for samples of the shape \(2, 660\); expected \(2, n_frames, size\)"),
        (Convolutions(), 50, r"own.pt cannot take float32 samples of the shape \(2, 50\): .*Likely cause: it was exp"),
    ],
)
def test_a_network_that_gives_no_embeddings(tmp_path: Path, network: nn.Module, n_samples: int, message: str) -> None:
    """Refused before any work: no run is left behind."""
    path = write_encoder(tmp_path, "own.pt", network)
    store = make_store(tmp_path, sections=["fan/00"], n_samples=n_samples)
    with pytest.raises(UsageError, match=message):
        run(store, tmp_path, path)
    assert not (tmp_path / "runs").exists() and cached(tmp_path) == {}


@pytest.mark.parametrize(("suffix", "kind"), [(".pt", "TorchScript"), (".pt2", "torch.export"), (".onnx", "ONNX")])
def test_what_cannot_be_loaded(tmp_path: Path, suffix: str, kind: str) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
    (tmp_path / f"own{suffix}").write_bytes(b"weights")
    settings = read_encoders([describe(tmp_path / f"own{suffix}")])[0].settings
    with pytest.raises(UsageError, match=f"own{suffix} cannot be loaded as {kind}: ."):
        load_encoder(settings, torch.device("cpu"))


def test_a_file_that_changed_since(tmp_path: Path) -> None:
    (tmp_path / "own.pt").write_bytes(b"weights")
    settings = read_encoders([describe(tmp_path / "own.pt")])[0].settings
    (tmp_path / "own.pt").write_bytes(b"others")
    with pytest.raises(UsageError, match=r"own.pt has changed: its SHA-256 is .* and the run is of"):
        load_encoder(settings, torch.device("cpu"))


@pytest.mark.parametrize(
    ("given", "described", "message"),
    [
        ("own.toml", {"file": "gone.pt"}, r"the encoder .*gone.pt cannot be read: No such file"),
        ("own.toml", {"file": "own.bin"}, r"own.bin: expected a .pt2 \(torch.export\), .pt \(TorchScript\) or .onnx"),
        ("own.toml", {"sample_rate": 1}, "sample_rate: Input should be greater than or equal to 1000"),
        ("own.toml", {"pooling": "median"}, "pooling: Input should be 'mean', 'max' or 'gem'"),
        ("own.toml", {"p": 2.0}, 'p is the exponent of pooling = "gem"; found pooling = "mean"'),
        ("own.toml", {"sample_rte": 1}, "unknown key; did you mean 'sample_rate'"),
        ("own.toml", {"sha256": "0" * 64}, r"own.pt has the SHA-256 .* and .*own.toml expects 0000"),
        ("other.pt", {}, r"other.pt has no other.toml beside it, which says how the encoder is used"),
        ("own.pt2", {}, r"own.toml is of another encoder than own.pt2: it has file = 'own.pt'"),
        ("own.txt", {}, r"own.txt: an encoder is described by a .toml file"),
    ],
)
def test_wrong_use_is_refused_before_any_work(
    store: Store, tmp_path: Path, given: str, described: dict[str, Any], message: str
) -> None:
    (tmp_path / "own.pt").write_bytes(b"weights")
    describe(tmp_path / "own.pt", **described)
    with pytest.raises(UsageError, match=message):
        run(store, tmp_path / "root", tmp_path / given)
    assert not (tmp_path / "root").exists()


def test_onnx_says_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "own.onnx").write_bytes(b"weights")
    with pytest.raises(UsageError, match=r"needs the package onnxruntime, .*pip install 'mimiidg_build\[onnx\]'"):
        read_encoders([describe(tmp_path / "own.onnx")])


def test_weights_beside_an_onnx_file_are_part_of_it(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "own.onnx").write_bytes(b"graph")
    path, names = describe(tmp_path / "own.onnx"), []
    for weights in (b"one", b"two"):
        (tmp_path / "own.onnx.data").write_bytes(weights)
        names += [encoder.name for encoder in read_encoders([path])]
    assert len(set(names)) == 2


def test_what_an_encoder_does_not_take(store: Store, files: Path, tmp_path: Path) -> None:
    encoders = [files / "own.toml"]
    with pytest.raises(UsageError, match=r"own@\w{8} takes no known anomalies"):
        plan_runs(store, tmp_path, [], "smoke", 1, known_anomalies=[1], encoders=encoders)
    with pytest.raises(UsageError, match="no setting 'batch_size' to change; there are threads"):
        plan_runs(store, tmp_path, [], "smoke", 1, changes={"batch_size": 4}, encoders=encoders)
    with pytest.raises(UsageError, match="own@00000000 is the name of an encoder's runs; give the encoder's file"):
        plan_runs(store, tmp_path, ["own@00000000"], "smoke", 1)
    (own,) = plan_runs(store, tmp_path, [], "smoke", 3, changes={"threads": 2}, encoders=encoders)
    assert (own.settings.threads, own.label) == (2, "smoke-threads=2")


def test_the_command(store: Store, files: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(store.path.parent, root / "variants/small")
    assert open_store(root / "variants/small").fingerprint == store.fingerprint
    arguments = ["small", "--encoder", str(files / "own.toml"), "--profile", "smoke", "--root", str(root)]
    arguments += ["--quiet", "--device", "cpu", "--workers", "1"]
    done = CliRunner().invoke(benchmark, [*arguments, "--backend", "kmeans", "--json"], catch_exceptions=False)
    models = [model["model"] for model in json.loads(done.stdout)["variants"][0]["models"]]
    assert len(models) == 2 and models[0].startswith("own@")
    for words, message in (
        (["small", "--root", str(root)], r"Missing option '--model'"),
        (["small", "--encoder", str(tmp_path / "gone.toml")], "does not exist"),
    ):
        done = CliRunner().invoke(benchmark, words)
        assert done.exit_code == 2 and message in done.stderr
