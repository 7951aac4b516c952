"""Who uses what under ROOT/variants: the builder's lock of a variant, and the hold of whoever reads a store.

Both are locks of the operating system on something open (``flock``): they vanish with the process that has them,
however it ends, so nothing is ever left locked. A hold is shared, needs no right to write, and lies on the store's
directory itself; what removes a store takes the same lock for itself alone, and so learns whether anybody reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from mimiidg_build.errors import DataError
from mimiidg_build.storage.places import Place, local


def variant_lock(directory: Place) -> FileLock:
    """The lock that one process has while it changes what lies in a variant's directory.

    On object storage it is of this machine alone. Two machines that build one variant at once write the same objects
    with the same bytes; see :func:`mimiidg_build.build.stage.move_latest` for the one that differs.
    """
    here = local(directory)
    here.mkdir(parents=True, exist_ok=True)
    return FileLock(here / ".lock")


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
                f"{store} is no store. `mimiidg list` shows what there is, `mimiidg build` makes one."
            ) from None
        with contextlib.suppress(OSError):
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)  # waits for no longer than a rename takes, see `alone`
        try:
            is_there = os.path.samestat(os.fstat(self._descriptor), store.stat())
        except FileNotFoundError:
            is_there = False
        if not is_there:
            raise DataError(f"{store} was removed by `mimiidg prune` when it was opened.")

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def __reduce__(self) -> tuple[type[Hold], tuple[Path]]:
        return Hold, (self.store,)


@contextlib.contextmanager
def alone(store: Path) -> Iterator[bool]:
    """Whether nobody holds the store. Whoever wants to open it waits until the context ends: be brief."""
    descriptor = os.open(store, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False  # held, or nobody can tell
        else:
            yield True
    finally:
        os.close(descriptor)
