"""``mimiidg detect``: what it prints and writes, and what becomes of files that cannot be scored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from click.testing import CliRunner, Result

from mimiidg_build.cli.detect import detect
from mimiidg_build.errors import UsageError
from mimiidg_build.evaluation.evaluate import evaluate_scores
from mimiidg_build.features import DEFAULT, logmel
from mimiidg_build.report.detection.differences import loudest_differences
from tests.detection.conftest import N_SAMPLES, run_of

pytestmark = pytest.mark.usefixtures("one_thread")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(detect, [*map(str, arguments), "--quiet"], catch_exceptions=False)


def test_what_it_writes_is_evaluated_as_the_run_is(place: Path, clips: Path, tmp_path: Path) -> None:
    """A file with training clips beside, and one of an earlier detection, which go into no evaluation."""
    source, output = run_of(place, "nearest_neighbour"), tmp_path / "detected"
    done = run(source, clips / "fan/test", clips / "valve/test", "--output", output)
    assert done.exit_code == 0 and "16 recordings anomalous" in done.stdout
    assert done.stdout.splitlines()[-10:][:2] == [str(output / "detections.csv"), str(output / "report.html")]
    for name in ("anomaly_score", "decision_result"):
        for path in source.glob(f"{name}_*.csv"):
            assert {line.split(",")[0] for line in (output / path.name).read_text().splitlines()} == {
                line.split(",")[0] for line in path.read_text().splitlines()
            }
    ours, theirs = evaluate_scores(output), evaluate_scores(source)
    pd.testing.assert_frame_equal(ours.sections, theirs.sections)
    again = run(source, clips / "valve/test", "--output", output)
    assert again.exit_code == 0 and sorted(path.name for path in output.glob("*_score_*")) == [
        "anomaly_score_valve_section_00_test.csv",
        "anomaly_score_valve_section_01_test.csv",
    ]


def test_what_a_back_end_writes_is_evaluated_as_it_is(place: Path, clips: Path, tmp_path: Path) -> None:
    source, output = run_of(place, "autoencoder"), tmp_path / "detected"
    folders = (clips / "fan/test", clips / "valve/test")
    done = run(source, *folders, "--backend", "cosine_knn", "--output", output)
    assert done.exit_code == 0 and "autoencoder/cosine_knn (smoke profile" in (output / "report.html").read_text()
    ours, theirs = evaluate_scores(output), evaluate_scores(source / "backend_cosine_knn")
    pd.testing.assert_frame_equal(ours.sections, theirs.sections)


def test_bad_files_are_named_and_the_others_scored(place: Path, clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "fan/test"
    folder.mkdir(parents=True)
    good = sorted((clips / "fan/test").glob("section_00_*.wav"))
    shutil.copy(good[0], folder)
    samples = sf.read(good[0], dtype="int16")[0]
    (folder / "section_00_0001.wav").write_text("no audio")
    sf.write(folder / "section_00_0002.wav", np.zeros(N_SAMPLES, np.int16), 16_000)
    sf.write(folder / "section_00_0003.wav", samples[:500], 16_000)
    sf.write(folder / "section_00_0004.wav", np.sign(samples) * 32767, 16_000)
    sf.write(folder / "section_07_0005.wav", samples, 16_000)
    (folder / "section_00_0006.wav").write_bytes(good[1].read_bytes()[:5000])
    (folder / "section_00_0007.mp3").write_text("no audio")
    (folder / "notes.txt").write_text("of the measurement: no sound file by its name")
    (folder / b"section_00_0008_\xe9.wav".decode(errors="surrogateescape")).write_bytes(good[1].read_bytes())
    (folder / "other").mkdir()
    shutil.copy(good[0], folder / "other")
    done = run(run_of(place, "autoencoder"), folder, "--section", "fan", "--output", tmp_path / "out", "--json")
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert [Path(row["file"]).name for row in said["recordings"]] == [good[0].name, "section_00_0004.wav"]
    found = {Path(row["file"]).name: (row["severity"], row["kind"]) for row in said["findings"]}
    assert found == {
        "section_00_0001.wav": ("error", "no_audio"),
        "section_00_0002.wav": ("error", "silent"),
        "section_00_0003.wav": ("error", "too_short"),
        "section_00_0004.wav": ("warning", "clipped"),
        "section_07_0005.wav": ("error", "unknown_section"),
        "section_00_0006.wav": ("error", "no_audio"),
        "section_00_0007.mp3": ("error", "no_audio"),
        r"section_00_0008_\udce9.wav": ("error", "bad_name"),
        good[0].name: ("error", "duplicate_clip"),
    }
    assert all(row["file"] in row["message"] for row in said["findings"])
    page = (tmp_path / "out/report.html").read_text()
    n_anomalous = sum(row["decision"] for row in said["recordings"])
    assert "silent, all samples are 0" in page and f"{n_anomalous} of 2 recordings anomalous" in page
    nothing = run(run_of(place, "autoencoder"), folder / "section_00_0002.wav", "--output", tmp_path / "none")
    assert nothing.exit_code == 1 and "0 of 0 recordings anomalous" in nothing.stdout
    assert sorted(path.name for path in (tmp_path / "none").iterdir()) == ["detections.csv", "report.html"]


def test_wrong_use(place: Path, clips: Path, tmp_path: Path) -> None:
    source = run_of(place, "autoencoder")
    for arguments, message in (
        ((tmp_path / "none", clips / "fan"), "none holds no run"),
        ((source, tmp_path / "none.wav"), "none.wav does not exist; expected a recording, or a folder"),
        ((source, source), "holds no recordings: expected WAV or FLAC"),
        ((source, clips / "fan", "--section", "pump"), "the run has no section 'pump'"),
        ((source, clips / "fan", "--output", source), "holds other files than those of a detection"),
    ):
        with pytest.raises(UsageError, match=message):
            run(*arguments)


def test_the_page(place: Path, clips: Path, tmp_path: Path) -> None:
    done = run(run_of(place, "nearest_neighbour"), clips / "fan/test", "--output", tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    assert done.exit_code == 0 and page.count("<img") == page.count("<audio") == 8
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", ""), "it needs no network"
    assert "Loudest differences of section_00_" in page and "Standard deviations" in page
    assert "nearest_neighbour (smoke profile, seed 0)" in page
    # the anomalies, which are louder, stand first
    shown = page[page.index('id="differences"') :]
    assert "anomaly" in shown[shown.index("<h3>") :][:200]


def test_the_loudest_differences_are_where_the_sound_is() -> None:
    """A tone of 2 kHz from 2 to 3 s in noise."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 500, (9, 160_000))
    training = np.concatenate([logmel(clip.astype(np.int16)) for clip in noise[:8]]).astype(np.float64)
    second = np.arange(32_000, 48_000)
    noise[8, second] += 3000 * np.sin(2 * np.pi * 2000 * second / 16_000)
    clip = logmel(noise[8].astype(np.int16))
    found = loudest_differences(clip, training.mean(axis=0), training.std(axis=0), DEFAULT, 16_000)
    for one in found[:2]:
        assert one.from_s >= 1.9 and one.to_s <= 3.1 and one.to_s - one.from_s == pytest.approx(0.5, abs=0.02)
        assert one.from_hz < 2000 < one.to_hz and one.deviations > 1 and one.difference_db > 3
    quiet = loudest_differences(clip - 30, training.mean(axis=0), training.std(axis=0), DEFAULT, 16_000)
    assert all(one.difference_db < 0 and one.deviations < 0 for one in quiet)
