"""What storage must be able to do: the protocol that a disk and a bucket fulfil, each in its own way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePath
from typing import IO, Any, BinaryIO, Protocol, TypeVar

from mimiidg_build.errors import DataError
from mimiidg_build.storage.holds import Hold

Write = Callable[[bytes | memoryview], None]
"""Appends to a file that is being written."""

Complaint = Callable[[], str]
"""Run in another process, says why that process cannot use a directory; empty if it can. It can be pickled."""

Identity = tuple[int, ...]
"""Of a file: equal as long as nobody has written to it. Of another machine's disk, unlike."""

AnyPath = TypeVar("AnyPath", bound=PurePath)


class Opened(Protocol):
    """A file opened for reads at any offset, from any number of threads.

    Attributes
    ----------
    size_bytes, mtime_ns : int
        Of the file when it was opened.
    """

    size_bytes: int
    mtime_ns: int

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """``n_bytes`` from ``offset``, fewer at the end."""

    def read_into(self, offset: int, memory: memoryview) -> int:
        """As many bytes from ``offset`` as the memory holds, fewer at the end; how many they are."""

    def file(self) -> BinaryIO:
        """A file with a position of its own."""

    def close(self) -> None:
        """Let go of the file."""


class Backend(Protocol[AnyPath]):
    """Storage of one kind. Paths are of that kind; the functions of ``places`` choose the right one.

    Attributes
    ----------
    is_local : bool
        Its files lie on a file system of this machine: they can be mapped, listing them takes no network, and locks
        tell who reads them.
    """

    is_local: bool

    # ---- files -------------------------------------------------------------------------------------------------------

    def open_file(self, path: AnyPath) -> Opened:
        """Open a file for reads at any offset."""

    def read_at(self, path: AnyPath, offset: int, n_bytes: int) -> bytes:
        """One read at an offset, fewer bytes at the end."""

    def digest(self, path: AnyPath) -> tuple[int, str]:
        """Size and BLAKE3 of a file."""

    def identity(self, path: AnyPath) -> Identity | None:
        """What changes when a file does, without reading it; None where nothing tells, or there is no file."""

    def whole_file(
        self, path: AnyPath, size_bytes: int | None = None, *, durable: bool = True
    ) -> AbstractContextManager[Write]:
        """Write a file piece by piece; it gets its name when the block ends, whole and durable.

        Parameters
        ----------
        path : Path
        size_bytes : int, optional
            How long it will be, where that is known: a disk then gives it its room at once.
        durable : bool
            False for a file that :meth:`publish` flushes before anything depends on it, and for a cache.
        """

    def deliver(self, source: Path, target: AnyPath, blocks: Iterable[bytes]) -> None:
        """Take a whole file of this machine's in, durable; ``blocks`` is its content, where bytes must be sent."""

    def copy(self, source: AnyPath, target: AnyPath) -> None:
        """Copy a file."""

    def receive(self, file: IO[bytes], target: AnyPath) -> None:
        """Write a file whole from what an open one holds."""

    def link(self, source: AnyPath, target: AnyPath) -> None:
        """Give a file a second name where that is possible, else copy it."""

    def move(self, source: AnyPath, target: AnyPath) -> None:
        """Give a file another name, durable, in place of what has it."""

    # ---- directories -------------------------------------------------------------------------------------------------

    def sizes(self, directory: AnyPath) -> dict[str, int]:
        """Size of every file below, by its name from there."""

    def prepare(self, directory: AnyPath) -> None:
        """Make a directory to write to, without what an interrupted write left there."""

    def remove_partial(self, directory: AnyPath) -> None:
        """Remove what interrupted writes left below."""

    def remove_tree(self, directory: AnyPath) -> None:
        """Remove everything below."""

    def check_access(self, directory: AnyPath) -> AbstractContextManager[Complaint]:
        """A check, within the block, for other processes to run: whether they see the directory."""

    # ---- stores ------------------------------------------------------------------------------------------------------

    def staging(self, store: AnyPath) -> AnyPath:
        """Where a store is built."""

    def publish(self, staging: AnyPath) -> AnyPath:
        """Give a store that was built its name, everything in it durable."""

    def is_published(self, store: AnyPath, marker: str) -> bool:
        """Whether a store has been published; ``marker`` is the file that was written last."""

    def point(self, path: AnyPath, content: bytes) -> bool:
        """Replace a small file that others read at any time; False if another writer replaced it just then."""

    def hold(self, store: AnyPath) -> Hold | None:
        """Keep a store from being removed, where that is known to work."""

    def zarr_source(self, store: AnyPath) -> Any:
        """What zarr opens."""


@contextlib.contextmanager
def write_errors(path: PurePath) -> Iterator[None]:
    """Turn a write that the system refuses into an error that names the file.

    Raises
    ------
    DataError
        The block raised an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}. What is finished is kept: free some space or "
            "correct the permissions, then run the same command again."
        ) from error
