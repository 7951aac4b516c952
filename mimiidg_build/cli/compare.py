"""``mimiidg compare``: two systems on the same clips, and how sure their difference is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimiidg_build.cli.options import common
from mimiidg_build.cli.printing import difference, percent, print_json, print_lines, print_table
from mimiidg_build.cli.values import FilePath

if TYPE_CHECKING:
    from mimiidg_build.evaluation.paired import Comparison
    from mimiidg_build.storage.places import Place


@click.command()
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@click.option(
    "--truth",
    multiple=True,
    type=FilePath(),
    help="Ground truth of clips whose names hide it, as for evaluate; for folders that are no run's.",
)
@click.option(
    "--protocol",
    type=click.Choice(["mimii", "2020", "2021", "2022"]),
    help="How the year is judged. [default: the dataset's, or as the files' names tell]",
)
@common
def compare(
    first: str, second: str, truth: tuple[Path, ...], protocol: str | None, root: Place, as_json: bool, quiet: bool
) -> None:
    """Compare two systems on the same test clips: differences with 95 % intervals.

    A RUN is VARIANT/MODEL-PROFILE, all seeds of a benchmark; VARIANT/MODEL-PROFILE-SEED, one of them; or a folder of
    score files of any system. Differences are first less second, for every section, machine type, all sections, and the
    official score. As both are tested on the same clips, they are surer than the intervals of the two suggest. With
    five seeds or more of each the intervals are over trainings as well. Runs on other stores or clips are refused.

    Example: mimiidg compare demo/autoencoder-smoke demo/nearest_neighbour-smoke
    """
    from mimiidg_build.benchmark.compare import compare_runs

    found = compare_runs(first, second, root, truth, protocol)
    if as_json:
        print_json(found.to_dict())
        return
    print_table(f"{found.first} less {found.second}, AUC in percentage points with 95 % intervals", rows_of(found))
    print_table("", [_official(found)])
    print_lines(found.notes)


def rows_of(found: Comparison) -> list[dict[str, Any]]:
    """A row for each place, a column for each metric."""
    titles = {metric: title for title, metric in found.protocol.shown.items()}
    rows: dict[str, dict[str, Any]] = {}
    for one in found.differences[:-1]:
        row = rows.setdefault(one.place, {"of": one.place, **dict.fromkeys(found.protocol.shown, "")})
        row[titles[one.metric]] = difference(one.value, one.low, one.high, "" if "/" in one.place else found.mark)
    return list(rows.values())


def _official(found: Comparison) -> dict[str, Any]:
    one = found.official_score
    return {
        "official score": f"first {percent(one.first)}{found.mark}",
        "": f"second {percent(one.second)}{found.mark}",
        "difference": difference(one.value, one.low, one.high, found.mark),
    }
