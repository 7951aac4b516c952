"""Zip archives, read in place: a member's bytes, checked, without unpacking anything.

- ``open_archive`` reads the central directory and refuses what is not plainly a tree of files (:mod:`.zip_directory`).
- ``Archive.read`` trusts no size either: it inflates at most as many bytes as the directory declares, and compares
  length and CRC-32 with it. Reads are at an offset, so any number of threads may read; on object storage each is one
  request. zipfile's own reader has one position for all threads, and a lock about it.
- An ``Archive`` pickles as its path. A worker process parses each archive's directory once, however many tasks name it.

Inflating is a third of what a build does. ISA-L takes 0.69 ms a clip of 252 kB deflated, zlib 1.38, zlib-ng 0.79;
libdeflate would take 0.64, but its Python package does not say how many bytes of the input it used.

Sizes are bytes. Formats: APPNOTE.TXT 6.3.10 (zip64 included), stored and deflated members.
"""

from __future__ import annotations

import difflib
import functools
import struct
import threading
import zipfile
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import cast

from isal import isal_zlib

from mimiidg_build.audio.plain_directory import Member
from mimiidg_build.audio.zip_directory import DEFAULT_LIMITS, Limits, read_directory
from mimiidg_build.errors import DataError
from mimiidg_build.storage.backend import Opened
from mimiidg_build.storage.places import Place, open_file, place

_LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")
_EXTRA_BYTES = 256  # read ahead for a local header's extra field
_STREAMED = 0x8  # flag: checksum and sizes follow the data
_INFLATE_ERROR = cast("type[Exception]", isal_zlib.error)  # isal's stubs declare an instance


