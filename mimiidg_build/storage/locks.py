"""Locks: one process at a time changes what lies somewhere.

Like holds (:mod:`mimiidg_build.storage.holds`) they are locks of the operating system, and vanish with their process.
The file that is locked stays: to remove it would let two processes lock two files of one name. One exception: a build
that fails before it has written anything takes it along with the folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from mimiidg_build.errors import DataError, require_main_guard
from mimiidg_build.storage.places import Place, in_work, local

VARIANT_LOCK = ".lock"  # in a variant's directory
ATTEMPTS = 100  # to lock a folder that others remove
CONTENDED = (errno.EAGAIN, errno.EACCES)  # what a system says of a lock that another process has

log = logging.getLogger(__name__)
_without_locks: set[int] = set()  # file systems (st_dev) of which that was said once


def file_lock(path: Place) -> BaseFileLock:
    """The lock on a file that exists for this purpose alone; its folder is made.

    For a path on object storage, where nothing can be locked, it lies at the path's counterpart on this machine, and
    keeps apart the processes of this machine only. So it does for a file system that has no locks.

    Raises
    ------
    DataError
        Neither its file system nor that of the work folder has locks.
    OSError
        It cannot be made.
    """
    here = local(path)
    here.parent.mkdir(parents=True, exist_ok=True)
    if problem := _lock_problem(here):
        elsewhere = in_work(here)
        _say_once(here, elsewhere, problem)
        here = elsewhere
        here.parent.mkdir(parents=True, exist_ok=True)
        if problem := _lock_problem(here):
            raise DataError(
                f"{here} cannot be locked ({problem}), and {local(path)} neither. Set MIMIIDG_WORK to a folder on a "
                "disk of this machine."
            )
    return FileLock(here)


def _lock_problem(path: Path) -> str:
    """Why a file cannot be locked at all; empty if it can, if only once another process lets go of it.

    Asked beforehand, since some releases of filelock would wait for ever.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return "" if error.errno in CONTENDED else str(error.strerror)
    finally:
        os.close(descriptor)
    return ""


def _say_once(here: Path, elsewhere: Path, problem: str) -> None:
    device = here.parent.stat().st_dev
    if device not in _without_locks:
        _without_locks.add(device)
        log.warning(
            "%s: this file system has no locks (%s). Locks lie in %s instead, for this machine only: do not build or "
            "fetch there from two machines at once, and set MIMIIDG_WORK to one folder for all programs that do.",
            here.parent,
            problem,
            elsewhere.parent,
        )


def variant_lock(directory: Place) -> BaseFileLock:
    """The lock that one process has while it changes what lies in a variant's directory.

    On object storage two machines that build one variant at once write the same objects with the same bytes; for the
    one object that differs see :func:`mimiidg_build.storage.places.point`.
    """
    return file_lock(directory / VARIANT_LOCK)


@contextlib.contextmanager
def locked(lock: BaseFileLock, waiting: str) -> Iterator[None]:
    """Hold a lock; where another process has it, say ``waiting`` and wait."""
    _acquire(lock, waiting)
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: BaseFileLock, waiting: str) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        require_main_guard()
        log.warning(waiting)
        lock.acquire()


@contextlib.contextmanager
def locked_variant(directory: Place, waiting: str) -> Iterator[None]:
    """Hold the lock of a variant's directory; where another process has it, say ``waiting`` and wait.

    Raises
    ------
    DataError
        The directory cannot be written.
    """
    lock = _acquired(directory, waiting)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            _remove_if_empty(local(directory))
        raise
    finally:
        lock.release()


def _acquired(directory: Place, waiting: str) -> BaseFileLock:
    """The lock, held; the folder is made anew where a build that failed removed it while this one waited."""
    try:
        for _ in range(ATTEMPTS):
            with contextlib.suppress(FileNotFoundError):
                lock = variant_lock(directory)
                _acquire(lock, waiting)
                return lock
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(directory))
    except OSError as error:
        raise DataError(
            f"{directory} cannot be written: {error.strerror}. Give another --root, or permission to write there."
        ) from error


def _remove_if_empty(directory: Path) -> None:
    """Remove a variant's folder in which a build that failed has left nothing but the lock that it holds.

    Another process that waits for the lock sees that its file is gone, and begins anew (filelock does that).
    """
    if [path.name for path in directory.iterdir()] == [VARIANT_LOCK]:
        (directory / VARIANT_LOCK).unlink()
        directory.rmdir()


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
