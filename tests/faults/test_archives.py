"""Archives that are not what they should be: refused by name before a byte of them is used, or read right."""

from __future__ import annotations

import io
import os
import random
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mimiidg_build.audio.archive import open_archive
from mimiidg_build.audio.zip_directory import Limits
from mimiidg_build.cli import main
from mimiidg_build.datasets import table_bytes
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.release import VerifiedArchive, read_release
from mimiidg_build.errors import DataError
from tests.audio.test_archive import pack
from tests.conftest import pack_release, write_dataset
from tests.faults.summary import Tries


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


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/etc/passwd", "an absolute path"),
        ("../outside.wav", r"a '\.\.' in its path"),
        ("fan/../../outside.wav", r"a '\.\.' in its path"),
        ("fan\\clip.wav", "a backslash"),
        ("C:clip.wav", "a drive letter"),
        ("clip\n.wav", "a control character"),
        ("clip\x9b2J.wav", "a control character"),
        ("clip\u2028error: all is well.wav", "a control character"),
    ],
)
def test_names_that_leave_the_tree(tmp_path: Path, name: str, why: str, fault: Tries) -> None:
    fault("names that leave the tree")
    with pytest.raises(DataError, match=rf"bad\.zip: refused, because of its member .*: {why}"):
        open_archive(pack_info(tmp_path / "bad.zip", lambda info: None, name))


def test_name_with_a_nul(tmp_path: Path, fault: Tries) -> None:
    fault("names that leave the tree")
    # zipfile would show this member as "clip": two readers, two names.
    path = patch(pack_info(tmp_path / "bad.zip", lambda info: None, "clip#.wav"), b"clip#.wav", b"clip\x00.wav")
    with pytest.raises(DataError, match=r"'clip\\x00\.wav': a control character"):
        open_archive(path)


def test_name_that_is_not_utf8_though_the_archive_says_so(tmp_path: Path, fault: Tries) -> None:
    fault("names that no terminal can show")
    path = patch(pack_info(tmp_path / "bad.zip", lambda info: None, "Lüfter.wav"), "ü".encode(), b"\xff\xfe")
    with pytest.raises(DataError, match=r"its member b'L\\xff\\xfefter\.wav': a name that is not UTF-8, though"):
        open_archive(path)


def test_a_very_long_name_is_refused_and_not_echoed(tmp_path: Path, fault: Tries) -> None:
    fault("names that no terminal can show")
    with pytest.raises(DataError, match="a name of 60000 characters") as caught:
        open_archive(pack_info(tmp_path / "bad.zip", lambda info: None, "x" * 60_000))
    assert len(str(caught.value)) < 1000


