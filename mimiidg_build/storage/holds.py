"""Holds: a process that reads a store on a disk keeps it from being removed.

A hold is a shared lock of the operating system (``flock``) on the store's own directory. It needs no right to write,
follows the directory when it is renamed, and ends with the process that has it, however that ends, so nothing is ever
left locked. `mimiidg prune` takes the same lock exclusively, and so learns whether any process reads the store.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from mimiidg_build.errors import DataError


class Hold:
    """Keeps a store from being removed for as long as this object lives. It may be pickled, and forks share it.

    Where the file system has no such locks (some network mounts) it keeps nothing, and nothing is removed there either.

    Raises
    ------
    DataError
        There is no such store, or it is being removed.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        try:
            self._descriptor = os.open(store, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(
                f"{store} is not a store. `mimiidg list` shows what there is, `mimiidg build` makes one."
            ) from None
        with contextlib.suppress(OSError):
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)  # waits for no longer than a rename takes, see `alone`
        # Between the open and the lock the directory may have been moved away, and another put under its name: the
        # lock would then be on the wrong one.
        try:
            is_there = os.path.samestat(os.fstat(self._descriptor), store.stat())
        except FileNotFoundError:
            is_there = False
        if not is_there:
            raise DataError(f"{store} was removed by `mimiidg prune` when it was opened.")

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):  # there is none if the open failed
            os.close(self._descriptor)

    def __reduce__(self) -> tuple[type[Hold], tuple[Path]]:
        return Hold, (self.store,)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Whether no process holds the store, or has the file locked. Who opens it waits until the context ends: be brief.

    Raises
    ------
    OSError
        It cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False  # it is held, or the file system has no locks to tell by
        else:
            yield True
    finally:
        os.close(descriptor)  # ends the lock
