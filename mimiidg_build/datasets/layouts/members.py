"""Members of archives, sorted into clips, attribute tables, extra recordings and what does not belong.

Every layout says where its files lie (:class:`Places`); the rest is the same for all. A release that was packed again
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
from mimiidg_build.errors import counted
from mimiidg_build.schemas.manifests import DatasetManifest
from mimiidg_build.schemas.sections import MACHINE_TYPE, SectionId

_MACHINE = MACHINE_TYPE[1:-1]
_IGNORED = re.compile(r"(?i)(?:.*/)?(?:licen[cs]e|readme)[^/]*")
_MAX_EXTRA_FOLDERS = 8  # within each other


class Places:
    """Where the files of a layout lie in an archive.

    Parameters
    ----------
    folders : str
        Regular expression of the folders between a machine type's and its clips: ``train|test``.
    text : str
        The same for people, ``{machine}/{train,test}/*.wav``.
    has_tables : bool
        Whether there are attribute tables, ``{machine}/attributes_NN.csv``.
    """

    def __init__(self, folders: str, text: str, *, has_tables: bool = False) -> None:
        self.text = f"{text} or {{machine}}/attributes_NN.csv" if has_tables else text
        self.audio = re.compile(rf"(?P<machine>{_MACHINE})/(?P<folder>{folders})/[^/]+\.(?i:wav)")
        self.table = re.compile(rf"({_MACHINE})/attributes_([0-9]{{2}})\.csv") if has_tables else None
        # DCASE 2025 on: clean sound of the machine, or its noise alone
        self.extra = re.compile(rf"({_MACHINE})/supplemental/(?:[^/]+/)*[^/]+\.(?i:wav)")
        self.depth = text.count("/") + 1

    def of_clips(self, folder: str) -> tuple[str, str] | None:
        """The machine type and folder of the clips that lie in a folder; None where none can.

        Every pattern ends with the file's own name, so that one file tells of all in the folder.
        """
        match = self.audio.fullmatch(f"{folder}/clip.wav")
        return None if match is None else (match["machine"], match["folder"])

    def clip_file(self, archive: str, member: str, extra: str = "") -> ClipFile | None:
        """The clip's file of that name, or None where it does not lie as a clip does.

        Parameters
        ----------
        archive, member : str
        extra : str
            The folder within the archive that the layout begins at, ``""`` or with ``/`` at its end.
        """
        match = self.audio.fullmatch(member.removeprefix(extra))
        if match is None:
            return None
        return ClipFile(match["machine"], match["folder"], archive, member, released_path(match[0]))

    def is_place(self, name: str, machine_types: Collection[str]) -> bool:
        """Whether a file of one of the machine types may be called so."""
        patterns = (self.audio, self.table, self.extra)
        matches = (pattern.fullmatch(name) for pattern in patterns if pattern is not None)
        return any(match is not None and match[1] in machine_types for match in matches)


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


def no_attribute_tables(member: str) -> bool:
    """``is_attribute_table`` of a layout that has none."""
    return False


def released_path(path: str) -> str:
    """A path with the suffix as the release writes it: ``.wav`` for ``.WAV``.

    >>> released_path("fan/test/section_00_0000.WAV")
    'fan/test/section_00_0000.wav'
    """
    return f"{path[:-4]}.wav" if path[-4:].lower() == ".wav" else path


def extra_folder(members: Collection[str], places: Places, machine_types: Collection[str]) -> str:
    """The folder within an archive that the layout begins at: ``""``, or the one that everything was packed into.

    Parameters
    ----------
    members : collection of str
    places : Places
    machine_types : collection of str
        Those that the archive may hold.

    Examples
    --------
    >>> places = Places("train|test", "{machine}/{train,test}/*.wav", has_tables=True)
    >>> packed = ["dev_data/fan/attributes_00.csv", "dev_data/fan/train/section_00_0000.wav", "README.md"]
    >>> extra_folder(packed, places, {"fan"})
    'dev_data/'
    >>> extra_folder(["a/fan/attributes_00.csv", "b/fan/attributes_00.csv"], places, {"fan"})
    ''
    """
    rest = [member for member in members if not _IGNORED.fullmatch(member)]
    folder = ""
    for _ in range(_MAX_EXTRA_FOLDERS):
        if any(places.is_place(name, machine_types) for name in rest):
            return folder
        top = rest[0].partition("/")[0] + "/" if rest else ""
        if not top or not all(name.startswith(top) for name in rest):
            break
        folder += top
        rest = [name.removeprefix(top) for name in rest]
    return ""


def sort_members(dataset: DatasetManifest, archives: Mapping[str, Mapping[str, int]], places: Places) -> Members:
    """Sort every member of every archive.

    Parameters
    ----------
    dataset : DatasetManifest
    archives : mapping
        Archive to {member: size in bytes}.
    places : Places
        Where the layout has its files.

    Returns
    -------
    Members
    """
    found = Members()
    names = [archive.rpartition("/")[2] for archive in archives]
    machine_types = {*dataset.machine_types, *filter(None, (machine_type_of(dataset, name) for name in names))}
    for archive, members in archives.items():
        files = {name: size for name, size in members.items() if name[-1:] != "/"}
        companions = [name for name in files if is_companion(name)]
        own = {name: files[name] for name in files if not is_companion(name)} if companions else files
        n_read = len(found.clips) + len(found.tables)
        findings = _Sorting(archive, places, machine_types).sort(own, found)
        found.findings += [*findings, *([_companions(archive, companions)] if companions else [])]
        if n_read == len(found.clips) + len(found.tables) and not any(f.severity == "error" for f in findings):
            found.findings.append(_no_clips(archive, list(own), places))
    return found


@dataclass(frozen=True)
class _Sorting:
    """The sorting of one archive."""

    archive: str
    places: Places
    machine_types: Collection[str]

    def sort(self, members: Mapping[str, int], found: Members) -> list[Finding]:
        """Sort the files of the archive into ``found``; what is wrong with them."""
        extra = extra_folder(members, self.places, self.machine_types)
        findings = [self._extra_folder(extra)] if extra else []
        others: dict[str, list[str]] = {}
        supplemental: list[str] = []
        places: dict[str, tuple[str, str] | None] = {}  # by folder: thousands of clips lie in a dozen
        for member in members:
            folder, _, base = member.rpartition("/")
            if folder not in places:
                places[folder] = self._of_clips(folder, extra)
            if (place := places[folder]) and base[-4:] == ".wav" and len(base) > 4 and base[0] not in "lLrR":
                # as most; what may be a licence or a readme is looked at below
                found.clips.append(ClipFile(*place, self.archive, member, member.removeprefix(extra)))
                continue
            name = member.removeprefix(extra)
            top, slash, _ = name.partition("/")
            if _IGNORED.fullmatch(name):
                continue
            if slash and top not in self.machine_types:
                others.setdefault(top, []).append(name)  # one finding a folder, not one a member
            elif self.places.table is not None and (table := self.places.table.fullmatch(name)):
                found.tables.append(TableMember(SectionId(table[1], table[2]), self.archive, member))
            elif file := self.places.clip_file(self.archive, member, extra):
                found.clips.append(file)
            elif self.places.extra.fullmatch(name):
                supplemental.append(member)
            else:
                findings.append(self._stray(member))
        findings += [self._other_folder(top, names) for top, names in others.items()]
        return findings + ([self._supplemental(supplemental)] if supplemental else [])

    def _of_clips(self, folder: str, extra: str) -> tuple[str, str] | None:
        """As `Places.of_clips`, of the machine types that the archive may hold."""
        place = self.places.of_clips(folder.removeprefix(extra)) if f"{folder}/".startswith(extra) else None
        return place if place and place[0] in self.machine_types else None

    def _stray(self, member: str) -> Finding:
        if member.lower().endswith(".wav"):
            message = f"{member} is audio outside of the layout, it would be lost; expected {self.places.text}"
            return Finding("error", "misplaced", self.archive, message, 0, "member", member, self.places.text)
        message = f"{member} does not belong to the layout and is not read; expected {self.places.text}"
        return Finding("warning", "unexpected_member", self.archive, message, 0, "member", member, self.places.text)

    def _other_folder(self, top: str, members: Sequence[str]) -> Finding:
        depth, text = self.places.depth, self.places.text
        tails = {member: self.places.audio.fullmatch("/".join(member.split("/")[-depth:])) for member in members}
        lost = [member for member, match in tails.items() if match is not None and match[1] in self.machine_types]
        if lost:
            message = (
                f"folder {top!r} holds {len(lost)} clips, as {lost[0]}, that would be lost; expected {text}, or all "
                "of it within one folder"
            )
            return Finding("error", "misplaced", self.archive, message, 0, "member", lost[0], text)
        machines = ", ".join(sorted(self.machine_types))
        message = f"folder {top!r} ({len(members)} members) is none of the machine types {machines}: skipped"
        return Finding("warning", "other_machine", self.archive, message, 0, "machine_type", top, machines)

    def _extra_folder(self, extra: str) -> Finding:
        text = self.places.text
        message = f"everything lies in one more folder, {extra!r}, which is left out of account; expected {text}"
        return Finding("warning", "extra_folder", self.archive, message, 0, "member", extra, text)

    def _supplemental(self, members: Sequence[str]) -> Finding:
        message = (
            f"{len(members)} supplemental recordings, as {members[0]}, are no training or test clips; a variant can "
            "take them as noise"
        )
        return Finding("warning", "supplemental", self.archive, message, 0, "member", str(len(members)))


def _companions(archive: str, members: Sequence[str]) -> Finding:
    count = len(members)
    message = f"passed over {counted(count, 'file')} that operating systems leave or hide, as {members[0]!r}"
    return Finding("warning", "companion", archive, message, 0, "member", str(count))


def _no_clips(archive: str, members: Sequence[str], places: Places) -> Finding:
    """Nothing in an archive is where the layout has it: most likely it was packed with more than one folder on top."""
    if not members:
        message = "the archive holds no files, or none that count"
        return Finding("error", "no_clips", archive, message, 0, "member", "", places.text)
    folders = list(dict.fromkeys(member.rpartition("/")[0] or "(top)" for member in members))
    shown = ", ".join(map(repr, folders[:3])) + ", ..." * (len(folders) > 3)
    message = (
        f"not one of the archive's {len(members)} files lies where a clip does: they are in {shown}; expected "
        f"{places.text}. Likely it was packed again with other folders: pack it as it was published"
    )
    return Finding("error", "no_clips", archive, message, 0, "member", folders[0], places.text)
