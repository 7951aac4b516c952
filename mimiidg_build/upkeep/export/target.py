"""The folder that an export grows in. What has its name there is whole, so an export that was stopped goes on.

DIR/.partial holds what is written so far, and in ``.begun`` what the export is of: another export starts over.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mimiidg_build.progress import OnProgress
from mimiidg_build.storage.backend import write_errors
from mimiidg_build.storage.files import open_whole, write_file
from mimiidg_build.storage.temporary import is_temporary

BEGUN = ".begun"


@dataclass(frozen=True)
class Target:
    """A folder to write into; ``on_progress`` is called with how many more clips are there."""

    directory: Path
    on_progress: OnProgress

    def has(self, name: str, n_clips: int = 0) -> bool:
        """Whether a file was written by an earlier run; its clips count as written then."""
        if not (self.directory / name).is_file():
            return False
        self.on_progress(n_clips)
        return True

    def write(self, name: str, content: bytes, n_clips: int = 0) -> None:
        """Write a file, whole or not at all."""
        write_file(self.directory / name, [content])
        if n_clips:
            self.on_progress(n_clips)

    def write_all(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write small files, those that are there included."""
        for name, content in files:
            self.write(name, content)

    @contextlib.contextmanager
    def new_file(self, name: str) -> Iterator[BinaryIO]:
        """An open file, for archives, which go back in it; it gets its name when the block ends, whole and flushed.

        Raises
        ------
        DataError
            It cannot be written. Nothing is left of it then.
        """
        path = self.directory / name
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with open_whole(path) as file:
            yield file


def begin(directory: Path, what: str) -> None:
    """Have a folder to write into: the one that an earlier run of the same export left, or an empty one.

    Parameters
    ----------
    directory : Path
    what : str
        The export in words that no other export has.

    Raises
    ------
    DataError
        It cannot be made.
    """
    begun = directory / BEGUN
    if begun.is_file() and begun.read_text("utf-8", "replace") == what:
        for path in [*directory.rglob("*")]:
            if is_temporary(path.name):
                path.unlink()
        return
    with write_errors(directory):
        if directory.exists():
            shutil.rmtree(directory)
        directory.mkdir()
    write_file(begun, [what.encode()])
