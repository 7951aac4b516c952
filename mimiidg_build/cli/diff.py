"""``mimiidg diff``: what differs between two stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.names import named_store
from mimiidg_build.cli.options import common
from mimiidg_build.cli.printing import print_json, print_lines, shown_progress

if TYPE_CHECKING:
    from mimiidg_build.storage.places import Place


@click.command()
@click.argument("first", metavar="STORE", shell_complete=complete.stores)
@click.argument("second", metavar="STORE", shell_complete=complete.stores)
@common
def diff(first: str, second: str, root: Place, as_json: bool, quiet: bool) -> None:
    """Say what differs between two stores.

    A store is given by path or variant. Clips are matched by section and name; for settings, versions, archives, noise,
    gains, samples and features there is a line for each thing that differs, with how many clips and the first of them.
    The variants' names and titles are no difference.

    Exit code, as that of diff: 0 if nothing differs, 1 if something does; 2 if there is no such store.

    Example: mimiidg diff small small-snr+6dB
    """
    from mimiidg_build.upkeep.diff import diff_stores

    one, other = (named_store(name, root) for name in (first, second))
    with shown_progress(quiet) as reporter:
        found = diff_stores(one, other, reporter)
    if as_json:
        print_json(found.content)
    else:
        print_lines([f"{found.first} | {found.second}", *(found.differences or ["nothing differs"])])
    if found.differences:
        raise click.exceptions.Exit(1)
