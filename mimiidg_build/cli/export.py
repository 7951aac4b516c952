"""``mimiidg export``: a store as files that other programs read."""

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
@click.option("--zip", "as_zip", is_flag=True, help="As a release: its zip archives, md5 sums, a manifest.")
@click.option(
    "--layout",
    type=click.Choice(["own", "dcase"]),
    default="own",
    show_default=True,
    help="dcase: dev_data and eval_data as the organisers' baselines want them, and the evaluator's truth lists.",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["wav", "webdataset", "huggingface"]),
    default="wav",
    show_default=True,
    help="webdataset: tar archives; huggingface: parquet files, which load_dataset(DIRECTORY) reads.",
)
@common
def export(
    store: str,
    directory: Path,
    as_zip: bool,
    layout: str,
    file_format: str,
    root: Place,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write a store as WAV files and attribute tables, or for other libraries.

    The store is given by path or variant. Files are in the layout of the dataset's release; evaluation clips keep their
    anonymous names, and tables or lists have their truth. Beside them stand a README of provenance and licences, a
    table of all clips, a Croissant description, the variant and the mix plan. An export that was interrupted goes on
    with the same command.

    Example: mimiidg export demo exported --layout dcase
    """
    from mimiidg_build.upkeep.export import export_store

    opened = named_store(store, root)
    with shown_progress(quiet) as reporter:
        written = export_store(
            opened,
            directory,
            layout=layout,
            file_format=file_format,
            as_zip=as_zip,
            on_progress=reporter.step("export", len(opened.clips)),
        )
    if as_json:
        print_json([str(path) for path in written])
    else:
        print_lines(written)
