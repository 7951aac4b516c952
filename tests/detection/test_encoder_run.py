"""A run of the user's own frozen encoder on recordings: the run's folder and the encoder's file are all it takes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mimiidg_build import Detector, open_store
from mimiidg_build.audio.resampling import resample
from mimiidg_build.benchmark.detection.export import export_model
from mimiidg_build.benchmark.encoders.loaded import LoadedEncoder
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.errors import UsageError
from tests.detection.conftest import N_SAMPLES
from tests.own_encoder import write_encoder

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def made(place: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The run, and the encoder's TOML file."""
    folder = tmp_path_factory.mktemp("encoder")
    path = write_encoder(folder, "own.pt2", n_samples=N_SAMPLES)
    store, options = open_store(place / "root/variants/short"), {"profile": "smoke", "device": "cpu"}
    found = benchmark_models(store, folder, [], encoders=[path], backends=["mahalanobis"], **options)
    return found.models[0].runs[0].directory, path


@pytest.mark.parametrize("backend", [None, "mahalanobis"])
def test_the_clips_of_a_store_get_the_scores_of_the_run(
    made: tuple[Path, Path], clips: Path, backend: str | None
) -> None:
    run, _ = made
    detector = Detector.load(run, backend=backend)
    found = detector.score_files(sorted((clips / "fan/test").glob("section_00*.wav")))
    assert found.findings.empty and len(found.table) == 4 and detector.name.startswith("own@")
    path = run / (f"backend_{backend}" if backend else "") / "anomaly_score_fan_section_00_test.csv"
    expected = {name: float(score) for name, score in csv.reader(path.read_text().splitlines())}
    for row in found.table.itertuples():
        assert row.score == pytest.approx(expected[Path(row.file).name], rel=1e-6, abs=1e-6)


def test_another_rate_and_length(made: tuple[Path, Path], clips: Path) -> None:
    """As for any model: resampled to the store's rate, and as long as the section's clips."""
    first, *_ = sorted((clips / "fan/test").glob("section_00*.wav"))
    samples = sf.read(first, dtype="float64")[0]
    detector = Detector.load(made[0])
    expected = detector.score(samples, 16_000, "fan/00").score
    other = resample(np.concatenate([samples, samples]), 16_000, 48_000, 6 * N_SAMPLES)
    assert detector.score(other, 48_000, "fan/00").score == pytest.approx(expected, rel=0.02)


def test_an_embedding_that_is_not_finite_is_a_finding(
    made: tuple[Path, Path], clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That names the file; all others are scored."""
    first, *others = sorted((clips / "fan/test").glob("section_00*.wav"))
    loudest, encode = sf.read(first, dtype="int16")[0], LoadedEncoder._batch

    def halting(encoder: LoadedEncoder, batch: np.ndarray, sample_rate: int) -> np.ndarray:
        return encode(encoder, batch, sample_rate) * np.float32(np.nan if (batch[0] == loudest).all() else 1)

    monkeypatch.setattr(LoadedEncoder, "_batch", halting)
    found = Detector.load(made[0]).score_files([first, *others])
    assert list(found.table["file"]) == list(map(str, others))
    (finding,) = found.findings.itertuples()
    assert (finding.severity, finding.kind) == ("error", "no_embedding") and f"gives {first} an" in finding.message


def test_an_encoder_that_is_gone_or_another(made: tuple[Path, Path], tmp_path: Path) -> None:
    """Said at once; benchmarked from where it lies now, the run finds it again, and computes nothing."""
    run, encoder = made
    copy = shutil.copytree(run, tmp_path / run.name)
    config = json.loads((copy / "config.json").read_text())
    config["settings"]["file"] = str(tmp_path / "own.pt2")
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=r"the encoder .*own.pt2 cannot be read: No such file"):
        Detector.load(copy)
    (tmp_path / "own.pt2").write_bytes(b"another")
    with pytest.raises(UsageError, match=r"own.pt2 has changed: .*run the benchmark with --encoder again"):
        Detector.load(copy)
    shutil.copy(encoder.with_suffix(".pt2"), tmp_path)
    assert Detector.load(copy).needs_section
    (copy / "weights_fan.pt").unlink()
    with pytest.raises(Exception, match=r"weights_fan.pt is missing.*mimiidg benchmark short --encoder .*own.pt2"):
        Detector.load(copy)


def test_it_cannot_be_exported(made: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"own@\w{8} cannot be exported: its scores are of an encoder .*own.pt2"):
        export_model(made[0], tmp_path / "model.pt2", "fan/00")
    assert list(tmp_path.iterdir()) == []
