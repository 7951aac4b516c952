"""Own recordings as archives: cut once, the same bytes for the same recordings, and nothing changes without a word."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mimiidg_build.audio.archive import open_archive
from mimiidg_build.datasets.findings import ERROR_KINDS
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.errors import DataError, FetchError
from mimiidg_build.fetch import recordings as fetch_recordings
from mimiidg_build.fetch.dataset import fetch_dataset, validate_dataset
from mimiidg_build.progress import Reporter
from mimiidg_build.storage.places import ObjectPath, file_sizes
from mimiidg_build.upkeep.verify import damaged_archives, replace_archives
from tests.own_recordings import own_dataset, sound, write_folder, write_manifest, write_sound

FOLDER = "recordings/press/ok"


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    return str(own_dataset(tmp_path))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def cut(manifest: str, root: Path, **options: object) -> dict[str, Path]:
    return fetch_dataset(load_dataset(manifest), root, **options)  # type: ignore[arg-type, return-value]


def clips(path: Path) -> dict[str, np.ndarray]:
    """The samples of every clip of an archive, by base name."""
    archive = open_archive(path)
    names = [name for name in archive.members if name.endswith(".wav")]
    return {name.rpartition("/")[2]: sf.read(io.BytesIO(archive.read(name)), dtype="int16")[0] for name in names}


def named(path: Path, part: str) -> list[np.ndarray]:
    return [samples for name, samples in sorted(clips(path).items()) if part in name]


# -------------------- what is in an archive


def test_recordings_become_archives_of_clips(manifest: str, root: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (tmp_path / "recordings").rglob("*.wav")}
    ((key, path),) = cut(manifest, root).items()
    assert key == "hall/press.zip" and path == root / "archives/hall/press.zip"
    found = clips(path)
    assert len(found) == 14 and all(len(samples) == 16_000 for samples in found.values())
    (first, second) = named(path, "press_ok_day3_0003")
    expected, _ = sf.read(tmp_path / FOLDER / "day3_0003.wav", dtype="int16")
    assert np.array_equal(np.concatenate([first, second]), expected[:32_000])
    assert {path: path.read_bytes() for path in before} == before
    release = validate_dataset(manifest, root)
    assert release.clips.groupby(["split", "condition"]).size().to_dict() == {
        ("test", "anomaly"): 4,
        ("test", "normal"): 2,
        ("train", "normal"): 8,
    }
    assert release.findings["kind"].tolist() == ["left_over"] and set(release.clips["domain"]) == {""}
    assert repr(release).endswith(": 14 clips of 1 section in 1 archive, 1 finding>"), repr(release)
    assert set(release.clips["attributes"]) >= {'{"session":"day9"}'}


def test_the_same_recordings_give_the_same_bytes(manifest: str, root: Path, tmp_path: Path) -> None:
    (path,) = cut(manifest, root).values()
    other = tmp_path / "other"
    other.mkdir()
    for source in sorted((tmp_path / "recordings").rglob("*.wav"), reverse=True):
        target = other / source.relative_to(tmp_path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    (again,) = cut(str(write_manifest(other / "hall.toml")), tmp_path / "second").values()
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("file", "rate", "channels", "subtype", "tolerance"),
    [
        ("a_0.wav", 16_000, 1, "PCM_24", 1),
        ("a_0.wav", 16_000, 1, "FLOAT", 1),
        ("a_0.flac", 16_000, 2, "PCM_16", 0),
        ("a_0.ogg", 16_000, 1, "", None),  # lossy
        ("a_0.mp3", 16_000, 1, "", None),
    ],
)
def test_recordings_of_other_formats(
    tmp_path: Path, root: Path, file: str, rate: int, channels: int, subtype: str, tolerance: int | None
) -> None:
    write_folder(tmp_path / "recordings")
    write_sound(tmp_path / FOLDER / file, 2.0, rate=rate, channels=channels, subtype=subtype, seed=7)
    pattern = '"{machine_type}/{condition}/{session}_{index}.*"'
    (path,) = cut(str(write_manifest(tmp_path / "hall.toml", {"pattern": pattern})), root).values()
    found = np.concatenate(named(path, "_a_0_")).astype(int)
    expected = np.rint(sound(2.0, channels=channels, seed=7)[:, 0] * 32768).astype(int)
    assert len(found) == len(expected)
    assert np.abs(found - expected).max() <= tolerance if tolerance is not None else _are_alike(found, expected)


def _are_alike(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.corrcoef(found, expected)[0, 1] > 0.8)


@pytest.mark.parametrize(("channel", "level"), [("0", 1.0), ("1", 0.5), ('"mean"', 0.75)])
def test_a_channel_or_the_mean_of_all(tmp_path: Path, root: Path, channel: str, level: float) -> None:
    manifest = own_dataset(tmp_path, {"channel": channel})
    for path in (tmp_path / "recordings").rglob("*.wav"):
        write_sound(path, 1.0, channels=2, seed=3)
    (path,) = cut(str(manifest), root).values()
    expected = np.rint(sound(1.0, seed=3)[:, 0] * level * 32768)
    assert np.abs(named(path, "day3_0003")[0] - expected).max() <= 1


@pytest.mark.parametrize("rate", [44_100, 48_000, 8_000])
def test_other_sample_rates_are_resampled(tmp_path: Path, root: Path, rate: int) -> None:
    """A tone is still that tone."""
    manifest = own_dataset(tmp_path)
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(rate * 2) / rate)
    sf.write(tmp_path / FOLDER / "tone_0001.wav", tone, rate)
    (path,) = cut(str(manifest), root).values()
    second = named(path, "tone_0001")[1][1_000:-1_000]
    expected = 0.3 * 32768 * np.sin(2 * np.pi * 440 * (16_000 + np.arange(1_000, 15_000)) / 16_000)
    assert np.abs(second - expected).max() < 0.02 * 32768


def test_samples_beyond_full_scale_are_limited_and_counted(tmp_path: Path, root: Path) -> None:
    manifest = own_dataset(tmp_path)
    samples = np.zeros(16_000, np.float32)
    samples[:3] = (1.5, -2.0, 1.0)
    sf.write(tmp_path / FOLDER / "loud_0001.wav", samples, 16_000, "FLOAT")
    (path,) = cut(str(manifest), root).values()
    assert named(path, "loud_0001")[0][:3].tolist() == [32767, -32768, 32767]
    findings = validate_dataset(str(manifest), root).findings.set_index("kind")
    assert (
        findings.loc["full_scale", "message"]
        == "press/ok/loud_0001.wav: 2 samples beyond full scale were limited to it"
    )


def test_names_of_any_language_are_packed(tmp_path: Path, root: Path) -> None:
    manifest = own_dataset(tmp_path)
    write_sound(tmp_path / FOLDER / "Prüfstand 扇_0001.wav")
    (path,) = cut(str(manifest), root).values()
    assert len(named(path, "Prüfstand-扇_0001")) == 2


# -------------------- what changes


def change(path: Path) -> None:
    write_sound(path, 2.5, seed=99)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "new": (lambda at: write_sound(at / FOLDER / "day7_0007.wav"), "press/ok/day7_0007.wav is new"),
    "gone": (lambda at: (at / FOLDER / "day3_0003.wav").unlink(), "press/ok/day3_0003.wav is gone"),
    "changed": (lambda at: change(at / FOLDER / "day3_0003.wav"), "press/ok/day3_0003.wav has other content"),
    "no recording": (lambda at: write_sound(at / "recordings/stray.wav"), "1 of 8 sound files do not fit"),
    "moved away": (lambda at: (at / "recordings").rename(at / "elsewhere"), "there is no folder"),
    "setting": (
        lambda at: write_manifest(at / "hall.toml", {"share": "0.5", "machine_type": ""}),
        "share was 0.2, is 0.5",
    ),
    "length": (
        lambda at: write_manifest(at / "hall.toml", head="audio = { clip_seconds = 0.5 }"),
        "clip_seconds was 1.0, is 0.5",
    ),
    "words": (
        lambda at: write_manifest(at / "hall.toml", {"normal": '["broken"]', "anomaly": '["ok"]'}),
        "was read as press/00 anomaly .*, is read as press/00 normal",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_since_is_said_and_not_used(tmp_path: Path, root: Path, name: str) -> None:
    """Fetching refuses; validating says it and goes by what was cut."""
    manifest = own_dataset(tmp_path, head='machine_types = ["press"]\naudio = { clip_seconds = 1.0 }')
    (path,) = cut(str(manifest), root).values()
    before, (apply, message) = path.read_bytes(), CHANGES[name]
    apply(tmp_path)
    if "machine_types" not in manifest.read_text():
        text = manifest.read_text().replace("audio", 'machine_types = ["press"]\naudio', 1)
        manifest.write_text(text)
    with pytest.raises(DataError, match=rf"changed since clips were cut.*{message}"):
        cut(str(manifest), root)
    findings = validate_dataset(str(manifest), root).findings
    said = findings[findings["kind"] == "changed_recordings"]
    assert said["severity"].tolist() == ["warning"] and re.search(message, said["message"].iloc[0])
    (kept,) = cut(str(manifest), root, allow=["changed_recordings"]).values()
    assert kept.read_bytes() == before


@pytest.mark.parametrize("name", ["new", "gone", "changed", "setting", "length", "words"])
def test_changed_recordings_are_cut_anew_when_asked(tmp_path: Path, root: Path, name: str) -> None:
    manifest = own_dataset(tmp_path)
    (path,) = cut(str(manifest), root).values()
    before = path.read_bytes()
    CHANGES[name][0](tmp_path)
    (path,) = cut(str(manifest), root, cut_again=True).values()
    assert path.read_bytes() != before
    assert cut(str(manifest), root) == {"hall/press.zip": path}
    assert "changed_recordings" not in validate_dataset(str(manifest), root).findings["kind"].tolist()
    assert damaged_archives(load_dataset(str(manifest)), root) == {}


def test_touched_recordings_are_the_same(manifest: str, root: Path, tmp_path: Path) -> None:
    (path,) = cut(manifest, root).values()
    state = path.stat().st_mtime_ns
    for recording in (tmp_path / "recordings").rglob("*.wav"):
        os.utime(recording)
    cut(manifest, root)
    cut(manifest, root, cut_again=True)
    assert path.stat().st_mtime_ns == state


def test_a_recording_that_was_too_short_is_noticed_when_it_has_grown(tmp_path: Path, root: Path) -> None:
    manifest = own_dataset(tmp_path)
    late = write_sound(tmp_path / FOLDER / "day8_0001.wav", 0.5)
    cut(str(manifest), root)
    cut(str(manifest), root)
    assert "too_short" in validate_dataset(str(manifest), root).findings["kind"].tolist()
    write_sound(late, 2.0)
    with pytest.raises(DataError, match="day8_0001.wav has other content"):
        cut(str(manifest), root)


def test_machine_types_come_and_go(tmp_path: Path, root: Path) -> None:
    manifest = own_dataset(tmp_path)
    cut(str(manifest), root)
    state = (root / "archives/hall/press.zip").stat().st_mtime_ns
    write_folder(tmp_path / "recordings", ("saw",))
    assert sorted(cut(str(manifest), root)) == ["hall/press.zip", "hall/saw.zip"]
    assert (root / "archives/hall/press.zip").stat().st_mtime_ns == state
    shutil.rmtree(tmp_path / "recordings/saw")
    with pytest.raises(DataError, match="no recording of saw is there any more"):
        cut(str(manifest), root)
    assert sorted(cut(str(manifest), root, cut_again=True)) == ["hall/press.zip"]
    assert not (root / "archives/hall/saw.zip").exists()


def test_a_machine_type_that_the_manifest_leaves_out_is_an_error(tmp_path: Path, root: Path) -> None:
    manifest = own_dataset(tmp_path, head='machine_types = ["press"]\naudio = { clip_seconds = 1.0 }')
    write_folder(tmp_path / "recordings", ("saw",))
    with pytest.raises(DataError, match="recordings of machine type saw, which the manifest's machine_types"):
        cut(str(manifest), root)


# -------------------- what fails


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_written(tmp_path: Path, root: Path) -> None:
    manifest = own_dataset(tmp_path)
    write_sound(tmp_path / "recordings/stray.wav")
    write_sound(tmp_path / "recordings/press/meh/day1_0001.wav")
    with pytest.raises(DataError, match=r"(?s)2 errors.*unknown_word.*'meh'.*unfit.*stray.wav"):
        cut(str(manifest), root)
    assert not [name for name in file_sizes(root) if ".locks" not in name]
    (path,) = cut(str(manifest), root, allow=["unfit", "unknown_word"]).values()
    assert len(clips(path)) == 14
    assert {"unfit", "unknown_word"} <= set(validate_dataset(str(manifest), root).findings["kind"])


def test_recordings_that_are_all_too_short_are_an_error(tmp_path: Path, root: Path) -> None:
    manifest = own_dataset(tmp_path, head="audio = { clip_seconds = 5.0 }")
    with pytest.raises(DataError, match="none of 7 recordings of press is as long as a clip"):
        cut(str(manifest), root)


def test_a_recording_that_changes_meanwhile_is_an_error(
    manifest: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def growing(*arguments: object) -> bytes:
        change(tmp_path / "recordings/press/broken/day9_0000.wav")
        return b""

    monkeypatch.setattr("mimiidg_build.fetch.cutting.encode_wav", growing)
    with pytest.raises(DataError, match="day9_0000.wav changed while clips were cut from it"):
        cut(manifest, root)
    assert not (root / "archives/hall/press.zip").exists()


def test_cutting_goes_on_with_the_archive_where_it_was_killed(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first archive is whole and stays; of the second nothing is left."""
    manifest = own_dataset(tmp_path)
    write_folder(tmp_path / "recordings", ("saw",))
    real = fetch_recordings.cut_archive

    def killed(dataset: object, settings: object, plan: object, path: Path, on_progress: object) -> object:
        if path.name == "saw.zip":
            raise KeyboardInterrupt
        return real(dataset, settings, plan, path, on_progress)  # type: ignore[arg-type]

    monkeypatch.setattr(fetch_recordings, "cut_archive", killed)
    with pytest.raises(KeyboardInterrupt):
        cut(str(manifest), root)
    assert sorted(p.name for p in (root / "archives/hall").glob("*.zip")) == ["press.zip"]
    state = (root / "archives/hall/press.zip").stat().st_mtime_ns
    monkeypatch.undo()
    cut(str(manifest), root)
    assert (root / "archives/hall/press.zip").stat().st_mtime_ns == state
    assert damaged_archives(load_dataset(str(manifest)), root) == {}


