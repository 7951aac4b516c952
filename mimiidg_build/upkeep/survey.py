"""Surveying a root for what may no longer be needed: superseded stores, and what stopped or killed runs left behind.

Nothing is removed here: :mod:`mimiidg_build.upkeep.prune` decides and does that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import Timeout

from mimiidg_build.errors import DataError
from mimiidg_build.fetch.lock import SERVED, guard
from mimiidg_build.storage.holds import alone
from mimiidg_build.storage.temporary import COPY, is_temporary
from mimiidg_build.store.store import latest

Kind = Literal["store", "build", "journal", "transfer", "temporary", "runs", "embeddings"]


BUILDING = "a build of the variant is running"


READ = "it is being read"


FETCHED = "it is being fetched"


WRITTEN = "it is being written"


LATEST = "latest"


REMOVED = ".removed"  # ends the name of a store that is being removed


@dataclass(frozen=True)
class Found:
    """Something that may no longer be needed.

    Attributes
    ----------
    paths : tuple of Path
        What makes it up.
    variant : str
        Empty where it belongs to none.
    changed_s : float
        When it last changed, seconds since 1970.
    needed : str
        Why it must stay whatever is asked; empty if nothing needs it.
    replaced : bool
        Something finished stands in its place: it will never be resumed.
    guarded : tuple of Path and str, or None
        The record's folder and the name under whose lock it is fetched.
    """

    kind: Kind
    paths: tuple[Path, ...]
    variant: str
    changed_s: float
    needed: str = ""
    replaced: bool = False
    guarded: tuple[Path, str] | None = None


def survey(root: Path, variants: Collection[Path], running: Collection[Path] = (), *, everything: bool) -> list[Found]:
    """What under ROOT may no longer be needed.

    Parameters
    ----------
    root : Path
    variants : collection of Path
        Directories of the variants to look at.
    running : collection of Path
        Those of them that are being built.
    everything : bool
        Whether to look beyond variants, among archives and noise banks.

    Returns
    -------
    list of Found
    """
    found = []
    for directory in variants:
        busy = BUILDING if directory in running else ""
        finished = _latest(directory)
        found += [*_stores(directory, finished, busy), *_unfinished(directory, finished, busy)]
        found += [*_litter(directory, busy), *_runs(root, directory.name)]
    if everything:
        found += [one for directory in sorted((root / "archives").glob("*/")) for one in _of_record(directory)]
        found += _temporary((root / "noise").glob("*"))
    return found


@dataclass(frozen=True)
class _Latest:
    """The fingerprint that a variant's ``latest`` names, when it moved there, and what is wrong with it if anything."""

    fingerprint: str
    moved_s: float
    problem: str = ""


def _latest(directory: Path) -> _Latest:
    try:
        named = latest(directory)
    except DataError:
        return _Latest("", 0.0, "there is no `latest`; build the variant again")
    if not (directory / f"{named}.zarr").is_dir():
        return _Latest(named, 0.0, "`latest` names no store; build the variant again")
    return _Latest(named, _changed_s(directory / "latest"))


def _stores(directory: Path, finished: _Latest, busy: str) -> Iterator[Found]:
    """Finished stores of a variant, and files that a repair of one of them left."""
    for path in sorted(directory.glob("*.zarr")):
        needed = _why_needed(path, finished, busy)
        # Its metadata is written last, so its time is that of the store.
        yield Found("store", (path,), directory.name, _changed_s(path / "zarr.json"), needed)
        yield from _temporary(path.rglob("*.partial"), directory.name)


def _why_needed(store: Path, finished: _Latest, busy: str) -> str:
    if store.name == f"{finished.fingerprint}.zarr":
        return LATEST
    if busy or finished.problem:
        return busy or finished.problem  # without a good `latest`, any store may be the one that should be
    if store.with_suffix(".journal").is_dir():
        return "its build was killed at its last step; run it again"
    if store.is_symlink():
        return "a link"
    with alone(store) as nobody:
        return "" if nobody else READ


def _unfinished(directory: Path, finished: _Latest, busy: str) -> Iterator[Found]:
    """Partial stores with their journals, and journals whose build ended just before it removed them."""
    partials = {path.name.split(".")[0]: path for path in sorted(directory.glob("*.zarr.partial"))}
    journals = {path.name.split(".")[0]: path for path in sorted(directory.glob("*.journal"))}
    for name in sorted(partials | journals):
        parts = tuple(table[name] for table in (partials, journals) if name in table)
        changed_s, is_finished = max(map(_changed_s, parts)), (directory / f"{name}.zarr").is_dir()
        if name in partials:
            replaced = is_finished or changed_s < finished.moved_s
            yield Found("build", parts, directory.name, changed_s, busy, replaced)
        elif not is_finished or name == finished.fingerprint:  # else the store needs it, see `_why_needed`
            yield Found("journal", parts, directory.name, changed_s, busy)


def _litter(directory: Path, busy: str) -> Iterator[Found]:
    """What a killed write left beside the stores, and stores whose removal was interrupted."""
    partial = [path for path in sorted(directory.glob("*.partial")) if path.is_file() or path.name.endswith(COPY)]
    for path in [*partial, *sorted(directory.glob(f"*{REMOVED}"))]:
        yield Found("temporary", (path,), directory.name, _changed_s(path), busy)


def _runs(root: Path, variant: str) -> Iterator[Found]:
    """Runs on a variant's stores, and encoders' embeddings of their clips; a folder for each store."""
    kinds: tuple[Kind, ...] = ("runs", "embeddings")
    for kind in kinds:
        for path in sorted((root / kind / variant).glob("*/")):
            yield Found(kind, (path,), variant, _changed_s(path))
            yield from _temporary(path.rglob("*.partial"), variant)


def _of_record(directory: Path) -> Iterator[Found]:
    """Parts of archives, copies of synthetic releases that were served, damaged archives that were replaced."""
    for path in sorted([*directory.glob("*.part"), *directory.glob("*.damaged")]):
        archive = path.with_suffix("")
        about = path.with_name(f"{path.name}.json")
        parts = (path, about) if about.is_file() else (path,)
        # a damaged archive alone was set aside by version 0.1.0, killed in a repair
        only_copy = path.suffix == ".damaged" and not archive.is_file()
        needed = f"there is no other {archive.name}; fetch it again first" if only_copy else ""
        yield _transfer(parts, (directory, archive.name), archive.is_file(), needed)
    if directory.name.endswith(SERVED):
        record = directory.with_name(directory.name.removesuffix(SERVED))
        has_all = all((record / path.name).is_file() for path in directory.iterdir())
        yield _transfer((directory,), (record, SERVED), has_all)
    else:
        yield from _temporary(directory.iterdir())


def _transfer(parts: tuple[Path, ...], guarded: tuple[Path, str], replaced: bool, needed: str = "") -> Found:
    try:
        with guard(*guarded).acquire(timeout=0):
            pass
    except Timeout:
        needed = FETCHED
    return Found("transfer", parts, "", _changed_s(parts[0]), needed, replaced, guarded)


def _temporary(paths: Iterable[Path], variant: str = "") -> Iterator[Found]:
    """Files whose writer has ended."""
    for path in sorted(paths):
        if is_temporary(path.name) and path.is_file() and _is_left(path):
            yield Found("temporary", (path,), variant, _changed_s(path))


def _is_left(path: Path) -> bool:
    """Whether nobody has it locked; not so if it is finished just now, or nobody may look."""
    try:
        with alone(path) as nobody:
            return nobody
    except OSError:
        return False


def _changed_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
