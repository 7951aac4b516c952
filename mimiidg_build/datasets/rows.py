"""Rows: of CSV files as people write them, and of tables as dicts."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pyarrow as pa

from mimiidg_build.errors import DataError

MAX_BYTES = 64 * 2**20  # of scores or truth of one section; 200 clips have 20 kB


def read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """The rows of a CSV file that are not blank, with their line numbers; any line ends, with or without a BOM.

    Raises
    ------
    DataError
        It is no CSV text in UTF-8, or larger than `MAX_BYTES`. The message names file and line.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise DataError(f"{path} has more than {MAX_BYTES:,} bytes; expected a CSV file with one line a clip")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        likely = " Likely it is UTF-16: save it as UTF-8." if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise DataError(f"{path}, line {line}: expected CSV text in UTF-8, but {error}.{likely}") from error
    # newline="": csv must see line ends itself, also those within quotes
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        return [(reader.line_num, row) for row in reader if any(value.strip() for value in row)]
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: expected CSV text in UTF-8, but {error}. Is a quote left open?"
        ) from error


def base_name(path: str) -> str:
    r"""The last part of a path as other systems write it in a table, those of Windows included.

    >>> base_name("fan\\test\\section_00_0000.wav "), base_name("fan/test/section_00_0000.wav")
    ('section_00_0000.wav', 'section_00_0000.wav')
    """
    return path.strip().replace("\\", "/").rpartition("/")[2]


def records(table: pd.DataFrame, *names: str) -> list[dict[str, Any]]:
    """The rows of a table, by column name; of all columns, or of those that are named, which takes as much less time.

    >>> records(pd.DataFrame({"clip": ["a", "b"], "power": [0.5, 1.0]}), "clip")
    [{'clip': 'a'}, {'clip': 'b'}]
    """
    chosen = names or tuple(str(name) for name in table.columns)
    # a column at a time: to_dict and itertuples fetch Arrow strings one by one, which takes three times as long
    columns = [table[name].to_numpy(object).tolist() for name in chosen]
    return [dict(zip(chosen, row, strict=True)) for row in zip(*columns, strict=True)]


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of the same columns, one below the other, each column in one piece.

    Of what ``pandas.concat`` makes, a column of texts keeps as many pieces as there were tables, and Arrow joins all of
    them whenever a few rows are taken: section by section, that takes time by the square of the release.

    >>> joined([pd.DataFrame({"clip": ["a"]}), pd.DataFrame({"clip": ["b"]})])["clip"].tolist()
    ['a', 'b']
    """
    whole = pa.Table.from_pandas(pd.concat(tables, ignore_index=True), preserve_index=False)
    return cast(pd.DataFrame, whole.combine_chunks().to_pandas())


def parts(sizes: Sequence[int], most: int) -> list[slice]:
    """Rows in parts of at most ``most`` in sum; a row that is larger is a part of its own.

    >>> parts([3, 3, 3, 9, 1], most=6)
    [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None), slice(4, 5, None)]
    """
    found, start, total = [], 0, 0
    for row, size in enumerate(sizes):
        if total + size > most and row > start:
            found.append(slice(start, row))
            start, total = row, 0
        total += size
    return [*found, slice(start, len(sizes))] if len(sizes) > start else found
