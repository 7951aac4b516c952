"""Zip files of members deflated beforehand: names of any language, and more than what fits into 32 bits."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from mimiidg_build.audio.archive import open_archive
from mimiidg_build.synthesis.zip_file import _end, _records, pack_member, write_zip


@pytest.mark.parametrize("n_members", [0, 3, 70_000])
def test_any_number_of_members(tmp_path: Path, n_members: int) -> None:
    path = tmp_path / "a.zip"
    write_zip(path, (pack_member(f"fan/{n}.txt", b"", is_clip=False) for n in range(n_members)), None)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == n_members
        assert archive.testzip() is None if n_members < 10 else archive.namelist()[-1] == f"fan/{n_members - 1}.txt"
    assert len(open_archive(path).members) == n_members


def test_a_member_beyond_four_gigabytes(tmp_path: Path) -> None:
    """In a file with a hole, which takes no room."""
    path, offset = tmp_path / "a.zip", 5 * 2**30
    member = pack_member("Lüfter/a.wav", b"samples" * 99, is_clip=True)
    with path.open("wb") as file:
        local, entry = _records(member, offset)
        file.seek(offset)
        file.write(local + member.data)
        at = file.tell()
        file.write(entry + _end(1, len(entry), at))
    with zipfile.ZipFile(path) as archive:
        assert archive.read("Lüfter/a.wav") == b"samples" * 99
    assert open_archive(path).read("Lüfter/a.wav") == b"samples" * 99
