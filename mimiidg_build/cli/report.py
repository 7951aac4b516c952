"""``mimiidg report``: a store and its benchmarks on one page."""

from __future__ import annotations

from pathlib import Path

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.names import named_store
from mimiidg_build.cli.options import common
from mimiidg_build.cli.printing import print_json, shown_progress
from mimiidg_build.cli.values import FilePath
from mimiidg_build.storage.places import Place


@click.command()
@click.argument("variant", shell_complete=complete.stores)
@click.option(
    "--output",
    type=FilePath(dir_okay=False),
    help="Where to write. [default: ROOT/reports/<variant>/<fingerprint>.html]",
)
@common
def report(variant: str, output: Path | None, root: Place, as_json: bool, quiet: bool) -> None:
    """Write one self-contained HTML page about a variant's store, given by name or path.

    Dataset, spectrograms with sound, SNR, levels, attribute values, validation findings, and the results of every
    benchmark that was run on it. It opens from disk and needs no network.

    Example: mimiidg report demo --output demo.html
    """
    store = named_store(variant, root)  # first: an unknown one is said without waiting for matplotlib
    from mimiidg_build.report.page import write_report

    with shown_progress(quiet) as reporter:
        path = write_report(store, root, output, reporter)
    if as_json:
        content = {"path": str(path), "size_bytes": path.stat().st_size, "store": str(store.path)}
        print_json(content | {"fingerprint": store.fingerprint})
    else:
        click.echo(path)
