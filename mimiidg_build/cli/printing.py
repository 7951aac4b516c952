"""How commands print: tables, paths and JSON on standard output, progress on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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
    """Print a table; as wide as it must be where no terminal limits it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in rows[0] if rows else ():
        number = all(isinstance(row[name], int | float) or str(row[name])[:1] in "0123456789-" for row in rows)
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else printable(str(value)) for value in row.values()))
    console = Console(width=None if sys.stdout.isatty() else 10_000, markup=False, highlight=False)  # [dB] is a unit
    with console.capture() as printed:
        console.print(table)
    for line in printed.get().splitlines():
        click.echo(line.rstrip())  # rich pads every line to the full width of the table


def print_lines(lines: Iterable[object]) -> None:
    """Print each on a line of its own."""
    for line in lines:
        click.echo(printable(str(line)))


def print_json(content: object) -> None:
    """Print a result for programs; NaN and infinity, which JSON does not have, are an error of this program."""
    click.echo(json.dumps(content, allow_nan=False))


def store_content(store: Store) -> dict[str, Any]:
    """A store as JSON output shows it."""
    sections = {name: section.model_dump(mode="json") for name, section in store.sections.items()}
    return {"path": str(store.path), "fingerprint": store.fingerprint, "sections": sections}


def print_store(store: Store, *, as_json: bool, note: str = "") -> None:
    """Print the section table and the path, which every build ends with.

    Parameters
    ----------
    store : Store
    as_json : bool
        As JSON instead.
    note : str
        Printed before the path.
    """
    from mimiidg_build.store.summary import section_rows

    if as_json:
        print_json(store_content(store))
        return
    attributes = store.attributes
    print_table(f"{attributes.variant.name} ({attributes.data_kind})", section_rows(store))
    click.echo(f"{note}{store.path}")


def percent(value: float | None) -> str:
    """A share in %, nothing where it is unknown.

    >>> percent(0.84691), percent(float("nan"))
    ('84.69', '')
    """
    return "" if value is None or value != value else f"{100 * value:.2f}"  # NaN is unequal to itself
