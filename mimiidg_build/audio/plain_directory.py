"""The central directory of a plain zip archive, all members at once; of any other archive nothing is said here.

zipfile makes an object of each member, and looks at each of its fields: 23 ms of 3,600 members, here 7. An archive is
plain if its directory ends the file, without zip64 records or a comment, its names are ASCII, and no member breaks a
rule of :mod:`.zip_directory`. Most are. Every other one is left to zipfile, so that what is damaged or refused has one
reader, and one message.
"""

from __future__ import annotations

import re
import stat
import struct
from itertools import compress
from typing import NamedTuple

from mimiidg_build.storage.backend import Opened

_END = struct.Struct("<4s4xHHIIH")  # signature, members on this disk and in all, bytes and offset of the directory, ...
_ENTRY = struct.Struct("<4s2xBxHH4xIIIHHH4xII")
_LOCATOR_BYTES = 20  # of a zip64 record, ahead of the end's
_ZIP64_EXTRA, _UNICODE_NAME_EXTRA = 0x0001, 0x7075  # extra fields that say otherwise than the entry itself
_MAX_VERSION = 63  # of the format that zipfile reads
_CONTROL = bytes([*range(10), *range(11, 32), 127])  # but the line end that names are joined by
_ODD_PLACES = ("\n\n", "\n/", "/../", "\n../", "/..\n", "\n..\n", "\\")  # empty, absolute, leaving the tree
_DRIVE = re.compile(r"\n[A-Za-z]:")


class Member(NamedTuple):
    """One file of an archive, as the central directory declares it."""

    name: str
    size_bytes: int
    compressed_bytes: int
    crc32: int
    method: int
    header_offset: int
    raw_name: bytes  # as the local header must repeat it


class Rules(NamedTuple):
    """What a member may be."""

    member_bytes: int
    total_bytes: int
    name_length: int
    forbidden_flags: int
    methods: frozenset[int]


def plain_members(opened: Opened, rules: Rules) -> dict[str, Member] | None:
    """Every file of a plain archive, in archive order; None of any other archive.

    Parameters
    ----------
    opened : Opened
        The archive.
    rules : Rules

    Returns
    -------
    dict of name to Member, or None
        Directories are checked and left out.
    """
    data = _directory(opened)
    entries = _entries(data) if data else None
    if not entries:
        return None
    versions, flags, methods, crcs, packed, sizes, attributes, offsets, raw = zip(*entries, strict=True)
    names = _names(raw, rules)
    kinds = {stat.S_IFMT(value >> 16) for value in set(attributes)}
    if (
        names is None
        or max(versions) > _MAX_VERSION
        or any(value & rules.forbidden_flags for value in set(flags))
        or not rules.methods.issuperset(methods)
        or not {0, stat.S_IFREG, stat.S_IFDIR}.issuperset(kinds)
        or max(sizes) > rules.member_bytes
        or sum(sizes) > rules.total_bytes
    ):
        return None
    is_file = [not name.endswith("/") for name in names]
    if any(size and not file for size, file in zip(sizes, is_file, strict=True)):
        return None
    made = map(Member, names, sizes, packed, crcs, methods, offsets, raw)
    return dict(compress(zip(names, made, strict=True), is_file))


def _directory(opened: Opened) -> bytes | None:
    """The bytes of the directory, if it ends where the end's record begins, and that ends the file."""
    tail = opened.read_at(max(opened.size_bytes - _LOCATOR_BYTES - _END.size, 0), _LOCATOR_BYTES + _END.size)
    if len(tail) < _END.size or tail.startswith(b"PK\x06\x07"):
        return None
    signature, _, _, n_bytes, offset, n_comment = _END.unpack(tail[-_END.size :])
    if signature != b"PK\x05\x06" or n_comment or offset + n_bytes + _END.size != opened.size_bytes:
        return None
    data = opened.read_at(offset, n_bytes)
    return data if len(data) == n_bytes else None


def _entries(data: bytes) -> list[tuple[int | bytes, ...]] | None:
    """The entries' fields that count, the name's bytes last; None if one is not whole, or its extra field counts."""
    entries: list[tuple[int | bytes, ...]] = []
    at, end, unpack, header_bytes = 0, len(data), _ENTRY.unpack_from, _ENTRY.size
    while at + header_bytes <= end:
        signature, version, flags, method, crc, packed, size, n_name, n_extra, n_comment, attributes, offset = unpack(
            data, at
        )
        name_at = at + header_bytes
        extra_at = name_at + n_name
        if signature != b"PK\x01\x02" or (n_extra and not _means_nothing(data[extra_at : extra_at + n_extra])):
            return None
        entries.append((version, flags, method, crc, packed, size, attributes, offset, data[name_at:extra_at]))
        at = extra_at + n_extra + n_comment
    return entries if at == end else None


def _means_nothing(extra: bytes) -> bool:
    """Whether an extra field leaves sizes, offset and name as the entry has them."""
    at = 0
    while at + 4 <= len(extra):
        kind, n_bytes = struct.unpack_from("<HH", extra, at)
        if kind in (_ZIP64_EXTRA, _UNICODE_NAME_EXTRA):
            return False
        at += 4 + n_bytes
    return at <= len(extra)


def _names(raw: tuple[bytes, ...], rules: Rules) -> list[str] | None:
    """The names, if all are plain, allowed and different. They are looked at as one text, which takes 1 ms."""
    joined = b"\n".join(raw)
    if not joined.isascii() or len(joined.translate(None, _CONTROL)) != len(joined):
        return None
    text = f"\n{joined.decode('ascii')}\n"
    if any(part in text for part in _ODD_PLACES) or _DRIVE.search(text):
        return None
    names = text[1:-1].split("\n")
    one_each = len(names) == len(raw) == len(set(names))  # a line end within a name makes more names
    return names if one_each and max(map(len, names)) <= rules.name_length else None