def test_ctrl_c_stops_the_cutting(manifest: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was begun leaves no file behind."""
    real = Future.result
    monkeypatch.setattr(Future, "result", lambda self, timeout=None: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        cut(manifest, root)
    monkeypatch.setattr(Future, "result", real)
    assert not [p for p in (root / "archives/hall").iterdir() if "press" in p.name]


def test_of_two_at_once_one_cuts(manifest: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []
    real = fetch_recordings.cut_archive

    def counted(dataset: object, settings: object, plan: object, path: Path, on_progress: object) -> object:
        calls.append(path)
        return real(dataset, settings, plan, path, on_progress)  # type: ignore[arg-type]

    monkeypatch.setattr(fetch_recordings, "cut_archive", counted)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: cut(manifest, root), range(2))
    assert first == second and len(calls) == 1


def test_archives_are_made_on_object_storage(manifest: str, bucket: ObjectPath, root: Path) -> None:
    """The same as on a disk."""
    (path,) = fetch_dataset(manifest, bucket / "data").values()
    (here,) = cut(manifest, root).values()
    assert path.read_bytes() == here.read_bytes()
    assert len(validate_dataset(manifest, bucket / "data").clips) == 14
    assert fetch_dataset(manifest, bucket / "data") == {"hall/press.zip": path}


def test_a_damaged_archive_is_made_again_as_it_was(manifest: str, root: Path, tmp_path: Path) -> None:
    (path,) = cut(manifest, root).values()
    good = path.read_bytes()
    path.write_bytes(good[:5_000] + b"x" + good[5_001:])
    dataset = load_dataset(manifest)
    with pytest.raises(FetchError, match="is not the published archive"):
        cut(manifest, root)
    assert list(damaged_archives(dataset, root)) == ["hall/press.zip"]
    replace_archives(dataset, root, ["hall/press.zip"], Reporter())
    assert path.read_bytes() == good
    path.write_bytes(b"")
    change(tmp_path / FOLDER / "day3_0003.wav")
    with pytest.raises(DataError, match="has other content"):
        replace_archives(dataset, root, ["hall/press.zip"], Reporter())


def test_a_damaged_index_is_named(manifest: str, root: Path) -> None:
    cut(manifest, root)
    (root / "archives/hall/recordings.json").write_text("{")
    with pytest.raises(DataError, match=r"recordings.json cannot be read .* delete it to have them cut anew"):
        cut(manifest, root)


def test_archives_and_their_table_are_held_against_each_other(manifest: str, root: Path, tmp_path: Path) -> None:
    """An archive of this layout that somebody else packed is validated like any other."""
    (path,) = cut(manifest, root).values()
    archive = open_archive(path)
    table = archive.read("press/clips.csv").decode().splitlines()
    rows = [table[0], *table[1:5], table[5].replace(",00,", ",0 0,"), table[6].replace("normal", "odd"), "x.wav,00", ""]
    packed = root / "archives/mine/press.zip"
    packed.parent.mkdir(parents=True)
    with zipfile.ZipFile(packed, "w") as out:
        out.writestr("press/clips.csv", "\n".join(rows))
        for name in list(archive.members)[1:]:
            if name != table[1].split(",")[0]:
                out.writestr(name, archive.read(name))
    text = 'name = "mine"\ntitle = ""\nrecording = "mixed"\nlayout = "recordings"\ncitation = ""\n[[records]]\n'
    mine = tmp_path / "mine.toml"
    mine.write_text(text + 'id = "mine"\ntitle = ""\nlicense = ""\nfiles = [{ name = "press.zip" }]\n')
    fetch_dataset(str(mine), root, offline=True)
    findings = validate_dataset(str(mine), root).findings
    errors = findings[findings["severity"] == "error"]["kind"].tolist()
    assert sorted(set(errors)) == ["bad_field", "misplaced", "no_audio", "ragged_row", "unknown_word"]
    assert set(errors) <= set(ERROR_KINDS)


def test_the_index_holds_what_was_cut(manifest: str, root: Path) -> None:
    cut(manifest, root)
    index = json.loads((root / "archives/hall/recordings.json").read_text())
    archive = index["archives"]["press.zip"]
    assert archive["settings"]["clip_seconds"] == 1.0 and len(archive["sources"]) == 7
    assert archive["readings"]["press/ok/day3_0003.wav"] == 'press/00 normal {"session":"day3"}'
