"""Members of archives, sorted into audio, attribute tables and what does not belong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mimiidg_build.datasets.findings import Finding
from schemas.manifests import MACHINE_TYPES

_MACHINES = "|".join(MACHINE_TYPES)
_AUDIO = re.compile(rf"({_MACHINES})/(train|test)/([^/]+\.wav)")
_TABLE = re.compile(rf"({_MACHINES})/attributes_([0-9]{{2}})\.csv")
_COMPANY = re.compile(r"(?i)(?:.*/)?(?:licen[cs]e|readme)[^/]*")
_LAYOUT = "{machine}/{train,test}/*.wav or {machine}/attributes_NN.csv"

WAV_HEADER_BYTES = 44


@dataclass(frozen=True, slots=True)
class AudioMember:
    """A clip's file: ``member`` in ``archive``; ``folder`` is its split by its place."""

    machine_type: str
    folder: str
    archive: str
    member: str


@dataclass(frozen=True, slots=True)
class TableMember:
    """An attribute table's file."""

    machine_type: str
    section: str
    archive: str
    member: str

    @property
    def name(self) -> str:
        """What findings call it: ``<archive>:<member>``."""
        return f"{self.archive}:{self.member}" if self.archive else self.member


@dataclass(slots=True)
class Layout:
    """What the archives hold, in their order."""

    audio: list[AudioMember] = field(default_factory=list)
    tables: list[TableMember] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def is_attribute_table(member: str) -> bool:
    """Whether an archive's member is an attribute table, whose bytes `build_clip_table` needs.

    Examples
    --------
    >>> is_attribute_table("fan/attributes_00.csv"), is_attribute_table("ToyCar/attributes_00.csv")
    (True, False)
    """
    return _TABLE.fullmatch(member) is not None


def audio_member(archive: str, member: str) -> AudioMember | None:
    """The clip's file of that name, or None where it does not lie as a clip does.

    Examples
    --------
    >>> audio_member("1/fan.zip", "fan/test/section_00_0000.wav").folder
    'test'
    """
    match = _AUDIO.fullmatch(member)
    return AudioMember(match[1], match[2], archive, member) if match else None


def sort_members(archives: Mapping[str, Mapping[str, int]], clip_bytes: int) -> Layout:
    """Sort every member of every archive.

    Parameters
    ----------
    archives : archive -> {member: size in bytes}
    clip_bytes : size of a clip's WAV file with the plain header of `WAV_HEADER_BYTES`
    """
    layout = Layout()
    for archive, members in archives.items():
        strangers: dict[str, int] = {}
        for member, size_bytes in members.items():
            top, slash, _ = member.partition("/")
            if member.endswith("/") or _COMPANY.fullmatch(member):
                continue
            if slash and top not in MACHINE_TYPES:
                strangers[top] = strangers.get(top, 0) + 1
            elif table := _TABLE.fullmatch(member):
                layout.tables.append(TableMember(table[1], table[2], archive, member))
            elif audio := audio_member(archive, member):
                layout.audio.append(audio)
                layout.findings += _size(audio, size_bytes, clip_bytes)
            else:
                layout.findings.append(_stray(archive, member))
        layout.findings += [_stranger(archive, top, count) for top, count in strangers.items()]
    return layout


def _size(audio: AudioMember, size_bytes: int, clip_bytes: int) -> list[Finding]:
    if size_bytes == clip_bytes:
        return []
    # a warning: a longer WAV header is no fault, and the decoder counts the samples
    message = f"{audio.member} has {size_bytes} bytes; expected {clip_bytes}, a WAV file of a clip's samples"
    column, found, expected = "size_bytes", str(size_bytes), str(clip_bytes)
    return [Finding("warning", "size", audio.archive, message, 0, column, found, expected)]


def _stray(archive: str, member: str) -> Finding:
    if member.lower().endswith(".wav"):
        message = f"{member} is audio outside of the layout, it would be lost; expected {_LAYOUT}"
        return Finding("error", "misplaced", archive, message, 0, "member", member, _LAYOUT)
    message = f"{member} does not belong to the layout and is not read; expected {_LAYOUT}"
    return Finding("warning", "unexpected_member", archive, message, 0, "member", member, _LAYOUT)


def _stranger(archive: str, top: str, count: int) -> Finding:
    machines = ", ".join(MACHINE_TYPES)
    message = f"folder {top!r} ({count} members) is none of the machine types {machines}: skipped"
    return Finding("warning", "other_machine", archive, message, 0, "machine_type", top, machines)
