"""The central directory of a zip archive, read and checked before any member is.

An archive is refused if it is not plainly a tree of files: names that leave the tree, duplicates, links, encryption,
sizes beyond the limits. zipfile does the parsing, but for archives that are plain and whole
(:mod:`.plain_directory`); it checks none of this, being made for trusted archives.

Formats: APPNOTE.TXT 6.3.10 (zip64 included), stored and deflated members.
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
from typing import NamedTuple

from mimiidg_build.audio.plain_directory import Member, Rules, plain_members
from mimiidg_build.errors import DataError
from mimiidg_build.storage.backend import Opened
from mimiidg_build.storage.places import Place

_ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags: classic, strong, masked directory
_UTF8 = 0x800  # flag: the name is UTF-8, else it is in the first PCs' code page
_DRIVE = re.compile(r"^[A-Za-z]:")
# of ASCII and of Latin-1 (0x9b begins what a terminal obeys); line separators; halves of characters
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MAX_NAME = 4096  # as long as a path may be on disk
_SHOWN = 200  # of a name that is refused
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Limits(NamedTuple):
    """What an archive may declare that it inflates to, in bytes: a guard against zip bombs."""

    member_bytes: int = 256 * 2**20  # a ten-second clip is 320 kB; the eight channels of MIMII 2.5 MB
    total_bytes: int = 256 * 2**30  # the largest public archive inflates to some 15 GB


DEFAULT_LIMITS = Limits()


def name_problem(name: str) -> str | None:
    r"""Why a member may not have this name; None if it may.

    Examples
    --------
    >>> name_problem("fan/train/section_00.wav"), name_problem("-6_dB_fan/"), name_problem("a..b/c...wav")
    (None, None, None)
    >>> name_problem("/etc/passwd"), name_problem("../x"), name_problem("C:x")
    ('an absolute path', "a '..' in its path", 'a drive letter')
    >>> name_problem("a\\b"), name_problem("a\x00b"), name_problem("")
    ('a backslash', 'a control character', 'an empty name')
    """
    if not name:
        return "an empty name"
    if len(name) > _MAX_NAME:
        return f"a name of {len(name)} characters"
    if name.startswith("/"):
        return "an absolute path"
    if _CONTROL.search(name):
        return "a control character"
    if "\\" in name:
        return "a backslash"
    if _DRIVE.match(name):
        return "a drive letter"
    return "a '..' in its path" if ".." in name.split("/") else None


def _member_problem(info: zipfile.ZipInfo, max_member_bytes: int) -> str | None:
    """Why this entry of the central directory is refused; None if it is a file or directory that can be read."""
    # zipfile cuts `filename` at a NUL: only `orig_filename` shows the whole name.
    if problem := name_problem(info.orig_filename):
        return problem
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "a symbolic link"
    # 0: many programs (and zipfile's writestr) record no kind of file
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return f"a special file (mode {info.external_attr >> 16:o})"
    if info.flag_bits & _ENCRYPTED:
        return "encrypted"
    if info.compress_type not in _METHODS:
        return f"compressed by method {info.compress_type}, which is not read here (stored and deflated are)"
    if info.file_size > max_member_bytes:
        return f"declared to hold {info.file_size} bytes, more than the limit of {max_member_bytes}"
    if info.is_dir() and info.file_size:
        return f"a directory that holds {info.file_size} bytes"
    return None


def read_directory(path: Place, opened: Opened, limits: Limits) -> dict[str, Member]:
    """Read and check an archive's central directory.

    Parameters
    ----------
    path : Place
        For messages.
    opened : Opened
        The archive.
    limits : Limits

    Returns
    -------
    dict of name to Member
        Every file, in archive order; directories are checked and left out.

    Raises
    ------
    DataError
        There is no readable directory, or it has a member that is refused.
    """
    rules = Rules(*limits, _MAX_NAME, _ENCRYPTED, frozenset(_METHODS))
    if (plain := plain_members(opened, rules)) is not None:
        return plain
    members: dict[str, Member] = {}
    names: set[str] = set()  # of directories, too, which `members` leaves out
    total_bytes = 0
    for info in _entries(path, opened):
        name = info.orig_filename
        problem = _member_problem(info, limits.member_bytes) or ("listed twice" if name in names else None)
        if problem:
            raise DataError(f"{path}: refused, because of its member {name[:_SHOWN]!r}: {problem}.")
        names.add(name)
        total_bytes += info.file_size
        if total_bytes > limits.total_bytes:
            raise DataError(
                f"{path}: refused, because its members are declared to hold more than {limits.total_bytes} bytes."
            )
        if not info.is_dir():
            members[name] = _member(info)
    return members


def _entries(path: Place, opened: Opened) -> list[zipfile.ZipInfo]:
    """The directory as zipfile reads it, zip64 records and bytes ahead of the archive included."""
    try:
        with opened.file() as file, zipfile.ZipFile(file) as directory:
            return directory.infolist()
    # What zipfile raises on a damaged directory depends on where the damage is.
    except UnicodeDecodeError as bad:
        raise DataError(
            f"{path}: refused, because of its member {bad.object[:_SHOWN]!r}: a name that is not UTF-8, though the "
            "archive says so. Pack it again, with a program that writes names as UTF-8."
        ) from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, EOFError, struct.error, OSError) as bad:
        raise DataError(
            f"{path}: no readable zip directory ({bad}). Expected a whole zip archive; likely a cut-off download or "
            "another kind of file under this name. Delete it and fetch it again."
        ) from bad


def _member(info: zipfile.ZipInfo) -> Member:
    """A checked entry as a Member, with its name as the archive's bytes spell it."""
    name = info.orig_filename
    raw = name.encode("utf-8" if name.isascii() or info.flag_bits & _UTF8 else "cp437")
    return Member(name, info.file_size, info.compress_size, info.CRC, info.compress_type, info.header_offset, raw)
