"""Rows: of CSV files as people write them, of tables as dicts, and a clip's attributes in its row."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mimiidg_build.errors import DataError


def read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """The rows of a CSV file that are not blank, with their line numbers; any line ends, with or without a BOM."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        # newline="": csv must see line ends itself, also those within quotes
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        return [(reader.line_num, row) for row in reader if any(value.strip() for value in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected CSV text in UTF-8, but {error}") from error


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, by column name."""
    names = [str(name) for name in table.columns]
    # as objects: to_dict fetches Arrow strings one by one, which takes five times as long
    return [dict(zip(names, row, strict=True)) for row in table.astype(object).itertuples(index=False, name=None)]


def row_attributes(row: Mapping[str, str] | pd.Series) -> dict[str, str]:
    """Attributes {key: value} of a row with columns d1p, d1v, d2p, d2v; ``""`` is no attribute.

    Examples
    --------
    >>> row_attributes({"d1p": "vel", "d1v": "8", "d2p": "loc", "d2v": "A"})
    {'vel': '8', 'loc': 'A'}
    >>> row_attributes({"d1p": "m-n", "d1v": "W", "d2p": "", "d2v": ""})
    {'m-n': 'W'}
    """
    pairs = ((row["d1p"], row["d1v"]), (row["d2p"], row["d2v"]))
    return {str(key): str(value) for key, value in pairs if key}