def test_a_name_that_turns_the_line_round_is_escaped_when_it_is_printed(
    tmp_path: Path, fault: Tries, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mark of direction has its place in a name; on a terminal it would show another name."""
    fault("names that no terminal can show")
    (tmp_path / "root/archives/mine").mkdir(parents=True)
    archive = pack(tmp_path / "root/archives/mine/fan.zip", {"fan/\u202egpj.wav": b"", "fan/x.txt": b""})
    manifest = write_dataset(tmp_path, "mine", [archive])
    main(["fetch", str(manifest), "--offline", "--root", str(tmp_path / "root")])
    assert main(["validate", str(manifest), "--root", str(tmp_path / "root")]) == 1
    printed = capsys.readouterr().out
    assert "\u202e" not in printed and r"fan/\u202egpj.wav is audio outside of the layout" in printed


def test_name_that_is_listed_twice(tmp_path: Path, fault: Tries) -> None:
    fault("a name listed twice")
    path = patch(pack(tmp_path / "bad.zip", {"a.wav": b"1", "b.wav": b"2"}), b"b.wav", b"a.wav")
    with pytest.raises(DataError, match=r"'a\.wav': listed twice"):
        open_archive(path)


@pytest.mark.parametrize(
    ("attributes", "why"),
    [(stat.S_IFLNK | 0o777, "a symbolic link"), (stat.S_IFIFO | 0o644, r"a special file \(mode 10644\)")],
)
def test_members_that_are_no_files(tmp_path: Path, attributes: int, why: str, fault: Tries) -> None:
    fault("links and special files")
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


def test_encrypted_member(tmp_path: Path, fault: Tries) -> None:
    fault("encrypted or compressed in another way")
    path = directory_field(pack_info(tmp_path / "bad.zip", lambda info: None), 8, b"\x01\x00")
    with pytest.raises(DataError, match=r"'a\.wav': encrypted"):
        open_archive(path)


def test_compression_that_is_not_read(tmp_path: Path, fault: Tries) -> None:
    fault("encrypted or compressed in another way")
    path = pack_info(tmp_path / "bad.zip", lambda info: setattr(info, "compress_type", zipfile.ZIP_LZMA))
    with pytest.raises(DataError, match="compressed by method 14"):
        open_archive(path)


def test_sizes_are_bounded_before_anything_is_read(tmp_path: Path, fault: Tries) -> None:
    fault("zip bombs, by declared or actual size")
    path = pack(tmp_path / "fan.zip", {"a.wav": bytes(1000), "b.wav": bytes(1000)})
    with pytest.raises(DataError, match=r"'a\.wav': declared to hold 1000 bytes, more than the limit of 999"):
        open_archive(path, Limits(member_bytes=999))
    with pytest.raises(DataError, match="declared to hold more than 1999 bytes"):
        open_archive(path, Limits(total_bytes=1999))
    open_archive(path, Limits(1000, 2000)).close()


def test_bomb_stops_at_the_declared_size(tmp_path: Path, fault: Tries) -> None:
    """50 MB of zeros that both headers declare as 1,000 bytes."""
    fault("zip bombs, by declared or actual size")
    path = pack(tmp_path / "bomb.zip", {"a.wav": bytes(50_000_000)})
    data = bytearray(path.read_bytes())
    local, central = data.index(b"a.wav") - 30, data.rindex(b"a.wav") - 46
    assert (data[local : local + 4], data[central : central + 4]) == (b"PK\x03\x04", b"PK\x01\x02")
    for at in (local + 22, central + 24):
        data[at : at + 4] = struct.pack("<I", 1000)
    path.write_bytes(data)
    with (
        open_archive(path) as archive,
        pytest.raises(DataError, match=r"'a\.wav' inflates to more than the declared 1000"),
    ):
        archive.read("a.wav")


TABLES = {
    "one table": ({"fan/attributes_00.csv": bytes(17 * 2**20)}, r"'fan/attributes_00.csv' has 17,825,792 bytes"),
    "many tables": (
        {f"fan/attributes_{n:02}.csv": bytes(15 * 2**20) for n in range(5)},
        r"'fan/attributes_04.csv' has 15,728,640 bytes, all tables up to it 78,643,200",
    ),
    "many lines": (
        {f"fan/attributes_{n:02}.csv": b"\n\r" * 100_000 for n in range(2)},
        r"'fan/attributes_01.csv' has 200,001 lines, all tables up to it 400,002",
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_are_bounded_before_they_are_read(tmp_path: Path, case: str, fault: Tries) -> None:
    """All tables of a release are in memory at once, each line of each as a row or a finding."""
    fault("zip bombs, by declared or actual size")
    members, message = TABLES[case]
    archives = {"mine/fan.zip": VerifiedArchive(pack(tmp_path / "fan.zip", members), "")}
    with pytest.raises(DataError, match=rf"fan\.zip: the attribute table {message}"):
        read_release(load_dataset("synthetic-1pct"), archives)


def test_tables_may_grow_with_the_archives_that_they_tell_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release of a million clips has as many lines of tables, and a zip's directory that is larger than they are."""
    monkeypatch.setattr(table_bytes, "MAX_TABLES_LINES", 10)
    monkeypatch.setattr(table_bytes, "MAX_TABLES_BYTES", 100)
    names = [f"fan/train/section_00_source_train_normal_{n:04}_m-n_W.wav" for n in range(20)]
    lines = ["file_name,d1p,d1v", *(f"{name},m-n,W" for name in names)]
    table = {"fan/attributes_00.csv": "\n".join(lines).encode()}
    whole = {"mine/fan.zip": VerifiedArchive(pack(tmp_path / "whole.zip", table | dict.fromkeys(names, b"")), "")}
    assert len(read_release(load_dataset("synthetic-1pct"), whole).clips) == 20
    few = {"mine/fan.zip": VerifiedArchive(pack(tmp_path / "few.zip", table | dict.fromkeys(names[:5], b"")), "")}
    with pytest.raises(DataError, match=r"has 21 lines, .* at most .* 1,536 bytes and 12 lines in all"):
        read_release(load_dataset("synthetic-1pct"), few)


def test_a_table_of_one_endless_line_is_not_echoed(tmp_path: Path, fault: Tries) -> None:
    fault("zip bombs, by declared or actual size")
    table = b"file_name,d1p,d1v\n" + b"x," * 2**20
    archives = {"mine/fan.zip": VerifiedArchive(pack(tmp_path / "fan.zip", {"fan/attributes_00.csv": table}), "")}
    findings = read_release(load_dataset("synthetic-1pct"), archives).findings
    assert findings["kind"].tolist() == ["long_line"]
    assert findings["message"][0].startswith("the line has 2,097,152 bytes, expected at most 4,096")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_one_flipped_bit_is_noticed(tmp_path: Path, method: int, fault: Tries) -> None:
    fault("an archive damaged anywhere")
    path = pack(tmp_path / "fan.zip", {"a.wav": os.urandom(5000)}, method)
    data = bytearray(path.read_bytes())
    data[data.index(b"a.wav") + 2000] ^= 1
    path.write_bytes(data)
    with open_archive(path) as archive, pytest.raises(DataError, match=r"fan\.zip: member 'a\.wav' "):
        archive.read("a.wav")


def test_local_header_of_another_member(tmp_path: Path, fault: Tries) -> None:
    fault("an archive damaged anywhere")
    path = pack(tmp_path / "fan.zip", {"a.wav": b"1"}, zipfile.ZIP_STORED)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"a.wav", b"b.wav", 1))
    with open_archive(path) as archive, pytest.raises(DataError, match="no local header of that name"):
        archive.read("a.wav")


