"""``mimiidg export``: a store as WAV files and attribute tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.names import named_store
from mimiidg_build.cli.options import common
from mimiidg_build.cli.printing import print_json, print_lines, shown_progress
from mimiidg_build.cli.values import FilePath

if TYPE_CHECKING:
    from mimiidg_build.storage.places import Place


@click.command()
@click.argument("store", shell_complete=complete.stores)
@click.argument("directory", type=FilePath())
@click.option("--zip", "as_zip", is_flag=True, help="As a release: one zip per machine type, md5 sums, a manifest.")
@common
def export(store: str, directory: Path, as_zip: bool, root: Place, as_json: bool, quiet: bool) -> None:
    """Write a store as WAV files and attribute tables.

    The store is given by path or variant; the files are in the released layout, beside a README of provenance, the
    variant and the mix plan. An export that was interrupted goes on with the same command.

    Example: mimiidg export demo exported --zip
    """
    from mimiidg_build.upkeep.export import export_store

    opened = named_store(store, root)
    with shown_progress(quiet) as reporter:
        written = export_store(opened, directory, as_zip=as_zip, on_progress=reporter.step("export", len(opened.clips)))
    if as_json:
        print_json([str(path) for path in written])
    else:
        print_lines(written)
