"""Locks: one process at a time changes what lies somewhere.

Like holds (:mod:`mimiidg_build.storage.holds`) they are locks of the operating system, and vanish with their process.
The file that is locked stays: to remove it would let two processes lock two files of one name.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from mimiidg_build.errors import DataError
from mimiidg_build.storage.places import Place, local

log = logging.getLogger(__name__)


def file_lock(path: Place) -> BaseFileLock:
    """The lock on a file that exists for this purpose alone; its folder is made.

    For a path on object storage, where nothing can be locked, it lies at the path's counterpart on this machine, and
    keeps apart the processes of this machine only.
    """
    here = local(path)
    here.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(here)


def variant_lock(directory: Place) -> BaseFileLock:
    """The lock that one process has while it changes what lies in a variant's directory.

    On object storage two machines that build one variant at once write the same objects with the same bytes; for the
    one object that differs see :func:`mimiidg_build.storage.places.point`.
    """
    return file_lock(directory / ".lock")


@contextlib.contextmanager
def locked_variant(directory: Place, waiting: str) -> Iterator[None]:
    """Hold the lock of a variant's directory; where another process has it, say ``waiting`` and wait.

    Raises
    ------
    DataError
        The directory cannot be written.
    """
    try:
        lock = variant_lock(directory)
        try:
            lock.acquire(timeout=0)
        except Timeout:  # is an OSError, too, so it must not reach the clause below
            log.warning(waiting)
            lock.acquire()
    except OSError as error:
        raise DataError(
            f"{directory} cannot be written: {error.strerror}. Give another --root, or permission to write there."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def locked_directory(directory: Path, waiting: str) -> Iterator[bool]:
    """Hold a lock on a directory itself, which leaves no file in it; whether another process had to be waited for.

    Where the file system has no such locks nothing is held.

    Parameters
    ----------
    directory : Path
    waiting : str
        Said where another process has it.

    Returns
    -------
    context manager of bool
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        has_waited = False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning(waiting)
            has_waited = True
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:  # network mounts: as with holds
            pass
        yield has_waited
    finally:
        os.close(descriptor)  # ends the lock