@pytest.mark.parametrize("content", [b"", b"<html>not a zip</html>", b"PK\x05\x06" + bytes(10)])
def test_not_an_archive(tmp_path: Path, content: bytes, fault: Tries) -> None:
    fault("an archive cut off, or none at all")
    (tmp_path / "fan.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"fan\.zip: no readable zip directory"):
        open_archive(tmp_path / "fan.zip")


@pytest.mark.parametrize(("offset", "n_bytes"), [(16, 12), (10, 18), (24, 4), (16, 4)])
def test_directory_entry_of_zeros(tmp_path: Path, offset: int, n_bytes: int, fault: Tries) -> None:
    """No bytes, checksum zero: the directory alone would make it a good empty file."""
    fault("an archive damaged anywhere")
    path = directory_field(pack_info(tmp_path / "bad.zip", lambda info: None), offset, bytes(n_bytes))
    with open_archive(path) as archive, pytest.raises(DataError, match=r"bad\.zip: member 'a\.wav' "):
        archive.read("a.wav")


def test_cut_off_anywhere(tmp_path: Path, fault: Tries) -> None:
    whole = pack(tmp_path / "whole.zip", {"a.wav": bytes(200), "b.wav": b"second"}).read_bytes()
    for size in range(len(whole)):
        fault("an archive cut off, or none at all")
        (tmp_path / "cut.zip").write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"cut\.zip: no readable zip directory"):
            open_archive(tmp_path / "cut.zip")


@pytest.mark.parametrize("size", [2**28 + 1, 2**32, 2**40, 2**63, 2**64 - 1])
def test_size_that_zip64_declares(tmp_path: Path, size: int, fault: Tries) -> None:
    fault("zip bombs, by declared or actual size")
    extra = struct.pack("<HHQ", 1, 8, size)
    path = pack_info(tmp_path / "bad.zip", lambda info: None)
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02")
    entry = bytearray(data[start : data.index(b"PK\x05\x06")])
    entry[24:28] = b"\xff" * 4
    entry[30:32] = len(extra).to_bytes(2, "little")
    end = bytearray(data[data.index(b"PK\x05\x06") :])
    end[12:16] = (len(entry) + len(extra)).to_bytes(4, "little")
    path.write_bytes(data[:start] + entry + extra + end)
    with pytest.raises(DataError, match=rf"'a\.wav': declared to hold {size} bytes"):
        open_archive(path)


