"""Where data lies: a path of this machine, or one on object storage, and what can be done with either.

Both kinds of path do arithmetic and plain reading as ``pathlib.Path`` does. Where they differ, the functions here ask
the path's back end (:class:`~mimiidg_build.storage.backend.Backend`), which :func:`backend` chooses, and nothing else.

What needs a lock, and what belongs to this machine alone (transfers under way, trained runs, reports), lies at the
path's counterpart on this machine, :func:`local`. What is cached beside data that this process may only read, and the
locks for that, lie under the work folder: :func:`cache_places`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mimiidg_build import settings
from mimiidg_build.errors import UsageError, shown
from mimiidg_build.storage.backend import Backend, Complaint, Identity, Opened
from mimiidg_build.storage.bucket import Bucket
from mimiidg_build.storage.disk import Disk
from mimiidg_build.storage.holds import Hold
from mimiidg_build.storage.object_client import SCHEME
from mimiidg_build.storage.object_path import ObjectPath

Place = Path | ObjectPath

DISK: Backend[Path] = Disk()
BUCKET: Backend[ObjectPath] = Bucket()


def backend(path: Place) -> Backend[Any]:
    """The back end of a path: the only function that asks which kind it is."""
    return BUCKET if isinstance(path, ObjectPath) else DISK


# ---- Names -----------------------------------------------------------------------------------------------------------


def place(text: str | os.PathLike[str]) -> Place:
    """The path that a text names.

    >>> place("mimiidg-data"), str(place("s3://bucket/data/"))
    (PosixPath('mimiidg-data'), 's3://bucket/data')

    ``~`` is the user's home: a shell leaves it as it is in ``--root=~/data``, and in an environment variable.

    Raises
    ------
    UsageError
        A URL of another kind, without a bucket, or with credentials in it; the home of a user who is not there.
    """
    if isinstance(text, Path | ObjectPath):
        return text
    text = str(text)
    if "://" not in text:
        return Path(expanded(text))
    parts = text.removeprefix(SCHEME).removesuffix("/").split("/")
    if "@" in parts[0]:  # it would stand in every message, log and store
        raise UsageError(
            f"{text}: a bucket's URL has no place for credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    if not text.startswith(SCHEME) or any(part in ("", ".", "..") for part in parts):
        raise UsageError(f"{shown(text)} is neither a path nor a URL like s3://bucket/prefix")
    return ObjectPath("/", *parts)


def expanded(text: str) -> str:
    """A path with the home directory in place of ``~``.

    Raises
    ------
    UsageError
        ``~name``, and there is no such user; a folder of that name is ``./~name``.
    """
    if not text.startswith("~"):
        return text
    try:
        return str(Path(text).expanduser())
    except RuntimeError:
        raise UsageError(f"{shown(text)}: no user of that name has a home directory here") from None


def exists(path: Place) -> bool:
    """Whether there is something; what can be no name on a disk is not there."""
    try:
        return path.exists()
    except (OSError, ValueError):
        if not is_local(path):
            raise  # no answer, no permission: for the user to know
        return False  # a name longer than the disk takes, or one with a zero byte


def is_local(path: Place) -> bool:
    """Whether it lies on this machine: it can be mapped, listing takes no network, and locks tell who reads it."""
    return backend(path).is_local


def local(path: Place) -> Path:
    """The path itself if it is on this machine, else its counterpart here: under ``MIMIIDG_WORK`` or
    ``./mimiidg-work``."""
    return path if isinstance(path, Path) else Path(expanded(str(settings.work()))).joinpath(*path.parts[1:])


def in_work(path: Path) -> Path:
    """The counterpart, under the work folder, of a path at which nothing can be written or locked."""
    return settings.work().joinpath(*path.resolve().parts[1:])


def cache_places(path: Place) -> list[Place]:
    """Where a cache of that name may lie, and last where it is written: there, or in the work folder if that is
    read-only."""
    return [path] if not isinstance(path, Path) or _is_writable(path.parent) else [path, in_work(path)]


def _is_writable(directory: Path) -> bool:
    """Whether files can be made in a directory, or it can be made itself."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    # a file in a directory's place is for the write to name
    return not directory.is_dir() or os.access(directory, os.W_OK | os.X_OK)


# ---- Files -----------------------------------------------------------------------------------------------------------


def open_file(path: Place) -> Opened:
    """Open a file for reads at any offset, from any number of threads."""
    return backend(path).open_file(path)


