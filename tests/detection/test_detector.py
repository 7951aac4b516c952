"""A run on recordings: its own scores again, other rates, channels and lengths, which section, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch

from mimiidg_build import Detector, open_store
from mimiidg_build.audio.resampling import resample
from mimiidg_build.benchmark.detection.recordings import Unfit, read_recording, recordings_in
from mimiidg_build.benchmark.detection.sections import section_of
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.build.variant import build_variant
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.schemas.sections import SectionId
from tests.detection.conftest import KINDS, N_SAMPLES, ON_BOTH, name_of_variant, run_of, variant

pytestmark = pytest.mark.usefixtures("one_thread")


def all_test_clips(clips: Path) -> list[Path]:
    return recordings_in([clips / "fan/test", clips / "valve/test"])


def written_by(run: Path, kind: str) -> dict[tuple[str, str], str]:
    """(machine type, clip) to the text that a run's official files have for it."""
    found = {}
    for path in run.glob(f"{kind}_*.csv"):
        machine_type = path.name.removeprefix(f"{kind}_").split("_")[0]
        found |= {(machine_type, name): value for name, value in csv.reader(path.read_text().splitlines())}
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_clips_of_a_store_get_the_scores_of_the_run(place: Path, clips: Path, kind: str) -> None:
    run = run_of(place, kind)
    files = all_test_clips(clips) if kind in ON_BOTH else recordings_in([clips / "fan/test"])
    found = Detector.load(run).score_files(files)
    assert found.findings.empty and len(found.table) == (16 if kind in ON_BOTH else 8)
    scores, decisions = written_by(run, "anomaly_score"), written_by(run, "decision_result")
    for row in found.table.itertuples():
        key = (row.machine_type, Path(row.file).name)
        assert row.score == pytest.approx(float(scores[key]), rel=1e-6, abs=1e-6)
        assert row.decision == int(decisions[key])


@pytest.mark.parametrize("backend", ["cosine_knn", "mahalanobis", "fusion"])
def test_a_back_end_gives_its_scores_of_the_run(place: Path, clips: Path, backend: str) -> None:
    """And decides by its own threshold. It compares within a section, though the network serves the machine type."""
    run = run_of(place, "autoencoder")
    detector, folder = Detector.load(run, backend=backend), run / f"backend_{backend}"
    found = detector.score_files(all_test_clips(clips))
    scores, decisions = written_by(folder, "anomaly_score"), written_by(folder, "decision_result")
    assert detector.name == f"autoencoder/{backend}" and detector.needs_section and len(found.table) == 16
    summary = json.loads((folder / "summary_fan.json").read_text())
    for row in found.table.itertuples():
        key = (row.machine_type, Path(row.file).name)
        assert row.score == pytest.approx(float(scores[key]), rel=1e-6, abs=1e-6)
        assert row.decision == int(decisions[key])
        if row.machine_type == "fan":
            of_training = np.array(summary["training_scores"][f"fan/{row.section}"])
            assert row.percentile == 100 * (of_training < row.score).mean()
            assert row.threshold == summary["threshold"]["fan"]


def test_a_back_end_that_has_not_scored_the_run(place: Path, run: Path, clips: Path) -> None:
    with pytest.raises(UsageError, match="no back end 'kmens'.*Did you mean 'kmeans'"):
        Detector.load(run, backend="kmens")
    with pytest.raises(UsageError, match="no scores of the back end kmeans for fan; there are: cosine_knn, fusion, "):
        Detector.load(run, backend="kmeans")
    (run / "backend_fusion" / "state_fan.pt").write_bytes(b"nothing")
    with pytest.raises(DataError, match="(?s)fusion/state_fan.pt cannot be read .*Remove .*/backend_fusion and run"):
        Detector.load(run, backend="fusion").score_files(recordings_in([clips / "fan/test"])[:1])


@pytest.mark.parametrize("kind", ["nearest_neighbour", "attention"])
def test_features_have_the_bits_of_the_store(place: Path, clips: Path, kind: str) -> None:
    """Log-mel and audio."""
    store = open_store(place / "root/variants" / name_of_variant(kind))
    detector = Detector.load(run_of(place, kind))
    for row in store.clips[store.clips["split"] == "test"].itertuples():
        network = detector.network_of(SectionId(row.machine_type, row.section))
        path = clips / row.machine_type / "test" / f"{row.clip}.wav"
        audio = network.audio(SectionId(row.machine_type, row.section))
        taken = network.features(read_recording(path, audio, 0, 1).samples, audio.sample_rate)
        array = getattr(store, network.takes)(row.machine_type, row.section)
        np.testing.assert_array_equal(taken, array[row.row], strict=True)