@pytest.mark.parametrize(
    "seeds", [range(400), pytest.param(range(400, 5_400), marks=pytest.mark.slow)], ids=["400", "5000 more"]
)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damage_anywhere_is_an_error_or_harmless(tmp_path: Path, seeds: range, method: int, fault: Tries) -> None:
    """Whatever bytes are overwritten, lost or doubled: the right bytes, or a DataError, and never other bytes."""
    path = tmp_path / "damaged.zip"
    members = {"a.wav": bytes(range(200)) * 3, "b.wav": b"second", "c/d.csv": b"file_name,d1p\n"}
    whole = pack(path, members, method).read_bytes()
    n_refused = 0
    for seed in seeds:
        fault("an archive damaged anywhere")
        rng, data = random.Random(seed), bytearray(whole)
        for _ in range(rng.choice([1, 1, 2, 8])):
            at = rng.randrange(len(data))
            stretch = data[at : at + rng.randrange(1, 30)]
            action = rng.randrange(6)
            if action == 0:
                del data[at : at + len(stretch)]
            elif action == 1:
                data[at:at] = stretch
            elif action == 2:
                data[at : at + len(stretch)] = rng.choice([b"\xff", b"\x00"]) * len(stretch)
            else:
                data[at] = rng.randrange(256)
        path.write_bytes(data)
        try:
            with open_archive(path) as archive:
                for name in archive.members:
                    found = archive.read(name)
                    assert name not in members or found == members[name], f"seed {seed}"
        except DataError as error:
            n_refused += 1
            assert str(path) in str(error)
    assert n_refused > len(seeds) / 10, "the damage is felt"


CLIPS = [
    f"section_00_{domain}_{split}_{condition}_{index:04d}_m-n_W.wav"
    for index, (domain, split, condition) in enumerate(
        [("source", "train", "normal"), ("source", "test", "normal"), ("source", "test", "anomaly")]
    )
]


def flagged(data: bytes) -> bytes:
    """The first entry of the directory marked as encrypted."""
    at = data.index(b"PK\x01\x02") + 8
    return data[:at] + b"\x01\x00" + data[at + 2 :]


def oversized(data: bytes) -> bytes:
    """The first entry of the directory declared to hold 4 GB."""
    at = data.index(b"PK\x01\x02") + 24
    return data[:at] + b"\xfe\xff\xff\xff" + data[at + 4 :]


def with_member(name: str, mode: int = stat.S_IFREG | 0o644) -> Callable[[bytes], bytes]:
    """One more member."""

    def change(data: bytes) -> bytes:
        file = io.BytesIO(data)
        with zipfile.ZipFile(file, "a") as archive:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, b"/etc/passwd")
        return file.getvalue()

    return change


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "absolute name": (with_member("/tmp/evil.wav"), "'/tmp/evil.wav': an absolute path"),
    "..": (with_member("fan/../../evil.wav"), r"'fan/../../evil.wav': a '..' in its path"),
    "link": (with_member("fan/evil.wav", stat.S_IFLNK | 0o777), "'fan/evil.wav': a symbolic link"),
    "twice": (
        lambda data: with_member("fan/b.wav")(with_member("fan/a.wav")(data)).replace(b"fan/b.wav", b"fan/a.wav"),
        "'fan/a.wav': listed twice",
    ),
    "encrypted": (flagged, "encrypted"),
    "bomb": (oversized, "more than the limit"),
    "cut": (lambda data: data[:-30], "no readable zip directory"),
    "page": (lambda data: b"<html>sign in</html>", "no readable zip directory"),
}


@pytest.mark.parametrize("command", ["validate", "build"])
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_one_message_and_nothing_else(
    tmp_path: Path, case: str, command: str, fault: Tries, capsys: pytest.CaptureFixture[str]
) -> None:
    fault("a hostile archive, from the command line")
    change, message = HOSTILE[case]
    root = tmp_path / "root"
    archive = pack_release(root / "archives/mine/fan.zip", {name: np.ones(160_000, np.int16) for name in CLIPS}, "fan")
    manifest = write_dataset(tmp_path, "mine", [archive])
    archive.write_bytes(change(archive.read_bytes()))
    assert main(["fetch", str(manifest), "--offline", "--root", str(root)]) == 0, "its checksum is not known"
    (tmp_path / "v.toml").write_text(f'name = "v"\ndataset = "{manifest}"\nmixing = "none"\n')
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main([command, str(manifest if command == "validate" else tmp_path / "v.toml"), "--root", str(root)]) == 1
    output = capsys.readouterr()
    lines = [line for line in output.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and str(archive) in lines[0] and message in lines[0], output.err
    assert "Traceback" not in output.err and output.out == ""
    assert {path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"} <= before