def read_at(path: Place, offset: int, n_bytes: int) -> bytes:
    """One read of a file that is not open.

    Parameters
    ----------
    path : Place
    offset, n_bytes : int

    Returns
    -------
    bytes [size=n_bytes, fewer at the end of the file]

    Raises
    ------
    OSError
        It cannot be read.
    """
    return backend(path).read_at(path, offset, n_bytes)


def identity(path: Place) -> Identity | None:
    """What changes when a file does, without reading it; None where nothing tells, or there is no file."""
    return backend(path).identity(path)


def copy(source: Place, target: Place) -> None:
    """Copy a file; within a bucket, without sending its bytes through this machine."""
    if (kind := backend(target)) is backend(source):
        kind.copy(source, target)
    else:
        with source.open("rb") as file:
            kind.receive(file, target)


def link(source: Place, target: Place) -> None:
    """Give a file a second name, a hard link where there are such, else a copy.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    """
    if (kind := backend(target)) is backend(source):
        kind.link(source, target)
    else:
        copy(source, target)


def move(source: Place, target: Place) -> None:
    """Give a file another name on the same storage, in place of what has it."""
    backend(source).move(source, target)


def deliver(source: Path, target: Place, blocks: Iterable[bytes]) -> None:
    """Take a whole file of this machine to where it belongs: it gets its name, durable, or is sent to its bucket.

    Parameters
    ----------
    source : Path
        On the target's own file system; gone afterwards.
    target : Place
    blocks : iterable of bytes
        The file's content; read only where it must be sent.

    Raises
    ------
    OSError
        The target cannot be written; the source is where it was.
    """
    backend(target).deliver(source, target, blocks)


# ---- Directories -----------------------------------------------------------------------------------------------------


def matching(directory: Place, pattern: str) -> list[Place]:
    """What lies below a directory and matches a pattern, in order."""
    return sorted(directory.glob(pattern))


def file_sizes(directory: Place) -> dict[str, int]:
    """Size of every file below a directory, by its name from there."""
    return backend(directory).sizes(directory)


def prepare(directory: Place) -> None:
    """Make a directory to write to; what an interrupted write left there is removed.

    Raises
    ------
    DataError
        It cannot be written.
    """
    backend(directory).prepare(directory)


def remove_partial(directory: Place) -> None:
    """Remove what interrupted writes left below a directory."""
    backend(directory).remove_partial(directory)


def remove_tree(directory: Place) -> None:
    """Remove everything below a directory, if there is anything."""
    backend(directory).remove_tree(directory)


def check_access(directory: Place) -> AbstractContextManager[Complaint]:
    """Whether other processes see a directory: a function for each of them to run within the block.

    It gives an empty text where all is well, else what to say of that process.

    Raises
    ------
    UsageError
        The path is relative, and other processes have other working directories.
    """
    return backend(directory).check_access(directory)


# ---- Stores ----------------------------------------------------------------------------------------------------------


def staging(store: Place) -> Place:
    """Where a store is built: under a name beside its own, or where nothing can be renamed under its own.

    >>> str(staging(Path("a.zarr"))), str(staging(place("s3://bucket/a.zarr")))
    ('a.zarr.partial', 's3://bucket/a.zarr')
    """
    path: Place = backend(store).staging(store)
    return path


def publish(built: Place) -> Place:
    """Give a store that was built at its :func:`staging` path its name, everything in it durable; that name.

    Raises
    ------
    DataError
        Something cannot be flushed, or the store not renamed.
    """
    path: Place = backend(built).publish(built)
    return path


def is_published(store: Place, marker: str) -> bool:
    """Whether a store has been published; ``marker`` is the file of it that was written last."""
    return backend(store).is_published(store, marker)


def point(path: Place, content: bytes) -> bool:
    """Replace a small file that others read at any time; False if another machine replaced it just then: look again.

    Raises
    ------
    DataError
        It cannot be written.
    """
    return backend(path).point(path, content)


def hold(store: Place) -> Hold | None:
    """Keep a store from being removed for as long as the result lives; None where nothing can be held.

    Raises
    ------
    DataError
        There is no such store, or it is being removed.
    """
    return backend(store).hold(store)


def zarr_source(store: Place) -> Any:
    """What zarr opens to read a store or an array in it."""
    return backend(store).zarr_source(store)
