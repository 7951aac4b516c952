"""From members and attribute tables to the clip table and its findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pandera.typing.pandas import DataFrame

from mimiidg_build.datasets.clip_names import ClipName
from mimiidg_build.datasets.clip_table.frame import clip_frame
from mimiidg_build.datasets.clip_table.layout import (
    WAV_HEADER_BYTES,
    AudioMember,
    TableMember,
    audio_member,
    sort_members,
)
from mimiidg_build.datasets.clip_table.rules import Clip, Fault, Row, check_row, judge
from mimiidg_build.datasets.clip_table.sections import check_sections
from mimiidg_build.datasets.clip_table.truth import SectionId, Tables, at, read_tables, whole_name
from mimiidg_build.datasets.findings import Finding, findings_frame
from mimiidg_build.errors import DataError
from schemas.manifests import Section, Table1
from schemas.tables import ClipTable, Findings


def build_clip_table(
    archives: Mapping[str, Mapping[str, int]],
    tables: Mapping[tuple[str, str], bytes],
    table1: Table1,
    *,
    expected_counts: Mapping[str, int] | None = None,
) -> tuple[DataFrame[ClipTable], DataFrame[Findings]]:
    """The clip table of a dataset's machine archives.

    Parameters
    ----------
    archives : archive, ``<record id>/<file name>`` -> {member: uncompressed size in bytes}
    tables
        (archive, member) -> bytes, for every member that `is_attribute_table` picks out.
    table1 : what each section may hold
    expected_counts
        Clips of a section per ``<domain>_<split>_<condition>``. None: those of Table 1. Empty: counts are not checked.

    Returns
    -------
    clips : the clips that could be read, sorted; complete and right only if no finding is an error
    findings : in the order of archives and members, then of sections

    Raises
    ------
    ValueError
        The bytes of an attribute table were not given.
    """
    layout = sort_members(archives, clip_bytes=table1.n_samples * 2 + WAV_HEADER_BYTES)
    for table in layout.tables:
        if (table.archive, table.member) not in tables:
            raise ValueError(f"no bytes given for the attribute table {table.name}")
    read = read_tables({table: tables[table.archive, table.member] for table in layout.tables})
    members = {audio.member for audio in layout.audio}
    absent = [_no_audio(row) for row in read.rows.values() if row.file_name not in members]
    clips, faults = _assemble(layout.audio, read, table1)
    counts = table1.counts if expected_counts is None else expected_counts
    frame, failures = clip_frame(clips)
    of_sections = check_sections(clips, table1, counts)
    return frame, findings_frame([*layout.findings, *read.findings, *absent, *faults, *failures, *of_sections])


def validate_tables(
    tables: Mapping[tuple[str, str], bytes], table1: Table1
) -> tuple[DataFrame[ClipTable], DataFrame[Findings]]:
    """The clips that attribute tables describe, and what is wrong with the tables, without any audio.

    Parameters
    ----------
    tables : (machine type, section) -> bytes of its ``attributes_NN.csv``

    Returns
    -------
    clips : one row per good row of the tables, ``archive`` empty
    findings : as for `build_clip_table`, those about archives, counts and the paper left out
    """
    members = {TableMember(*key, "", f"{key[0]}/attributes_{key[1]}.csv"): data for key, data in tables.items()}
    read = read_tables(members)
    audio: list[AudioMember] = []
    astray: list[Finding] = []
    for row in read.rows.values():
        if member := audio_member("", row.file_name):
            audio.append(member)
        else:
            expected = "{machine}/{train,test}/*.wav"
            message = f"{row.file_name!r} is not a clip's place; expected {expected}"
            astray.append(row.finding("error", "misplaced", message, "file_name", row.file_name, expected))
    clips, faults = _assemble(audio, read, table1)
    frame, failures = clip_frame(clips)
    return frame, findings_frame([*read.findings, *astray, *faults, *failures])


def _assemble(audio: Sequence[AudioMember], read: Tables, table1: Table1) -> tuple[list[Clip], list[Finding]]:
    """Every clip with its name made whole, checked against its row and against Table 1."""
    sections: dict[SectionId, Section] = {(s.machine_type, s.section): s for s in table1.sections}
    clips: list[Clip] = []
    findings: list[Finding] = []
    tableless: dict[SectionId, list[AudioMember]] = {}
    unknown: dict[SectionId, AudioMember] = {}
    verdicts: dict[tuple[SectionId, str | None, tuple[tuple[str, str], ...]], Fault | None] = {}
    for member in audio:
        row = read.rows.get(member.member)
        try:
            name = ClipName.parse(member.member)
        except DataError as error:
            findings.append(at(member, row, "bad_name", str(error)))
            continue
        key = (member.machine_type, name.section)
        if key not in read.names:
            tableless.setdefault(key, []).append(member)
        name, faults = whole_name(member, name, row, read)
        findings += faults
        if name.is_hidden:
            continue
        clips.append(Clip(member.machine_type, member.archive, member.member, name))
        if (section := sections.get(key)) is None:
            unknown.setdefault(key, member)
            continue
        verdict = (key, name.domain, name.attributes)
        if verdict not in verdicts:
            verdicts[verdict] = judge(section, str(name.domain), dict(name.attributes))
        findings += _against_table1(member, name, row, section, verdicts[verdict])
    findings += [_missing_table(key, members) for key, members in tableless.items()]
    return clips, findings + [_unknown_section(key, member, sections) for key, member in unknown.items()]


def _against_table1(
    member: AudioMember, name: ClipName, row: Row | None, section: Section, fault: Fault | None
) -> list[Finding]:
    findings = []
    if fault is not None:
        message = f"{name.file_name}: {fault.message}"
        findings.append(at(member, row, fault.kind, message, fault.expected, fault.value))
    if row is None:
        return findings
    if (row.machine_type, row.section) != (member.machine_type, name.section):
        message = f"a clip of {member.machine_type}/{name.section} in the table of {row.machine_type}/{row.section}"
        value, expected = row.file_name, f"{row.machine_type}/{row.section}"
        return [*findings, row.finding("error", "misplaced_row", message, "file_name", value, expected)]
    return findings + check_row(row, name, section)


def _no_audio(row: Row) -> Finding:
    message = (
        f"the row names {row.file_name}, the archives hold no such audio member; is an archive missing or damaged?"
    )
    return row.finding("error", "no_audio", message, "file_name", row.file_name, "a member of the archives")


def _missing_table(key: SectionId, members: Sequence[AudioMember]) -> Finding:
    table = f"{key[0]}/attributes_{key[1]}.csv"
    hidden = [m.member for m in members if ClipName.parse(m.member).is_hidden]
    if hidden:
        message = f"no {table}, and {len(hidden)} clips hide domain and condition in their names, as {hidden[0]} does"
        return Finding("error", "hidden_name", members[0].archive, message, 0, "member", "", table)
    message = f"no {table}; allow missing_table to take the attributes from the {len(members)} file names"
    return Finding("error", "missing_table", members[0].archive, message, 0, "member", "", table)


def _unknown_section(key: SectionId, member: AudioMember, sections: Mapping[SectionId, Section]) -> Finding:
    known = ", ".join(number for machine_type, number in sections if machine_type == key[0]) or "none"
    message = f"{member.member} is of section {key[1]}; Table 1 has sections {known} of {key[0]}"
    return Finding("error", "unknown_section", member.archive, message, 0, "section", key[1], known)
