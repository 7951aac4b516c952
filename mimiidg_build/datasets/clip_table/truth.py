"""What is true of a clip: its own name, or the full name that its attribute table gives where the name hides it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mimiidg_build.datasets.attributes import parse_attribute_table
from mimiidg_build.datasets.clip_names import ClipName
from mimiidg_build.datasets.clip_table.layout import AudioMember, TableMember
from mimiidg_build.datasets.clip_table.rules import Row
from mimiidg_build.datasets.findings import Finding
from mimiidg_build.errors import DataError

SectionId = tuple[str, str]


@dataclass(slots=True)
class Tables:
    """Attribute tables as read: rows by the clip's path, and what each section's tables can be asked."""

    rows: dict[str, Row] = field(default_factory=dict)
    names: dict[SectionId, str] = field(default_factory=dict)
    is_read: dict[SectionId, bool] = field(default_factory=dict)
    is_of_tests: dict[SectionId, bool] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def read_tables(tables: Mapping[TableMember, bytes]) -> Tables:
    """Read every table; a clip that stands in two of them is an error of the second."""
    read = Tables()
    twice: list[Finding] = []
    for member, data in tables.items():
        rows, findings = parse_attribute_table(data, member.name)
        read.findings += findings
        section = (member.machine_type, member.section)
        read.names.setdefault(section, member.name)
        is_unread = not rows and any(finding.severity == "error" for finding in findings)
        read.is_read[section] = read.is_read.get(section, True) and not is_unread
        for line, file_name, d1p, d1v, d2p, d2v, full_name in rows:
            attributes = ((d1p, d1v), (d2p, d2v)) if d2p else ((d1p, d1v),)
            row = Row(member.name, *section, line, file_name, attributes, full_name)
            read.is_of_tests[section] = read.is_of_tests.get(section, True) and bool(full_name)
            first = read.rows.setdefault(file_name, row)
            if first is not row:
                message = f"{file_name} also stands in {first.table}, line {first.line}; expected each clip once"
                twice.append(row.finding("error", "duplicate_row", message, "file_name", file_name, "each clip once"))
    read.findings += twice
    return read


def whole_name(member: AudioMember, name: ClipName, row: Row | None, tables: Tables) -> tuple[ClipName, list[Finding]]:
    """The name with nothing hidden, where the row tells; as it is, with the reason, where not."""
    key = (member.machine_type, name.section)
    if name.split != member.folder:
        message = f"{member.member} lies in {member.folder}, its name says {name.split}"
        return name, [at(member, row, "misplaced", message, name.split)]
    if row is None and not tables.is_read.get(key, True):
        # the table's own error says it once, for all of the section's clips
        return name, []
    if row is None and key in tables.names and not name.is_hidden:
        # a table with full names lists test clips alone
        if name.split == "train" and tables.is_of_tests.get(key):
            return name, []
        message = f"no row for {member.member}; the attributes are taken from its name"
        return name, [Finding("warning", "no_table_row", tables.names[key], message, 0, "file_name", member.member)]
    if row is None or not row.full_name:
        # without any table the section gets one finding, not each clip one
        if not name.is_hidden or key not in tables.names:
            return name, []
        message = (
            f"{member.member} hides its domain and condition, and no row of {tables.names[key]} gives its full name"
        )
        return name, [at(member, row, "hidden_name", message, "a full name")]
    return _full_name(member, name, row)


def _full_name(member: AudioMember, name: ClipName, row: Row) -> tuple[ClipName, list[Finding]]:
    """The name in the table's last column, which must be of the same clip."""
    try:
        full = ClipName.parse(row.full_name)
    except DataError as error:
        return name, [row.finding("error", "bad_name", str(error), "full_name", row.full_name, "a clip name")]
    folder = member.member.rpartition("/")[0]
    agrees = row.full_name.rpartition("/")[0] in ("", folder) and not full.is_hidden
    if name.is_hidden:
        agrees &= (full.section, full.split, full.index) == (name.section, name.split, name.index)
    else:
        agrees &= full == name
    if agrees:
        return full, []
    message = f"the full name {row.full_name!r} is not one of {member.member}: folder, section, split or index differ"
    return name, [row.finding("error", "name_mismatch", message, "full_name", row.full_name, member.member)]


def at(
    member: AudioMember, row: Row | None, kind: str, message: str, expected: str = "", value: str | None = None
) -> Finding:
    """An error at the clip: in its row where it has one, in its archive else."""
    value = member.member if value is None else value
    if row is None:
        return Finding("error", kind, member.archive, message, 0, "file_name", value, expected)
    return row.finding("error", kind, message, "file_name", value, expected)
