"""``mimiidg export-model``: files that torch, or an ONNX runtime, reads alone, with the run's scores."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
from click.testing import CliRunner

from mimiidg_build.benchmark.detection.export import METADATA, export_model
from mimiidg_build.benchmark.detection.torch_logmel import TorchLogMel
from mimiidg_build.cli.export_model import export_model as command
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.features import clip_features
from mimiidg_build.schemas.variants import FeatureSettings
from tests.detection.conftest import KINDS, N_SAMPLES, run_of

pytestmark = pytest.mark.usefixtures("one_thread")

ALONE = """
import json, sys, wave, array, torch
extra = {"mimiidg.json": ""}
program = torch.export.load(sys.argv[1], extra_files=extra).module()
with wave.open(sys.argv[2]) as file:
    samples = torch.tensor(array.array("h", file.readframes(file.getnframes()))) / 32768
assert not any(name.startswith("mimiidg") for name in sys.modules)
print(json.dumps([float(program(samples)), json.loads(extra["mimiidg.json"])]))
"""


def of_the_run(run: Path) -> dict[str, float]:
    """The run's scores of the test clips of fan/00."""
    path = run / "anomaly_score_fan_section_00_test.csv"
    return {name: float(score) for name, score in csv.reader(path.read_text().splitlines())}


def samples_of(clips: Path, name: str) -> np.ndarray:
    return sf.read(clips / "fan/test" / name, dtype="float32")[0]


def assert_scores_of_the_run(run: Path, clips: Path, score: Callable[[np.ndarray], float]) -> None:
    """To 1e-4; of a conformer of two epochs, whose scores are ten thousands to millions, to 1e-5 of them.

    Its distances are of embeddings whose covariance is nearly singular, which makes much of the last bits.
    """
    relative = 1e-5 if "conformer" in run.name else 1e-6
    for name, expected in of_the_run(run).items():
        assert score(samples_of(clips, name)) == pytest.approx(expected, abs=1e-4, rel=relative)


# Many layers, each of which torch.export looks at, or much like another.
SLOW = ("mobilenetv2", "bce_ddcsad", "attention", "conformer", "two_branch", "autoencoder_mahalanobis")


@pytest.mark.parametrize("kind", [pytest.param(k, marks=[pytest.mark.slow] * (k in SLOW)) for k in KINDS])
def test_torch_gives_the_scores_of_the_run(place: Path, clips: Path, tmp_path: Path, kind: str) -> None:
    run, path = run_of(place, kind), tmp_path / "model.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metadata = export_model(run, path, "fan/00")
    extra = {METADATA: ""}
    program = torch.export.load(path, extra_files=extra).module()
    assert json.loads(extra[METADATA]) == metadata
    assert_scores_of_the_run(run, clips, lambda samples: float(program(torch.from_numpy(samples))))


def exported_fusion(run: Path, path: Path) -> dict[str, Any]:
    """The metadata of a file with a back end that holds one of each."""
    words = [str(run), str(path), "--section", "fan/00", "--backend", "fusion", "--json"]
    metadata: dict[str, Any] = json.loads(CliRunner().invoke(command, words, catch_exceptions=False).stdout)
    return metadata


def test_back_ends_are_exported_with_their_network(place: Path, clips: Path, tmp_path: Path) -> None:
    run, path = run_of(place, "autoencoder"), tmp_path / "model.pt2"
    metadata = exported_fusion(run, path)
    summary = json.loads((run / "backend_fusion/summary_fan.json").read_text())
    assert (metadata["backend"], metadata["threshold"]) == ("fusion", summary["threshold"]["fan"])
    program = torch.export.load(path).module()
    scored = run / "backend_fusion"
    assert_scores_of_the_run(scored, clips, lambda samples: float(program(torch.from_numpy(samples))))


