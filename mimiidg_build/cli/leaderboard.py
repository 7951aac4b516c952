"""``mimiidg leaderboard``: every system that was run on a store, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.names import named_store
from mimiidg_build.cli.options import common
from mimiidg_build.cli.printing import difference, print_json, print_lines, print_table
from mimiidg_build.cli.values import FilePath, Known
from mimiidg_build.models import PROFILES
from mimiidg_build.storage.places import Place

if TYPE_CHECKING:
    from mimiidg_build.schemas.leaderboards import Leaderboard, PairedDifference


@click.command()
@click.argument("variant", shell_complete=complete.stores)
@click.option(
    "--profile",
    "profiles",
    type=Known(PROFILES),
    multiple=True,
    help="Only runs of this profile. May be given repeatedly. [default: all]",
)
@click.option(
    "--output",
    type=FilePath(file_okay=False),
    help="The folder to write to. [default: ROOT/runs/<variant>/<fingerprint>]",
)
@common
def leaderboard(
    variant: str, profiles: tuple[str, ...], output: Path | None, root: Place, as_json: bool, quiet: bool
) -> None:
    """Write the leaderboard of a variant's store from the runs that are finished. Nothing is trained.

    One page that needs no network (leaderboard.html), and the same for programs (leaderboard.json, leaderboard.csv):
    systems by machine types with the official score and its interval, paired differences from the best system and from
    the autoencoder, parameters, training time, clips scored a second; what failed, and what was left out, with the
    reason. `mimiidg benchmark` writes it, too, whenever it has run several systems.

    Example: mimiidg leaderboard demo --profile smoke
    """
    store = named_store(variant, root)
    from mimiidg_build.report.leaderboard.written import read_leaderboard, write_leaderboard

    path = write_leaderboard(store, root, profiles, output)
    found = read_leaderboard(path.parent)
    if as_json:
        print_json({"path": str(path)} | found.model_dump(mode="json"))
        return
    print_table(f"{found.variant}: {found.score} in % with 95 % intervals", _rows(found))
    print_lines(found.notes)
    print_lines(f"{one.name} ({one.profile}) {one.state}: {one.reason}" for one in found.absent)
    click.echo(path)


def _rows(found: Leaderboard) -> list[dict[str, Any]]:
    from mimiidg_build.report.leaderboard.content import score_of

    return [
        {
            "rank": "-" if one.rank is None else str(one.rank),
            "system": one.name,
            "profile": one.profile,
            "seeds": len(one.seeds),
            found.score: str(score_of(one)),
            "less the best": _difference(one.less_best),
            "less the baseline": _difference(one.less_baseline),
            "parameters": f"{one.n_parameters:,} x {one.n_networks}",
            "training [s]": f"{one.training_s:.1f}",
            "clips/s": "-" if one.scoring_clips_per_s is None else f"{one.scoring_clips_per_s:,.0f}",
        }
        for one in found.systems
    ]


def _difference(one: PairedDifference | None) -> str:
    return "-" if one is None else difference(one.value, one.low, one.high)
