"""The leaderboard as a page: the frame, style and tables of the report."""

from __future__ import annotations

import math
from types import SimpleNamespace

from mimiidg_build import __version__
from mimiidg_build.evaluation.results import nan_if_null
from mimiidg_build.report.cells import Cell, PageTable, difference, estimate, heat, number
from mimiidg_build.report.leaderboard.content import score_of
from mimiidg_build.report.leaderboard.notes import not_distinguishable, title
from mimiidg_build.report.svg import PALETTE
from mimiidg_build.report.templating import fill
from mimiidg_build.schemas.leaderboards import Leaderboard, LeaderboardSystem, PairedDifference

N_NAMED = 4  # systems that the first screen names as not distinguishable; all of them stand below the table
UNKNOWN = Cell("\N{EN DASH}", number=math.nan, exact=(math.nan,))
"""What is not known: neither a zero nor an empty cell."""


def leaderboard_page(found: Leaderboard) -> str:
    """The page as text (HTML)."""
    competing = [one for one in found.systems if one.rank is not None]
    best = competing[0] if competing else None
    content = {
        "found": found,
        "variant": SimpleNamespace(name=found.variant),
        "best": best,
        "best_score": _score(best) if best else None,
        "n_competing": len(competing),
        "n_named": N_NAMED,
        "level": [title(one, found) for one in not_distinguishable(found)],
        "systems": _systems(found),
        "score_title": _score_title(found),
        "absent": _absent(found) if found.absent else None,
        "palette": PALETTE,
        "version": __version__,
        "written": found.written,
    }
    return fill("leaderboard.html", content)


def _score_title(found: Leaderboard) -> str:
    return found.score[0].upper() + found.score[1:]  # not capitalize(), which makes "Mean auc" of "mean AUC"


def _systems(found: Leaderboard) -> PageTable:
    types = list(found.systems[0].machine_types)
    score = _score_title(found)
    baselines = dict.fromkeys(one.less_baseline.than for one in found.systems if one.less_baseline)
    less = ("Less the best", f"Less {next(iter(baselines), 'the baseline')}")
    costs = ("Parameters", "Networks", "Training [s]", "Scored clips/s", "Device")
    columns = ("System", "Rank", "Profile", "Seeds", score, *types, *less, *costs)
    caption = f"Systems on {found.variant}: {found.score} in % with 95 % intervals, of all sections and by machine type"
    rows = tuple(_row(one, found) for one in found.systems)
    return PageTable(caption, columns, rows, smallest_first=frozenset({"Rank", *costs[:3]}), sorted_by=score)


def _row(one: LeaderboardSystem, found: Leaderboard) -> tuple[Cell, ...]:
    by_type = (heat(nan_if_null(value)) for value in one.machine_types.values())
    return (
        Cell(one.name),
        UNKNOWN if one.rank is None else number(one.rank),
        Cell(one.profile),
        number(len(one.seeds)),
        _score(one),
        *(UNKNOWN if cell.auc is None else cell for cell in by_type),
        Cell("best", number=0.0) if _is_best(one, found) else _difference(one.less_best, one.few_clips),
        Cell("baseline", number=0.0) if _is_baseline(one, found) else _difference(one.less_baseline, one.few_clips),
        number(one.n_parameters),
        number(one.n_networks),
        number(one.training_s, 1),
        UNKNOWN if one.scoring_clips_per_s is None else number(one.scoring_clips_per_s, 1),
        Cell(", ".join(one.devices)),
    )


def _is_best(one: LeaderboardSystem, found: Leaderboard) -> bool:
    return one is next((other for other in found.systems if other.rank is not None), None)


def _is_baseline(one: LeaderboardSystem, found: Leaderboard) -> bool:
    named = {(of.less_baseline.than, of.less_baseline.than_profile) for of in found.systems if of.less_baseline}
    return (one.name, one.profile) in named


def _score(one: LeaderboardSystem) -> Cell:
    return UNKNOWN if one.value is None else estimate(score_of(one))


def _difference(one: PairedDifference | None, few_clips: bool) -> Cell:
    return UNKNOWN if one is None else difference(one.value, nan_if_null(one.low), nan_if_null(one.high), few_clips)


def _absent(found: Leaderboard) -> PageTable:
    tones = {"failed": "error", "not finished": "warning"}
    rows = tuple(
        (Cell(one.name), Cell(one.profile), Cell(one.state, tone=tones.get(one.state, "")), Cell(one.reason))
        for one in found.absent
    )
    return PageTable("Systems without a result", ("System", "Profile", "State", "Reason"), rows)
