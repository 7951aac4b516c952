"""The page's tables as data: cells with a text and the number that they sort by, and how numbers are written."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mimiidg_build.benchmark.estimates import Estimate


@dataclass(frozen=True)
class Cell:
    """A cell: its text, a smaller second text, and the number that it sorts by."""

    text: str
    small: str = ""
    number: float | None = None
    tone: str = ""  # a CSS class: source, target, error, warning


@dataclass(frozen=True)
class PageTable:
    """A table of the page. The first cell of a row is its header; rows of ``foot`` stay at the end."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    foot: tuple[tuple[Cell, ...], ...] = ()

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers."""
        columns = zip(*(self.rows or self.foot), strict=True)
        return tuple(any(cell.number is not None for cell in column) for column in columns)


def number(value: float, digits: int = 0) -> Cell:
    """A number.

    >>> number(1234.5, 1)
    Cell(text='1,234.5', small='', number=1234.5, tone='')
    """
    if not math.isfinite(value):
        return Cell("", number=value)
    # + 0.0 makes -0 a 0
    return Cell(with_minus(f"{round(value, digits) + 0.0:,.{digits}f}"), number=value)


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

    >>> estimate(Estimate(0.7, 0.6, 0.75))
    Cell(text='70.00', small='60.0–75.0', number=0.7, tone='')
    """
    if math.isnan(found.value):
        return Cell("")
    small = "" if math.isnan(found.low) else f"{100 * found.low:.1f}–{100 * found.high:.1f}"
    return Cell(f"{100 * found.value:.2f}", small, found.value)


def attribute_value(text: str) -> Cell:
    """An attribute's value; numbers sort as numbers."""
    try:
        return Cell(text, number=float(text))
    except ValueError:
        return Cell(text)
