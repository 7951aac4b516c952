"""Runs on features with a reference channel: recordings of two channels score as the store's clips did."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.benchmark.detection.detector import Detector
from mimiidg_build.benchmark.detection.export import METADATA, export_model
from mimiidg_build.benchmark.detection.torch_logmel import TorchLogMel
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.build.variant import build_variant
from mimiidg_build.errors import DataError
from mimiidg_build.features import clip_features
from mimiidg_build.report.detection.page import detection_page
from mimiidg_build.schemas.variants import FeatureSettings, Variant
from tests.build.any_release import make_release, members, noise
from tests.conftest import once

pytestmark = pytest.mark.usefixtures("one_thread")

N = 12_000
MODELS = ("nearest_neighbour", "autoencoder")


def make_place(directory: Path) -> None:
    """``root`` with a store of two channels and its runs; ``clips`` with the test clips' files."""
    files = members("fan", "00", [encode_wav(noise((2, N), seed)) for seed in range(12)])
    for name, data in files.items():
        path = directory / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    dataset = make_release(directory / "root", {"fan": files}, "audio = { channels = 2 }")
    features = FeatureSettings(reference="subtract", spectral_floor=0.2)
    variant = Variant(name="two", dataset=dataset, mixing="none", channels="all", features=features)
    store = build_variant(variant, directory / "root").store
    benchmark_models(store, directory / "root", MODELS, profile="smoke", device="cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``make_place`` makes. Not to be changed."""
    return once(tmp_path_factory, "detect-two-channels", make_place)


def run_of(place: Path, model: str) -> Path:
    (found,) = (place / "root/runs/two").glob(f"*/{model}-smoke-0")
    return found


def of_the_run(run: Path) -> dict[str, float]:
    path = run / "anomaly_score_fan_section_00_test.csv"
    return {name: float(score) for name, score in csv.reader(path.read_text().splitlines())}


@pytest.mark.parametrize("model", MODELS)
def test_recordings_have_the_scores_of_the_run(place: Path, model: str) -> None:
    run = run_of(place, model)
    detector, expected = Detector.load(run), of_the_run(run)
    found = detector.score_files(sorted((place / "clips/fan/test").glob("*.wav")))
    assert len(found.findings) == 0
    scores = {Path(row.file).name: row.score for row in found.table.itertuples()}
    assert scores == pytest.approx(expected, rel=1e-6)
    name = next(iter(expected))
    samples, rate = sf.read(place / "clips/fan/test" / name, dtype="int16")
    assert detector.score(samples.T, rate).score == pytest.approx(expected[name], rel=1e-6)
    swapped = detector.score(samples.T[::-1].copy(), rate).score
    assert swapped != pytest.approx(expected[name], rel=1e-3), "which channel is near makes the difference"
    if model == "autoencoder":
        page = detection_page(detector, found)
        assert page.count("data:audio/ogg") == len(found.table), "every one to hear, by its near channel"


def test_recordings_without_a_reference_are_findings(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "fan/test"
    folder.mkdir(parents=True)
    one = noise((N,), 99)
    (folder / "section_00_source_test_normal_0000_one.wav").write_bytes(encode_wav(one))
    (folder / "section_00_source_test_normal_0001_copied.wav").write_bytes(encode_wav(np.stack([one, one])))
    (folder / "section_00_source_test_normal_0002_two.wav").write_bytes(encode_wav(noise((2, N), 98)))
    detector = Detector.load(run_of(place, "nearest_neighbour"))
    found = detector.score_files(sorted(folder.glob("*.wav")))
    assert [Path(name).name[-7:] for name in found.table["file"]] == ["two.wav"]
    assert found.findings["kind"].tolist() == ["no_reference", "no_reference"]
    first, second = found.findings["message"]
    assert 'one.wav: has 1 channel, and features.reference = "subtract" takes channels 0 and 1' in first
    assert "copied.wav: channels 0 and 1 hold the same samples; expected two microphones" in second
    with pytest.raises(DataError, match="the recording: has 1 channel, and"):
        detector.score(one, 16_000)


def test_an_exported_model_takes_both_channels(place: Path, tmp_path: Path) -> None:
    run, path = run_of(place, "autoencoder"), tmp_path / "model.pt2"
    metadata = export_model(run, path)
    assert metadata["input"] == "samples, float32 (n_channels, n_samples), full scale 1"
    assert [metadata[key] for key in ("channels", "primary_channel", "reference_channel")] == [2, 0, 1]
    program = torch.export.load(path, extra_files={METADATA: ""}).module()
    for name, expected in of_the_run(run).items():
        samples = sf.read(place / "clips/fan/test" / name, dtype="float32")[0]
        assert float(program(torch.from_numpy(samples.T.copy()))) == pytest.approx(expected, abs=1e-4, rel=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"reference": "log_ratio"},
        {"reference": "subtract", "over_subtraction": 2.0, "spectral_floor": 0.02},
        {"reference": "subtract", "n_fft": 2048, "n_mels": 64, "power": 1},
    ],
)
def test_features_in_torch(settings: dict[str, object]) -> None:
    chosen, samples = FeatureSettings(**settings), noise((2, N), 5)
    expected = clip_features(samples, chosen)["logmel"]
    found = TorchLogMel(chosen, 16_000)(torch.from_numpy(samples / np.float32(32_768))).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)