@pytest.mark.slow  # stands beside the quicker test of torch.export
def test_back_ends_are_exported_to_onnx(place: Path, clips: Path, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    runtime = pytest.importorskip("onnxruntime")
    run, path = run_of(place, "autoencoder"), tmp_path / "model.onnx"
    exported_fusion(run, path)
    session, scored = runtime.InferenceSession(path), run / "backend_fusion"
    assert_scores_of_the_run(scored, clips, lambda samples: float(session.run(None, {"samples": samples})[0]))


def test_no_code_of_this_package_is_needed(place: Path, clips: Path, tmp_path: Path) -> None:
    run, path = run_of(place, "nearest_neighbour"), tmp_path / "model.pt2"
    done = CliRunner().invoke(command, [str(run), str(path), "--section", "fan/00"], catch_exceptions=False)
    assert (done.exit_code, done.stdout) == (0, f"{path}\n")
    (name, expected), *_ = of_the_run(run).items()
    words = [sys.executable, "-I", "-c", ALONE, path, clips / "fan/test" / name]
    score, metadata = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert score == pytest.approx(expected, abs=1e-4)
    summary = json.loads((run / "summary_fan.json").read_text())
    wanted = {"sample_rate": 16_000, "channels": 1, "n_samples": N_SAMPLES, "section": "fan/00"}
    assert metadata.items() >= (wanted | {"threshold": summary["threshold"]["fan"], "format": 1}).items()
    assert metadata["trained_on"]["variant"] == "short" and metadata["model"] == "nearest_neighbour"


@pytest.mark.parametrize("kind", ["autoencoder", pytest.param("conformer", marks=pytest.mark.slow)])
def test_onnx_gives_the_scores_of_the_run(place: Path, clips: Path, tmp_path: Path, kind: str) -> None:
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    runtime = pytest.importorskip("onnxruntime")
    run, path = run_of(place, kind), tmp_path / "model.onnx"
    metadata = export_model(run, path, "fan/00")
    session = runtime.InferenceSession(path)
    assert json.loads(session.get_modelmeta().custom_metadata_map[METADATA]) == metadata
    assert_scores_of_the_run(run, clips, lambda samples: float(session.run(None, {"samples": samples})[0]))


def test_onnx_says_what_it_lacks(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(DataError, match="ONNX needs the package onnx, which is not installed: .*a .pt2 file"):
        export_model(run_of(place, "nearest_neighbour"), tmp_path / "model.onnx", "fan/00")
    assert list(tmp_path.iterdir()) == []


def test_a_section_is_named_where_the_scores_need_it(place: Path, tmp_path: Path) -> None:
    assert export_model(run_of(place, "autoencoder"), tmp_path / "fan.pt2", "fan")["section"] == "fan"
    with pytest.raises(UsageError, match="several sections, say which"):
        export_model(run_of(place, "nearest_neighbour"), tmp_path / "model.pt2", "fan")
    with pytest.raises(UsageError, match=r"model.txt: expected a name that ends in .pt2 or .onnx"):
        export_model(run_of(place, "nearest_neighbour"), tmp_path / "model.txt", "fan/00")


def test_a_model_that_cannot_be_exported(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose steps depend on the sound."""
    from mimiidg_build.models.nearest_neighbour import NearestNeighbour

    def halting(model: NearestNeighbour, logmel: torch.Tensor, labels: Any) -> torch.Tensor:
        return logmel.mean(dim=(1, 2)) if logmel.mean() > 0 else logmel.amax(dim=(1, 2))

    monkeypatch.setattr(NearestNeighbour, "_score", halting)
    with pytest.raises(DataError, match="nearest_neighbour cannot be exported: .* steps that depend on the sound"):
        export_model(run_of(place, "nearest_neighbour"), tmp_path / "model.pt2", "fan/00")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_mels": 64, "n_fft": 2048, "hop_length": 400},
        {"power": 1, "mel_scale": "htk", "mel_norm": "none"},
        {"window": "hamming", "window_length": 400, "f_min_hz": 50.0, "f_max_hz": 7000.0},
        {"n_fft": 1023},
    ],
    ids=str,
)
def test_log_mel_in_torch(clips: Path, settings: dict[str, Any]) -> None:
    """Equal to what stores hold to 1e-4 dB."""
    features = FeatureSettings(**settings)
    for path in sorted((clips / "fan/test").iterdir())[:3]:
        samples = sf.read(path, dtype="int16")[0]
        expected = clip_features(samples, features)["logmel"]
        found = TorchLogMel(features, 16_000)(torch.from_numpy(samples / np.float32(32768))).numpy()
        assert found.shape == expected.shape and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
