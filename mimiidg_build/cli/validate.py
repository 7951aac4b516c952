"""``mimiidg validate``: check a fetched dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.options import allow_option, common, section_option, truth_option
from mimiidg_build.cli.printing import print_json, print_table, shown_progress
from mimiidg_build.cli.values import SweepCommand
from mimiidg_build.errors import counted

if TYPE_CHECKING:
    from mimiidg_build.storage.places import Place


@click.command(cls=SweepCommand)
@click.argument("dataset", shell_complete=complete.datasets)
@click.option(
    "--machine-type",
    "machines",
    multiple=True,
    help="Only this machine type.",
    shell_complete=complete.machine_types,
)
@click.option("--machine", "machines", multiple=True, hidden=True)  # what --machine-type was called in 0.1.0
@section_option
@truth_option
@allow_option
@common
def validate(
    dataset: str,
    machines: tuple[str, ...],
    sections: tuple[str, ...],
    truth: tuple[Path, ...],
    allow: tuple[str, ...],
    root: Place,
    as_json: bool,
    quiet: bool,
) -> None:
    """Validate a fetched dataset.

    Names, attribute tables, audio members and what is published of the dataset against each other. Warnings are the
    known disagreements of a release; an error exits with 1. Evaluation clips, whose names hide what they are, need the
    organisers' lists (--truth); without them, --allow hidden_name. Own recordings are cut into clips first, where that
    was not done.

    Example: mimiidg validate mimii_dg --machine-type valve
    """
    from mimiidg_build.datasets.findings import check_kinds, summarise
    from mimiidg_build.datasets.manifest import load_dataset
    from mimiidg_build.datasets.release import check_choices, check_machine_types, clip_archives
    from mimiidg_build.datasets.rows import records
    from mimiidg_build.fetch.dataset import fetch_dataset, validate_dataset
    from mimiidg_build.fetch.recordings import CHANGED

    manifest = load_dataset(dataset)
    check_machine_types(manifest, machines)
    check_choices(manifest, sections)
    check_kinds(allow)

    def wants(machine: str) -> bool:
        return not machines or machine in machines

    if manifest.recordings is not None:  # made here, so that one command says all that is wrong with them
        with shown_progress(quiet) as reporter:
            names = [name for _, name in clip_archives(manifest, wants, sections)]
            fetch_dataset(manifest, root, names=names, allow=(*allow, CHANGED), reporter=reporter)
    release = validate_dataset(manifest, root, wants, allow, sections=sections, truth=truth or None)
    findings = release.findings
    errors = int((findings["severity"] == "error").sum())
    if as_json:
        print_json({"clips": len(release.clips), "findings": findings.to_dict("records")})
    else:
        if len(findings):
            print_table("findings", records(summarise(findings)))
        click.echo(
            f"{counted(len(release.clips), 'clip')} in {counted(len(release.sections), 'section')}: "
            f"{counted(errors, 'error')}, {counted(len(findings) - errors, 'warning')}"
        )
    if errors:
        raise click.exceptions.Exit(1)
