"""``mimiidg validate``: check a fetched dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.options import common
from mimiidg_build.cli.printing import print_json, print_table

if TYPE_CHECKING:
    from mimiidg_build.storage.places import Place


@click.command()
@click.argument("dataset", shell_complete=complete.datasets)
@click.option("--machine", "machines", multiple=True, help="Only this machine type.")
@click.option("--allow", multiple=True, metavar="KIND", help="Take errors of this kind as warnings.")
@common
def validate(
    dataset: str, machines: tuple[str, ...], allow: tuple[str, ...], root: Place, as_json: bool, quiet: bool
) -> None:
    """Validate a fetched dataset.

    Names, attribute tables, audio members and Table 1 against each other. Warnings are the known disagreements of a
    release; an error exits with 1.

    Example: mimiidg validate mimii_dg --machine valve
    """
    from mimiidg_build.datasets.findings import summarise
    from mimiidg_build.datasets.manifest import load_dataset
    from mimiidg_build.datasets.rows import records
    from mimiidg_build.fetch.dataset import validate_dataset

    release = validate_dataset(load_dataset(dataset), root, lambda machine: not machines or machine in machines, allow)
    findings = release.findings
    errors = int((findings["severity"] == "error").sum())
    if as_json:
        print_json({"clips": len(release.clips), "findings": findings.to_dict("records")})
    else:
        if len(findings):
            print_table("findings", records(summarise(findings)))
        click.echo(
            f"{len(release.clips):,} clips in {len(release.sections)} sections: {errors} errors, "
            f"{len(findings) - errors} warnings"
        )
    if errors:
        raise click.exceptions.Exit(1)
