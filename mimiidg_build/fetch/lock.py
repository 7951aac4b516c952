"""The lock file of a record: which bytes of each archive are the right ones, and which file was seen to hold them.

``ROOT/archives/<record>/archives.lock.json``: ``{"version": 1, "files": {name: entry}}``. An entry's md5 outlives the
archive: once pinned, only a person changes it, by deleting the entry. ``size_bytes`` and ``mtime_ns`` are those of the
file when its md5 was last computed; a file that still has both is not hashed again. Where the archives are read-only,
what is found out about them is noted in the work folder.
"""

from __future__ import annotations

import json
from pathlib import Path

from filelock import BaseFileLock
from pydantic import ValidationError

from mimiidg_build.errors import FetchError, first_mistake
from mimiidg_build.schemas.fetching import ArchiveLock, LockEntry
from mimiidg_build.storage.backend import write_errors
from mimiidg_build.storage.files import write_file
from mimiidg_build.storage.locks import file_lock
from mimiidg_build.storage.places import Place, cache_places, local

LOCK_NAME = "archives.lock.json"
SERVED = ".served"  # ends the name of the folder that a synthetic release is made in; no archive's name begins with "."


def record_dir(root: Place, record_id: str) -> Place:
    """Where a record's archives live."""
    return root / "archives" / record_id


def served_dir(root: Place, record_id: str) -> Path:
    """Where a synthetic release is made and served from: beside its archives, so that what an interrupted run made is
    there for the next; not among them, so that nothing counts as fetched that was not verified on its way."""
    return local(root) / "archives" / f"{record_id}{SERVED}"


def guard(directory: Place, name: str) -> BaseFileLock:
    """The lock that one process (and one thread of it) holds while it works on ``name`` in ``directory``.

    Raises
    ------
    DataError
        It cannot be made.
    """
    path = cache_places(directory / ".locks" / f"{name}.lock")[-1]
    with write_errors(path):
        return file_lock(path)


def write_json(path: Place, content: object) -> None:
    """Write ``content`` so that a reader sees the old file or the new one, never a part."""
    write_file(path, [json.dumps(content, indent=2, sort_keys=True).encode() + b"\n"])


def read_lock(directory: Place) -> dict[str, LockEntry]:
    """Every entry of the record's lock file; empty if there is none yet.

    Raises
    ------
    FetchError
        If the lock file is not one that this version wrote.
    """
    entries: dict[str, LockEntry] = {}
    for path in cache_places(directory / LOCK_NAME):
        for name, entry in _read_lock_file(path).items():
            # The work folder may know more of the file, but never of another checksum than it is pinned to.
            if name not in entries or entries[name].md5 == entry.md5:
                entries[name] = entry
    return entries


def _read_lock_file(path: Place) -> dict[str, LockEntry]:
    try:
        data = path.read_bytes()  # unguarded: the file is only ever replaced as a whole
    except FileNotFoundError:
        return {}
    try:
        return ArchiveLock.model_validate_json(data).files
    except ValidationError as error:
        raise FetchError(
            f"{path} is not a readable lock file ({first_mistake(error)}). It holds the checksums that archives were "
            "pinned to; restore it, or delete it to have the archives verified anew."
        ) from error


def write_entry(directory: Place, name: str, entry: LockEntry) -> None:
    """Set one entry, and keep those that other processes have set in the meantime.

    Parameters
    ----------
    directory : Place
        The record's.
    name : str
        The archive.
    entry : LockEntry
    """
    with guard(directory, LOCK_NAME):  # threads and processes that work on other archives of the record write it too
        lock = ArchiveLock(files={**read_lock(directory), name: entry})
        write_json(cache_places(directory / LOCK_NAME)[-1], lock.model_dump())
