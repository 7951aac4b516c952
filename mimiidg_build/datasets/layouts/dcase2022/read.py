"""From members and attribute tables to clips with nothing hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mimiidg_build.audio.companions import is_companion
from mimiidg_build.datasets.clip_table.build import judge_clips
from mimiidg_build.datasets.clip_table.clips import Clip, ClipFile, ClipReading, Reading, TableRow
from mimiidg_build.datasets.findings import Finding, findings_frame
from mimiidg_build.datasets.layouts.dcase2022.full_names import Tables, read_tables, truth_of_row
from mimiidg_build.datasets.layouts.dcase2022.names import ClipName
from mimiidg_build.datasets.layouts.hidden import HiddenClips
from mimiidg_build.datasets.layouts.members import Places, TableMember, sort_members
from mimiidg_build.datasets.layouts.tails import tail_attributes
from mimiidg_build.datasets.truth import ClipTruth, Truth
from mimiidg_build.errors import DataError
from mimiidg_build.schemas.manifests import DatasetManifest, Recipe
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.tables import ClipTable, Findings

if TYPE_CHECKING:
    from pandera.typing.pandas import DataFrame

PLACES = Places("train|test", "{machine}/{train,test}/*.wav", has_tables=True)


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
    return PLACES.table is not None and PLACES.table.fullmatch(name) is not None and not is_companion(member)


def read_clips(
    dataset: DatasetManifest,
    archives: Mapping[str, Mapping[str, int]],
    tables: Mapping[tuple[str, str], bytes],
    truth: Truth,
) -> Reading:
    """The clips of a release. Nothing is opened: the caller hands over names, sizes and the bytes of the tables.

    Parameters
    ----------
    dataset : DatasetManifest
    archives : mapping
        Archive, ``<record id>/<file name>``, to {member: uncompressed size in bytes}.
    tables : mapping
        (archive, member) to bytes, for every member that ``is_attribute_table`` picks out.
    truth : Truth
        What lists beside the release say of clips whose names hide it.

    Returns
    -------
    Reading
        In the order of archives and members.

    Raises
    ------
    ValueError
        The bytes of an attribute table were not given.
    """
    members = sort_members(dataset, archives, PLACES)
    for table in members.tables:
        if (table.archive, table.member) not in tables:
            raise ValueError(f"no bytes given for the attribute table {table.name}")
    read = read_tables({table: tables[table.archive, table.member] for table in members.tables})
    # over all archives: a table's clips may lie in another archive than the table
    present = {file.path for file in members.clips}
    absent = [_no_audio(row) for row in read.rows.values() if row.file_name not in present]
    hidden = HiddenClips(truth, tail_attributes)
    reading = _reading(members.clips, read, hidden, [*members.findings, *read.findings, *absent])
    reading.missing_tables += hidden.findings(dataset)
    return reading


def validate_tables(
    tables: Mapping[SectionId, bytes], recipe: Recipe
) -> tuple[DataFrame[ClipTable], DataFrame[Findings]]:
    """The clips that attribute tables describe, and what is wrong with the tables, without any audio.

    Parameters
    ----------
    tables : mapping of SectionId to bytes
        Content of each section's ``attributes_NN.csv``.
    recipe : Recipe
        What each section may hold.

    Returns
    -------
    clips : DataFrame[ClipTable]
        One row per good row of the tables, ``archive`` empty.
    findings : DataFrame[Findings]
        As for a release, those about archives, counts and the paper left out.
    """
    read = read_tables({TableMember(key, "", _table_name(key)): data for key, data in tables.items()})
    files: list[ClipFile] = []
    misplaced: list[Finding] = []
    for row in read.rows.values():
        if file := PLACES.clip_file("", row.file_name):
            files.append(file)
        else:
            expected = "{machine}/{train,test}/*.wav"
            message = f"{row.file_name!r} is not a clip's place; expected {expected}"
            misplaced.append(row.finding("error", "misplaced", message, "file_name", row.file_name, expected))
    hidden = HiddenClips(Truth(), tail_attributes)
    table, findings = judge_clips(_reading(files, read, hidden, [*read.findings, *misplaced]), recipe)
    return table, findings_frame(findings)


def _reading(files: Sequence[ClipFile], tables: Tables, hidden: HiddenClips, findings: list[Finding]) -> Reading:
    """Every clip with its full name, and one finding for each section that lacks its table."""
    reading = Reading([_read_clip(file, tables, hidden) for file in files], findings)
    tableless: dict[SectionId, list[Clip]] = {}
    for clip in reading.read_clips():
        if clip.section_id not in tables.names and clip.section_id not in hidden.untold and not clip.is_hidden:
            tableless.setdefault(clip.section_id, []).append(clip)
    # where no name has an attribute there is nothing that a table could say
    lacking = {key: clips for key, clips in tableless.items() if any(clip.attributes for clip in clips)}
    reading.missing_tables = [_missing_table(key, clips) for key, clips in lacking.items()]
    return reading


def _read_clip(file: ClipFile, tables: Tables, hidden: HiddenClips) -> ClipReading:
    row = tables.rows.get(file.path)
    try:
        name = ClipName.parse(file.path)
    except DataError as error:
        return ClipReading(None, [file.error(row, "bad_name", str(error))])
    clip = _clip(file, name, row)
    if name.split != file.folder:
        message = f"{file.member} lies in {file.folder}, its name says {name.split}"
        return ClipReading(None if name.is_hidden else clip, [file.error(row, "misplaced", message, name.split)])
    told, faults = truth_of_row(clip, name, tables)
    if not name.is_hidden:
        return ClipReading(hidden.complete(clip).clip, faults)
    if (listed := hidden.of(clip)) is not None:  # the lists are asked for by hand: they hold
        reading = hidden.complete(clip)
        return ClipReading(reading.clip, [*reading.findings, *_differences(clip, told, listed)])
    if told is not None:
        attributes, full_name = tail_attributes(told.attributes), told.full_name
        told_clip = clip._replace(
            domain=told.domain, condition=told.condition, attributes=attributes, full_name=full_name
        )
        return ClipReading(told_clip, faults)
    if not faults and clip.section_id not in tables.names:
        return hidden.complete(clip)
    return ClipReading(clip if faults and all(fault.kind == "hidden_name" for fault in faults) else None, faults)


def _clip(file: ClipFile, name: ClipName, row: TableRow | None) -> Clip:
    section_id, is_hidden = SectionId(file.machine_type, name.section), name.is_hidden
    head = (file, section_id, name.split, name.domain or "", name.condition or "", name.index)
    # a table without full names still tells the attributes that the name hides
    listed = row.attributes if row is not None and is_hidden and not row.full_name else ()
    # a name that was read is the file's own
    return Clip(*head, name.attributes or listed, file.path.rpartition("/")[2], row, is_hidden)


def _differences(clip: Clip, told: ClipTruth | None, listed: ClipTruth) -> list[Finding]:
    """Where the archive's table says otherwise than the lists."""
    if told is None or clip.row is None or (told.domain, told.condition) == (listed.domain, listed.condition):
        return []
    said, right = told.full_name, listed.full_name or f"{listed.domain} {listed.condition}"
    message = f"the table says that {clip.file.member} is {said}, the truth lists say {right}; the lists are right"
    return [clip.row.finding("warning", "truth_differs", message, "full_name", said, right)]


def _table_name(section_id: SectionId) -> str:
    return f"{section_id.machine_type}/attributes_{section_id.section}.csv"


def _no_audio(row: TableRow) -> Finding:
    message = (
        f"the row names {row.file_name}, the archives hold no such audio member; is an archive missing or damaged?"
    )
    return row.finding("error", "no_audio", message, "file_name", row.file_name, "a member of the archives")


def _missing_table(section_id: SectionId, clips: Sequence[Clip]) -> Finding:
    table, archive = _table_name(section_id), clips[0].file.archive
    message = f"no {table}; allow missing_table to take the attributes from the {len(clips)} file names"
    return Finding("error", "missing_table", archive, message, 0, "member", "", table)
