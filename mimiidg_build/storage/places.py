"""Where data lies: a path of this machine, or a place on object storage. What both can do, under one name.

What needs a lock, and what belongs to this machine alone (transfers under way, trained runs, reports), lies at the
place's counterpart on this machine, :func:`local`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import BinaryIO

from mimiidg_build import settings
from mimiidg_build.errors import UsageError
from mimiidg_build.storage.object_storage import ABSENT, BLOCK_BYTES, SCHEME, ObjectPath, ObjectStat

__all__ = [
    "ABSENT",
    "ObjectPath",
    "Opened",
    "Place",
    "copy",
    "file_sizes",
    "local",
    "matching",
    "move",
    "place",
    "remove_tree",
]

Place = Path | ObjectPath


def place(text: str | os.PathLike[str]) -> Place:
    """The place that a text names.

    >>> place("mimiidg-data"), str(place("s3://bucket/data/"))
    (PosixPath('mimiidg-data'), 's3://bucket/data')

    Raises
    ------
    UsageError
        A URL of another kind, or without a bucket.
    """
    if isinstance(text, Path | ObjectPath):
        return text
    text = str(text)
    if "://" not in text:
        return Path(text)
    parts = text.removeprefix(SCHEME).removesuffix("/").split("/")
    if not text.startswith(SCHEME) or any(part in ("", ".", "..") for part in parts):
        raise UsageError(f"{text!r} names no place: expected a path, or a URL like s3://bucket/prefix")
    return ObjectPath("/", *parts)


def local(where: Place) -> Path:
    """The place itself if it is on this machine, else its counterpart here: under ``MIMIIDG_WORK`` or
    ``./mimiidg-work``."""
    if isinstance(where, Path):
        return where
    return settings.work().joinpath(*where.parts[1:])


class Opened:
    """A file opened for reads at any offset, from any number of threads; what it is at the time it is opened."""

    def __init__(self, where: Place) -> None:
        self._where = where
        self._descriptor: int | None = None
        if isinstance(where, ObjectPath):
            found: ObjectStat | os.stat_result = where.stat()
        else:
            self._descriptor = os.open(where, os.O_RDONLY | os.O_CLOEXEC)
            found = os.fstat(self._descriptor)
        self.size_bytes, self.mtime_ns = found.st_size, found.st_mtime_ns

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """``n_bytes`` from ``offset``, fewer at the end."""
        if isinstance(self._where, ObjectPath):
            return self._where.read_at(offset, n_bytes)
        assert self._descriptor is not None, "it was closed"
        data = os.pread(self._descriptor, n_bytes, offset)
        while 0 < len(data) < n_bytes:  # a signal, or a read beyond the 2 GiB that one call gives
            more = os.pread(self._descriptor, n_bytes - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def file(self) -> BinaryIO:
        """A file of its own, with a position."""
        if self._descriptor is None:
            return self._where.open("rb")
        return os.fdopen(os.dup(self._descriptor), "rb")

    def close(self) -> None:
        """Give the descriptor back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            self.close()


def matching(where: Place, pattern: str) -> list[Place]:
    """What lies below a place and matches a pattern, in order."""
    return sorted(where.glob(pattern))


def file_sizes(where: Place) -> dict[str, int]:
    """Size of every file below a place, by its name from there."""
    if isinstance(where, ObjectPath):
        return where.sizes()
    return {f.relative_to(where).as_posix(): f.stat().st_size for f in where.rglob("*") if f.is_file()}


def move(source: Place, target: Place) -> None:
    """Give a file another name, in place of what has it."""
    if isinstance(source, ObjectPath):
        copy(source, target)
        source.unlink()
    else:
        os.replace(source, target)


def copy(source: Place, target: Place) -> None:
    """Copy a file; within a bucket, where it lies."""
    if isinstance(source, ObjectPath) and isinstance(target, ObjectPath) and source.bucket == target.bucket:
        source.copy_within(target)
    elif isinstance(target, ObjectPath):
        with source.open("rb") as file:
            target.write(file)
    else:
        with source.open("rb") as file, target.open("wb") as copied:
            shutil.copyfileobj(file, copied, BLOCK_BYTES)


def remove_tree(where: Place) -> None:
    """Remove everything below a place; nothing there is nothing to do."""
    if isinstance(where, ObjectPath):
        where.remove_below()
    else:
        shutil.rmtree(where, ignore_errors=True)
