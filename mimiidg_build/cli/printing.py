"""How commands print: tables, paths and JSON on standard output, progress on standard error."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import click

from mimiidg_build.errors import printable
from mimiidg_build.progress import Reporter, choose_reporter
from mimiidg_build.settings import configure

if TYPE_CHECKING:
    from mimiidg_build.store.store import Store


@contextmanager
def shown_progress(quiet: bool) -> Iterator[Reporter]:
    """Show progress during this block, that of flows included, which take no reporter as an argument."""
    with choose_reporter(quiet) as reporter:
        configure(reporter=reporter)
        yield reporter


def print_table(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """Print a table, as wide as it must be; at a terminal that is narrower, a line for each value."""
    print_lines(table_lines(title, rows, shutil.get_terminal_size().columns if sys.stdout.isatty() else None))


def table_lines(title: str, rows: Sequence[dict[str, Any]], width: int | None = None) -> list[str]:
    """A table as lines of text. No value is ever broken: a path can be copied.

    Parameters
    ----------
    title : str
        Stands above, if there is one.
    rows : sequence of dict
        Value by column title; all rows have the same titles.
    width : int, optional
        Columns of the terminal. A table that is wider has its column titles in several lines; one that is wider even
        so becomes a line ``title: value`` for each value that is not empty, row by row.

    Returns
    -------
    list of str
    """
    from rich.cells import cell_len

    texts = [
        {name: f"{value:,}" if isinstance(value, int) else printable(str(value)) for name, value in row.items()}
        for row in rows
    ]
    heading = [title] if title else []
    for words_apart in (False, True):
        drawn = _drawn(texts, [name for name in (rows[0] if rows else ()) if _is_number(name, rows)], words_apart)
        if width is None or all(cell_len(line) <= width for line in drawn):
            return [*heading, *drawn]
    return [*heading, *(line for row in texts for line in _one_value_a_line(row))]


def _is_number(name: str, rows: Sequence[dict[str, Any]]) -> bool:
    return all(isinstance(row[name], int | float) or str(row[name])[:1] in "0123456789-" for row in rows)


def _drawn(rows: Sequence[dict[str, str]], numbers: Collection[str], words_apart: bool) -> list[str]:
    """The table with its columns side by side; ``words_apart`` breaks column titles, where that makes it narrower."""
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in rows[0] if rows else ():
        parts = [*(name.split() if words_apart else [name]), *(row[name] for row in rows)]
        justify: Literal["left", "right"] = "right" if name in numbers else "left"
        table.add_column(name, justify=justify, width=max(map(cell_len, parts)))
    for row in rows:
        table.add_row(*row.values())
    console = Console(width=10_000, markup=False, emoji=False, highlight=False)  # [dB] is a unit, and : is no picture
    with console.capture() as printed:
        console.print(table)
    return [line.rstrip() for line in printed.get().splitlines()]  # rich pads every line to the width of the table


def _one_value_a_line(row: dict[str, str]) -> list[str]:
    """A row that is too wide for the terminal.

    >>> _one_value_a_line({"variant": "demo", "state": "", "path": "data/variants/demo"})
    ['', 'variant: demo', '  path: data/variants/demo']
    """
    lines = [f"{name}: {text}" for name, text in row.items() if text]
    return ["", *lines[:1], *(f"  {line}" for line in lines[1:])]


def print_lines(lines: Iterable[object]) -> None:
    """Print each on a line of its own."""
    for line in lines:
        click.echo(printable(str(line)))


def print_json(content: object) -> None:
    """Print a result for programs; NaN and infinity, which JSON does not have, are an error of this program."""
    click.echo(json.dumps(content, allow_nan=False))


def store_content(store: Store) -> dict[str, Any]:
    """A store as JSON output shows it."""
    # without the statistics: hundreds of numbers a section, for `Store.logmel_statistics`
    sections = {name: section.model_dump(mode="json", exclude={"logmel"}) for name, section in store.sections.items()}
    noise = {kind: summary.model_dump(mode="json") for kind, summary in (store.attributes.noise or {}).items()}
    return {"path": str(store.path), "fingerprint": store.fingerprint, "sections": sections, "noise": noise}


def print_store(store: Store, *, as_json: bool, note: str = "") -> None:
    """Print the sections, the noise and what is odd about it, and the path: every build ends with them.

    Parameters
    ----------
    store : Store
    as_json : bool
        As JSON instead.
    note : str
        Printed before the path.
    """
    from mimiidg_build.build.variant import found_in_noise
    from mimiidg_build.datasets.rows import records
    from mimiidg_build.store.summary import noise_rows, section_rows

    if as_json:
        print_json(store_content(store))
        return
    attributes = store.attributes
    print_table(f"{attributes.variant.name} ({attributes.data_kind})", section_rows(store))
    if noise := noise_rows(store):
        print_table("noise", noise)
    findings = found_in_noise(store)[["severity", "kind", "table", "message"]]
    if len(findings):
        print_table("findings", records(findings))
    click.echo(f"{note}{store.path}")


def difference(value: float, low: float | None, high: float | None, mark: str = "") -> str:
    """A difference with its interval, given as shares, in percentage points; no interval where it is unknown.

    >>> difference(-0.0125, -0.03, 0.005, "*"), difference(0.5, None, float("nan"))
    ('-1.25* (-3.0 .. +0.5)', '+50.00')
    """
    interval = ""
    if low is not None and high is not None and low == low:  # NaN is unequal to itself
        interval = f" ({100 * low:+.1f} .. {100 * high:+.1f})"
    return f"{round(100 * value, 2) + 0.0:+.2f}{mark}{interval}"  # + 0.0 makes -0 a 0


def percent(value: float | None) -> str:
    """A share in %, nothing where it is unknown.

    >>> percent(0.84691), percent(float("nan"))
    ('84.69', '')
    """
    return "" if value is None or value != value else f"{100 * value:.2f}"  # NaN is unequal to itself
