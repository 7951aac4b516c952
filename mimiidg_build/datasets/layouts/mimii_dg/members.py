"""Members of MIMII DG's archives, sorted into clips, attribute tables and what does not belong.

An archive holds ``{machine}/{train,test}/*.wav`` and ``{machine}/attributes_NN.csv``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from mimiidg_build.datasets.clip_table.clips import ClipFile
from mimiidg_build.datasets.findings import Finding
from mimiidg_build.schemas.manifests import MACHINE_TYPES
from mimiidg_build.schemas.sections import SectionId

_MACHINES = "|".join(MACHINE_TYPES)
_AUDIO = re.compile(rf"({_MACHINES})/(train|test)/([^/]+\.wav)")
_TABLE = re.compile(rf"({_MACHINES})/attributes_([0-9]{{2}})\.csv")
_IGNORED = re.compile(r"(?i)(?:.*/)?(?:licen[cs]e|readme)[^/]*")
_LAYOUT = "{machine}/{train,test}/*.wav or {machine}/attributes_NN.csv"

WAV_HEADER_BYTES = 44


@dataclass(frozen=True, slots=True)
class TableMember:
    """An attribute table's file."""

    section_id: SectionId
    archive: str
    member: str

    @property
    def name(self) -> str:
        """What findings call it: ``<archive>:<member>``."""
        return f"{self.archive}:{self.member}" if self.archive else self.member


@dataclass(slots=True)
class Members:
    """What the archives hold, in their order. README and licence files are skipped silently."""

    clips: list[ClipFile] = field(default_factory=list)
    tables: list[TableMember] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def machine_type_of(archive: str) -> str | None:
    """The machine type in an archive's file name.

    Examples
    --------
    >>> machine_type_of("eval_data_fan_train.zip"), machine_type_of("noise.zip"), machine_type_of("dev_ToyCar.zip")
    ('fan', None, None)
    """
    parts = re.split(r"[_.-]", archive)
    return next((machine for machine in MACHINE_TYPES if machine in parts), None)


def is_attribute_table(member: str) -> bool:
    """Whether an archive's member is an attribute table, whose bytes ``read_clips`` needs.

    Examples
    --------
    >>> is_attribute_table("fan/attributes_00.csv"), is_attribute_table("ToyCar/attributes_00.csv")
    (True, False)
    """
    return _TABLE.fullmatch(member) is not None


def clip_file(archive: str, member: str) -> ClipFile | None:
    """The clip's file of that name, or None where it does not lie as a clip does.

    Examples
    --------
    >>> clip_file("1/fan.zip", "fan/test/section_00_0000.wav").folder
    'test'
    """
    match = _AUDIO.fullmatch(member)
    return ClipFile(match[1], match[2], archive, member) if match else None


def sort_members(archives: Mapping[str, Mapping[str, int]], clip_bytes: int) -> Members:
    """Sort every member of every archive.

    Parameters
    ----------
    archives : mapping
        Archive to {member: size in bytes}.
    clip_bytes : int
        Size of a clip's samples; its WAV file has the plain header of `WAV_HEADER_BYTES` on top.

    Returns
    -------
    Members
    """
    found = Members()
    for archive, members in archives.items():
        others: Counter[str] = Counter()
        for member, size_bytes in members.items():
            top, slash, _ = member.partition("/")
            if member.endswith("/") or _IGNORED.fullmatch(member):
                continue
            if slash and top not in MACHINE_TYPES:
                others[top] += 1  # counted: one finding a folder, not one a member
            elif table := _TABLE.fullmatch(member):
                found.tables.append(TableMember(SectionId(table[1], table[2]), archive, member))
            elif file := clip_file(archive, member):
                found.clips.append(file)
                found.findings += _size(file, size_bytes, clip_bytes + WAV_HEADER_BYTES)
            else:
                found.findings.append(_stray(archive, member))
        found.findings += [_other_machine(archive, top, count) for top, count in others.items()]
    return found


def _size(file: ClipFile, size_bytes: int, expected_bytes: int) -> list[Finding]:
    if size_bytes == expected_bytes:
        return []
    # a warning: a longer WAV header is no fault, and the decoder counts the samples
    message = f"{file.member} has {size_bytes} bytes; expected {expected_bytes}, a WAV file of a clip's samples"
    return [Finding("warning", "size", file.archive, message, 0, "size_bytes", str(size_bytes), str(expected_bytes))]


def _stray(archive: str, member: str) -> Finding:
    if member.lower().endswith(".wav"):
        message = f"{member} is audio outside of the layout, it would be lost; expected {_LAYOUT}"
        return Finding("error", "misplaced", archive, message, 0, "member", member, _LAYOUT)
    message = f"{member} does not belong to the layout and is not read; expected {_LAYOUT}"
    return Finding("warning", "unexpected_member", archive, message, 0, "member", member, _LAYOUT)


def _other_machine(archive: str, top: str, count: int) -> Finding:
    machines = ", ".join(MACHINE_TYPES)
    message = f"folder {top!r} ({count} members) is none of the machine types {machines}: skipped"
    return Finding("warning", "other_machine", archive, message, 0, "machine_type", top, machines)
