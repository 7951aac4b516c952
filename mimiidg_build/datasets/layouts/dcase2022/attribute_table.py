"""Attribute tables: ``attributes_NN.csv`` as released.

A header ``file_name,d1p,d1v[,d2p,d2v...][,LAST]``, then one row per clip: path of the clip in its archive, up to four
attributes (d1p the key, d1v its value), and, in the evaluation sections, the clip's full name. LAST is
``file_name_with_full_attributes`` or ``file_name_with_attributes``. A clip whose name says that it has no attributes
has none in its row. A byte order mark, CRLF and blank rows are accepted.

Every line is read by itself, so that a stray quote or a broken byte costs its own line and not the rest of the table,
and every line is accounted for: good rows + lines with an *error* + ``blank_row`` warnings + the header = lines.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

import pandas as pd

from mimiidg_build.datasets.findings import Finding, findings_frame
from mimiidg_build.schemas.tables import AttributeTable, Findings

if TYPE_CHECKING:
    from pandera.typing.pandas import DataFrame

_MAX_PAIRS = 4  # of a released name: car_G1_spd_34V_mic_1_noise_6
_PAIRS = tuple((f"d{number}p", f"d{number}v") for number in range(1, _MAX_PAIRS + 1))
_LASTS = ("file_name_with_full_attributes", "file_name_with_attributes")
_HEADERS = tuple(
    ("file_name", *chain.from_iterable(_PAIRS[:n_pairs]), *last)
    for n_pairs in range(_MAX_PAIRS + 1)
    for last in ((), *((name,) for name in _LASTS))
)
_EXPECTED_HEADER = "file_name,d1p,d1v[,d2p,d2v][," + "|".join(_LASTS) + "]"
_NO_ATTRIBUTES = ("_.wav", "_noAttribute.wav")  # ends of names
_MAX_LINE_BYTES = 4096  # as long as a path may be; a released line has some 150
_BOM = b"\xef\xbb\xbf"

_Cells = tuple[str, ...]
TableRow = tuple[int, *_Cells]  # the columns of `AttributeTable`: of two pairs, or as many as the header has


class _BadLine(Exception):
    """A line that cannot be read, as the finding that says so."""

    def __init__(self, kind: str, message: str, column: str = "", value: str = "", expected: str = "") -> None:
        super().__init__(message)
        self.finding = Finding("error", kind, "", message, 0, column, value, expected)


def read_attribute_table(data: bytes, name: str) -> tuple[DataFrame[AttributeTable], DataFrame[Findings]]:
    """Read one table; never raises for what stands in it.

    Parameters
    ----------
    data : bytes
        The file's content.
    name : str
        What findings call the table: ``<archive>:<member>``.

    Returns
    -------
    table : DataFrame[AttributeTable]
        The good rows, short rows completed, in the order of the file.
    findings : DataFrame[Findings]
        Errors, one per line that had to be left out: ``bad_header`` or ``empty_table`` (nothing is read), ``not_utf8``,
        ``long_line``, ``bad_quoting``, ``ragged_row``, ``empty_cell``, ``duplicate_row``. Warnings: ``short_row`` (a
        row that leaves the last pairs of the header out, so that its last cell stands under d2p), ``blank_row``.

    Examples
    --------
    >>> data = b"file_name,d1p,d1v\\nfan/test/a.wav,m-n,W\\n\\n"
    >>> table, findings = read_attribute_table(data, "fan/attributes_00.csv")
    >>> table.d1v.tolist(), findings.kind.tolist()
    (['W'], ['blank_row'])
    """
    rows, findings = parse_attribute_table(data, name)
    n_cells = len(rows[0]) if rows else 0
    columns = ["line", "file_name", *chain.from_iterable(_PAIRS[: max(2, (n_cells - 3) // 2)]), "full_name"]
    types = {column: "int64" if column == "line" else "str" for column in columns}
    table = AttributeTable.validate(pd.DataFrame(rows, columns=columns).astype(types))
    return table, findings_frame(findings)


def parse_attribute_table(data: bytes, name: str) -> tuple[list[TableRow], list[Finding]]:
    """As `read_attribute_table`, rows and findings as lists: for a caller that reads many tables and collects.

    What `AttributeTable` demands holds of the rows as they are read: lines in order, no clip twice. Making a frame of
    each table and taking it apart again would cost a third of a second on a whole release.
    """
    # bytes.splitlines cuts at \n, \r and \r\n alone, where str.splitlines also cuts at \x0b, \x1c, \u2028, ...
    lines = list(enumerate(data.removeprefix(_BOM).splitlines(), start=1))
    start = next((i for i, (_, raw) in enumerate(lines) if raw.strip(b" \t,")), len(lines))
    findings = [_blank(name, line) for line, _ in lines[:start]]
    if start == len(lines):
        empty = Finding("error", "empty_table", name, "the table has no header and no rows", expected=_EXPECTED_HEADER)
        return [], [*findings, empty]
    line, raw = lines[start]
    try:
        header = _header(raw)
    except _BadLine as bad:
        message = f"{bad}; the {len(lines) - start - 1} lines below it were not read"
        return [], [*findings, replace(bad.finding, table=name, line=line, message=message)]
    rows, row_findings = _read_rows(lines[start + 1 :], header, name)
    return rows, [*findings, *row_findings]


def _read_rows(
    lines: Iterable[tuple[int, bytes]], header: Sequence[str], name: str
) -> tuple[list[TableRow], list[Finding]]:
    """Rows under the header as (line, cells of `AttributeTable`), and what was found on the way."""
    rows: list[TableRow] = []
    findings: list[Finding] = []
    seen: dict[str, int] = {}
    for line, raw in lines:
        try:
            found = _split(raw)
            if not any(map(str.strip, found)):
                findings.append(_blank(name, line))
                continue
            cells = _fit(found, header)
            if first := seen.get(cells[0]):
                raise _duplicate_row(cells[0], first, line)
        except _BadLine as bad:
            findings.append(replace(bad.finding, table=name, line=line))
            continue
        seen[cells[0]] = line
        rows.append((line, *cells))
        if len(found) < len(header) and cells[2]:
            findings.append(_short_row(name, line, found, header))
    return rows, findings


def _duplicate_row(file_name: str, first: int, line: int) -> _BadLine:
    message = f"{file_name!r} stands in lines {first} and {line}; expected each clip once, line {line} left out"
    return _BadLine("duplicate_row", message, "file_name", file_name, "each file_name once")


def _split(raw: bytes) -> list[str]:
    """The cells of one line."""
    if len(raw) > _MAX_LINE_BYTES:  # and every message that quotes it as long
        message = f"the line has {len(raw):,} bytes, expected at most {_MAX_LINE_BYTES:,}; is this an attribute table?"
        raise _BadLine("long_line", message, value=str(len(raw)), expected=f"at most {_MAX_LINE_BYTES} bytes")
    try:
        if b'"' not in raw:
            return raw.decode("utf-8").split(",") if raw else []  # as csv splits it, in a third of the time
        return next(csv.reader([raw.decode("utf-8")], strict=True), [])
    except UnicodeDecodeError as error:
        found = f"0x{raw[error.start]:02x}"
        message = f"byte {error.start + 1} of the line, {found}, is not UTF-8; save the table as UTF-8"
        raise _BadLine("not_utf8", message, value=found, expected="UTF-8") from None
    except csv.Error as error:
        message = f"the line cannot be split into cells: {error}; is a quote left open?"
        raise _BadLine("bad_quoting", message, value=raw.decode("utf-8")[:80], expected="balanced quotes") from None


def _header(raw: bytes) -> list[str]:
    header = _split(raw)
    if tuple(header) not in _HEADERS:
        found = ",".join(header)
        raise _BadLine("bad_header", f"header {found!r}; expected {_EXPECTED_HEADER}", "", found, _EXPECTED_HEADER)
    return header


def _fit(cells: Sequence[str], header: Sequence[str]) -> _Cells:
    """The line's cells in the order of `AttributeTable`, absent ones ``""``; the known short row is completed."""
    has_last = header[-1] in _LASTS
    if len(cells) == len(header) and all(cells) and not cells[0].endswith(_NO_ATTRIBUTES):  # as nearly every row
        absent = _absent(len(header) - has_last)
        return (*cells[:-1], *absent, cells[-1]) if has_last else (*cells, *absent, "")
    if cells[0].endswith(_NO_ATTRIBUTES) and all(cell in ("", "noAttribute") for cell in cells[1:]):
        return cells[0], *[""] * (len(_padded(tuple(header))) - 1)
    n_missing = len(header) - len(cells)
    # a short row with a last column must end in a file name: else a key of it stands without its value
    leaves_out_pairs = n_missing > 0 and n_missing % 2 == 0 and len(cells) - has_last >= 3
    if leaves_out_pairs and (not has_last or cells[-1].endswith(".wav")):
        end = len(cells) - has_last
        cells = [*cells[:end], *[""] * n_missing, *cells[end:]]
    if len(cells) != len(header):
        message = f"{len(cells)} cells under a header of {len(header)}: {','.join(cells)!r}"
        raise _BadLine("ragged_row", message, "", ",".join(cells), f"{len(header)} cells")
    row = dict(zip(header, cells, strict=True))
    for column in _required(row):
        if not row[column]:
            raise _BadLine("empty_cell", f"{column} is empty: {','.join(cells)!r}", column, "", "a value")
    full_name = row[header[-1]] if has_last else ""
    return *(row.get(column, "") for column in _padded(tuple(header))[:-1]), full_name


