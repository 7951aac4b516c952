"""Archives: members read in place equal what was packed. What is refused is in ``faults/test_archives.py``."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mimiidg_build.audio.archive import Archive, open_archive
from mimiidg_build.errors import DataError

WAVES = {
    "fan/train/section_00_source_train_normal_0000_m-n_W.wav": bytes(range(256)) * 500,
    "fan/train/section_00_source_train_normal_0001_m-n_X.wav": os.urandom(50_000),
    "-6_dB/à.wav": b"",
    "fan/attributes_00.csv": b"file_name,d1p\n",
}


def pack(path: Path, members: dict[str, bytes] = WAVES, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        file.mkdir("fan")
        for name, data in members.items():
            file.writestr(name, data)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_what_was_packed(tmp_path: Path, method: int) -> None:
    with open_archive(pack(tmp_path / "fan.zip", method=method)) as archive:
        assert list(archive.members) == list(WAVES)  # in archive order, directories left out
        assert {name: archive.read(name) for name in archive.members} == WAVES
        with zipfile.ZipFile(tmp_path / "fan.zip") as reference:
            for name, member in archive.members.items():
                assert (member.size_bytes, member.crc32) == (len(WAVES[name]), reference.getinfo(name).CRC)


def test_zip64_directory_and_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # With the limits lowered, zipfile writes the zip64 records that archives of more than 4 GiB need.
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    path = pack(tmp_path / "fan.zip")
    assert b"PK\x06\x06" in path.read_bytes()
    with open_archive(path) as archive:
        assert {name: archive.read(name) for name in archive.members} == WAVES


def test_streamed_archive_with_sizes_behind_the_data(tmp_path: Path) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *where: int) -> int:
            raise io.UnsupportedOperation("seek")

        def tell(self) -> int:
            raise io.UnsupportedOperation("tell")

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.wav", b"x" * 1000)
    (tmp_path / "a.zip").write_bytes(pipe.getvalue())
    with open_archive(tmp_path / "a.zip") as archive:
        assert archive.read("a.wav") == b"x" * 1000


def test_archive_behind_other_bytes(tmp_path: Path) -> None:
    path = pack(tmp_path / "fan.zip")
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    with open_archive(path) as archive:
        assert archive.read("fan/attributes_00.csv") == WAVES["fan/attributes_00.csv"]


def test_many_threads_read_one_archive(tmp_path: Path) -> None:
    with open_archive(pack(tmp_path / "fan.zip")) as archive, ThreadPoolExecutor(8) as pool:
        names = list(WAVES) * 100
        assert list(pool.map(archive.read, names)) == [WAVES[name] for name in names]


def test_pickles_as_its_path_and_is_opened_once_a_process(tmp_path: Path) -> None:
    archive = open_archive(pack(tmp_path / "fan.zip"))
    pickled = pickle.dumps(archive)
    assert len(pickled) < 1000
    copy, again = pickle.loads(pickled), pickle.loads(pickled)
    assert isinstance(copy, Archive)
    assert copy is again
    assert copy.read("fan/attributes_00.csv") == WAVES["fan/attributes_00.csv"]


def test_pickle_of_an_archive_that_changed_since(tmp_path: Path) -> None:
    pickled = pickle.dumps(open_archive(pack(tmp_path / "fan.zip")))
    pack(tmp_path / "fan.zip", {"other.wav": b"other"})
    with pytest.raises(DataError, match=r"fan\.zip: has changed since the work on it was planned"):
        pickle.loads(pickled)


def test_closed_archive_opens_again_for_a_read(tmp_path: Path) -> None:
    archive = open_archive(pack(tmp_path / "fan.zip"))
    archive.close()
    archive.close()
    assert archive.read("fan/attributes_00.csv") == WAVES["fan/attributes_00.csv"]


def test_member_that_is_not_there(tmp_path: Path) -> None:
    with (
        open_archive(pack(tmp_path / "fan.zip")) as archive,
        pytest.raises(DataError, match="Nearest name: 'fan/attributes_00.csv'"),
    ):
        archive.read("fan/attributes_01.csv")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.zip: cannot be opened \(No such file"):
        open_archive(tmp_path / "none.zip")


def test_many_members_open_quickly(tmp_path: Path) -> None:
    path = tmp_path / "fan.zip"
    with zipfile.ZipFile(path, "w") as file:
        for index in range(3600):
            file.writestr(f"fan/train/section_00_source_train_normal_{index:04d}_m-n_W.wav", b"")
    with open_archive(path) as archive:
        assert len(archive.members) == 3600
