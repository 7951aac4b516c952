"""The full name of a clip: its own, or the one in the last column of its attribute table where its own hides it.

Test clips of the evaluation sections are named ``section_SS_NNNN.wav``: domain, condition and attributes stand in the
table alone. Everywhere else the name carries all of them, and is right where a table says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mimiidg_build.datasets.clip_table.clips import ClipFile, TableRow
from mimiidg_build.datasets.findings import Finding
from mimiidg_build.datasets.layouts.dcase2022.attribute_table import parse_attribute_table
from mimiidg_build.datasets.layouts.dcase2022.members import TableMember, released_path
from mimiidg_build.datasets.layouts.dcase2022.names import ClipName
from mimiidg_build.errors import DataError
from mimiidg_build.schemas.sections import SectionId


@dataclass(slots=True)
class Tables:
    """Attribute tables as read.

    ``rows`` by the clip's path. By section: ``names`` of its first table, ``is_read`` where every table has rows or has
    no error, ``lists_tests`` where every row gives a full name, as only the tables of evaluation sections do.
    """

    rows: dict[str, TableRow] = field(default_factory=dict)
    names: dict[SectionId, str] = field(default_factory=dict)
    is_read: dict[SectionId, bool] = field(default_factory=dict)
    lists_tests: dict[SectionId, bool] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def read_tables(tables: Mapping[TableMember, bytes]) -> Tables:
    """Read every table; a clip that stands in two of them is an error of the second."""
    read = Tables()
    twice: list[Finding] = []
    for member, data in tables.items():
        rows, findings = parse_attribute_table(data, member.name)
        read.findings += findings
        section_id = member.section_id
        read.names.setdefault(section_id, member.name)
        is_unread = not rows and any(finding.severity == "error" for finding in findings)
        read.is_read[section_id] = read.is_read.get(section_id, True) and not is_unread
        for line, written, d1p, d1v, d2p, d2v, full_name in rows:
            file_name = released_path(written)
            attributes = ((d1p, d1v), (d2p, d2v)) if d2p else ((d1p, d1v),)
            row = TableRow(member.name, section_id, line, file_name, attributes, full_name)
            read.lists_tests[section_id] = read.lists_tests.get(section_id, True) and bool(full_name)
            first = read.rows.setdefault(file_name, row)  # the first table wins, as the first row does within a table
            if first is not row:
                message = f"{file_name} also stands in {first.table}, line {first.line}; expected each clip once"
                twice.append(row.finding("error", "duplicate_row", message, "file_name", file_name, "each clip once"))
    read.findings += twice
    return read


def find_full_name(file: ClipFile, name: ClipName, tables: Tables) -> tuple[ClipName, list[Finding]]:
    """The name with nothing hidden.

    Parameters
    ----------
    file : ClipFile
    name : ClipName
        The file's own name.
    tables : Tables
        Every attribute table of the release.

    Returns
    -------
    name : ClipName
        Still hidden where no table gives the full name.
    findings : list of Finding
        Why it is, and where table and name do not fit each other.
    """
    section_id, row = SectionId(file.machine_type, name.section), tables.rows.get(file.path)
    if name.split != file.folder:
        message = f"{file.member} lies in {file.folder}, its name says {name.split}"
        return name, [file.error(row, "misplaced", message, name.split)]
    if row is None and not tables.is_read.get(section_id, True):
        return name, []  # the table's own error says it once, for all of the section's clips
    if section_id not in tables.names and row is None:
        return name, []  # without any table the section gets one finding, not each clip one
    if row is None and not name.is_hidden:
        return name, _no_row(file, name, tables, section_id)
    if row is not None and row.full_name:
        return _full_name(file, name, row)
    if not name.is_hidden or section_id not in tables.names:
        return name, []
    message = (
        f"{file.member} hides its domain and condition, and no row of {tables.names[section_id]} gives its full name"
    )
    return name, [file.error(row, "hidden_name", message, "a full name")]


def _no_row(file: ClipFile, name: ClipName, tables: Tables, section_id: SectionId) -> list[Finding]:
    # a table with full names lists test clips alone
    if name.split == "train" and tables.lists_tests.get(section_id):
        return []
    message = f"no row for {file.member}; the attributes are taken from its name"
    return [Finding("warning", "no_table_row", tables.names[section_id], message, 0, "file_name", file.member)]


def _full_name(file: ClipFile, name: ClipName, row: TableRow) -> tuple[ClipName, list[Finding]]:
    """The name in the table's last column, which must be of the same clip."""
    try:
        full = ClipName.parse(row.full_name)
    except DataError as error:
        return name, [row.finding("error", "bad_name", str(error), "full_name", row.full_name, "a clip name")]
    folder = file.path.rpartition("/")[0]
    agrees = row.full_name.rpartition("/")[0] in ("", folder) and not full.is_hidden
    if name.is_hidden:
        agrees &= (full.section, full.split, full.index) == (name.section, name.split, name.index)
    else:
        agrees &= full == name
    if agrees:
        return full, []
    message = f"the full name {row.full_name!r} is not one of {file.member}: folder, section, split or index differ"
    return name, [row.finding("error", "name_mismatch", message, "full_name", row.full_name, file.member)]
