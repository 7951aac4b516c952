"""Places on object storage do what paths of this machine do; against a real server that speaks S3."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest

from mimiidg_build.errors import UsageError
from mimiidg_build.storage.object_path import ABSENT
from mimiidg_build.storage.places import (
    ObjectPath,
    copy,
    file_sizes,
    local,
    matching,
    move,
    open_file,
    place,
    remove_tree,
)

FILES = {
    "variants/demo/latest": b"abc\n",
    "variants/demo/abc.zarr/zarr.json": b"{}",
    "variants/demo/abc.zarr/fan/section_00/audio/c/0/0": os.urandom(100_000),
    "variants/other/x.zarr/zarr.json": b"",
    "archives/r/fan.zip": os.urandom(6_000_000),  # put in several parts
}


@pytest.fixture
def both(bucket: ObjectPath, tmp_path: Path) -> tuple[ObjectPath, Path]:
    """The same files on object storage and on this machine."""
    there, here = bucket / "data", tmp_path / "data"
    for name, content in FILES.items():
        (there / name).write(content)
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(content)
    return there, here


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data", Path("data")),
        ("/srv/data", Path("/srv/data")),
        ("s3://bucket", ObjectPath("/bucket")),
        ("s3://bucket/", ObjectPath("/bucket")),
        ("s3://bucket/a/b/", ObjectPath("/bucket/a/b")),
    ],
)
def test_names(text: str, expected: Path | ObjectPath) -> None:
    found = place(text)
    assert (type(found), found) == (type(expected), expected)
    assert place(str(found)) == found and place(found) is found
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize(
    "text", ["s3://", "s3:///a", "gs://bucket/a", "http://x/y", "s3://b/../c", "s3://b/..", "s3://b//c"]
)
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(UsageError, match="is neither a path nor a URL like s3://bucket/prefix"):
        place(text)


def test_what_lies_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIMIIDG_WORK", raising=False)
    assert local(Path("data")) == Path("data")
    assert local(ObjectPath("/bucket/data/runs")) == Path("mimiidg-work/bucket/data/runs")
    monkeypatch.setenv("MIMIIDG_WORK", "/scratch")
    assert local(ObjectPath("/bucket/data")) == Path("/scratch/bucket/data")


def test_the_same_files_are_found_and_read(both: tuple[ObjectPath, Path]) -> None:
    there, here = both
    assert file_sizes(there) == file_sizes(here) == {name: len(content) for name, content in FILES.items()}
    for pattern in ("variants/*/latest", "variants/*/*.zarr", "variants/demo/*", "nothing/*", "archives/r/fan.zip"):
        found = [path.relative_to(there).as_posix() for path in matching(there, pattern)]
        assert found == [path.relative_to(here).as_posix() for path in matching(here, pattern)], pattern
    assert [path.name for path in there.iterdir()] == ["archives", "variants"]
    for name in (*FILES, "variants", "variants/demo/abc.zarr", "variants/de", "nothing"):
        a, b = there / name, here / name
        assert (a.is_file(), a.is_dir(), a.exists()) == (b.is_file(), b.is_dir(), b.exists()), name
    for name, content in FILES.items():
        path = there / name
        assert path.read_bytes() == content == b"".join(path.blocks())
        assert path.stat().st_size == len(content)
        assert path.stat() == path.stat()


@pytest.mark.parametrize("kind", [0, 1], ids=["object", "file"])
def test_reads_at_an_offset_and_by_position(both: tuple[ObjectPath, Path], kind: int) -> None:
    path = both[kind] / "archives/r/fan.zip"
    content, opened = FILES["archives/r/fan.zip"], open_file(path)
    assert opened.size_bytes == len(content)
    for offset, n in ((0, 10), (5_999_990, 10), (5_999_990, 100), (1234, 0), (17, 5_000_000)):
        assert opened.read_at(offset, n) == content[offset : offset + n]
    with opened.file() as file:
        assert file.seek(-22, io.SEEK_END) == len(content) - 22 and file.read() == content[-22:]
        assert file.seek(100) == 100 and file.read(7) == content[100:107] and file.tell() == 107
        assert file.seek(3, io.SEEK_CUR) == 110 and file.read(1) == content[110:111]
    opened.close()
    with path.open("rb") as file:
        assert file.read() == content


def test_a_zip_is_read_where_it_lies(bucket: ObjectPath) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a/b.wav", b"samples" * 1000)
    (bucket / "x.zip").write(content.getvalue())
    with zipfile.ZipFile((bucket / "x.zip").open()) as found:
        assert found.read("a/b.wav") == b"samples" * 1000


def test_two_writers_see_each_other(bucket: ObjectPath) -> None:
    path = bucket / "latest"
    path.write(b"first", replaces=ABSENT)
    with pytest.raises(FileExistsError, match="another version is there"):
        path.write(b"second", replaces=ABSENT)
    content, version = path.read_version()
    assert content == b"first"
    path.write(b"third", replaces=version)
    with pytest.raises(FileExistsError, match="another version is there"):
        path.write(b"fourth", replaces=version)
    assert path.read_bytes() == b"third"


def test_copied_moved_and_removed(both: tuple[ObjectPath, Path], tmp_path: Path) -> None:
    there, here = both
    name = "archives/r/fan.zip"
    for number, (source, target) in enumerate(
        [(there, there), (here, there), (there, here), (here, here)],
    ):
        copy(source / name, target / f"copy{number}")
        assert (target / f"copy{number}").read_bytes() == FILES[name]
    move(there / "copy0", there / "moved")
    assert not (there / "copy0").exists() and (there / "moved").read_bytes() == FILES[name]
    (there / "moved").unlink()
    (there / "moved").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        (there / "moved").unlink()
    remove_tree(there / "variants/demo")
    remove_tree(there / "variants/demo")
    assert [path.name for path in (there / "variants").iterdir()] == ["other"]


def test_what_fails_names_the_place(bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    for read in (ObjectPath.read_bytes, ObjectPath.stat, lambda path: path.read_at(0, 1), lambda path: path.open()):
        with pytest.raises(FileNotFoundError, match="no such object") as caught:
            read(bucket / "nothing")
        assert caught.value.filename == str(bucket / "nothing")
    nobody = ObjectPath("/no-such-bucket/data")
    for ask in (ObjectPath.is_dir, lambda path: list(path.iterdir()), lambda path: path.write(b"")):
        with pytest.raises(FileNotFoundError, match="there is no such bucket"):
            ask(nobody)
    with pytest.raises(ValueError, match="for reading only"):
        bucket.open("wb")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("mimiidg_build.storage.object_client.RETRIES", 0)
    with pytest.raises(OSError, match="the object storage at http://127.0.0.1:1 fails: HTTP error"):
        (bucket / "data").is_dir()
