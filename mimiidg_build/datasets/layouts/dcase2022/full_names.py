"""The full name of a clip in the last column of its attribute table, where the file's own name hides it.

Test clips of the evaluation sections are named ``section_SS_NNNN.wav``: domain, condition and attributes stand in the
table alone. Everywhere else the name carries all of them, and is right where a table says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from mimiidg_build.datasets.clip_table.clips import Attributes, Clip, TableRow
from mimiidg_build.datasets.findings import Finding
from mimiidg_build.datasets.layouts.dcase2022.attribute_table import parse_attribute_table
from mimiidg_build.datasets.layouts.dcase2022.names import ClipName
from mimiidg_build.datasets.layouts.hidden import ASK
from mimiidg_build.datasets.layouts.members import TableMember, released_path
from mimiidg_build.datasets.rows import base_name
from mimiidg_build.datasets.truth import ClipTruth, known_mistake, truth_of_name
from mimiidg_build.errors import DataError
from mimiidg_build.schemas.sections import SectionId

_INDEX = re.compile(r"_([0-9]{4})(?=[_.])")


@dataclass(slots=True)
class Tables:
    """Attribute tables as read.

    ``rows`` by the clip's path. By section: ``names`` of its first table, ``is_read`` where every table has rows or has
    no error, ``lists_tests`` where every row gives a full name, as only the tables of evaluation sections do,
    ``keeps_index`` where most full names have the index of the clip's own, ``wrong`` why full names of the section are
    known not to be true.
    """

    rows: dict[str, TableRow] = field(default_factory=dict)
    names: dict[SectionId, str] = field(default_factory=dict)
    is_read: dict[SectionId, bool] = field(default_factory=dict)
    lists_tests: dict[SectionId, bool] = field(default_factory=dict)
    keeps_index: dict[SectionId, bool] = field(default_factory=dict)
    wrong: dict[SectionId, str] = field(default_factory=dict)
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
        if rows:
            read.lists_tests[section_id] = read.lists_tests.get(section_id, True) and all(cells[-1] for cells in rows)
        table = member.name
        for line, *cells in rows:
            file_name = released_path(cells[0])
            row = TableRow(table, section_id, line, file_name, _attributes(*cells[1:-1]), cells[-1])
            first = read.rows.setdefault(file_name, row)  # the first table wins, as the first row does within a table
            if first is not row:
                message = f"{file_name} also stands in {first.table}, line {first.line}; expected each clip once"
                twice.append(row.finding("error", "duplicate_row", message, "file_name", file_name, "each clip once"))
    read.findings += twice
    _judge_full_names(read)
    return read


@lru_cache(maxsize=2**12)  # thousands of rows have some dozens of combinations
def _attributes(*words: str) -> Attributes:
    return tuple((key, value) for key, value in zip(words[::2], words[1::2], strict=True) if key)


def _judge_full_names(read: Tables) -> None:
    """Which sections' full names are known to be wrong, and which number the clips otherwise than the files do."""
    sections: dict[SectionId, list[tuple[str, str]]] = {}
    for row in read.rows.values():
        if row.full_name:
            names = (base_name(row.file_name), base_name(row.full_name))
            sections.setdefault(row.section_id, []).append(names)
    for section_id, rows in sections.items():
        if reason := known_mistake(section_id.machine_type, rows):
            read.wrong[section_id] = reason
        n_same = sum(_index(own) == _index(full) for own, full in rows)
        read.keeps_index[section_id] = 2 * n_same > len(rows)


def _index(name: str) -> str:
    match = _INDEX.search(name)
    return match[1] if match else ""


def truth_of_row(clip: Clip, name: ClipName, tables: Tables) -> tuple[ClipTruth | None, list[Finding]]:
    """What the attribute tables tell of a clip.

    Parameters
    ----------
    clip : Clip
    name : ClipName
        Its file's own name.
    tables : Tables
        Every attribute table of the release.

    Returns
    -------
    truth : ClipTruth or None
        None where no table gives a full name, or a wrong one.
    findings : list of Finding
        Why it is, and where table and name do not fit each other.
    """
    file, section_id, row = clip.file, clip.section_id, clip.row
    if row is not None and not row.full_name and not name.is_hidden:
        return None, []  # as of most clips
    if row is None and not tables.is_read.get(section_id, True):
        return None, []  # the table's own error says it once, for all of the section's clips
    if section_id not in tables.names and row is None:
        return None, []  # without any table the section gets one finding, not each clip one
    if row is None and not name.is_hidden:
        return None, _no_row(clip, tables)
    if row is not None and row.full_name:
        return _full_name(clip, name, row, tables)
    if not name.is_hidden or section_id not in tables.names:
        return None, []
    message = (
        f"{file.member} hides its domain and condition, and no row of {tables.names[section_id]} gives its full name; "
        f"{ASK}"
    )
    return None, [file.error(row, "hidden_name", message, "a full name")]


def _no_row(clip: Clip, tables: Tables) -> list[Finding]:
    member, section_id = clip.file.member, clip.section_id
    # a table with full names lists test clips alone
    if clip.split == "train" and tables.lists_tests.get(section_id):
        return []
    message = f"no row for {member}; the attributes are taken from its name"
    return [Finding("warning", "no_table_row", tables.names[section_id], message, 0, "file_name", member)]


def _full_name(clip: Clip, name: ClipName, row: TableRow, tables: Tables) -> tuple[ClipTruth | None, list[Finding]]:
    """The name in the table's last column, which must be of the same clip."""
    base = base_name(row.full_name)
    told = truth_of_name(base, training=True)  # which reads the names without `_test` of some lists, too
    try:
        full: ClipName | None = ClipName.parse(base)
    except DataError as error:
        full = None
        if told is None or not name.is_hidden:
            return None, [row.finding("error", "bad_name", str(error), "full_name", row.full_name, "a clip name")]
    if not _is_of(clip, name, row, full, tables):
        message = (
            f"the full name {row.full_name!r} is not one of {clip.file.member}: folder, section, split or index differ"
        )
        return None, [row.finding("error", "name_mismatch", message, "full_name", row.full_name, clip.file.member)]
    if name.is_hidden and (reason := tables.wrong.get(row.section_id)):
        message = f"{clip.file.member}: its full name in {row.table} cannot be believed: {reason}; {ASK}"
        return None, [row.finding("error", "hidden_name", message, "full_name", row.full_name, "a truth list")]
    return told, []


def _is_of(clip: Clip, name: ClipName, row: TableRow, full: ClipName | None, tables: Tables) -> bool:
    folder = clip.file.path.rpartition("/")[0]
    if row.full_name.rpartition("/")[0] not in ("", folder):
        return False
    if not name.is_hidden or full is None:
        return full == name or (full is None and base_name(row.full_name).startswith(f"section_{name.section}_"))
    # lists of some years number the clips anew, and then all of them
    same_index = full.index == name.index or not tables.keeps_index[row.section_id]
    return not full.is_hidden and same_index and (full.section, full.split) == (name.section, name.split)
