"""A plain archive's directory is read at once: what is found, and what is refused, is the same as by zipfile."""

from __future__ import annotations

import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mimiidg_build.audio import zip_directory
from mimiidg_build.audio.plain_directory import Member
from mimiidg_build.audio.zip_directory import DEFAULT_LIMITS, Limits, read_directory
from mimiidg_build.errors import DataError
from mimiidg_build.storage.places import open_file

NAMES = [f"fan/train/section_00_source_train_normal_{number:04d}_m-n_W.wav" for number in range(15)]
CLOCK = struct.pack("<HHBIHH", 0x5455, 5, 1, 1_600_000_000, 0x9999, 0)  # as Info-ZIP's program adds to each entry


def pack(path: Path, change: Callable[[zipfile.ZipFile], None] = lambda file: None, extra: bytes = b"") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.mkdir("fan")
        for name in NAMES:
            info = zipfile.ZipInfo(name)
            info.extra = extra
            file.writestr(info, name.encode())
        change(file)
    return path


def written(name: str, **values: object) -> Callable[[zipfile.ZipFile], None]:
    def change(file: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo(name)
        for key, value in values.items():
            setattr(info, key, value)
        file.writestr(info, b"x")

    return change


def commented(file: zipfile.ZipFile) -> None:
    file.comment = b"packed by hand"


@pytest.fixture
def by_zipfile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path, Limits], object]]:
    """What is read or refused where no archive counts as plain."""

    def read(path: Path, limits: Limits) -> object:
        with monkeypatch.context() as context:
            context.setattr(zip_directory, "plain_members", lambda *_: None)
            return outcome(path, limits)

    yield read


def outcome(path: Path, limits: Limits = DEFAULT_LIMITS) -> object:
    try:
        return list(read_directory(path, open_file(path), limits).items())
    except DataError as error:
        return str(error)


def is_plain(path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the archive is read without zipfile."""

    def refuse(*_: object) -> list[zipfile.ZipInfo]:
        raise NotImplementedError("zipfile is asked")

    with monkeypatch.context() as context:
        context.setattr(zip_directory, "_entries", refuse)
        try:
            read_directory(path, open_file(path), DEFAULT_LIMITS)
        except NotImplementedError:
            return False
        return True


@pytest.mark.parametrize("extra", [b"", CLOCK])
def test_a_plain_archive_is_read_without_zipfile(
    extra: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_zipfile: Callable[[Path, Limits], object]
) -> None:
    path = pack(tmp_path / "fan.zip", extra=extra)
    assert is_plain(path, monkeypatch)
    found = outcome(path)
    assert found == by_zipfile(path, DEFAULT_LIMITS)
    assert isinstance(found, list) and [name for name, _ in found] == NAMES
    assert all(isinstance(member, Member) and member.size_bytes == len(name) for name, member in found)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "change",
    [
        *(written(name) for name in ("/etc/passwd", "../x", "fan/..", "a/../b", "C:x", "a\\b", "a\x01b", "à.wav")),
        *(written(name) for name in (NAMES[0], "x" * 5000, "a\nb", "fan//x.wav", "a..b/c...wav", ".")),
        *(written("x", external_attr=mode << 16) for mode in (0o120777, 0o100644, 0o010644)),
        *(written("x", extra=extra) for extra in (struct.pack("<HHQ", 1, 8, 7), b"\x01\x02\x03", CLOCK[:-1])),
        commented,
        written("folder/", external_attr=0o040755 << 16),
    ],
)
def test_what_is_not_plain_is_read_or_refused_as_by_zipfile(
    change: Callable[[zipfile.ZipFile], None], tmp_path: Path, by_zipfile: Callable[[Path, Limits], object]
) -> None:
    path = pack(tmp_path / "fan.zip", change)
    assert outcome(path) == by_zipfile(path, DEFAULT_LIMITS)


@pytest.mark.parametrize("limits", [Limits(member_bytes=50), Limits(total_bytes=100)])
def test_limits_hold_for_plain_archives(
    limits: Limits, tmp_path: Path, by_zipfile: Callable[[Path, Limits], object]
) -> None:
    path = pack(tmp_path / "fan.zip")
    refused = outcome(path, limits)
    assert isinstance(refused, str) and "refused" in refused
    assert refused == by_zipfile(path, limits)


def test_damaged_directories_are_read_or_refused_as_by_zipfile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_zipfile: Callable[[Path, Limits], object]
) -> None:
    whole = pack(tmp_path / "fan.zip", extra=CLOCK).read_bytes()
    begins = whole.index(b"PK\x01\x02")
    draw, path, n_plain = random.Random(0), tmp_path / "damaged.zip", 0
    for _ in range(120):
        data = bytearray(whole[: len(whole) - draw.choice([0, 0, 0, draw.randrange(1, 100)])])
        data[draw.randrange(begins, len(data))] = draw.choice([0, 1, 46, 47, 92, 255, draw.randrange(256)])
        path.write_bytes(data)
        assert outcome(path) == by_zipfile(path, DEFAULT_LIMITS)
        n_plain += is_plain(path, monkeypatch)
    assert 20 < n_plain < 100, "of either kind some"