def test_features_of_other_settings(place: Path, clips: Path) -> None:
    root, settings = place / "root", {"n_mels": 40, "n_fft": 2048, "dtype": "float16"}
    other = variant(place / "short.toml", sections=["fan/00", "fan/01"])
    other = other.model_copy(update={"name": "other", "features": other.features.model_copy(update=settings)})
    store = build_variant(other, root).store
    (result,) = benchmark_models(store, root, ["nearest_neighbour"], profile="smoke", device="cpu").models
    run = result.runs[0].directory
    found, scores = (
        Detector.load(run).score_files(recordings_in([clips / "fan/test"])),
        written_by(run, "anomaly_score"),
    )
    assert [row.score for row in found.table.itertuples()] == pytest.approx(
        [float(scores["fan", Path(row.file).name]) for row in found.table.itertuples()], abs=1e-9
    )


def test_percentile_and_threshold(place: Path, clips: Path) -> None:
    run = run_of(place, "autoencoder")
    inputs = json.loads((run / "detector_fan.json").read_text())
    summary = json.loads((run / "summary_fan.json").read_text())
    found = Detector.load(run).score_files(recordings_in([clips / "fan/test"])).table
    for row in found.itertuples():
        scores = np.array(inputs["training_scores"][f"fan/{row.section}"])
        assert len(scores) == 4 and row.percentile == 100 * (scores < row.score).mean()
        assert row.threshold == summary["threshold"]["fan"] and row.decision == (row.score > row.threshold)


def test_at_least_50_clips_a_second_on_two_cores(place: Path, clips: Path) -> None:
    """By processor time: 40 ms a clip of 10 s."""
    detector, files = Detector.load(run_of(place, "autoencoder")), all_test_clips(clips)
    detector.score_files(files[:1])  # the network is read, and what is compiled is loaded
    begun = time.process_time()
    detector.score_files(files)
    assert (time.process_time() - begun) / len(files) < 0.04 * N_SAMPLES / 160_000


# ---- Rates, channels, lengths ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fan(place: Path) -> tuple[Detector, np.ndarray, float]:
    """A detector, samples of a fan, and their score."""
    samples = sf.read(sorted((place / "clips/fan/test").glob("section_00_*.wav"))[0], dtype="int16")[0]
    detector = Detector.load(run_of(place, "autoencoder"))
    return detector, samples, detector.score(samples, 16_000, "fan/00").score


@pytest.mark.parametrize(
    ("change", "rate", "note"),
    [
        (lambda x: x / np.float32(32768), 16_000, ""),
        (lambda x: np.stack([x, x[::-1]]), 16_000, ""),
        (lambda x: np.concatenate([x, x[::-1]]), 16_000, "first 4.1 s of 8.2 s"),
    ],
    ids=["float", "two channels", "longer"],
)
def test_what_gives_the_same_score(
    fan: tuple[Detector, np.ndarray, float], change: Callable[[np.ndarray], np.ndarray], rate: int, note: str
) -> None:
    detector, samples, score = fan
    found = detector.score(change(samples), rate, "fan/00")
    assert found.score == score and found.notes == ((note,) if note else ())


def test_a_shorter_recording_is_repeated(fan: tuple[Detector, np.ndarray, float]) -> None:
    detector, samples, score = fan
    found = detector.score(samples[:20_000], 16_000, "fan/00")
    assert found.notes == ("1.25 s repeated to 4.1 s",)
    assert found.score == detector.score(np.resize(samples[:20_000], N_SAMPLES), 16_000, "fan/00").score != score


