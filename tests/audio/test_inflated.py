"""Members that wait between two reads: right whatever becomes of the file, which nobody can see."""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from mimiidg_build.audio import inflated
from mimiidg_build.audio.archive import Archive, open_archive
from mimiidg_build.audio.inflated import InflatedMembers, inflated_members

CLIPS = {f"fan/train/{number}.wav": bytes([number]) * 10_000 + os.urandom(10_000) for number in range(4)}


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    path = tmp_path / "fan.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in CLIPS.items():
            file.writestr(name, data)
        file.writestr("stored.wav", b"as it is", zipfile.ZIP_STORED)
    return open_archive(path)


@pytest.fixture
def once_read(archive: Archive, tmp_path: Path) -> InflatedMembers:
    """All members read for the first time."""
    return read_all(InflatedMembers(tmp_path), archive)


def read_all(kept: InflatedMembers, archive: Archive) -> InflatedMembers:
    kept.expect(archive.path, archive.members)
    assert {name: kept.read_first(archive, name) for name in CLIPS} == CLIPS
    assert kept.read_first(archive, "stored.wav") == b"as it is"
    return kept


def inflated_again(kept: InflatedMembers, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Read all once more, rightly; which of them the archive had to give."""
    asked, read = [], Archive.read
    with monkeypatch.context() as patched:
        patched.setattr(Archive, "read", lambda self, name: (asked.append(name), read(self, name))[1])
        assert {name: kept.read(archive, name) for name in CLIPS} == CLIPS
    return asked


def file_of(directory: Path) -> Path:
    """The one nameless file of a directory that this process has open."""
    descriptors = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    (found,) = (path for path in descriptors if str(path.readlink()).startswith(f"{directory}/inflated."))
    return found


def test_a_member_is_inflated_once(
    once_read: InflatedMembers, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert inflated_again(once_read, archive, monkeypatch) == []
    assert once_read.read(archive, "stored.wav") == b"as it is"


def test_only_what_is_expected_is_kept(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, (wanted, *others) = InflatedMembers(tmp_path), CLIPS
    kept.expect(archive.path, [wanted])
    for name in CLIPS:
        kept.read_first(archive, name)
    assert inflated_again(kept, archive, monkeypatch) == others


def test_the_file_has_no_name_and_is_gone_with_the_block(archive: Archive, tmp_path: Path) -> None:
    with inflated_members(tmp_path) as kept:
        read_all(kept, archive)
        assert [path.name for path in tmp_path.iterdir()] == ["fan.zip"]
        assert file_of(tmp_path).stat().st_size == sum(map(len, CLIPS.values())), "no stored member among them"
    with pytest.raises(ValueError, match="not enough values"):
        file_of(tmp_path)
    assert {name: kept.read(archive, name) for name in CLIPS} == CLIPS
    read_all(kept, archive)
    with pytest.raises(ValueError, match="not enough values"):
        file_of(tmp_path)


def test_a_thread_that_still_works_writes_to_no_other_file(
    once_read: InflatedMembers, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The build has failed and closed what it had while a thread was about to read or write."""
    descriptor, pread, seen = int(file_of(tmp_path).name), os.pread, []

    def closed_meanwhile(number: int, n_bytes: int, offset: int) -> bytes:
        if number == descriptor:
            once_read.close()
            seen.append(str(Path(f"/proc/self/fd/{number}").readlink()))
        return pread(number, n_bytes, offset)

    monkeypatch.setattr(os, "pread", closed_meanwhile)
    (name, *_) = CLIPS
    assert once_read.read(archive, name) == CLIPS[name]
    assert "inflated." in seen[0]


@pytest.mark.parametrize("damage", ["flipped", "cut off", "replaced"])
def test_what_is_not_right_is_inflated_again(
    once_read: InflatedMembers, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    file, (first, *rest) = file_of(tmp_path), CLIPS
    if damage == "flipped":
        with file.open("r+b") as opened:
            opened.seek(5)
            opened.write(b"\xff")
        assert inflated_again(once_read, archive, monkeypatch) == [first]
    elif damage == "cut off":
        os.truncate(file, 20_001)
        assert inflated_again(once_read, archive, monkeypatch) == rest
    else:
        with zipfile.ZipFile(tmp_path / "new.zip", "w", zipfile.ZIP_DEFLATED) as new:
            new.writestr(first, b"another recording")
        (tmp_path / "new.zip").replace(archive.path)
        assert once_read.read(open_archive(archive.path), first) == b"another recording"


def test_a_full_disk_costs_a_second_inflating(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, pwrite = [], os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        written.append(offset)
        if len(written) > 1:
            raise OSError(28, "No space left on device")
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    kept = read_all(InflatedMembers(tmp_path), archive)
    assert len(written) == 2, "not tried again"
    assert inflated_again(kept, archive, monkeypatch) == list(CLIPS)[1:]


def test_room_is_found_at_once_or_nothing_waits(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(inflated, "RESERVED_BYTES", 50_000)
    monkeypatch.setattr(inflated, "reserve", lambda descriptor, offset, n_bytes: asked.append((offset, n_bytes)))
    kept = read_all(InflatedMembers(tmp_path), archive)
    assert inflated_again(kept, archive, monkeypatch) == []
    assert asked[:2] == [(0, 50_000), (50_000, 50_000)]

    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(inflated, "reserve", full)
    kept = read_all(InflatedMembers(tmp_path), archive)
    assert inflated_again(kept, archive, monkeypatch) == list(CLIPS)


@pytest.mark.parametrize("bound", ["of bytes", "of the free disk"])
def test_room_is_bounded(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    if bound == "of bytes":
        monkeypatch.setattr(inflated, "KEPT_BYTES", 45_000)
    else:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=4 * 45_000))
    kept = read_all(InflatedMembers(tmp_path), archive)
    assert inflated_again(kept, archive, monkeypatch) == list(CLIPS)[2:]


def test_nothing_can_be_written_there(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = read_all(InflatedMembers(tmp_path / "absent"), archive)
    assert inflated_again(kept, archive, monkeypatch) == list(CLIPS)


def test_in_another_process_nothing_waits(
    once_read: InflatedMembers, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = pickle.loads(pickle.dumps(once_read))
    assert inflated_again(there, archive, monkeypatch) == list(CLIPS)
