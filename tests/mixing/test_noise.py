"""Noise kinds: recordings listed in a fixed order, cut into a bank once, refused by name where they cannot be used."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from mimiidg_build.audio.level import level
from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.errors import DataError
from mimiidg_build.mixing import noise_bank, noise_recordings
from mimiidg_build.mixing.noise_bank import (
    Cutting,
    NoiseBank,
    kind_fingerprint,
    load_noise_bank,
    open_noise,
    read_noise_clip,
)
from mimiidg_build.mixing.noise_recordings import ListedNoise, NoiseRecording, list_noise
from mimiidg_build.schemas.manifests import NoiseSource
from mimiidg_build.schemas.tables import NoiseTable
from mimiidg_build.storage.cached_table import write_cached
from mimiidg_build.storage.files import hash_object
from tests.audio.sounds import wav

N = 1600
RNG = np.random.default_rng(0)


def samples(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9000, 9000, n).astype(np.int16)


def folder(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def packed(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def float_wav(values: np.ndarray, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    sf.write(file, values, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def nowhere(dataset: str, file: str) -> Path:
    raise AssertionError(f"not asked for: {dataset}, {file}")


def listed(*sources: NoiseSource, kind: str = "A") -> list[NoiseRecording]:
    return list_noise(kind, list(sources), nowhere).recordings


def of_folder(path: Path, members: str = "*.wav") -> list[NoiseRecording]:
    return listed(NoiseSource(folder=str(path), members=members))


def files_under(path: Path) -> dict[str, tuple[bytes, int]]:
    """Content and modification time of every file."""
    return {
        p.relative_to(path).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns) for p in path.rglob("*") if p.is_file()
    }


TWO = {"b/rain.wav": encode_wav(samples(3 * N, 1)), "a.wav": encode_wav(samples(N, 2))}


def test_a_folder_and_a_zip_hold_the_same_recordings_in_the_same_order(tmp_path: Path) -> None:
    names = {"b.wav": b"1", "deep/er/a.wav": b"2", "a.WAV": b"3", "readme.txt": b"4", "a.wav": b"5"}
    names |= {"deep 2/a.wav": b"6", "deep.wav": b"7", "deep-er/a.wav": b"8"}  # a space, a dot and a dash sort before /
    in_folder = of_folder(folder(tmp_path / "f", names))
    in_zip = listed(NoiseSource(archive=str(packed(tmp_path / "f.zip", names))))
    expected = ["a.WAV", "a.wav", "b.wav", "deep/er/a.wav", "deep 2/a.wav", "deep-er/a.wav", "deep.wav"]
    assert [r.name for r in in_folder] == [r.name for r in in_zip] == expected
    for recording in in_folder + in_zip:
        with recording.open() as file:
            assert file.read() == names[recording.name]


def noise_in(*sources: NoiseSource) -> ListedNoise:
    return list_noise("A", list(sources), nowhere)


LEFT_BEHIND = ["._a.wav", ".hidden.wav", "__MACOSX/._a.wav", ".Trash-1000/files/a.wav", "Thumbs.db", "sub/.DS_Store"]


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_files_that_systems_leave_are_passed_over_and_counted(tmp_path: Path, form: str) -> None:
    files = dict.fromkeys([*LEFT_BEHIND, "a.wav", "sub/b.wav", "sub/notes.txt", "sub/b.flac", "mic"], b"x")
    source = NoiseSource(folder=str(folder(tmp_path / "f", files)))
    if form == "zip":
        source = NoiseSource(archive=str(packed(tmp_path / "f.zip", files)))
    found = noise_in(source)
    assert [r.name for r in found.recordings] == ["a.wav", "sub/b.wav"]
    assert found.companions == len(LEFT_BEHIND)
    assert found.others == {".txt": 1, ".flac": 1, "without a suffix": 1}, "beside WAV files, others are not used"


def test_other_formats_are_taken_where_there_is_no_wav_or_by_name(tmp_path: Path) -> None:
    path = folder(tmp_path / "f", dict.fromkeys(["a.flac", "b.OGG", "sub/c.mp3", "notes.txt"], b"x"))
    assert [r.name for r in of_folder(path)] == ["a.flac", "b.OGG", "sub/c.mp3"]
    folder(path, {"d.wav": b"x"})
    assert [r.name for r in of_folder(path)] == ["d.wav"]
    assert [r.name for r in of_folder(path, "*.flac")] == ["a.flac"]
    assert [r.name for r in of_folder(path, "*")] == ["a.flac", "b.OGG", "d.wav", "sub/c.mp3"]


@pytest.mark.parametrize("form", ["FLAC", "OGG", "MP3"])
def test_flac_ogg_and_mp3_become_noise_clips(tmp_path: Path, form: str) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(3 * 16_000) / 16_000)
    file = io.BytesIO()
    sf.write(file, tone, 16_000, format=form)
    made = load_noise_bank("A", of_folder(folder(tmp_path / "f", {f"a.{form.lower()}": file.getvalue()})), tmp_path, N)
    assert len(made.table) >= 3 * 16_000 // N - 1
    assert made.table["power"].iloc[3] == pytest.approx(0.125, rel=0.05)


def test_a_single_file_is_a_source(tmp_path: Path) -> None:
    path = folder(tmp_path / "f", {"hum.flac": b"x", "other.wav": b"y"}) / "hum.flac"
    found = noise_in(NoiseSource(folder=str(path)))
    assert [r.name for r in found.recordings] == ["hum.flac"]
    assert (found.sources, found.companions, found.others) == ([str(path)], 0, {})


def test_folders_behind_links_are_followed_and_a_loop_is_named(tmp_path: Path) -> None:
    path = folder(tmp_path / "f", {"a.wav": b"1"})
    (path / "more").symlink_to(folder(tmp_path / "elsewhere", {"b.wav": b"2", "deep/c.wav": b"3"}))
    (path / "twice").symlink_to(tmp_path / "elsewhere/deep")  # the same recording in two places, but no loop
    assert [r.name for r in of_folder(path)] == ["a.wav", "more/b.wav", "more/deep/c.wav", "twice/c.wav"]
    (tmp_path / "elsewhere/back").symlink_to(path)
    with pytest.raises(DataError, match=r"f/more/back: a link to .*/f, which it lies in.* Remove the link"):
        of_folder(path)
    (tmp_path / "elsewhere/back").unlink()
    (path / "gone.wav").symlink_to("nothing.wav")
    with pytest.raises(DataError, match=r"f/gone.wav: a link to nothing.wav, where no file is"):
        of_folder(path)


@pytest.mark.parametrize("moment", ["before it is opened", "while it is decoded"])
def test_a_recording_that_changes_after_it_was_listed_never_gets_into_a_bank(tmp_path: Path, moment: str) -> None:
    """What was hashed is what is used: the bank's name says which content it holds."""
    path = folder(tmp_path / "f", {"a.wav": encode_wav(samples(3 * N, 1))})
    (recording,) = of_folder(path)
    if moment == "before it is opened":
        folder(path, {"a.wav": encode_wav(samples(3 * N, 2))})
        with pytest.raises(DataError, match=r"f/a.wav: changed while the build was running.* Run the same"):
            load_noise_bank("A", [recording], tmp_path, N)
        assert not (tmp_path / "noise").exists() or files_under(tmp_path / "noise") == {}
        return

    def opened_then_changed() -> BinaryIO:
        file = recording.open()
        folder(path, {"a.wav": encode_wav(samples(3 * N, 2))})
        return file

    made = load_noise_bank("A", [replace(recording, open=opened_then_changed)], tmp_path, N)
    assert made.path.read_bytes() == samples(3 * N, 1).tobytes()