@cache
def _absent(n_cells: int) -> tuple[str, ...]:
    """The cells of two pairs that a header of so many columns, the last left out, has not."""
    return ("",) * (1 + 2 * 2 - n_cells)


@cache  # asked for every row, and there is one header a table
def _padded(header: tuple[str, ...]) -> list[str]:
    """The columns that rows under a header have: those of two pairs at least."""
    n_pairs = max(2, sum(column.endswith("p") and column[0] == "d" for column in header))
    return ["file_name", *chain.from_iterable(_PAIRS[:n_pairs]), "full_name"]


def _required(row: Mapping[str, str]) -> list[str]:
    """The columns that must not be empty: all but pairs after the first that are empty as a whole."""
    absent = {column for pair in _PAIRS[1:] if not any(row.get(column) for column in pair) for column in pair}
    return [column for column in row if column not in absent]


def _short_row(name: str, line: int, cells: Sequence[str], header: Sequence[str]) -> Finding:
    absent = [column for column in header if column not in _LASTS][-(len(header) - len(cells)) :]
    n_pairs = (len(cells) - 1) // 2
    read = "one attribute" if n_pairs == 1 else f"{n_pairs} attributes"
    message = f"{len(cells)} cells under a header of {len(header)}: {' and '.join(absent)} are left out, read as {read}"
    return Finding("warning", "short_row", name, message, line, absent[0], ",".join(cells), f"{len(header)} cells")


def _blank(name: str, line: int) -> Finding:
    return Finding("warning", "blank_row", name, "blank row, skipped", line)