class Archive:
    """An open archive. Made by ``open_archive``; a context manager; thread-safe; pickles as its path."""

    def __init__(self, path: Place, limits: Limits) -> None:
        self.path, self.name = path, path.name
        self._limits = limits
        self._guard = threading.Lock()
        self._opened: Opened | None = None
        self._members: Mapping[str, Member] = MappingProxyType({})
        self._state = (0, 0)  # size in bytes and modification time in ns of the file whose directory was read
        self._open()

    def _open(self) -> Opened:
        """Open the file if it is not open, and read its directory if it is not the one that was read before."""
        if (held := self._opened) is not None:
            return held  # every read but the first
        # after close, several threads may get here at once: one of them opens the file, the others use that
        with self._guard:
            if self._opened is not None:
                return self._opened
            try:
                opened = open_file(self.path)
            except (OSError, ValueError) as error:  # ValueError: a NUL in the path
                reason = getattr(error, "strerror", None) or error
                raise DataError(f"{self.path}: cannot be opened ({reason}). Expected a zip archive.") from error
            # between close and this read, the file may have been replaced: its members are then others
            if (opened.size_bytes, opened.mtime_ns) != self._state:
                self._members = MappingProxyType(read_directory(self.path, opened, self._limits))
                self._state = (opened.size_bytes, opened.mtime_ns)
            self._opened = opened
            return opened

    @property
    def members(self) -> Mapping[str, Member]:
        """Every file of the archive by name, in archive order; directories are left out."""
        return self._members

    def is_current(self) -> bool:
        """Whether the file of that name still is the one whose directory was read."""
        try:
            stat = self.path.stat()
        except OSError:
            return False  # for the next read to name
        return (stat.st_size, stat.st_mtime_ns) == self._state

    def read(self, name: str) -> bytes:
        """The bytes of one member.

        Parameters
        ----------
        name : str
            The member's name, as in ``members``.

        Returns
        -------
        bytes [size_bytes of the member]

        Raises
        ------
        DataError
            If there is no such member, or its bytes are not what the directory declares.
        """
        member = self._member(name)
        data = self._read_compressed(member)
        if member.method == zipfile.ZIP_DEFLATED:
            data = self._inflate(member, data)
        if len(data) != member.size_bytes:
            raise self._damaged(member, f"holds {len(data)} bytes instead of the declared {member.size_bytes}")
        if (crc32 := isal_zlib.crc32(data)) != member.crc32:
            raise self._damaged(member, f"has CRC-32 {crc32:08x} instead of {member.crc32:08x}")
        return bytes(data)  # a stored member is still a view of what was read

    def holds(self, name: str, data: bytes) -> bool:
        """Whether these are a member's bytes, as far as the directory tells."""
        member = self._member(name)
        return len(data) == member.size_bytes and isal_zlib.crc32(data) == member.crc32

    def _member(self, name: str) -> Member:
        member = self._members.get(name)
        if member is None:
            near = difflib.get_close_matches(name, self._members, n=1)
            hint = f" Nearest name: {near[0]!r}." if near else ""
            raise DataError(f"{self.path}: has no member {name!r} among its {len(self._members)} files.{hint}")
        return member

    def _read_compressed(self, member: Member) -> bytes | memoryview:
        """A member's bytes as the archive holds them: its local header and its data in one read, if that is possible.

        On object storage a read is a request, which costs more than the bytes. What the directory does not say is how
        long the local header's extra field is: it is rarely longer than what is read ahead for it.
        """
        opened = self._open()
        head_bytes = _LOCAL_HEADER.size + len(member.raw_name)
        wanted = head_bytes + _EXTRA_BYTES + member.compressed_bytes
        # not past the archive's end, but never less than a header: _read_at refuses an offset with no room for one
        n_bytes = max(head_bytes, min(wanted, self._state[0] - member.header_offset))
        block = self._read_at(opened, member, member.header_offset, n_bytes)
        start = self._data_start(member, block)
        if start + member.compressed_bytes <= len(block):
            return memoryview(block)[start : start + member.compressed_bytes]
        return self._read_at(opened, member, member.header_offset + start, member.compressed_bytes)

    def _data_start(self, member: Member, block: bytes) -> int:
        """Where in a block that begins with the member's local header its data starts."""
        signature, _, flags, method, _, _, crc32, _, size_bytes, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(
            block
        )
        if signature != b"PK\x03\x04" or not block.startswith(member.raw_name, _LOCAL_HEADER.size):
            raise self._damaged(member, "has no local header of that name where the directory says")
        # Without this check, a directory entry that was overwritten with zeros would read as a good empty file.
        known = not flags & _STREAMED
        sizes = (member.size_bytes, 0xFFFFFFFF)  # the latter: in zip64 the size stands in the extra field
        if method != member.method or (known and (crc32 != member.crc32 or size_bytes not in sizes)):
            raise self._damaged(member, "has a local header that disagrees with the directory")
        return _LOCAL_HEADER.size + int(name_bytes) + int(extra_bytes)

    def _read_at(self, opened: Opened, member: Member, offset: int, n_bytes: int) -> bytes:
        """Exactly ``n_bytes`` from ``offset``."""
        if offset < 0 or offset + n_bytes > self._state[0]:
            raise self._damaged(member, f"would reach past the end of the archive ({self._state[0]} bytes)")
        data = opened.read_at(offset, n_bytes)
        if len(data) < n_bytes:
            raise self._damaged(member, "was cut off while it was read")
        return data

    def _inflate(self, member: Member, data: bytes | memoryview) -> bytes:
        """Inflate, to one byte more than declared at most: enough to see that there are too many, and no zip bomb."""
        # negative: raw deflate, as zip has it, without zlib's header and checksum
        inflater = isal_zlib.decompressobj(-15)
        try:
            inflated = inflater.decompress(data, member.size_bytes + 1)
        except _INFLATE_ERROR as error:
            raise self._damaged(member, f"cannot be inflated ({error})") from error
        if len(inflated) > member.size_bytes:
            raise self._damaged(member, f"inflates to more than the declared {member.size_bytes} bytes")
        if not inflater.eof or inflater.unused_data:
            raise self._damaged(member, "has compressed data of another length than declared")
        return bytes(inflated)

    def _damaged(self, member: Member, what: str) -> DataError:
        return DataError(
            f"{self.path}: member {member.name!r} {what}. Likely the archive is damaged on disk: verify its checksum, "
            "or delete it and fetch it again."
        )

    def close(self) -> None:
        """Close the file. A later read opens it again."""
        with self._guard:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        # with the state, so that a worker refuses a file that has changed since
        return _reopened, (self.path, self._limits, self._state)

    def __repr__(self) -> str:
        return f"Archive({str(self.path)!r}, {len(self._members)} members)"


def open_archive(path: str | Place, limits: Limits = DEFAULT_LIMITS) -> Archive:
    """Open a zip archive for reading in place, after checking every member's name, kind and size.

    Parameters
    ----------
    path : str or Place
    limits : Limits
        The sizes that an archive may declare.

    Returns
    -------
    Archive

    Raises
    ------
    DataError
        If the file cannot be opened, has no readable directory, or has a member that is refused.
    """
    return Archive(place(path), limits)


# Bounded, so that a long-lived worker does not keep every archive open that it ever saw.
@functools.lru_cache(maxsize=32)
def _reopened(path: Place, limits: Limits, state: tuple[int, int]) -> Archive:
    """The archive in the process that unpickles it: one for all tasks that name it in the same state."""
    archive = Archive(path, limits)
    if archive._state != state:
        raise DataError(f"{path}: has changed since the work on it was planned (size or modification time differs).")
    return archive
