"""Archives: members read in place equal what was packed; everything else is refused by name."""

from __future__ import annotations

import io
import os
import pickle
import stat
import struct
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimiidg_build.archive import Archive, open_archive
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


def pack_info(path: Path, change: Callable[[zipfile.ZipInfo], object], name: str = "a.wav") -> Path:
    """An archive of one member whose entry ``change`` has had its way with."""
    info = zipfile.ZipInfo(name)
    change(info)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(info, b"data")
    return path


def patch(path: Path, old: bytes, new: bytes) -> Path:
    """Replace bytes of the same length, in headers and directory alike."""
    data = path.read_bytes()
    assert old in data
    assert len(old) == len(new)
    path.write_bytes(data.replace(old, new))
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


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/etc/passwd", "an absolute path"),
        ("../outside.wav", r"a '\.\.' in its path"),
        ("fan/../../outside.wav", r"a '\.\.' in its path"),
        ("fan\\clip.wav", "a backslash"),
        ("C:clip.wav", "a drive letter"),
        ("clip\n.wav", "a control character"),
    ],
)
def test_names_that_leave_the_tree(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(DataError, match=rf"bad\.zip: refused, because of its member .*: {why}"):
        open_archive(pack_info(tmp_path / "bad.zip", lambda info: None, name))


def test_name_with_a_nul(tmp_path: Path) -> None:
    # zipfile would show this member as "clip": two readers, two names.
    path = patch(pack_info(tmp_path / "bad.zip", lambda info: None, "clip#.wav"), b"clip#.wav", b"clip\x00.wav")
    with pytest.raises(DataError, match=r"'clip\\x00\.wav': a control character"):
        open_archive(path)


def test_name_that_is_listed_twice(tmp_path: Path) -> None:
    path = patch(pack(tmp_path / "bad.zip", {"a.wav": b"1", "b.wav": b"2"}), b"b.wav", b"a.wav")
    with pytest.raises(DataError, match=r"'a\.wav': listed twice"):
        open_archive(path)


@pytest.mark.parametrize(
    ("attributes", "why"),
    [(stat.S_IFLNK | 0o777, "a symbolic link"), (stat.S_IFIFO | 0o644, r"a special file \(mode 10644\)")],
)
def test_members_that_are_no_files(tmp_path: Path, attributes: int, why: str) -> None:
    path = pack_info(tmp_path / "bad.zip", lambda info: setattr(info, "external_attr", attributes << 16))
    with pytest.raises(DataError, match=rf"'a\.wav': {why}"):
        open_archive(path)


def directory_field(path: Path, offset: int, value: bytes) -> Path:
    """Overwrite a field of the first entry of the central directory."""
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\x01\x02") + offset
    data[start : start + len(value)] = value
    path.write_bytes(data)
    return path


def test_encrypted_member(tmp_path: Path) -> None:
    path = directory_field(pack_info(tmp_path / "bad.zip", lambda info: None), 8, b"\x01\x00")
    with pytest.raises(DataError, match=r"'a\.wav': encrypted"):
        open_archive(path)


def test_compression_that_is_not_read(tmp_path: Path) -> None:
    path = pack_info(tmp_path / "bad.zip", lambda info: setattr(info, "compress_type", zipfile.ZIP_LZMA))
    with pytest.raises(DataError, match="compressed by method 14"):
        open_archive(path)


def test_sizes_are_bounded_before_anything_is_read(tmp_path: Path) -> None:
    path = pack(tmp_path / "fan.zip", {"a.wav": bytes(1000), "b.wav": bytes(1000)})
    with pytest.raises(DataError, match=r"'a\.wav': declared to hold 1000 bytes, more than the limit of 999"):
        open_archive(path, max_member_bytes=999)
    with pytest.raises(DataError, match="declared to hold more than 1999 bytes"):
        open_archive(path, max_total_bytes=1999)
    open_archive(path, max_member_bytes=1000, max_total_bytes=2000).close()


def test_bomb_stops_at_the_declared_size(tmp_path: Path) -> None:
    # 50 MB of zeros that the directory declares as 1,000 bytes.
    path = pack(tmp_path / "bomb.zip", {"a.wav": bytes(50_000_000)})
    data = path.read_bytes()
    start = data.rindex(b"a.wav") - 46
    assert data[start : start + 4] == b"PK\x01\x02"
    path.write_bytes(data[: start + 24] + struct.pack("<I", 1000) + data[start + 28 :])
    with (
        open_archive(path) as archive,
        pytest.raises(DataError, match=r"'a\.wav' inflates to more than the declared 1000"),
    ):
        archive.read("a.wav")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_one_flipped_bit_is_noticed(tmp_path: Path, method: int) -> None:
    path = pack(tmp_path / "fan.zip", {"a.wav": os.urandom(5000)}, method)
    data = bytearray(path.read_bytes())
    data[data.index(b"a.wav") + 2000] ^= 1
    path.write_bytes(data)
    with open_archive(path) as archive, pytest.raises(DataError, match=r"fan\.zip: member 'a\.wav' "):
        archive.read("a.wav")


def test_local_header_of_another_member(tmp_path: Path) -> None:
    path = pack(tmp_path / "fan.zip", {"a.wav": b"1"}, zipfile.ZIP_STORED)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"a.wav", b"b.wav", 1))
    with open_archive(path) as archive, pytest.raises(DataError, match="no local header of that name"):
        archive.read("a.wav")


def test_member_that_is_not_there(tmp_path: Path) -> None:
    with (
        open_archive(pack(tmp_path / "fan.zip")) as archive,
        pytest.raises(DataError, match="Nearest name: 'fan/attributes_00.csv'"),
    ):
        archive.read("fan/attributes_01.csv")


@pytest.mark.parametrize("content", [b"", b"<html>not a zip</html>", b"PK\x05\x06" + bytes(10)])
def test_not_an_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fan.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"fan\.zip: no readable zip directory"):
        open_archive(tmp_path / "fan.zip")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.zip: cannot be opened \(No such file"):
        open_archive(tmp_path / "none.zip")


def test_cut_off_archive(tmp_path: Path) -> None:
    path = pack(tmp_path / "fan.zip")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="no readable zip directory"):
        open_archive(path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_anywhere_is_an_error_or_harmless(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever bytes are overwritten: the right bytes, or a DataError, never other bytes and never another error."""
    path = tmp_path_factory.getbasetemp() / "damaged.zip"
    members = {"a.wav": bytes(range(200)) * 3, "b.wav": b"second"}
    whole = bytearray(pack(path, members).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        with open_archive(path) as archive:
            for name in archive.members:
                found = archive.read(name)
                if name in members:
                    assert found == members[name]
    except DataError as error:
        assert "damaged.zip" in str(error)


def test_many_members_open_quickly(tmp_path: Path) -> None:
    path = tmp_path / "fan.zip"
    with zipfile.ZipFile(path, "w") as file:
        for index in range(3600):
            file.writestr(f"fan/train/section_00_source_train_normal_{index:04d}_m-n_W.wav", b"")
    with open_archive(path) as archive:
        assert len(archive.members) == 3600
