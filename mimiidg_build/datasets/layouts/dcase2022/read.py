"""From members and attribute tables to clips with nothing hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pandera.typing.pandas import DataFrame

from mimiidg_build.datasets.clip_table.build import judge_clips
from mimiidg_build.datasets.clip_table.clips import Clip, ClipFile, ClipReading, Reading, TableRow
from mimiidg_build.datasets.findings import Finding, findings_frame
from mimiidg_build.datasets.layouts.dcase2022.full_names import Tables, find_full_name, read_tables
from mimiidg_build.datasets.layouts.dcase2022.members import TableMember, clip_file, sort_members
from mimiidg_build.datasets.layouts.dcase2022.names import ClipName
from mimiidg_build.datasets.truth import Truth
from mimiidg_build.errors import DataError
from mimiidg_build.schemas.manifests import DatasetManifest, Recipe
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.tables import ClipTable, Findings


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
    members = sort_members(dataset, archives)
    for table in members.tables:
        if (table.archive, table.member) not in tables:
            raise ValueError(f"no bytes given for the attribute table {table.name}")
    read = read_tables({table: tables[table.archive, table.member] for table in members.tables})
    # over all archives: a table's clips may lie in another archive than the table
    present = {file.path for file in members.clips}
    absent = [_no_audio(row) for row in read.rows.values() if row.file_name not in present]
    return _reading(members.clips, read, [*members.findings, *read.findings, *absent])


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
        if file := clip_file("", row.file_name):
            files.append(file)
        else:
            expected = "{machine}/{train,test}/*.wav"
            message = f"{row.file_name!r} is not a clip's place; expected {expected}"
            misplaced.append(row.finding("error", "misplaced", message, "file_name", row.file_name, expected))
    table, findings = judge_clips(_reading(files, read, [*read.findings, *misplaced]), recipe)
    return table, findings_frame(findings)


def _reading(files: Sequence[ClipFile], tables: Tables, findings: list[Finding]) -> Reading:
    """Every clip with its full name, and one finding for each section that lacks its table."""
    reading = Reading(findings=findings)
    tableless: dict[SectionId, list[ClipFile]] = {}
    for file in files:
        row = tables.rows.get(file.path)
        try:
            name = ClipName.parse(file.path)
        except DataError as error:
            reading.clips.append(ClipReading(None, [file.error(row, "bad_name", str(error))]))
            continue
        section_id = SectionId(file.machine_type, name.section)
        if section_id not in tables.names:
            tableless.setdefault(section_id, []).append(file)
        full_name, faults = find_full_name(file, name, tables)
        reading.clips.append(ClipReading(_clip(file, full_name, row), faults))
    reading.missing_tables = [_missing_table(key, files) for key, files in tableless.items()]
    return reading


def _clip(file: ClipFile, name: ClipName, row: TableRow | None) -> Clip | None:
    if name.domain is None or name.condition is None:
        return None
    section_id = SectionId(file.machine_type, name.section)
    return Clip(
        file, section_id, name.split, name.domain, name.condition, name.index, name.attributes, name.file_name, row
    )


def _table_name(section_id: SectionId) -> str:
    return f"{section_id.machine_type}/attributes_{section_id.section}.csv"


def _no_audio(row: TableRow) -> Finding:
    message = (
        f"the row names {row.file_name}, the archives hold no such audio member; is an archive missing or damaged?"
    )
    return row.finding("error", "no_audio", message, "file_name", row.file_name, "a member of the archives")


def _missing_table(section_id: SectionId, files: Sequence[ClipFile]) -> Finding:
    table, archive = _table_name(section_id), files[0].archive
    hidden = [file.member for file in files if ClipName.parse(file.path).is_hidden]
    if hidden:
        message = f"no {table}, and {len(hidden)} clips hide domain and condition in their names, as {hidden[0]} does"
        return Finding("error", "hidden_name", archive, message, 0, "member", "", table)
    message = f"no {table}; allow missing_table to take the attributes from the {len(files)} file names"
    return Finding("error", "missing_table", archive, message, 0, "member", "", table)
