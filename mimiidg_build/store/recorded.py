"""What a store recorded of its files when it was built, and what is read held against it.

Tables and metadata are small: they are hashed whenever they are read. A shard is hashed when a process first reads it
(BLAKE3 takes 0.1 ms a clip) and not again as long as its size and time of change stay, so that reading it over and over
costs nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from blake3 import blake3

from mimiidg_build.errors import DataError
from mimiidg_build.schemas.stores import ObjectRecord
from mimiidg_build.storage.files import hash_object
from mimiidg_build.storage.places import Place
from mimiidg_build.store.metadata import METADATA

MISSING = "missing"

# Files that this process has found whole: path, size, time of change, digest.
_whole: set[tuple[str, int, int, str]] = set()


@dataclass(frozen=True)
class Recorded:
    """The files of the store at ``path``, each with its recorded size and digest.

    Every method raises :class:`DataError`, with the file's name and the way to restore it, for a file that is missing,
    differs from what was recorded of it, or was never recorded.
    """

    path: Place
    objects: Mapping[str, ObjectRecord]

    def read(self, name: str) -> bytes:
        """A file's content, checked."""
        try:
            content = (self.path / name).read_bytes()
        except OSError as error:
            raise self._damaged(name, unreadable(error)) from None
        self.check_content(name, content)
        return content

    def check(self, name: str) -> None:
        """Check a whole file, unless this process has done so since it last changed."""
        record = self._record(name)
        try:
            status = (self.path / name).stat()
            known = (str(self.path / name), status.st_size, status.st_mtime_ns, record.blake3)
            if known in _whole:
                return
            found = hash_object(self.path, name)
        except OSError as error:
            raise self._damaged(name, unreadable(error)) from None
        self._compare(name, found.size_bytes, found.blake3)
        _whole.add(known)

    def check_content(self, name: str, content: bytes | memoryview) -> None:
        """Check what was read of a whole file."""
        self._compare(name, len(content), blake3(content).hexdigest())

    def is_recorded(self, name: str) -> bool:
        """Whether the store has such a file."""
        return name in self.objects

    def missing(self, name: str) -> DataError:
        """The error for a file that is not there."""
        return self._damaged(name, MISSING)

    def _record(self, name: str) -> ObjectRecord:
        if name not in self.objects:
            raise DataError(
                f"{self.path / name}: the store's {METADATA} does not name it, so it cannot be checked. Likely cause: "
                "the store was written by another program. Build its variant again."
            )
        return self.objects[name]

    def _compare(self, name: str, size_bytes: int, digest: str) -> None:
        if what := difference(self._record(name), size_bytes, digest):
            raise self._damaged(name, what)

    def _damaged(self, name: str, what: str) -> DataError:
        return DataError(
            f"{self.path / name}: {what}. Nothing was used of it; `mimiidg verify {self.path} --repair` restores it."
        )


def unreadable(error: OSError) -> str:
    """What is wrong with a file that the system does not give."""
    if isinstance(error, FileNotFoundError):
        return MISSING
    return f"cannot be read: {error.strerror or error}"


def difference(record: ObjectRecord, size_bytes: int, digest: str) -> str:
    """What is wrong with a file by its size and digest; empty if it is what was recorded.

    Parameters
    ----------
    record : ObjectRecord
    size_bytes : int
    digest : str
        BLAKE3, as found.

    Returns
    -------
    str

    >>> difference(ObjectRecord(size_bytes=3, blake3="0" * 64), 2, "1" * 64)
    '2 bytes, expected 3: truncated or overwritten'
    """
    if size_bytes != record.size_bytes:
        return f"{size_bytes} bytes, expected {record.size_bytes}: truncated or overwritten"
    if digest != record.blake3:
        return "content differs from its recorded digest: bit rot, or it was changed"
    return ""
