"""The files of a leaderboard, beside the runs that it is of.

ROOT/runs/<variant>/<fingerprint>/
    leaderboard.json    everything (``schemas.leaderboards``), unrounded
    leaderboard.csv     a row a system
    leaderboard.html    one self-contained page
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from mimiidg_build.benchmark.run_files import read_shaped, write_shaped
from mimiidg_build.benchmark.runs import runs_directories
from mimiidg_build.report.leaderboard.content import leaderboard
from mimiidg_build.report.leaderboard.page import leaderboard_page
from mimiidg_build.schemas.leaderboards import Leaderboard, LeaderboardSystem
from mimiidg_build.storage.files import write_file
from mimiidg_build.storage.places import Place, place
from mimiidg_build.store.store import Store

PAGE, CONTENT, TABLE = "leaderboard.html", "leaderboard.json", "leaderboard.csv"


def write_leaderboard(
    store: Store, root: str | Place, profiles: Collection[str] = (), output: str | Path | None = None
) -> Path:
    """Write the leaderboard of a store from its finished runs: as a page, JSON and CSV. Nothing is trained.

    Parameters
    ----------
    store : Store
    root : str or Place
        Where its runs are looked for.
    profiles : collection of str
        Only runs of these profiles; by default all.
    output : str or Path, optional
        Another folder than that of the runs.

    Returns
    -------
    Path
        The page; the other two lie beside it.

    Raises
    ------
    UsageError
        No run on the store is finished.
    DataError
        A finished run's files cannot be read or are of another store, or a file cannot be written.
    """
    directory = Path(output) if output is not None else runs_directories(store, place(root))[-1]
    found = leaderboard(store, place(root), profiles)
    page = leaderboard_page(found)
    write_shaped(directory / CONTENT, found)
    write_file(directory / TABLE, [leaderboard_csv(found)])
    write_file(directory / PAGE, [page.encode(errors="backslashreplace")])
    return directory / PAGE


def read_leaderboard(path: str | Path) -> Leaderboard:
    """Read a ``leaderboard.json``.

    Parameters
    ----------
    path : str or Path
        The file, the folder that it lies in, or the page beside it, as :func:`write_leaderboard` returns it.

    Returns
    -------
    Leaderboard

    Raises
    ------
    DataError
        It is missing, damaged or of another version; the message names the file and the first key that is wrong.
    """
    path = Path(path)
    if path.is_dir() or path.name == PAGE:
        path = (path if path.is_dir() else path.parent) / CONTENT
    return read_shaped(path, Leaderboard, "`mimiidg leaderboard` writes it again from the runs.")


def leaderboard_csv(found: Leaderboard) -> bytes:
    """A row for each system, numbers unrounded; what is unknown is empty."""
    rows, text = [dict(_cells(found, one)) for one in found.systems], io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


def _cells(found: Leaderboard, one: LeaderboardSystem) -> Iterator[tuple[str, Any]]:
    for name in ("format_version", "variant", "fingerprint", "dataset", "protocol"):
        yield name, getattr(found, name)
    for name, value in one.model_dump(mode="json").items():
        match name:
            case "machine_types":
                yield from ((f"value_{machine_type}", of_type) for machine_type, of_type in value.items())
            case "less_best" | "less_baseline":
                for key in ("than", "than_profile", "value", "low", "high", "over_seeds"):
                    yield f"{name}_{key}", None if value is None else value[key]
            case "changes":
                yield name, json.dumps(value) if value else ""
            case "seeds" | "runs":
                yield name, " ".join(map(str, value))
            case "devices":
                yield name, "; ".join(value)
            case _:
                yield name, value
