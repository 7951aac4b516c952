"""File systems that lack calls: no flush of a directory, no locks, no rename of a directory, nothing to be written."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import Timeout

from mimiidg_build.errors import DataError
from mimiidg_build.storage import disk, locks, places
from mimiidg_build.storage.cached_table import read_cached, write_cached
from mimiidg_build.storage.files import write_file
from mimiidg_build.storage.locks import file_lock, locked, locked_variant, variant_lock
from mimiidg_build.storage.temporary import COPY


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIMIIDG_WORK", str(tmp_path / "work"))
    return tmp_path / "work"


def refuse(monkeypatch: pytest.MonkeyPatch, module: Any, call: str, number: int, where: Callable[..., bool]) -> None:
    """Have a call answer with an error wherever ``where``, given its arguments, says so."""
    real = getattr(module, call)

    def refusing(*arguments: Any, **options: Any) -> Any:
        if where(*arguments):
            raise OSError(number, os.strerror(number))
        return real(*arguments, **options)

    monkeypatch.setattr(module, call, refusing)


def path_of(descriptor: Any) -> Path:
    number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
    return Path(f"/proc/self/fd/{number}").readlink()


# ---- flushing a directory --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_directory_that_cannot_be_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    """CIFS, DrvFs, some of FUSE: said once, and the work goes on."""
    monkeypatch.setattr(disk, "_cannot_flush", set())
    refuse(monkeypatch, os, "fsync", number, lambda descriptor: path_of(descriptor).is_dir())
    write_file(tmp_path / "a.zarr.partial/fan/c", [b"content"])
    assert places.publish(tmp_path / "a.zarr.partial") == tmp_path / "a.zarr"
    assert places.point(tmp_path / "latest", b"a")
    assert (tmp_path / "a.zarr/fan/c").read_bytes() == b"content"
    assert caplog.text.count("this file system cannot flush directories") == 1


@pytest.mark.parametrize(("number", "of_files"), [(errno.EINVAL, True), (errno.EIO, False)])
def test_what_a_flush_loses_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, of_files: bool
) -> None:
    """A file that cannot be flushed, or a directory because of a damaged disk."""
    write_file(tmp_path / "a.zarr.partial/fan/c", [b"content"])
    refuse(monkeypatch, os, "fsync", number, lambda descriptor: path_of(descriptor).is_file() is of_files)
    with pytest.raises(DataError, match=r"a\.zarr\.partial cannot be finished"):
        places.publish(tmp_path / "a.zarr.partial")


# ---- renaming a directory --------------------------------------------------------------------------------------------


def test_a_directory_of_a_lower_layer_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An overlay renames only what was made in its upper layer; killed at any point, no part has the final name."""
    staging, final, killed = tmp_path / "a.zarr.partial", tmp_path / "a.zarr", []
    write_file(staging / "fan/c", [b"content"])
    refuse(monkeypatch, os, "rename", errno.EXDEV, lambda source, target: Path(source) == staging)

    def stopped(*arguments: Any, **options: Any) -> None:
        killed.append(final.exists())
        raise KeyboardInterrupt

    for call in ("copytree", "rmtree"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(shutil, call, stopped)
            places.publish(staging)
    assert killed == [False, False]
    (tmp_path / f"a.zarr{COPY}/left").mkdir(parents=True)
    assert places.publish(staging) == final
    assert places.file_sizes(tmp_path) == {"a.zarr/fan/c": 7}
    assert not staging.exists()


# ---- locks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on a file system without locks."""
    monkeypatch.setattr(locks, "_without_locks", set())
    where = tmp_path / "mounted"
    refuse(monkeypatch, fcntl, "flock", errno.ENOLCK, lambda file, operation: path_of(file).is_relative_to(where))
    return where


def test_locks_fall_back_to_the_work_folder(no_locks: Path, work: Path, caplog: pytest.LogCaptureFixture) -> None:
    with variant_lock(no_locks / "one"), pytest.raises(Timeout):
        variant_lock(no_locks / "one").acquire(timeout=0)
    with variant_lock(no_locks / "one"), variant_lock(no_locks / "two"):
        pass
    (note,) = caplog.messages
    assert f"{no_locks}/one: this file system has no locks (No locks available)" in note and str(work) in note


def test_no_locks_anywhere(no_locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMIIDG_WORK", str(no_locks / "work"))
    with (
        pytest.raises(DataError, match=r"cannot be locked \(No locks available\).* Set MIMIIDG_WORK to a folder on a"),
        locked_variant(no_locks / "one", "waiting"),
    ):
        pass


def test_who_waits_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    first = file_lock(tmp_path / "a.lock")
    first.acquire()
    warn = logging.Logger.warning

    def released_when_it_is_said(*arguments: Any) -> None:
        warn(*arguments)
        first.release()

    monkeypatch.setattr(logging.Logger, "warning", released_when_it_is_said)
    second = file_lock(tmp_path / "a.lock")
    with locked(second, "somebody has it"):
        assert second.is_locked
    with locked(file_lock(tmp_path / "a.lock"), "nobody has it"):
        pass
    assert caplog.messages == ["somebody has it"]


# ---- what cannot be written ------------------------------------------------------------------------------------------


def test_caches_fall_back_to_the_work_folder(tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, table = tmp_path / "mounted/fan.zip.levels.parquet", pd.DataFrame({"power": [1.0, 2.0]})
    write_cached(path, table, "one")
    monkeypatch.setattr(os, "access", lambda path, mode: not Path(path).is_relative_to(tmp_path / "mounted"))
    found = read_cached(path, "one")
    assert found is not None and found.equals(table), "what is there is read"
    before = path.read_bytes()
    write_cached(path, table, "other")
    assert path.read_bytes() == before
    found = read_cached(path, "other")
    assert found is not None and found.equals(table)
    assert [file.name for file in work.rglob("*") if file.is_file()] == [path.name]
