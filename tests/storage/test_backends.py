"""The two back ends: the same promises, kept by a disk and by a bucket; and nothing above them asks which one it is."""

from __future__ import annotations

import ast
import ctypes
import errno
import os
import pickle
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from filelock import Timeout

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.schemas.stores import StoredObject
from mimiidg_build.storage import disk, places, reserve
from mimiidg_build.storage.backend import Backend
from mimiidg_build.storage.bucket import Bucket
from mimiidg_build.storage.disk import FLUSHED_AT_ONCE, Disk
from mimiidg_build.storage.files import hash_object, whole_file, write_file, write_object
from mimiidg_build.storage.holds import alone
from mimiidg_build.storage.locks import file_lock, variant_lock
from mimiidg_build.storage.object_path import ObjectPath
from mimiidg_build.storage.places import Place
from tests.test_architecture import ROOT, sources

MARKER = "zarr.json"


@pytest.fixture(params=["disk", "bucket"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty directory of each kind."""
    return tmp_path / "data" if request.param == "disk" else request.getfixturevalue("bucket") / "data"


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that change the file system's names or flush, in order."""
    seen: list[str] = []
    for name in ("fsync", "replace", "rename"):
        real = getattr(os, name)

        def noted(*arguments: Any, name: str = name, real: Callable[..., Any] = real) -> Any:
            seen.append(name)
            return real(*arguments)

        monkeypatch.setattr(os, name, noted)
    return seen


def test_both_do_what_the_protocol_says() -> None:
    named = {name for name in vars(Backend) if not name.startswith("_")} | set(Backend.__annotations__)
    for kind in (Disk, Bucket):
        assert {name for name in vars(kind) if not name.startswith("_")} == named


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_file_is_whole_or_not_there(directory: Place) -> None:
    path = directory / "a/b"
    with whole_file(path) as write:
        write(b"first ")
        write(memoryview(b"second"))
        assert not path.exists()
    assert path.read_bytes() == b"first second"
    with pytest.raises(KeyError), whole_file(path) as write:
        write(b"half")
        raise KeyError
    assert path.read_bytes() == b"first second"
    assert places.file_sizes(directory) == {"a/b": 12}
    written = write_object(directory, "a/b", b"first second")
    assert hash_object(directory, "a/b") == written == StoredObject("a/b", 12, blake3(b"first second").hexdigest())


def test_identity_of_a_file_changes_with_it(directory: Place) -> None:
    """On a disk, also when its bytes change in place and its time of modification is set back."""
    path = directory / "a"
    assert places.identity(path) is None
    write_file(path, [b"content"])
    before = places.identity(path)
    if not isinstance(path, Path):
        assert before is None, "it would take a request"
        return
    assert before is not None and places.identity(path) == before
    times = path.stat()
    time.sleep(0.02)  # more than a tick of the file system's clock
    with path.open("r+b") as file:
        file.write(b"C")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = places.identity(path)
    assert after is not None and (after[:4], after[4] > before[4]) == (before[:4], True)


def test_one_read_at_an_offset(directory: Place) -> None:
    write_file(directory / "a", [bytes(range(100))])
    assert places.read_at(directory / "a", 90, 5) == bytes(range(90, 95))
    assert places.read_at(directory / "a", 90, 50) == bytes(range(90, 100)), "fewer at the end"
    with pytest.raises(FileNotFoundError):
        places.read_at(directory / "none", 0, 1)


def test_a_rename_comes_after_the_flush_and_is_flushed_itself(tmp_path: Path, steps: list[str]) -> None:
    write_file(tmp_path / "file", [b"content"])
    assert steps == ["fsync", "replace"]
    steps.clear()
    places.deliver(tmp_path / "file", tmp_path / "delivered", iter(()))
    assert steps == ["fsync", "replace", "fsync"]
    steps.clear()
    places.point(tmp_path / "latest", b"content")
    assert steps == ["fsync", "replace", "fsync"]
    steps.clear()
    places.move(tmp_path / "latest", tmp_path / "deep/moved")
    assert steps == ["replace", "fsync"]
    steps.clear()
    write_file(tmp_path / "a.zarr.partial/fan/c", [b"content"])
    steps.clear()
    places.publish(tmp_path / "a.zarr.partial")
    assert steps == ["fsync", "fsync", "fsync", "rename", "fsync"], "a file, two directories; the parent"


def test_a_file_of_a_partial_store_is_flushed_when_that_is_published(tmp_path: Path, steps: list[str]) -> None:
    write_object(tmp_path / "a.zarr.partial", "zarr.json", b"{}", durable=False)
    assert steps == ["replace"]
    places.publish(tmp_path / "a.zarr.partial")
    assert steps == ["replace", "fsync", "fsync", "rename", "fsync"], "the file, its directory; the parent"


def test_a_store_is_flushed_many_files_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other each would wait for the disk, while no worker has anything to do."""
    names = [f"fan/{number}" for number in range(FLUSHED_AT_ONCE - 2)]  # and two directories
    for name in names:
        write_object(tmp_path / "a.zarr.partial", name, b"content", durable=False)
    together, fsync = threading.Barrier(FLUSHED_AT_ONCE), os.fsync

    def waiting(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink() != tmp_path:
            together.wait(10)  # until as many are flushed
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", waiting)
    assert places.file_sizes(places.publish(tmp_path / "a.zarr.partial")) == dict.fromkeys(names, 7)


def test_a_file_whose_size_is_known_gets_its_room_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with whole_file(path, 10 * 2**20) as write:
        (temporary,) = tmp_path.iterdir()
        found = temporary.stat()
        assert (found.st_size, found.st_blocks * 512 >= 10 * 2**20) == (0, True)
        write(b"content")
    assert path.read_bytes() == b"content", "no zeros where less is written"


def test_a_file_system_that_cannot_reserve_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS and some of FUSE; the file is written all the same. One that is full says so before the work is done."""
    answer = errno.EOPNOTSUPP

    def refuse(*_: int) -> int:
        ctypes.set_errno(answer)
        return -1

    monkeypatch.setattr(reserve, "_fallocate", lambda: refuse)
    with whole_file(tmp_path / "a", 7) as write:
        write(b"content")
    answer = errno.ENOSPC
    with pytest.raises(DataError, match=r"b cannot be written: No space left"), whole_file(tmp_path / "b", 7):
        pytest.fail("the block has begun")
    monkeypatch.setattr(reserve, "_fallocate", lambda: None)  # another system than Linux
    with whole_file(tmp_path / "c", 7) as write:
        write(b"content")
    assert places.file_sizes(tmp_path) == {"a": 7, "c": 7}


def test_a_short_write_goes_on(tmp_path: Path) -> None:
    """One call may write less than it was given."""

    class Slow:
        content = b""

        def write(self, data: memoryview) -> int:
            self.content += bytes(data[:3])
            return len(data[:3])

    file = Slow()
    disk._Growing(file, tmp_path / "a", durable=False)(b"0123456789")  # type: ignore[arg-type]
    assert file.content == b"0123456789"


@pytest.mark.parametrize("advice", ["taken", "refused", "unknown"])
def test_the_disk_writes_while_a_file_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, advice: str) -> None:
    """Every part of a large file once; where the system takes no such advice, all at the end."""
    parts: list[tuple[int, int]] = []

    def advise(descriptor: int, offset: int, n_bytes: int, what: int) -> None:
        parts.append((offset, n_bytes))
        if advice == "refused":
            raise OSError(errno.ENOTSUP, "not here")

    monkeypatch.setattr(os, "posix_fadvise", advise)
    if advice == "unknown":
        monkeypatch.delattr(os, "posix_fadvise")
    monkeypatch.setattr(disk, "WRITTEN_AT_ONCE", 4)
    for durable in (True, False):
        with whole_file(tmp_path / "a", durable=durable) as write:
            for block in (b"abc", b"defgh", b"i", b"jklm"):
                write(block)
        assert (tmp_path / "a").read_bytes() == b"abcdefghijklm"
    assert parts == ([] if advice == "unknown" else [(0, 8), (8, 5)]), "and nothing of a file that is not flushed"


def test_a_file_of_this_machine_is_delivered(directory: Place, tmp_path: Path) -> None:
    source = tmp_path / "arrived.part"
    source.write_bytes(b"content")
    places.prepare(directory)
    read: list[bytes] = []

    def blocks() -> Iterator[bytes]:
        for block in (b"con", b"tent"):
            read.append(block)
            yield block

    places.deliver(source, directory / "archive.zip", blocks())
    assert (directory / "archive.zip").read_bytes() == b"content" and not source.exists()
    assert bool(read) is not places.is_local(directory), "only a bucket needs the bytes sent"


def test_a_link_is_a_second_name_or_a_copy(directory: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(directory / "a", [b"content"])
    write_file(directory / "b/other", [b"something else"])

    def linked(name: str) -> bool:
        places.link(directory / "a", directory / name)
        assert (directory / name).read_bytes() == b"content"
        inodes = [getattr((directory / n).stat(), "st_ino", n) for n in ("a", name)]
        return inodes[0] == inodes[1]

    assert linked("b/link") == linked("b/other") == places.is_local(directory)

    def refused(*arguments: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", refused)
        assert not linked("b/copy")
    with pytest.raises(FileNotFoundError):
        places.link(directory / "none", directory / "c")


# ---- directories -----------------------------------------------------------------------------------------------------


def test_what_interrupted_writes_left_is_removed(tmp_path: Path) -> None:
    for name in ("deep/c/0/0.123.partial", "zarr.json.77.partial", "deep/c/0/1"):
        write_file(tmp_path / "data" / name, [b"half"])
    places.prepare(tmp_path / "data")
    assert places.file_sizes(tmp_path / "data") == {"deep/c/0/1": 4}
    places.prepare(tmp_path / "new/one")
    assert (tmp_path / "new/one").is_dir()
    with pytest.raises(DataError, match=r"0/1 cannot be written: .*free some space or correct the permissions, then"):
        places.prepare(tmp_path / "data/deep/c/0/1")


def test_a_bucket_has_nothing_to_prepare(bucket: ObjectPath) -> None:
    write_file(bucket / "data/somebody's.partial", [b"content"])
    places.prepare(bucket / "data")
    places.remove_partial(bucket / "data")
    assert places.file_sizes(bucket / "data") == {"somebody's.partial": 7}, "no program of ours wrote that"


def test_others_see_the_directory(directory: Place) -> None:
    write_file(directory / "a", [b"content"])
    with places.check_access(directory) as complaint:
        assert pickle.loads(pickle.dumps(complaint))() == ""
    assert places.file_sizes(directory) == {"a": 7}, "what was written to look for it is gone"


def test_others_do_not_see_the_directory(tmp_path: Path, bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    with places.check_access(tmp_path) as complaint:
        (probe,) = tmp_path.iterdir()
        probe.unlink()  # as good as another machine's disk
        assert re.match(f"do not see what lies in {tmp_path}. Likely cause: no shared file system", complaint())
    with (
        pytest.raises(UsageError, match="mine: a cluster's workers need an absolute path"),
        places.check_access(Path("mine")),
    ):
        pass
    with places.check_access(bucket / "data") as complaint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        monkeypatch.setattr("mimiidg_build.storage.object_client.RETRIES", 0)
        assert re.match(rf"cannot read {bucket}/data: the object storage at .* fails.*the same AWS_", complaint())


# ---- stores ----------------------------------------------------------------------------------------------------------


def test_a_store_is_built_and_published(directory: Place) -> None:
    final = directory / "a.zarr"
    built = places.staging(final)
    assert (built == final) is not places.is_local(directory)
    write_file(built / "fan/zarr.json", [b"{}"])
    assert not places.is_published(built, MARKER) and not places.is_published(final, MARKER)
    write_file(built / MARKER, [b"{}"])
    assert places.publish(built) == final
    assert places.is_published(final, MARKER)
    assert places.file_sizes(directory) == {"a.zarr/fan/zarr.json": 2, f"a.zarr/{MARKER}": 2}


def test_a_store_that_cannot_be_published(tmp_path: Path) -> None:
    write_file(tmp_path / "a.zarr/zarr.json", [b"another"])
    write_file(tmp_path / "a.zarr.partial/zarr.json", [b"{}"])
    with pytest.raises(DataError, match=r"a\.zarr\.partial cannot be finished: Directory not empty\. Run the same"):
        places.publish(tmp_path / "a.zarr.partial")
    assert (tmp_path / "a.zarr/zarr.json").read_bytes() == b"another"


def test_the_newest_store_is_pointed_at(directory: Place) -> None:
    for content in (b"first", b"second"):
        assert places.point(directory / "latest", content)
        assert (directory / "latest").read_bytes() == content


def test_of_two_machines_that_point_one_sees_the_other(
    bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The other one comes between the look and the put, whether something was there before or not."""
    latest, write = bucket / "latest", ObjectPath.write
    for before in (None, b"before"):
        if before:
            latest.write(before)

        def meanwhile(path: ObjectPath, content: bytes, *, replaces: str | None = None) -> None:
            write(path, b"the other's")
            write(path, content, replaces=replaces)

        with monkeypatch.context() as patched:
            patched.setattr(ObjectPath, "write", meanwhile)
            assert not places.point(latest, b"mine")
        assert latest.read_bytes() == b"the other's"
        assert places.point(latest, b"mine") and latest.read_bytes() == b"mine"
        latest.unlink()
    assert caplog.text.count("was moved by another machine just now; looking again") == 2


def test_only_a_disk_holds(tmp_path: Path, bucket: ObjectPath) -> None:
    held = places.hold(tmp_path)
    with alone(tmp_path) as nobody:
        assert held is not None and not nobody
    assert places.hold(bucket / "a.zarr") is None


# ---- locks -----------------------------------------------------------------------------------------------------------


def test_one_at_a_time(directory: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIMIIDG_WORK", str(tmp_path / "work"))
    path = directory / "deep" / ".locks" / "fan.zip.lock"
    with file_lock(path), pytest.raises(Timeout):
        file_lock(path).acquire(timeout=0)
    with file_lock(path):
        assert places.local(path).is_file(), "on this machine, also for a bucket"
    with variant_lock(directory):
        pass
    assert places.local(directory / ".lock").is_file()


# ---- one place of difference -----------------------------------------------------------------------------------------


def calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    return (n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == name)


def outside() -> Iterator[tuple[Path, ast.Module]]:
    """Every module above this room."""
    for room, path in sources():
        if room != "storage":
            yield path.relative_to(ROOT), ast.parse(path.read_text())


def test_nothing_above_asks_what_a_path_is() -> None:
    kinds = {"Path", "PurePath", "PosixPath", "ObjectPath"}
    asked = [
        f"{path}: {ast.unparse(call)}"
        for path, tree in outside()
        for question in ("isinstance", "issubclass", "type")
        for call in calls(tree, question)
        if kinds & {n.id for argument in call.args[1:] for n in ast.walk(argument) if isinstance(n, ast.Name)}
    ]
    assert asked == []
    named = [
        f"{path}: {alias.name}"
        for path, tree in outside()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in {"ObjectPath", "Disk", "Bucket", "DISK", "BUCKET", "backend"}
    ]
    assert named == [], "the two kinds and their back ends stay in this room"


def test_nothing_above_writes_or_locks_in_a_way_of_its_own() -> None:
    """One atomic write, one flush, one lock: elsewhere nobody calls what they are made of.

    But for the kernels, which import no other room: their cache can be made again, and needs no flush.
    """
    own = {"fsync", "replace", "FileLock", "SoftFileLock", "flock", "lockf", "mkstemp", "NamedTemporaryFile"}
    used = [
        f"{path}: {ast.unparse(node)}"
        for path, tree in outside()
        if str(path) != "mimiidg_build/kernels/cache.py"
        for node in ast.walk(tree)
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in ("os", "fcntl", "tempfile", "filelock")
            and node.attr in own
        )
        or (isinstance(node, ast.alias) and node.name in own - {"replace"})
    ]
    assert used == []
