"""What a scored clip really is: its domain and condition, from its name or from ground-truth tables.

Conventions
-----------
Development test clips say it themselves: ``section_SS_<domain>_test_<condition>_NNNN_<attributes>.wav``. Evaluation
clips, ``section_SS_NNNN.wav``, hide it; their truth stands in one of

- attribute tables (``attributes_NN.csv``, with a header), whose last column is the clip's full name;
- the organisers' lists without a header (``ground_truth_<machine>_section_<NN>_test.csv``): clip, 0 normal or
  1 anomalous. Lists in a folder whose name holds ``domain`` give clip, 0 source or 1 target instead.

A clip is known by (machine type, base name). Where two tables disagree, that is an error and not a choice: the widely
used 2022 lists of ToyCar and ToyTrain are wrong on half their labels.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from mimiidg_build.audio.companions import is_companion
from mimiidg_build.datasets.rows import base_name, read_rows
from mimiidg_build.errors import DataError, UsageError

# Wider than MIMII DG's own grammar: other machines' names carry more attributes (car_A1_spd_28V_mic_1) or none.
FULL_NAME = re.compile(
    r"^section_[0-9]{2}_(?P<domain>source|target)_test_(?P<condition>normal|anomaly)_[0-9]+(?:_(?P<attributes>.+))?\.wav$"
)
LIST_NAME = re.compile(r"^ground_truth_(?P<machine_type>[A-Za-z0-9][A-Za-z0-9_-]*)_section_[0-9]{2}_test\.csv$")
TABLE_NAME = re.compile(r"^attributes_[0-9]{2}\.csv$")
_LIST = "ground_truth_<machine>_section_NN_test.csv"
_CODES = {"condition": {"0": "normal", "1": "anomaly"}, "domain": {"0": "source", "1": "target"}}


@dataclass(frozen=True)
class ClipTruth:
    """``""`` where unknown. ``attributes`` is the tail of the full name, ``vel_6_f-n_A``."""

    domain: str = ""
    condition: str = ""
    attributes: str = ""


Truth = dict[tuple[str, str], ClipTruth]  # by (machine type, base name of the clip)


def truth_of_name(file_name: str) -> ClipTruth | None:
    """The truth in a clip's base name, None where the name hides it.

    >>> truth_of_name("section_00_target_test_normal_0001_m-n_Y.wav")
    ClipTruth(domain='target', condition='normal', attributes='m-n_Y')
    >>> truth_of_name("section_03_0001.wav") is None
    True
    """
    match = FULL_NAME.match(file_name)
    return ClipTruth(match["domain"], match["condition"], match["attributes"] or "") if match else None


def attribute_pairs(attributes: str) -> list[tuple[str, str]]:
    """The tail of a full name as (attribute, value); nothing where it is no list of pairs.

    >>> attribute_pairs("vel_6_f-n_A")
    [('vel', '6'), ('f-n', 'A')]
    >>> attribute_pairs("noAttribute")
    []
    """
    words = attributes.split("_")
    return list(zip(words[::2], words[1::2], strict=True)) if len(words) % 2 == 0 else []


def read_truth(paths: Path | Iterable[Path]) -> Truth:
    """Read ground-truth tables: files, or directories that are searched for them.

    Raises
    ------
    UsageError
        A path does not exist, or a directory holds no such table.
    DataError
        A table is empty, a row cannot be read, a clip occurs twice in a table, or two tables disagree. The message
        names file, line and value.
    """
    truth: Truth = {}
    for path in _tables([paths] if isinstance(paths, os.PathLike) else paths):
        first_line: dict[str, int] = {}
        for line, machine_type, clip, found in _read_table(path):
            if (first := first_line.setdefault(clip, line)) != line:
                raise DataError(f"{path}, line {line}: {clip} is repeated; it is first on line {first}")
            known = truth.get((machine_type, clip), ClipTruth())
            truth[machine_type, clip] = _merge(known, found, f"{path}, line {line}: {machine_type} {clip}")
        if not first_line:
            raise DataError(f"{path} is empty: expected a line for every test clip")
    return truth


def _tables(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_file():
            yield path
            continue
        if not path.is_dir():
            raise UsageError(f"ground truth: {path} does not exist")
        tables = [p for p in sorted(path.rglob("*.csv")) if TABLE_NAME.match(p.name) or LIST_NAME.match(p.name)]
        found = [table for table in tables if not is_companion(table.relative_to(path).as_posix())]
        if not found:
            raise UsageError(f"ground truth: {path} holds no tables; expected attributes_NN.csv or {_LIST}")
        yield from found


def _read_table(path: Path) -> Iterator[tuple[int, str, str, ClipTruth]]:
    """(line, machine type, base name of the clip, what the row says of it)."""
    rows = read_rows(path)
    if rows and rows[0][1][0].strip() == "file_name":
        for line, row in rows[1:]:
            yield line, *_table_row(path, line, row)
        return
    match = LIST_NAME.match(path.name)
    if match is None:
        raise DataError(f"{path}: expected a table with a header (file_name, ...), or a list named {_LIST}")
    kind = "domain" if "domain" in path.parent.name else "condition"
    for line, row in rows:
        code = row[1].strip() if len(row) == 2 else None
        if code not in _CODES[kind]:
            raise DataError(f"{path}, line {line}: expected (file name, 0 or 1), found {row}")
        yield line, match["machine_type"], base_name(row[0]), ClipTruth(**{kind: _CODES[kind][code]})


def _table_row(path: Path, line: int, row: list[str]) -> tuple[str, str, ClipTruth]:
    """One row of an attribute table. Rows may be short; the full name is the last value of every one."""
    full_name = base_name(row[-1]) if row[-1].strip().endswith(".wav") else base_name(row[0])
    truth = truth_of_name(full_name)
    if truth is None:
        raise DataError(f"{path}, line {line}: expected a full clip name in the last column, found {row[-1]!r}")
    member = row[0].strip().replace("\\", "/").split("/")
    return (member[0] if len(member) > 1 else path.parent.name), member[-1], truth


def _merge(known: ClipTruth, found: ClipTruth, where: str) -> ClipTruth:
    merged = {}
    for field in fields(ClipTruth):
        before, now = getattr(known, field.name), getattr(found, field.name)
        if before and now and before != now:
            raise DataError(f"{where} is {now!r} here, but {before!r} in another table ({field.name})")
        merged[field.name] = before or now  # a condition list and a domain list each know half of it
    return ClipTruth(**merged)
