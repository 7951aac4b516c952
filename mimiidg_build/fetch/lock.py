"""The lock file of a record: which bytes of each archive are the right ones, and which file was seen to hold them.

``ROOT/archives/<record>/archives.lock.json``: ``{"version": 1, "files": {name: entry}}``. An entry's md5 outlives the
archive: once pinned, only a person changes it, by deleting the entry. ``size_bytes`` and ``mtime_ns`` are those of the
file when its md5 was last computed; a file that still has both is not hashed again.
"""

from __future__ import annotations

import json

from filelock import BaseFileLock
from pydantic import ValidationError

from mimiidg_build.errors import FetchError, first_mistake
from mimiidg_build.schemas.fetching import ArchiveLock, LockEntry
from mimiidg_build.storage.files import write_file
from mimiidg_build.storage.locks import file_lock
from mimiidg_build.storage.places import Place

LOCK_NAME = "archives.lock.json"


def record_dir(root: Place, record_id: str) -> Place:
    """Where a record's archives live."""
    return root / "archives" / record_id


def guard(directory: Place, name: str) -> BaseFileLock:
    """The lock that one process (and one thread of it) holds while it works on ``name`` in ``directory``."""
    return file_lock(directory / ".locks" / f"{name}.lock")


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
    path = directory / LOCK_NAME
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
        write_json(directory / LOCK_NAME, lock.model_dump())
