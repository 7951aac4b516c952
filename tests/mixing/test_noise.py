"""Noise kinds: recordings listed in a fixed order, cut into a bank once, refused by name where they cannot be used."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from mimiidg_build.audio.level import level
from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.errors import DataError
from mimiidg_build.mixing import noise_bank
from mimiidg_build.mixing.noise_bank import NoiseBank, kind_fingerprint, load_noise_bank, read_noise_clip
from mimiidg_build.mixing.noise_recordings import NoiseRecording, list_recordings
from mimiidg_build.schemas.manifests import NoiseSource
from mimiidg_build.schemas.tables import NoiseTable

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
    return list_recordings(kind, list(sources), nowhere)


def of_folder(path: Path, members: str = "*.wav") -> list[NoiseRecording]:
    return listed(NoiseSource(folder=str(path), members=members))


def files_under(path: Path) -> dict[str, tuple[bytes, int]]:
    """Content and modification time of every file."""
    return {
        p.relative_to(path).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns) for p in path.rglob("*") if p.is_file()
    }


TWO = {"b/rain.wav": encode_wav(samples(3 * N, 1)), "a.wav": encode_wav(samples(N, 2))}


def test_recordings_of_a_folder_and_of_a_zip_come_in_order_of_name(tmp_path: Path) -> None:
    names = {"b.wav": b"1", "deep/er/a.wav": b"2", "a.WAV": b"3", "readme.txt": b"4", "a.wav": b"5"}
    in_folder = of_folder(folder(tmp_path / "f", names))
    in_zip = listed(NoiseSource(archive=str(packed(tmp_path / "f.zip", names))))
    assert [r.name for r in in_folder] == ["a.WAV", "a.wav", "b.wav", "deep/er/a.wav"]
    assert [r.name for r in in_zip] == ["a.wav", "b.wav", "deep/er/a.wav"]
    for recording in in_folder + in_zip:
        with recording.open() as file:
            assert file.read() == names[recording.name]


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
    assert [r.name for r in list_recordings("W", sources, archive_path)] == ["pump/z.wav", "a.wav"]
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
    empty = folder(tmp_path / "empty", {"readme.txt": b""})
    full = folder(tmp_path / "full", {"a.wav": b"x", "b.wav": b"y"})
    other = folder(tmp_path / "other", {"b.wav": b"z"})
    archive = packed(tmp_path / "b.zip", {"b.wav": b"zz"})
    cases = [
        ([NoiseSource(folder=str(tmp_path / "gone"))], f"noise kind A: there is no folder {tmp_path}/gone"),
        ([NoiseSource(archive=str(tmp_path / "gone.zip"))], f"noise kind A: there is no archive {tmp_path}/gone.zip"),
        ([NoiseSource(folder=str(empty))], f"noise kind A: {empty} has no recording that matches '[*].wav'"),
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
    scale = np.float32(32768 if dtype == "int16" else 1)
    read = NoiseBank("A", "x", path, n_samples, pd.DataFrame()).read(row)
    np.testing.assert_array_equal(read, content[row] / scale)
    assert read.dtype == np.float32


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
    prints += [kind_fingerprint("A", recordings[:1], N)]
    folder(path, {"a.wav": encode_wav(samples(N, 3))})  # another content under the same name and size
    prints += [kind_fingerprint("A", of_folder(path), N)]
    (path / "a.wav").rename(path / "c.wav")
    prints += [kind_fingerprint("A", of_folder(path), N)]
    monkeypatch.setattr(noise_bank, "NOISE_VERSION", "noise-0")
    prints += [kind_fingerprint("A", of_folder(path), N)]
    assert len(set(prints)) == len(prints) == 8


def test_a_changed_recording_gives_another_bank_and_leaves_the_old_one(tmp_path: Path) -> None:
    path = folder(tmp_path / "f", TWO)
    before = load_noise_bank("A", of_folder(path), tmp_path, N)
    there = files_under(tmp_path / "noise")
    folder(path, {"a.wav": encode_wav(samples(N, 3))})
    after = load_noise_bank("A", of_folder(path), tmp_path, N)
    assert after.fingerprint != before.fingerprint
    np.testing.assert_array_equal(after.read(0), samples(N, 3) / np.float32(32768))
    assert there.items() <= files_under(tmp_path / "noise").items()


SILENT = np.r_[samples(20 * N), np.zeros(10 * N, np.int16), samples(10 * N)]


@pytest.mark.parametrize(
    ("content", "n_samples", "message"),
    [
        (encode_wav(SILENT), 16_000, r"silent from 2-3 s\. Silence cannot be brought to any SNR; cut it out or remove"),
        (float_wav(np.zeros(100, np.float32)), 160_000, r"silent from 0-10 s\."),
        (encode_wav(samples(0)), N, r"the noise recording is empty"),
        (b"RIFF", N, r"not a readable sound file"),
        (float_wav(np.full(N, np.nan, np.float32)), N, r"piece 0 holds samples that are not finite"),
    ],
    ids=["a silent second", "a silent float recording", "empty", "garbage", "NaN"],
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
