"""Truth lists in every form that the organisers publish, read line by line into statements.

Forms
-----
- code lists, ``ground_truth_<machine>_section_NN_test.csv`` without a header: clip, 0 normal or 1 anomalous; in a
  folder whose name holds ``domain``: 0 source or 1 target;
  2021's are of a domain each, ``ground_truth_<machine>_section_NN_source_test.csv``, 2020's of a machine ID;
- name lists of the same name, in ``ground_truth_attributes``: clip, full name, with or without ``.wav``; a third
  column is the full name with the attributes that the second hides;
- lists of a whole year, ``eval_data_list_20xx.csv``: a line with the machine type alone, then clip, full name, and in
  2020 the code as well;
- attribute tables, ``attributes_NN.csv``, with a header: the last column of each row is the full name;
- tables of correspondence, ``attributes_NN_test_correspondence.csv``, with a header: full name, released name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mimiidg_build.audio.companions import is_companion
from mimiidg_build.datasets.rows import base_name, read_rows
from mimiidg_build.datasets.truth.names import ClipTruth, truth_of_name
from mimiidg_build.errors import DataError, UsageError

_MACHINE_TYPE = r"[A-Za-z0-9][A-Za-z0-9_-]*"
LIST_NAME = re.compile(
    rf"^ground_truth_(?P<machine_type>{_MACHINE_TYPE}?)_"
    r"(?:section_[0-9]{2}(?:_(?P<domain>source|target))?|id_[0-9]{2})(?:_test)?\.csv$"
)
_TABLE_NAMES = re.compile(r"^(attributes_[0-9]{2}(_(train|test)_correspondence)?|eval_data_list_[0-9]{4})\.csv$")
_LIST = "ground_truth_<machine>_section_NN_test.csv"
_CODES = {"condition": {"0": "normal", "1": "anomaly"}, "domain": {"0": "source", "1": "target"}}


@dataclass(frozen=True)
class Statement:
    """What one line of a list says of one clip.

    ``is_code`` where the line says 0 or 1: these lists are what the organisers' evaluators compute with, and right
    where names say otherwise. ``other_names`` are names of the same clip beside its own and the full one.
    """

    path: Path
    line: int
    machine_type: str
    clip: str
    truth: ClipTruth
    is_code: bool = False
    other_names: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """File and line, for a message."""
        return f"{self.path}, line {self.line}"


def find_lists(paths: Iterable[Path]) -> Iterator[Path]:
    """The files given, and in directories given every list and table, whatever else lies there.

    Raises
    ------
    UsageError
        A path does not exist, or a directory holds no list.
    """
    for path in paths:
        if path.is_file():
            yield path
            continue
        if not path.is_dir():
            raise UsageError(f"ground truth: {path} does not exist")
        tables = [p for p in sorted(path.rglob("*.csv")) if _TABLE_NAMES.match(p.name) or LIST_NAME.match(p.name)]
        found = [table for table in tables if not is_companion(table.relative_to(path).as_posix())]
        if not found:
            raise UsageError(
                f"ground truth: {path} holds no tables; expected attributes_NN.csv, eval_data_list_20xx.csv or {_LIST}"
            )
        yield from found


def read_list(path: Path) -> list[Statement]:
    """The statements of one list, whatever its form.

    Raises
    ------
    DataError
        The list is empty or of no known form, a line cannot be read, or a clip occurs twice. The message names file,
        line and value.
    """
    statements = list(_read(path))
    first_line: dict[tuple[str, str], int] = {}
    for found in statements:
        if (first := first_line.setdefault((found.machine_type, found.clip), found.line)) != found.line:
            raise DataError(f"{found.place}: {found.clip} is repeated; it is first on line {first}")
    if not statements:
        raise DataError(f"{path} is empty: expected a line for every test clip")
    return statements


def _read(path: Path) -> Iterator[Statement]:
    rows = read_rows(path)
    first = [value.strip() for value in rows[0][1]] if rows else []
    if match := LIST_NAME.match(path.name):
        of_names = len(first) > 1 and truth_of_name(_with_suffix(first[1])) is not None
        return _name_row(path, rows, match["machine_type"]) if of_names else _code_row(path, rows, match)
    if first[:1] == ["file_name"]:
        return (_table_row(path, line, row) for line, row in rows[1:])
    if first[:1] == ["source_file_name"]:
        return (_correspondence_row(path, line, row) for line, row in rows[1:])
    if not rows or (len(first) == 1 and re.fullmatch(_MACHINE_TYPE, first[0])):
        return _year_rows(path, rows)
    raise DataError(
        f"{path}: expected a table with a header (file_name, ...), a list that begins with a machine type, or a list "
        f"named {_LIST}"
    )


# ---- One form each ---------------------------------------------------------------------------------------------------


def _code_row(path: Path, rows: list[tuple[int, list[str]]], name: re.Match[str]) -> Iterator[Statement]:
    kind = "domain" if "domain" in path.parent.name else "condition"
    told = {"domain": name["domain"] or ""}
    for line, row in rows:
        code = row[1].strip() if len(row) == 2 else None
        if code not in _CODES[kind]:
            raise DataError(f"{path}, line {line}: expected (file name, 0 or 1), found {row}")
        truth = ClipTruth(**{**told, kind: _CODES[kind][code]})
        yield Statement(path, line, name["machine_type"], base_name(row[0]), truth, is_code=True)


def _name_row(path: Path, rows: list[tuple[int, list[str]]], machine_type: str) -> Iterator[Statement]:
    for line, row in rows:
        if len(row) not in (2, 3):
            raise DataError(f"{path}, line {line}: expected (file name, full name), found {row}")
        names = [_with_suffix(value) for value in row[1:]]
        yield Statement(
            path, line, machine_type, base_name(row[0]), _told(path, line, names[-1]), other_names=tuple(names[:-1])
        )


def _year_rows(path: Path, rows: list[tuple[int, list[str]]]) -> Iterator[Statement]:
    machine_type = ""
    for line, row in rows:
        if len(row) == 1 and re.fullmatch(_MACHINE_TYPE, row[0].strip()):
            machine_type = row[0].strip()
            continue
        if len(row) not in (2, 3):
            raise DataError(f"{path}, line {line}: expected (file name, full name) or a machine type, found {row}")
        truth = _told(path, line, base_name(row[1]))
        if len(row) == 3 and _CODES["condition"].get(row[2].strip()) != truth.condition:
            raise DataError(f"{path}, line {line}: {row[1]} is {truth.condition}, but its code is {row[2]!r}")
        yield Statement(path, line, machine_type, base_name(row[0]), truth)


def _table_row(path: Path, line: int, row: list[str]) -> Statement:
    """One row of an attribute table. Rows may be short; the full name is the last value of every one."""
    full_name = base_name(row[-1]) if row[-1].strip().endswith(".wav") else base_name(row[0])
    truth = truth_of_name(full_name, training=True)
    if truth is None:
        raise DataError(f"{path}, line {line}: expected a full clip name in the last column, found {row[-1]!r}")
    member = row[0].strip().replace("\\", "/").split("/")
    return Statement(path, line, member[0] if len(member) > 1 else path.parent.name, member[-1], truth)


def _correspondence_row(path: Path, line: int, row: list[str]) -> Statement:
    """A clip's name with attributes, then the one that it was released under."""
    if len(row) != 2:
        raise DataError(f"{path}, line {line}: expected (source file name, target file name), found {row}")
    return Statement(path, line, path.parent.name, base_name(row[1]), _told(path, line, base_name(row[0])))


def _told(path: Path, line: int, full_name: str) -> ClipTruth:
    truth = truth_of_name(full_name, training=True)
    if truth is None:
        raise DataError(f"{path}, line {line}: expected a full clip name, found {full_name!r}")
    return truth


def _with_suffix(name: str) -> str:
    """A clip's file name; lists of 2023 and 2024 leave the suffix out."""
    name = base_name(name)
    return name if name.endswith(".wav") else f"{name}.wav"