def test_other_sample_rates_are_resampled(fan: tuple[Detector, np.ndarray, float], tmp_path: Path) -> None:
    detector, samples, score = fan
    fast = resample(samples.astype(np.float64), 16_000, 48_000, 3 * N_SAMPLES).round().astype(np.int16)
    found = detector.score(fast, 48_000, "fan/00")
    back = resample(fast.astype(np.float64), 48_000, 16_000, N_SAMPLES).round().astype(np.int16)
    assert found.score == detector.score(back, 16_000, "fan/00").score and found.notes == ()
    assert found.score == pytest.approx(score, rel=0.1), "what lies near 8 kHz is lost"
    assert detector.score(fast, 16_000, "fan/00").score != pytest.approx(score, rel=0.1), "another sound"
    sf.write(tmp_path / "fast.flac", fast, 48_000)
    assert detector.score_files([tmp_path / "fast.flac"], "fan/00").table["score"].tolist() == [found.score]


@pytest.mark.parametrize(
    ("samples", "rate", "error", "message"),
    [
        (np.zeros(N_SAMPLES, np.int16), 16_000, DataError, "silent, all samples are 0"),
        (np.arange(800, dtype=np.int16), 16_000, DataError, "lasts 0.05 s, and the network needs 0.128 s or more"),
        (np.zeros(0, np.int16), 16_000, DataError, "holds no samples"),
        (np.full(N_SAMPLES, np.nan), 16_000, DataError, "not finite"),
        (np.full(N_SAMPLES, 3.0), 16_000, DataError, "samples of 3, expected at most 1"),
        (np.zeros((N_SAMPLES, 2), np.int16), 16_000, UsageError, r"channels first, found shape \(65600, 2\)"),
        (np.zeros((1, 1, 9), np.int16), 16_000, UsageError, r"found shape \(1, 1, 9\)"),
        (np.zeros(9, np.int32), 16_000, UsageError, "expected int16 samples, or floating-point .* found int32"),
        (np.ones(9, np.int16), 0, UsageError, "expected a sample rate in Hz, found 0"),
    ],
)
def test_samples_that_are_refused(
    fan: tuple[Detector, np.ndarray, float], samples: Any, rate: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fan[0].score(samples, rate, "fan/00")


def test_clipped_samples_are_scored_and_said(fan: tuple[Detector, np.ndarray, float]) -> None:
    detector, samples, _ = fan
    loud = np.clip(samples.astype(np.int32) * 60, -32768, 32767).astype(np.int16)
    (note,) = detector.score(loud, 16_000, "fan/00").notes
    assert "clipped, " in note and "lower the recording level" in note
    touching = samples.copy()
    touching[[5, 6, 900]] = 32767
    assert detector.score(touching, 16_000, "fan/00").notes == (), "a peak or two is no clipping"


# ---- Sections --------------------------------------------------------------------------------------------------------

FANS = (SectionId("fan", "00"), SectionId("fan", "01"))
EVERY = (*FANS, SectionId("valve", "00"))


@pytest.mark.parametrize(
    ("path", "sections", "expected"),
    [
        ("fan/test/section_01_source_test_normal_0000.wav", EVERY, "fan/01"),
        ("fan/source_test/section_01_source_test_normal_0000.wav", EVERY, "fan/01"),
        ("fan/section_01_0003.wav", EVERY, "fan/01"),
        ("anywhere/section_01_0003.wav", EVERY, "fan/01"),  # only the fan has a section 01
        ("valve/hum.wav", EVERY, "valve/00"),  # the valve's only one
        ("hum.wav", FANS[:1], "fan/00"),
        ("fan/id_02/abnormal/00000007.wav", [SectionId("fan", "id_00"), SectionId("fan", "id_02")], "fan/id_02"),
        ("fan/test/anomaly_id_02_00000007.wav", [SectionId("fan", "id_00"), SectionId("fan", "id_02")], "fan/id_02"),
    ],
)
def test_which_section(path: str, sections: list[SectionId], expected: str) -> None:
    assert str(section_of(Path("/some") / path, sections, needs_number=True)) == expected


@pytest.mark.parametrize(
    ("path", "sections", "message"),
    [
        ("hum.wav", EVERY, "neither name nor folder says which of fan/00, fan/01, valve/00 .* --section fan/00"),
        ("fan/hum.wav", EVERY, "which of fan/00, fan/01 it is from"),
        ("x/section_00_0001.wav", EVERY, "which of fan/00, valve/00 it is from"),
        ("fan/test/section_02_0001.wav", EVERY, "it is from fan/02; expected one of fan/00, fan/01, valve/00"),
        ("pump/test/section_00_0001.wav", FANS[:1], "it is from pump/00; expected one of fan/00"),
        ("pump/id_00/normal/00000001.wav", [SectionId("fan", "id_00")], "it is from pump/id_00"),
    ],
)
def test_a_section_is_never_guessed(path: str, sections: list[SectionId], message: str) -> None:
    with pytest.raises(Unfit, match=message):
        section_of(Path("/some") / path, sections, needs_number=True)


def test_a_network_that_needs_no_section(place: Path, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "fan").mkdir()
    source = sorted((clips / "fan/test").glob("section_00_*.wav"))[0]
    shutil.copy(source, tmp_path / "fan/hum.wav")
    detector = Detector.load(run_of(place, "autoencoder"))
    (row,) = detector.score_files([tmp_path / "fan/hum.wav"]).table.to_dict("records")
    assert (row["machine_type"], row["section"]) == ("fan", "unknown")
    assert row["score"] == detector.score_files([source]).table["score"][0]
    samples = sf.read(source, dtype="int16")[0]
    assert detector.score(samples, 16_000, "fan").score == row["score"]
    with pytest.raises(
        UsageError, match="several sections, say which: section='fan/00', or another of fan/00, .*valve"
    ):
        detector.score(samples, 16_000)
    needy = Detector.load(run_of(place, "nearest_neighbour"))
    assert needy.score_files([tmp_path / "fan/hum.wav"]).findings["kind"].tolist() == ["unknown_section"]
    with pytest.raises(UsageError, match="say which: section='fan/00', or another of fan/00, fan/01"):
        needy.score(samples, 16_000, "fan")
    with pytest.raises(UsageError, match="no section 'fan/09'; it has .* Did you mean 'fan/0"):
        needy.score(samples, 16_000, "fan/09")


def test_a_name_that_contradicts_what_is_said(place: Path, clips: Path) -> None:
    source = sorted((clips / "fan/test").glob("section_00_*.wav"))[0]
    found = Detector.load(run_of(place, "nearest_neighbour")).score_files([source], "fan/01")
    assert found.table.empty and "it is from fan/00; expected one of fan/01" in found.findings["message"][0]


# ---- Runs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Path:
    """A copy of a run, to be spoilt."""
    return Path(shutil.copytree(run_of(place, "autoencoder"), tmp_path / "autoencoder-smoke-0"))


def edited(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda run: (run / "config.json").unlink(), UsageError, r"holds no run \(config.json is missing\)"),
        (
            lambda run: [path.unlink() for path in run.glob("summary_*")],
            DataError,
            "the run is not finished, no network is. Run the same benchmark again: mimiidg benchmark short --model",
        ),
        (lambda run: (run / "summary_valve.json").unlink(), DataError, "the run is not finished, valve is missing"),
        (
            lambda run: (run / "detector_fan.json").unlink(),
            DataError,
            "detector_fan.json is missing. The run is of a version that could not detect yet. Remove .* and run",
        ),
        (lambda run: (run / "detector_fan.json").write_text("{}"), DataError, "detector_fan.json is damaged"),
        (
            lambda run: (run / "weights_fan.pt").unlink(),
            DataError,
            "weights_fan.pt is missing, .* Remove .* and run the",
        ),
        (lambda run: edited(run / "config.json", fingerprint="other"), DataError, "is of another run: of the store"),
        (lambda run: edited(run / "config.json", model="autoencodr"), UsageError, "Did you mean 'autoencoder'"),
    ],
)
def test_runs_that_cannot_be_used(
    run: Path, spoil: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    spoil(run)
    with pytest.raises(error, match=message):
        Detector.load(run)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: (run / "weights_fan.pt").write_bytes(b"nothing"), "weights_fan.pt cannot be read"),
        (
            lambda run: torch.save({"other": torch.zeros(1)}, run / "weights_fan.pt"),
            "weights_fan.pt is of another model or version",
        ),
        (
            lambda run: edited(run / "config.json", settings={"epochs": 3, "warp": 9}),
            "has settings that autoencoder of this version does not know: .*warp",
        ),
    ],
)
def test_weights_that_cannot_be_used(run: Path, clips: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(run)
    with pytest.raises(DataError, match=message):
        Detector.load(run).score_files(recordings_in([clips / "fan/test"])[:1])


def test_no_such_device(run: Path) -> None:
    with pytest.raises(UsageError, match="no device 'cuda:99'"):
        Detector.load(run, "cuda:99")
