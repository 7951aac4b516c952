"""Locks: one process at a time changes what lies somewhere.

Like holds (:mod:`mimiidg_build.storage.holds`) they are locks of the operating system, and vanish with their process.
The file that is locked stays: to remove it would let two processes lock two files of one name.
"""

from __future__ import annotations

from filelock import FileLock

from mimiidg_build.storage.places import Place, local


def file_lock(path: Place) -> FileLock:
    """The lock on a file that exists for this purpose alone; its folder is made.

    For a path on object storage, where nothing can be locked, it lies at the path's counterpart on this machine, and
    keeps apart the processes of this machine only.
    """
    here = local(path)
    here.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(here)


def variant_lock(directory: Place) -> FileLock:
    """The lock that one process has while it changes what lies in a variant's directory.

    On object storage two machines that build one variant at once write the same objects with the same bytes; for the
    one object that differs see :func:`mimiidg_build.storage.places.point`.
    """
    return file_lock(directory / ".lock")
