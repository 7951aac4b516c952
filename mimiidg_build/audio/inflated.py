"""Members that are inflated once although they are read twice: for their levels first, then to be mixed.

No gain is known before every level of a section is. So the bytes of members that are expected again wait in a file,
which costs 0.1 ms a clip where inflating takes 0.7. They are a help and no more: a member that does not wait there, or
not with its length and CRC-32, is inflated again.

- The file has no name from the moment it is there, so nothing is left of it however the process ends.
- It takes at most :data:`KEPT_BYTES`, five sections of a release, and a quarter of what is free on its disk: so little
  that it stays in the page cache, since reading it from a disk would take longer than inflating. What comes then is
  read twice, and so is everything where nothing can be written.
- It belongs to the threads of one process. In another process, where it comes pickled, it is empty.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from mimiidg_build.audio.archive import Archive
from mimiidg_build.storage.places import Place
from mimiidg_build.storage.reserve import reserve
from mimiidg_build.storage.temporary import open_temporary

KEPT_BYTES = 2 * 2**30  # of 320 kB a clip
RESERVED_BYTES = 32 * 2**20  # at a time: see `reserve`


class _NamelessFile:
    """A file whose name is gone. It is closed with the last reference to it: closed any earlier, by a build that fails
    while its threads are at work, its number could be another file's by the time that one of them writes."""

    def __init__(self, directory: Path) -> None:
        # until it is unlinked it has a name that `mimiidg prune` knows
        path, file = open_temporary(directory / "inflated")
        with file:
            self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            path.unlink()

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


class InflatedMembers:
    """Reads members of archives, and keeps those that are expected once more until they are read again.

    Parameters
    ----------
    directory : Path, optional
        Where the file lies; without one nothing is kept.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._expected: set[tuple[Place, str]] = set()
        self._offsets: dict[tuple[Place, str], int] = {}
        self._guard = threading.Lock()
        self._file: _NamelessFile | None = None
        self._end = self._room = self._reserved = 0

    def expect(self, archive: Place, names: Iterable[str]) -> None:
        """Members of an archive that will be read twice."""
        if self._directory is not None:
            self._expected.update((archive, name) for name in names)

    def read_first(self, archive: Archive, name: str) -> bytes:
        """The bytes of a member, see :meth:`Archive.read`; kept if it is expected again."""
        data, key = archive.read(name), (archive.path, name)
        # a stored member is read from the archive as quickly
        is_kept = key in self._expected and archive.members[name].method == zipfile.ZIP_DEFLATED
        if is_kept and (offset := self._write(data)) is not None:
            self._offsets[key] = offset
        return data

    def read(self, archive: Archive, name: str) -> bytes:
        """The bytes of a member, see :meth:`Archive.read`: those that wait, if they are what the archive holds."""
        offset, file = self._offsets.get((archive.path, name)), self._file
        if offset is not None and file is not None and name in archive.members:
            with contextlib.suppress(OSError):
                data = os.pread(file.descriptor, archive.members[name].size_bytes, offset)
                if archive.holds(name, data):
                    return data
        return archive.read(name)

    def _write(self, data: bytes) -> int | None:
        """Where the bytes wait now; None if there is no room for them."""
        with self._guard:
            file = self._opened()
            if file is None or self._end + len(data) > self._room:
                return None
            offset, self._end = self._end, self._end + len(data)
            try:
                while self._reserved < self._end:
                    reserve(file.descriptor, self._reserved, RESERVED_BYTES)
                    self._reserved += RESERVED_BYTES
            except OSError:
                self._room = 0
                return None
        with contextlib.suppress(OSError):  # a full disk, first of all
            if os.pwrite(file.descriptor, data, offset) == len(data):
                return offset
        self._room = 0  # nor will it have any for the next
        return None

    def _opened(self) -> _NamelessFile | None:
        """The file, made for the first member; None where there can be none."""
        if self._file is None and self._directory is not None:
            try:
                self._room = min(KEPT_BYTES, shutil.disk_usage(self._directory).free // 4)
                self._file = _NamelessFile(self._directory)
            except OSError:
                self._directory = None
        return self._file

    def close(self) -> None:
        """Give the room back; what is read from now on is inflated."""
        with self._guard:
            self._file = self._directory = None

    def __reduce__(self) -> tuple[object, ...]:
        return InflatedMembers, ()


@contextlib.contextmanager
def inflated_members(directory: Path) -> Iterator[InflatedMembers]:
    """Members that wait in a file of a directory until the block ends."""
    kept = InflatedMembers(directory)
    try:
        yield kept
    finally:
        kept.close()