def test_a_long_recording_is_copied_to_disk_not_to_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_recordings, "IN_MEMORY_BYTES", 1000)
    made = load_noise_bank("A", of_folder(folder(tmp_path / "f", TWO)), tmp_path, N)
    assert made.path.read_bytes() == np.r_[samples(N, 2), samples(3 * N, 1)].tobytes()


def test_banks_whose_tables_an_early_version_wrote_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may hold a recording that changed while it was read."""
    recordings = of_folder(folder(tmp_path / "f", TWO))
    with monkeypatch.context() as patch:
        patch.setattr(noise_bank, "TABLE_VERSION", "table-1")
        made = load_noise_bank("A", recordings, tmp_path, N)
    poisoned = samples(4 * N, 9).tobytes()
    made.path.write_bytes(poisoned)
    write_cached(made.path.with_suffix(".parquet"), made.table, hash_object(made.path.parent, made.path.name).blake3)
    assert load_noise_bank("A", recordings, tmp_path, N).path.read_bytes() != poisoned


def test_silent_pieces_of_a_longer_recording_are_left_out(tmp_path: Path) -> None:
    parts = [samples(N, 1), np.zeros(2 * N, np.int16), samples(N, 2)]
    path = folder(tmp_path / "f", {"a.wav": encode_wav(np.concatenate(parts)), "b.wav": encode_wav(samples(N, 3))})
    made = load_noise_bank("A", of_folder(path), tmp_path, N)
    assert made.table["noise_clip"].tolist() == ["a.wav#0", "a.wav#3", "b.wav#0"], "a piece keeps its number"
    assert made.table["silent_pieces"].tolist() == [2, 2, 0]
    assert made.path.read_bytes() == np.r_[samples(N, 1), samples(N, 2), samples(N, 3)].tobytes()
    check_table(made)


def test_the_channel_is_chosen_and_part_of_the_fingerprint(tmp_path: Path) -> None:
    left, right = np.zeros(N, np.int16), samples(N)
    path = folder(tmp_path / "f", {"a.wav": wav(np.stack([left, right], 1))})
    recordings = of_folder(path)
    with pytest.raises(DataError, match=r"a.wav: silent from beginning to end.* 2 channels.*\[noise_settings.A\]"):
        load_noise_bank("A", recordings, tmp_path, N)
    second = load_noise_bank("A", recordings, tmp_path, N, Cutting(channel=1))
    assert second.path.read_bytes() == right.tobytes()
    mean = load_noise_bank("A", recordings, tmp_path, N, Cutting(channel="mean"))
    np.testing.assert_array_equal(mean.read(0), right / np.float32(65536))
    assert kind_fingerprint("A", recordings, N) not in (second.fingerprint, mean.fingerprint)
    assert second.fingerprint != mean.fingerprint
    with pytest.raises(DataError, match=r"a.wav: has 2 channels, counted from 0, so there is no channel 2"):
        load_noise_bank("A", recordings, tmp_path, N, Cutting(channel=2))


def test_a_mono_recording_of_mean_channels_stays_as_it_is(tmp_path: Path) -> None:
    made = load_noise_bank("A", of_folder(folder(tmp_path / "f", TWO)), tmp_path, N, Cutting(channel="mean"))
    assert made.path.suffix == ".int16"


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_random_pieces_lie_anywhere_in_the_recording_as_the_seed_says(tmp_path: Path, rate: int) -> None:
    whole = samples(7 * N * rate // 16_000 + 555)
    recordings = of_folder(folder(tmp_path / "f", {"a.wav": wav(whole, rate), "short.wav": encode_wav(samples(N, 2))}))
    fixed = load_noise_bank("A", recordings, tmp_path, N)
    banks = [load_noise_bank("A", recordings, tmp_path, N, Cutting(seed=seed)) for seed in (0, 1)]
    assert len({bank.fingerprint for bank in [fixed, *banks]}) == 3
    resampled = whole if rate == 16_000 else resample_poly(whole.astype(np.float32) / 32768, 16_000, rate)
    scale = np.float32(1 / 32768) if rate == 16_000 else np.float32(1)
    content = (resampled * scale).astype(np.float32)
    places = []
    for bank in banks:
        assert bank.table["noise_clip"].tolist() == fixed.table["noise_clip"].tolist(), "as many pieces, named alike"
        for row in range(7):
            piece = bank.read(row)
            (at,) = [k for k in np.flatnonzero(content[: -N + 1] == piece[0]) if (content[k : k + N] == piece).all()]
            places.append(at)
        np.testing.assert_array_equal(bank.read(7), fixed.read(7), "a recording of one piece has one place")
    assert len(set(places)) == 14 and any(at % N for at in places)
    again = load_noise_bank("A", recordings, tmp_path / "again", N, Cutting(seed=0))
    assert again.path.read_bytes() == banks[0].path.read_bytes()


def test_sources_come_in_the_order_given_and_fetched_archives_are_asked_for(tmp_path: Path) -> None:
    fetched = packed(tmp_path / "due.zip", {"pump/z.wav": b"z"})
    asked = []

    def archive_path(dataset: str, file: str) -> Path:
        asked.append((dataset, file))
        return fetched

    sources = [
        NoiseSource(dataset="mimii_due", file="dev_data_pump.zip", members="pump/*.wav"),
        NoiseSource(folder=str(folder(tmp_path / "own", {"a.wav": b"a"}))),
    ]
    assert [r.name for r in list_noise("W", sources, archive_path).recordings] == ["pump/z.wav", "a.wav"]
    assert asked == [("mimii_due", "dev_data_pump.zip")]


@pytest.mark.parametrize(
    ("members", "names", "why"),
    [
        ("*.wav", ["train/n_0.wav", "train/n_1.wav", "test/a_0.wav"], "everything"),
        ("train/*.wav", ["train/n_0.wav", "train/n_1.wav"], "a folder"),
        ("*_1.wav", ["train/n_1.wav"], "a name, in any folder"),
        ("t*/[an]_0.wav", ["train/n_0.wav", "test/a_0.wav"], "sets of characters"),
    ],
)
def test_members_are_a_glob(tmp_path: Path, members: str, names: list[str], why: str) -> None:
    content = dict.fromkeys(["train/n_0.wav", "train/n_1.wav", "test/a_0.wav"], b"x")
    path = folder(tmp_path / "f", content)
    archive = packed(tmp_path / "f.zip", content)
    assert [r.name for r in of_folder(path, members)] == sorted(names), why
    assert [r.name for r in listed(NoiseSource(archive=str(archive), members=members))] == sorted(names), why


def test_sources_that_are_refused(tmp_path: Path) -> None:
    empty = folder(tmp_path / "empty", {"readme.txt": b"", "._readme.txt": b""})
    full = folder(tmp_path / "full", {"a.wav": b"x", "b.wav": b"y"})
    other = folder(tmp_path / "other", {"b.wav": b"z"})
    archive = packed(tmp_path / "b.zip", {"b.wav": b"zz"})
    cases = [
        ([NoiseSource(folder=str(tmp_path / "gone"))], f"noise kind A: there is no folder {tmp_path}/gone"),
        ([NoiseSource(archive=str(tmp_path / "gone.zip"))], f"noise kind A: there is no archive {tmp_path}/gone.zip"),
        (
            [NoiseSource(folder=str(empty))],
            f"noise kind A: {empty} has no recording that matches '[*].wav'. Found 2 files: 2 .txt, of which 1 ",
        ),
        ([NoiseSource(folder=str(full), members="c*")], f"noise kind A: {full} has no recording that matches 'c[*]'"),
        ([NoiseSource(archive=str(archive), members="c*")], f"{archive} has no recording that matches 'c[*]'"),
        ([NoiseSource(archive=str(full / "a.wav"))], "a.wav: no readable zip directory"),
        (
            [NoiseSource(folder=str(full)), NoiseSource(folder=str(other))],
            "kind A: b.wav comes from two sources; rename",
        ),
        ([NoiseSource(folder=str(full)), NoiseSource(archive=str(archive))], "kind A: b.wav comes from two sources"),
    ]
    for sources, message in cases:
        with pytest.raises(DataError, match=message):
            listed(*sources)


def test_digests_tell_content_apart(tmp_path: Path) -> None:
    path = folder(tmp_path / "f", {"a.wav": b"1", "b.wav": b"1", "c.wav": b"2", "none.wav": b""})
    first = {r.name: r.digest for r in of_folder(path)}
    assert first["a.wav"] == first["b.wav"] != first["c.wav"] != first["none.wav"]
    (path / "a.wav").write_bytes(b"3")
    assert of_folder(path)[0].digest != first["a.wav"]
    zipped = [listed(NoiseSource(archive=str(packed(tmp_path / f"{c!r}.zip", {"a.wav": c}))))[0] for c in (b"1", b"2")]
    assert zipped[0].digest != zipped[1].digest


def check_table(made: NoiseBank) -> None:
    """The table tells of exactly the pieces that lie in the bank."""
    NoiseTable.validate(made.table)
    assert made.table["row"].tolist() == list(range(len(made.table)))
    assert set(made.table["kind"]) == {made.kind}
    for row, power, peak in made.table[["row", "power", "peak"]].itertuples(index=False):
        assert (power, peak) == pytest.approx(level(made.read(row)), rel=1e-6)


def test_a_bank_of_16_bit_recordings_holds_their_samples(tmp_path: Path) -> None:
    made = load_noise_bank("A", of_folder(folder(tmp_path / "f", TWO)), tmp_path, N)
    assert made.path == tmp_path / "noise" / f"{made.fingerprint}.int16"
    assert made.table["noise_clip"].tolist() == ["a.wav#0", "b/rain.wav#0", "b/rain.wav#1", "b/rain.wav#2"]
    expected = np.r_[samples(N, 2), samples(3 * N, 1)]
    assert made.path.read_bytes() == expected.tobytes()  # little endian, end to end
    for row in range(4):
        found = made.read(row)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected[row * N : (row + 1) * N] / np.float32(32768))
    check_table(made)


def test_a_folder_and_a_zip_of_the_same_recordings_give_the_same_pieces(tmp_path: Path) -> None:
    from_folder = load_noise_bank("A", of_folder(folder(tmp_path / "f", TWO)), tmp_path, N)
    from_zip = load_noise_bank("A", listed(NoiseSource(archive=str(packed(tmp_path / "f.zip", TWO)))), tmp_path, N)
    assert from_zip.path.read_bytes() == from_folder.path.read_bytes()
    assert from_zip.table.equals(from_folder.table)


@pytest.mark.parametrize("first", ["a.wav", "z.wav"], ids=["before the 16-bit ones", "after them"])
def test_one_recording_that_is_not_16_bit_makes_the_bank_float32(tmp_path: Path, first: str) -> None:
    loud = RNG.uniform(-2, 2, N).astype(np.float32)  # floating recordings may pass full scale
    made = load_noise_bank(
        "A", of_folder(folder(tmp_path / "f", {first: float_wav(loud), "m.wav": encode_wav(samples(N))})), tmp_path, N
    )
    assert made.path == tmp_path / "noise" / f"{made.fingerprint}.float32"
    rows = dict(zip(made.table["noise_clip"], made.table["row"], strict=True))
    np.testing.assert_array_equal(made.read(rows[f"{first}#0"]), loud)
    np.testing.assert_array_equal(made.read(rows["m.wav#0"]), samples(N) / np.float32(32768))
    check_table(made)
    assert [p.suffix for p in sorted((tmp_path / "noise").iterdir())] == [".float32", ".parquet"]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["int16", "float32"]), st.integers(1, 50), st.integers(1, 8), st.data())
def test_any_row_of_a_bank_is_read(
    tmp_path_factory: pytest.TempPathFactory, dtype: str, n_samples: int, rows: int, data: st.DataObject
) -> None:
    content = RNG.integers(-32768, 32768, (rows, n_samples)).astype(dtype)
    path = tmp_path_factory.mktemp("bank") / f"x.{dtype}"
    path.write_bytes(content.astype(f"<{content.dtype.str[1:]}").tobytes())
    row = data.draw(st.integers(0, rows - 1))
    np.testing.assert_array_equal(found := read_noise_clip(path, row, n_samples), content[row])
    assert found.dtype == dtype
    with open_noise(path, n_samples) as read_row:
        path.unlink()  # it is open: a clip costs no opening of its own
        np.testing.assert_array_equal(of_open := read_row(row), content[row])
    assert of_open.dtype == dtype
    path.write_bytes(content.astype(f"<{content.dtype.str[1:]}").tobytes())
    scale = np.float32(32768 if dtype == "int16" else 1)
    read = NoiseBank("A", "x", path, n_samples, pd.DataFrame()).read(row)
    np.testing.assert_array_equal(read, content[row] / scale)
    assert read.dtype == np.float32


def test_noise_of_each_layer_stays_until_the_next_for_it(tmp_path: Path) -> None:
    content = RNG.integers(-32768, 32768, (3, 20)).astype("<i2")
    path = tmp_path / "x.int16"
    path.write_bytes(content.tobytes())
    with open_noise(path, 20) as read:
        first, second = read(0, 0), read(1, 1)
        np.testing.assert_array_equal([first, second], content[:2])
        assert read(2, 0) is first, "in the same memory"
        np.testing.assert_array_equal([first, second], content[[2, 1]])
        os.truncate(path, 100)
        with pytest.raises(DataError, match=r"x\.int16 ends before its noise clip 2\. Delete it"):
            read(2)


def test_a_bank_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = of_folder(folder(tmp_path / "f", TWO))
    first = load_noise_bank("A", recordings, tmp_path, N)
    there = files_under(tmp_path / "noise")
    monkeypatch.setattr(noise_bank, "read_pieces", None)  # no recording may be opened again
    again = load_noise_bank("A", recordings, tmp_path, N)
    assert (again.path, again.fingerprint) == (first.path, first.fingerprint)
    assert again.table.equals(first.table)
    assert files_under(tmp_path / "noise") == there


@pytest.mark.parametrize("lost", ["the pieces", "half of the pieces", "the table"])
def test_a_bank_that_is_not_whole_is_made_again(tmp_path: Path, lost: str) -> None:
    recordings = of_folder(folder(tmp_path / "f", TWO))
    made = load_noise_bank("A", recordings, tmp_path, N)
    whole = made.path.read_bytes()
    if lost == "half of the pieces":
        made.path.write_bytes(whole[: len(whole) // 2])
    else:
        (made.path if lost == "the pieces" else made.path.with_suffix(".parquet")).unlink()
    again = load_noise_bank("A", recordings, tmp_path, N)
    assert again.path.read_bytes() == whole
    assert again.table.equals(made.table)


def test_whatever_changes_the_bytes_changes_the_bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder(tmp_path / "f", TWO)
    recordings = of_folder(path)
    prints = [kind_fingerprint("A", recordings, N), kind_fingerprint("A", recordings, N + 1)]
    prints += [kind_fingerprint("B", recordings, N), kind_fingerprint("A", recordings[::-1], N)]
    prints += [kind_fingerprint("A", recordings[:1], N), kind_fingerprint("A", recordings, N, sample_rate=8000)]
    folder(path, {"a.wav": encode_wav(samples(N, 3))})  # another content under the same name and size
    prints += [kind_fingerprint("A", of_folder(path), N)]
    (path / "a.wav").rename(path / "c.wav")
    prints += [kind_fingerprint("A", of_folder(path), N)]
    monkeypatch.setattr(noise_bank, "NOISE_VERSION", "noise-0")
    prints += [kind_fingerprint("A", of_folder(path), N)]
    assert len(set(prints)) == len(prints) == 9


def test_a_bank_is_at_the_rate_of_the_clips(tmp_path: Path) -> None:
    """Recordings at that rate are taken as they are, others resampled, and band-limited is by that rate."""
    tone = (8000 * np.sin(2 * np.pi * 1000 * np.arange(4 * N) / 16_000)).astype(np.int16)
    recordings = of_folder(folder(tmp_path / "f", {"a.wav": encode_wav(tone)}))
    as_they_are = load_noise_bank("A", recordings, tmp_path, N)
    halved = load_noise_bank("A", recordings, tmp_path, N, sample_rate=8000)
    assert (as_they_are.path.suffix, halved.path.suffix) == (".int16", ".float32")
    assert (len(as_they_are.table), len(halved.table)) == (4, 2)
    np.testing.assert_allclose(halved.read(0)[50:750], tone[100:1500:2] / 32768, atol=2e-3)
    at_8 = of_folder(folder(tmp_path / "g", {"a.wav": encode_wav(samples(2 * N), 8000)}))
    assert not load_noise_bank("A", at_8, tmp_path, N, sample_rate=8000).table["band_limited"].any()
    assert load_noise_bank("A", at_8, tmp_path, N).table["band_limited"].all()


def test_a_changed_recording_gives_another_bank_and_leaves_the_old_one(tmp_path: Path) -> None:
    path = folder(tmp_path / "f", TWO)
    before = load_noise_bank("A", of_folder(path), tmp_path, N)
    there = files_under(tmp_path / "noise")
    folder(path, {"a.wav": encode_wav(samples(N, 3))})
    after = load_noise_bank("A", of_folder(path), tmp_path, N)
    assert after.fingerprint != before.fingerprint
    np.testing.assert_array_equal(after.read(0), samples(N, 3) / np.float32(32768))
    assert there.items() <= files_under(tmp_path / "noise").items()


@pytest.mark.parametrize(
    ("content", "n_samples", "message"),
    [
        (
            encode_wav(0 * samples(40 * N)),
            16_000,
            r"silent from beginning to end\. Silence cannot be brought to any SNR",
        ),
        (float_wav(np.zeros(100, np.float32)), 160_000, r"silent from beginning to end\."),
        (encode_wav(samples(0)), N, r"the noise recording is empty"),
        (b"RIFF", N, r"not a readable sound file"),
        (float_wav(np.full(N, np.nan, np.float32)), N, r"piece 0 holds samples that are not finite"),
    ],
    ids=["silent", "a silent float recording", "empty", "garbage", "NaN"],
)
def test_a_recording_that_cannot_be_used_is_named_and_nothing_is_left(
    tmp_path: Path, content: bytes, n_samples: int, message: str
) -> None:
    earlier = load_noise_bank("A", of_folder(folder(tmp_path / "g", TWO)), tmp_path, N)
    there = files_under(tmp_path / "noise")
    recordings = of_folder(folder(tmp_path / "f", {"a.wav": encode_wav(samples(N)), "sub/bad.wav": content}))
    with pytest.raises(DataError, match="^noise kind B, sub/bad.wav: " + message):
        load_noise_bank("B", recordings, tmp_path, n_samples)
    assert files_under(tmp_path / "noise") == there
    assert earlier.path.is_file()


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    recordings = of_folder(folder(tmp_path / "f", TWO))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match=r"int16 cannot be written: No space left"):
            load_noise_bank("A", recordings, tmp_path, N)
    assert files_under(tmp_path / "noise") == {}
    assert len(load_noise_bank("A", recordings, tmp_path, N).table) == 4


def test_a_table_is_only_there_when_the_pieces_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a run that is killed between the two leaves pieces without a table: the next run makes both again
    recordings = of_folder(folder(tmp_path / "f", TWO))
    order: list[str] = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append(Path(b).suffix), replace(a, b))[1])
    load_noise_bank("A", recordings, tmp_path, N)
    assert order == [".int16", ".parquet"]
