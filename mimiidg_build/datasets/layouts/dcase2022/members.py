"""Members of MIMII DG's archives, sorted into clips, attribute tables and what does not belong.

An archive holds ``{machine}/{train,test}/*.wav`` and ``{machine}/attributes_NN.csv``. A release that was packed again
may hold all of it within one more folder, with ``.WAV`` for ``.wav``, and with files that systems leave
(:mod:`mimiidg_build.audio.companions`): it is read all the same, and what was passed over is counted in a finding.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from mimiidg_build.audio.companions import is_companion
from mimiidg_build.datasets.clip_table.clips import ClipFile
from mimiidg_build.datasets.findings import Finding
from mimiidg_build.datasets.layouts.archive_names import machine_type_of
from mimiidg_build.schemas.manifests import DatasetManifest
from mimiidg_build.schemas.sections import MACHINE_TYPE, SectionId

_MACHINE = MACHINE_TYPE[1:-1]
_AUDIO = re.compile(rf"({_MACHINE})/(train|test)/([^/]+\.(?i:wav))")
_TABLE = re.compile(rf"({_MACHINE})/attributes_([0-9]{{2}})\.csv")
_IGNORED = re.compile(r"(?i)(?:.*/)?(?:licen[cs]e|readme)[^/]*")
_MAX_EXTRA_FOLDERS = 8  # within each other
_LAYOUT = "{machine}/{train,test}/*.wav or {machine}/attributes_NN.csv"


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


def is_attribute_table(member: str) -> bool:
    """Whether an archive's member is an attribute table, whose bytes ``read_clips`` may need; in whatever folder.

    Examples
    --------
    >>> is_attribute_table("fan/attributes_00.csv"), is_attribute_table("dev_data/fan/attributes_00.csv")
    (True, True)
    >>> is_attribute_table("ToyCar/attributes.csv"), is_attribute_table("__MACOSX/fan/attributes_00.csv")
    (False, False)
    """
    name = "/".join(member.split("/")[-2:])
    return _TABLE.fullmatch(name) is not None and not is_companion(member)


def clip_file(archive: str, member: str, extra: str = "") -> ClipFile | None:
    """The clip's file of that name, or None where it does not lie as a clip does.

    Parameters
    ----------
    archive, member : str
    extra : str
        The folder within the archive that the layout begins at, ``""`` or with ``/`` at its end.

    Examples
    --------
    >>> clip_file("1/fan.zip", "fan/test/section_00_0000.wav").folder
    'test'
    >>> clip_file("1/fan.zip", "dev_data/fan/test/section_00_0000.WAV", "dev_data/").path
    'fan/test/section_00_0000.wav'
    """
    match = _AUDIO.fullmatch(member.removeprefix(extra))
    return ClipFile(match[1], match[2], archive, member, released_path(match[0])) if match else None


def released_path(path: str) -> str:
    """A path with the suffix as the release writes it: ``.wav`` for ``.WAV``.

    >>> released_path("fan/test/section_00_0000.WAV")
    'fan/test/section_00_0000.wav'
    """
    return f"{path[:-4]}.wav" if path[-4:].lower() == ".wav" else path


def extra_folder(members: Collection[str], machine_types: Collection[str]) -> str:
    """The folder within an archive that the layout begins at: ``""``, or the one that everything was packed into.

    Examples
    --------
    >>> extra_folder(["dev_data/fan/attributes_00.csv", "dev_data/fan/train/section_00_0000.wav", "README.md"], {"fan"})
    'dev_data/'
    >>> extra_folder(["a/fan/attributes_00.csv", "b/fan/attributes_00.csv"], {"fan"})
    ''
    """
    rest = [member for member in members if not _IGNORED.fullmatch(member)]
    folder = ""
    for _ in range(_MAX_EXTRA_FOLDERS):
        if any(_is_of(machine_types, _AUDIO.fullmatch(name) or _TABLE.fullmatch(name)) for name in rest):
            return folder
        top = rest[0].partition("/")[0] + "/" if rest else ""
        if not top or not all(name.startswith(top) for name in rest):
            break
        folder += top
        rest = [name.removeprefix(top) for name in rest]
    return ""


def _is_of(machine_types: Collection[str], match: re.Match[str] | None) -> bool:
    return match is not None and match[1] in machine_types


def sort_members(dataset: DatasetManifest, archives: Mapping[str, Mapping[str, int]]) -> Members:
    """Sort every member of every archive.

    Parameters
    ----------
    dataset : DatasetManifest
    archives : mapping
        Archive to {member: size in bytes}.

    Returns
    -------
    Members
    """
    found = Members()
    names = [archive.rpartition("/")[2] for archive in archives]
    machine_types = {*dataset.machine_types, *filter(None, (machine_type_of(dataset, name) for name in names))}
    for archive, members in archives.items():
        files = {name: size for name, size in members.items() if not name.endswith("/")}
        companions = [name for name in files if is_companion(name)]
        own = {name: files[name] for name in files if not is_companion(name)} if companions else files
        n_read = len(found.clips) + len(found.tables)
        findings = _sort_archive(archive, own, machine_types, found)
        found.findings += [*findings, *([_companions(archive, companions)] if companions else [])]
        if n_read == len(found.clips) + len(found.tables) and not any(f.severity == "error" for f in findings):
            found.findings.append(_no_clips(archive, list(own)))
    return found


def _sort_archive(
    archive: str, members: Mapping[str, int], machine_types: Collection[str], found: Members
) -> list[Finding]:
    """Sort the files of one archive into ``found``; what is wrong with them."""
    extra = extra_folder(members, machine_types)
    findings = [_extra_folder(archive, extra)] if extra else []
    others: dict[str, list[str]] = {}
    for member in members:
        name = member.removeprefix(extra)
        top, slash, _ = name.partition("/")
        if _IGNORED.fullmatch(name):
            continue
        if slash and top not in machine_types:
            others.setdefault(top, []).append(name)  # one finding a folder, not one a member
        elif table := _TABLE.fullmatch(name):
            found.tables.append(TableMember(SectionId(table[1], table[2]), archive, member))
        elif file := clip_file(archive, member, extra):
            found.clips.append(file)
        else:
            findings.append(_stray(archive, member))
    return [*findings, *(_other_folder(archive, top, names, machine_types) for top, names in others.items())]


def _stray(archive: str, member: str) -> Finding:
    if member.lower().endswith(".wav"):
        message = f"{member} is audio outside of the layout, it would be lost; expected {_LAYOUT}"
        return Finding("error", "misplaced", archive, message, 0, "member", member, _LAYOUT)
    message = f"{member} does not belong to the layout and is not read; expected {_LAYOUT}"
    return Finding("warning", "unexpected_member", archive, message, 0, "member", member, _LAYOUT)


def _other_folder(archive: str, top: str, members: Sequence[str], machine_types: Collection[str]) -> Finding:
    tails = {member: _AUDIO.fullmatch("/".join(member.split("/")[-3:])) for member in members}
    lost = [member for member, match in tails.items() if _is_of(machine_types, match)]
    if lost:
        message = (
            f"folder {top!r} holds {len(lost)} clips, as {lost[0]}, that would be lost; expected {_LAYOUT}, or all "
            "of it within one folder"
        )
        return Finding("error", "misplaced", archive, message, 0, "member", lost[0], _LAYOUT)
    machines = ", ".join(sorted(machine_types))
    message = f"folder {top!r} ({len(members)} members) is none of the machine types {machines}: skipped"
    return Finding("warning", "other_machine", archive, message, 0, "machine_type", top, machines)


def _extra_folder(archive: str, extra: str) -> Finding:
    message = f"everything lies in one more folder, {extra!r}, which is left out of account; expected {_LAYOUT}"
    return Finding("warning", "extra_folder", archive, message, 0, "member", extra, _LAYOUT)


def _companions(archive: str, members: Sequence[str]) -> Finding:
    count = len(members)
    message = f"passed over {count} file{'s' * (count != 1)} that operating systems leave or hide, as {members[0]!r}"
    return Finding("warning", "companion", archive, message, 0, "member", str(count))


def _no_clips(archive: str, members: Sequence[str]) -> Finding:
    """Nothing in an archive is where the layout has it: most likely it was packed with more than one folder on top."""
    if not members:
        return Finding(
            "error", "no_clips", archive, "the archive holds no files, or none that count", 0, "member", "", _LAYOUT
        )
    folders = list(dict.fromkeys(member.rpartition("/")[0] or "(top)" for member in members))
    shown = ", ".join(map(repr, folders[:3])) + ", ..." * (len(folders) > 3)
    message = (
        f"not one of the archive's {len(members)} files lies where a clip does: they are in {shown}; expected "
        f"{_LAYOUT}. Likely it was packed again with other folders: pack it as it was published"
    )
    return Finding("error", "no_clips", archive, message, 0, "member", folders[0], _LAYOUT)
