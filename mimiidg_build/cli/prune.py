"""``mimiidg prune``: remove what is no longer needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.options import common
from mimiidg_build.cli.printing import print_json, print_table

if TYPE_CHECKING:
    from mimiidg_build.storage.places import Place


@click.command()
@click.argument("variants", nargs=-1, metavar="[VARIANT]...", shell_complete=complete.variants_under_root)
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@click.option("--keep", type=click.IntRange(0), default=0, metavar="N", help="Keep a variant's N newest old stores.")
@click.option("--unfinished", is_flag=True, help="Also builds and transfers that could still be resumed.")
@click.option("--runs", is_flag=True, help="Also trained models of stores that are gone.")
@common
def prune(
    variants: tuple[str, ...],
    dry_run: bool,
    keep: int,
    unfinished: bool,
    runs: bool,
    root: Place,
    as_json: bool,
    quiet: bool,
) -> None:
    """Remove superseded stores and what killed runs left behind, of some variants or of all of ROOT.

    Never removed: the stores that `latest` names, stores in use, and what a running build or fetch needs.

    Example: mimiidg prune --dry-run
    """
    from mimiidg_build.upkeep.prune import ORDINARY, prune_stores

    verdicts = prune_stores(root, variants, keep=keep, unfinished=unfinished, runs=runs, dry_run=dry_run)
    goes = "would go" if dry_run else "removed"
    rows = [
        {
            "path": str(verdict.found.paths[0].relative_to(root)),
            "what": verdict.found.kind,
            "verdict": goes if verdict.goes else "kept",
            "why": verdict.why,
            "freed_bytes": verdict.freed_bytes,
        }
        for verdict in verdicts
        if verdict.why not in ORDINARY
    ]
    freed_bytes = sum(verdict.freed_bytes for verdict in verdicts)
    if as_json:
        print_json({"found": rows, "freed_bytes": freed_bytes, "dry_run": dry_run})
        return
    if rows:
        print_table(f"under {root}", rows)
    click.echo(f"{freed_bytes / 1e6:,.1f} MB {'would be ' if dry_run else ''}freed under {root}")
