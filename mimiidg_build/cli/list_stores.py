"""``mimiidg list``: the stores under a root."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mimiidg_build.cli.options import common
from mimiidg_build.cli.printing import print_json, print_table

if TYPE_CHECKING:
    from mimiidg_build.storage.places import Place


@click.command(name="list")
@common
def list_stores(root: Place, as_json: bool, quiet: bool) -> None:
    """List the stores under ROOT.

    Which is latest, which is partial; dataset, SNR, seed, noise, size and date of each.

    Example: mimiidg list
    """
    from mimiidg_build.store import listing
    from mimiidg_build.store.summary import store_rows

    listed = listing.list_stores(root)
    if as_json:
        print_json([asdict(store) | {"path": str(store.path)} for store in listed])
    elif listed:
        print_table(f"stores under {root}", store_rows(listed))
    else:
        click.echo(f"no stores under {root}; `mimiidg demo` makes one.")
