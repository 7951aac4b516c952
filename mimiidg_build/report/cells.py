"""The page's tables as data: cells with a text and the number that they sort by, how numbers are written, and CSV."""

from __future__ import annotations

import base64
import csv
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mimiidg_build.benchmark.estimates import Estimate
from mimiidg_build.evaluation.small_cells import MARK

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a text begins with that spreadsheets take for a formula


@dataclass(frozen=True)
class Cell:
    """A cell: its text, a smaller second text, and the number that it sorts by.

    ``tone`` is a CSS class: source, target, error, warning. ``exact`` is what the text rounds, in the text's unit: the
    value, or the value and the bounds of its interval. ``auc`` in [0, 1] colours the cell of a heat map. ``few_clips``
    is the mark of a number of too few test clips, which the CSV has in a column of its own.
    """

    text: str
    small: str = ""
    number: float | None = None
    tone: str = ""
    exact: tuple[float, ...] = ()
    auc: float | None = None
    few_clips: bool = field(default=False, repr=False)


@dataclass(frozen=True)
class PageTable:
    """A table of the page. The first cell of a row is its header; rows of ``foot`` stay at the end.

    A column of numbers sorts largest first, one of ``smallest_first`` the other way round. ``sorted_by`` is the column
    that the rows are sorted by as they are given.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    foot: tuple[tuple[Cell, ...], ...] = ()
    smallest_first: frozenset[str] = frozenset()
    sorted_by: str = ""

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers; none of a table without rows."""
        rows = self.rows or self.foot
        return tuple(any(row[place].number is not None for row in rows) for place in range(len(self.columns)))

    @property
    def first_orders(self) -> tuple[str, ...]:
        """How each column sorts when it is pressed first, as ``aria-sort`` says it: numbers with the best first."""
        return tuple(
            "descending" if numeric and title not in self.smallest_first else "ascending"
            for title, numeric in zip(self.columns, self.numeric, strict=True)
        )

    @property
    def csv(self) -> str:
        """All rows with their numbers unrounded; a column with intervals as three: value, low, high."""
        rows = [*self.rows, *self.foot]
        widths = [max((len(row[place].exact) for row in rows), default=1) or 1 for place in range(len(self.columns))]
        written = io.StringIO()
        table = csv.writer(written)
        titles = [
            title + bound
            for title, width in zip(self.columns, widths, strict=True)
            for bound in ("", " low", " high")[:width]
        ]
        is_marked = any(cell.few_clips for row in rows for cell in row)
        table.writerow([*titles, *(["Few test clips"] if is_marked else [])])
        for row in rows:
            texts = [text for cell, width in zip(row, widths, strict=True) for text in _csv_texts(cell, width)]
            flag = "yes" if any(cell.few_clips for cell in row) else ""
            table.writerow([*texts, *([flag] if is_marked else [])])
        return written.getvalue()

    @property
    def csv_uri(self) -> str:
        """The CSV as a data URI: a link that works in a file without a server, and without script."""
        # a byte order mark: without it, spreadsheets take UTF-8 for something else
        return "data:text/csv;charset=utf-8;base64," + base64.b64encode(self.csv.encode("utf-8-sig")).decode()

    @property
    def file_name(self) -> str:
        """A file name made of the caption, without an ending.

        >>> PageTable("Means over all sections in %, with 95 % intervals", (), ()).file_name
        'means-over-all-sections-in-with-95-intervals'
        """
        return re.sub(r"[^a-z0-9]+", "-", self.caption.lower()).strip("-")[:80] or "table"


def _csv_texts(cell: Cell, width: int) -> Iterator[str]:
    """A cell's texts in CSV, as many as its column is wide."""
    if cell.exact:
        yield from ("" if math.isnan(value) else repr(value) for value in cell.exact)
    elif cell.number is not None:
        yield cell.text.replace("\N{MINUS SIGN}", "-")  # a range, or an attribute's value as it is written
    else:
        # data may say anything; a quote makes it text for spreadsheets, which would run a formula
        yield f"'{cell.text}" if cell.text.startswith(FORMULA) else cell.text
    yield from [""] * (width - max(1, len(cell.exact)))


def number(value: float, digits: int = 0) -> Cell:
    """A number.

    >>> number(1234.5, 1)
    Cell(text='1,234.5', small='', number=1234.5, tone='', exact=(1234.5,), auc=None)
    """
    if not math.isfinite(value):
        return Cell("", number=value)
    # + 0.0 makes -0 a 0
    return Cell(with_minus(f"{round(value, digits) + 0.0:,.{digits}f}"), number=value, exact=(value,))


def with_minus(text: str) -> str:
    """Numbers with a minus sign rather than a hyphen.

    >>> with_minus("-15.0 .. 3.0")
    '−15.0 .. 3.0'
    """
    return text.replace("-", "−")


def signed_db(value: float) -> str:
    """An offset.

    >>> signed_db(0.0), signed_db(6.0), signed_db(-6.0)
    ('0', '+6', '−6')
    """
    return with_minus(f"{value:+g}") if value else "0"


def estimate(found: Estimate) -> Cell:
    """An estimate in %, its interval beside it.

    >>> cell = estimate(Estimate(0.75, 0.625, 0.8125))
    >>> cell.text, cell.small, cell.number, cell.exact
    ('75.00', '62.5–81.2', 0.75, (75.0, 62.5, 81.25))
    """
    if math.isnan(found.value):
        return Cell("")
    small = "" if math.isnan(found.low) else f"{100 * found.low:.1f}–{100 * found.high:.1f}"
    exact = (100 * found.value, 100 * found.low, 100 * found.high)
    text = f"{100 * found.value:.2f}{found.mark}"
    return Cell(text, small, found.value, exact=exact, few_clips=found.few_clips)


def difference(value: float, low: float, high: float, few_clips: bool) -> Cell:
    """A difference with its interval, given as shares, in percentage points.

    >>> cell = difference(-0.0125, -0.03, 0.005, True)
    >>> cell.text, cell.small
    ('−1.25*', '−3.0 .. +0.5')
    """
    value, low, high = 100 * value, 100 * low, 100 * high
    small = "" if math.isnan(low) else with_minus(f"{low:+.1f} .. {high:+.1f}")
    # + 0.0 makes -0 a 0
    text = with_minus(f"{round(value, 2) + 0.0:+.2f}") + (MARK if few_clips else "")
    return Cell(text, small, value, exact=(value, low, high), few_clips=few_clips)


def heat(auc: float) -> Cell:
    """An AUC in %, coloured by how far it is from chance.

    >>> heat(0.625).text, heat(0.625).exact, heat(float("nan"))
    ('62.5', (62.5,), Cell(text='', small='', number=None, tone='', exact=(), auc=None))
    """
    return Cell("") if math.isnan(auc) else Cell(f"{100 * auc:.1f}", number=auc, exact=(100 * auc,), auc=auc)


def offset_db(value: float) -> Cell:
    """A signed number of dB."""
    return Cell(signed_db(value), number=value, exact=(value,))


def attribute_value(text: str) -> Cell:
    """An attribute's value; numbers sort as numbers."""
    try:
        return Cell(text, number=float(text))
    except ValueError:
        return Cell(text)
