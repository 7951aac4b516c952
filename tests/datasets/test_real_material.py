"""Files as people have them: whatever lies in the real material is read, or refused by name, and none is lost."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path

import pytest

from mimiidg_build.audio.pieces import read_pieces
from mimiidg_build.audio.wav import decode_clip
from mimiidg_build.datasets.layouts.dcase2022.read import read_clips
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.release import VerifiedArchive, read_release
from mimiidg_build.datasets.truth import Truth, read_truth
from mimiidg_build.errors import DataError
from mimiidg_build.evaluation.score_files import read_decisions, read_scores


@pytest.mark.parametrize("folder", ["audio", "audio_dcase2020", "audio_mimii", "attributes", "truth", "."])
def test_a_zip_of_any_folder_is_validated_and_no_recording_is_lost(real: Path, folder: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "fan.zip", "w") as archive:
        for path in sorted(path for path in (real / folder).rglob("*") if path.is_file()):
            # the directory of a zip is all that validation reads of a recording
            data = b"" if path.suffix == ".wav" else path.read_bytes()
            archive.writestr(path.relative_to(real).as_posix(), data)
        names = archive.namelist()
    release = read_release(load_dataset("synthetic-1pct"), {"mine/fan.zip": VerifiedArchive(tmp_path / "fan.zip", "")})
    errors = release.findings[release.findings["severity"] == "error"]
    assert len(release.clips) or len(errors), "not one clip is no success"
    told = "\n".join(release.findings["message"])
    for name in (name for name in names if name.endswith(".wav")):
        folders = (repr(part) for part in name.split("/")[:2])  # of another machine, counted by its folder
        assert name in set(release.clips["member"]) or Path(name).name in told or any(part in told for part in folders)


@pytest.mark.parametrize(("listed", "machines"), [("dcase2023.txt", set()), ("dcase2026.txt", {"fan"})])
def test_names_of_other_releases_are_read_or_findings(real: Path, listed: str, machines: set[str]) -> None:
    names = (real / "names" / listed).read_text().split()
    reading = read_clips(load_dataset("mimii_dg"), {"1/fan.zip": dict.fromkeys(names, 320_044)}, {}, Truth())
    assert [clip.file.member for clip in reading.read_clips()] == [n for n in names if n.split("/")[0] in machines]
    assert "other_machine" in {finding.kind for finding in reading.findings}
    errors = {finding.kind for finding in reading.findings if finding.severity == "error"}
    assert errors == (set() if machines else {"misplaced"}), "one folder a record, with bearings below one of them"


def test_every_recording_is_a_clip_or_refused_and_gives_noise(real: Path) -> None:
    refused = Counter()
    for path in sorted(real.rglob("*.wav"))[::4]:
        try:
            assert decode_clip(path.read_bytes(), str(path)).shape == (160_000,)
        except DataError as error:
            assert str(error).startswith(f"{path}: expected 16000 Hz, 1 channel, PCM_16, 160000 samples, found ")
            refused[path.relative_to(real).parts[0]] += 1
        with path.open("rb") as file:
            assert len(list(read_pieces(file, str(path)))) == 1
    assert set(refused) == {"audio_dcase2020", "audio_mimii"}, "eleven seconds, and eight channels"


def test_every_list_is_truth_or_refused_by_name(real: Path) -> None:
    counts = Counter()
    for path in sorted(real.rglob("*.csv")):
        for read in (read_truth, read_scores, read_decisions):
            try:
                counts[read] += len(read(path)) > 0
            except DataError as error:
                assert str(error).startswith((f"{path}, line ", f"{path}: expected", f"{path} is empty"))
    assert counts[read_truth] > 30 and counts[read_scores] > 40 and counts[read_decisions] > 20
