"""Removing what nobody needs any more: superseded stores, and what stopped or killed runs left behind.

``survey`` looks, ``decide`` says what goes and why, ``prune`` does it. Never removed: the store that ``latest`` names,
a store that somebody holds open (:mod:`mimiidg_build.storage.holds`), anything of a variant that is being built or of
an archive that is being fetched, an archive, a report. What could still go on (an interrupted build or transfer that
nothing has replaced) and what cost training (runs) goes only when asked for.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from filelock import Timeout

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.fetch.lock import guard
from mimiidg_build.storage.holds import alone
from mimiidg_build.storage.locks import variant_lock
from mimiidg_build.storage.places import Place, is_local, local, place
from mimiidg_build.store.store import latest

Kind = Literal["store", "build", "journal", "transfer", "temporary", "runs"]

BUILDING = "a build of the variant is running"
READ = "somebody reads it"
LATEST = "latest"
STAYS = "its store stays"
ORDINARY = (LATEST, STAYS)  # nobody asks why these are kept
REMOVED = ".removed"  # a store on its way out


@dataclass(frozen=True)
class Found:
    """Something that may be needed no more.

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
        Something finished stands in its place: it will never be gone on with.
    """

    kind: Kind
    paths: tuple[Path, ...]
    variant: str
    changed_s: float
    needed: str = ""
    replaced: bool = False


@dataclass(frozen=True)
class Verdict:
    """Whether it goes, why, and the bytes that it frees: what other stores share is not freed."""

    found: Found
    goes: bool
    why: str
    freed_bytes: int = 0


def decide(found: Collection[Found], *, keep: int = 0, unfinished: bool = False, runs: bool = False) -> list[Verdict]:
    """What goes and what stays.

    Parameters
    ----------
    found : collection of Found
    keep : int
        Superseded stores to keep per variant, the newest.
    unfinished, runs : bool
        Whether builds and transfers that could go on, and runs of stores that are gone, go too.

    Returns
    -------
    list of Verdict
        One for each, in the same order.
    """
    newest: dict[str, list[Found]] = {}
    for store in sorted((f for f in found if f.kind == "store" and not f.needed), key=lambda f: -f.changed_s):
        newest.setdefault(store.variant, []).append(store)
    spared = [store for stores in newest.values() for store in stores[:keep]]
    stays = {(f.variant, _fingerprint(f)) for f in found if f.kind == "store" and (f.needed or f in spared)}

    def verdict(one: Found) -> Verdict:
        if one.needed:
            return Verdict(one, False, one.needed)
        match one.kind:
            case "store":
                return Verdict(one, one not in spared, "kept by --keep" if one in spared else "superseded")
            case "build" | "transfer" if not one.replaced:
                why = "interrupted" if unfinished else "can go on: run it again, or remove it with --unfinished"
                return Verdict(one, unfinished, why)
            case "build" | "transfer":
                return Verdict(one, True, "interrupted, and replaced since")
            case "runs":
                gone = (one.variant, _fingerprint(one)) not in stays
                why = "its store is gone" if runs else "its store is gone; remove it with --runs"
                return Verdict(one, gone and runs, why if gone else STAYS)
            case _:
                return Verdict(one, True, "left by a run that ended")

    return [verdict(one) for one in found]


def _fingerprint(found: Found) -> str:
    return found.paths[0].name.split(".")[0]


def survey(root: Path, variants: Collection[Path], running: Collection[Path] = (), *, everything: bool) -> list[Found]:
    """What lies about under ROOT.

    Parameters
    ----------
    root : Path
    variants : collection of Path
        Directories of the variants to look at.
    running : collection of Path
        Those of them that are being built.
    everything : bool
        Whether to look beyond variants, among archives and noise banks.
    """
    found = [one for directory in variants for one in _of_variant(directory, BUILDING if directory in running else "")]
    found += [one for directory in variants for one in _runs(root, directory.name)]
    if everything:
        found += [one for directory in sorted((root / "archives").glob("*/")) for one in _of_record(directory)]
        found += _temporary((root / "noise").glob("*"))
    return found


def _of_variant(directory: Path, running: str) -> Iterator[Found]:
    try:
        named = latest(directory)
        lost = "" if (directory / f"{named}.zarr").is_dir() else "`latest` names no store; build the variant again"
    except DataError:
        named, lost = "", "there is no `latest`; build the variant again"
    finished_s = _changed_s(directory / "latest") if not lost else 0.0
    for path in sorted(directory.glob("*.zarr")):
        needed = running or lost
        if path.name == f"{named}.zarr":
            needed = LATEST
        elif path.with_suffix(".journal").is_dir():
            needed = needed or "its build was killed at its last step; run it again"
        elif path.is_symlink():
            needed = needed or "a link"
        if not needed:
            with alone(path) as nobody:
                needed = "" if nobody else READ
        yield Found("store", (path,), directory.name, _changed_s(path / "zarr.json"), needed)
        yield from _temporary(path.rglob("*.partial"), directory.name)
    partials = {path.name.split(".")[0]: path for path in sorted(directory.glob("*.zarr.partial"))}
    journals = {path.name.split(".")[0]: path for path in sorted(directory.glob("*.journal"))}
    for name in sorted(partials | journals):
        parts = tuple(table[name] for table in (partials, journals) if name in table)
        changed_s, is_finished = max(map(_changed_s, parts)), (directory / f"{name}.zarr").is_dir()
        if name in partials:
            yield Found("build", parts, directory.name, changed_s, running, is_finished or changed_s < finished_s)
        elif not is_finished or name == named:
            yield Found("journal", parts, directory.name, changed_s, running)
    litter = [p for p in sorted(directory.glob("*.partial")) if p.is_file()] + sorted(directory.glob(f"*{REMOVED}"))
    for path in litter:
        yield Found("temporary", (path,), directory.name, _changed_s(path), running)


def _runs(root: Path, variant: str) -> Iterator[Found]:
    for path in sorted((root / "runs" / variant).glob("*/")):
        yield Found("runs", (path,), variant, _changed_s(path))
        yield from _temporary(path.rglob("*.partial"), variant)


def _of_record(directory: Path) -> Iterator[Found]:
    """Parts of archives, copies of synthetic releases that were served, damaged archives that were replaced."""
    for path in sorted([*directory.glob("*.part"), *directory.glob("*.damaged")]):
        archive = path.with_suffix("")
        about = path.with_name(f"{path.name}.json")
        parts = (path, about) if about.is_file() else (path,)
        busy = "it is being fetched" if _is_fetched(directory, archive.name) else ""
        yield Found("transfer", parts, "", _changed_s(path), busy, archive.is_file())
    if directory.name.endswith(".served"):
        names = [path.name for path in directory.iterdir()]
        has_all = all((directory.with_suffix("") / name).is_file() for name in names)
        yield Found("transfer", (directory,), "", _changed_s(directory), "", has_all)
    else:
        yield from _temporary(directory.iterdir())


def _is_fetched(directory: Path, name: str) -> bool:
    try:
        with guard(directory, name).acquire(timeout=0):
            return False
    except Timeout:
        return True


def _temporary(paths: Iterator[Path], variant: str = "") -> Iterator[Found]:
    """Files that a process was writing, which has ended: the process's number is in the name."""
    for path in sorted(paths):
        writer = re.search(r"\.([0-9]+)\.(?:partial|tmp)$", path.name)
        if writer and path.is_file() and not _is_alive(int(writer[1])):
            yield Found("temporary", (path,), variant, _changed_s(path))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _changed_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def prune_stores(
    root: str | Place,
    variants: Collection[str] = (),
    *,
    keep: int = 0,
    unfinished: bool = False,
    runs: bool = False,
    dry_run: bool = False,
) -> list[Verdict]:
    """Remove what nobody needs, of some variants or of all of ROOT; see :func:`decide`.

    Parameters
    ----------
    root : str or Place
    variants : collection of str
        Names of variants; all of ROOT by default, archives and noise banks included.
    keep : int
        Superseded stores to keep per variant, the newest.
    unfinished : bool
        Whether builds and transfers that could still go on are removed, too.
    runs : bool
        Whether trained runs of stores that are gone are removed, too.
    dry_run : bool
        Say what would go, and remove nothing.

    Returns
    -------
    list of Verdict
        What went, or with ``dry_run`` would go, and what stayed.

    Raises
    ------
    UsageError
        There is no such variant, or ROOT is on object storage, where nobody knows what others read.
    DataError
        Something cannot be removed.
    """
    root = place(root)
    if not is_local(root):
        raise UsageError(
            f"{root} is on object storage, where nothing says whether somebody reads a store, so nothing is removed. "
            "See `mimiidg list`, and remove with the storage's own tools what nobody needs, but what is `latest`."
        )
    root = local(root)
    directories = {path.name: path for path in sorted((root / "variants").glob("*/"))}
    if unknown := sorted(set(variants) - directories.keys()):
        raise UsageError(f"{root} has no variant {', '.join(unknown)}; it has {', '.join(directories) or 'none'}.")
    chosen = [directories[name] for name in dict.fromkeys(variants)] or list(directories.values())
    try:
        with contextlib.ExitStack() as locks:
            running = []
            for directory in chosen:
                try:
                    locks.enter_context(variant_lock(directory).acquire(timeout=0))
                except Timeout:
                    running.append(directory)
            found = survey(root, chosen, running, everything=not variants)
            verdicts = _with_sizes(decide(found, keep=keep, unfinished=unfinished, runs=runs))
            return verdicts if dry_run else [_done(verdict) for verdict in verdicts]
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be removed: {error.strerror}.") from error


def _with_sizes(verdicts: list[Verdict]) -> list[Verdict]:
    """A file that stores share is freed when its last name goes."""
    names_gone: Counter[tuple[int, int]] = Counter()
    sized = []
    for verdict in verdicts:
        freed_bytes = 0
        for path in verdict.found.paths if verdict.goes else ():
            for file in path.rglob("*") if path.is_dir() else [path]:
                stat = file.lstat()
                names_gone[stat.st_dev, stat.st_ino] += 1
                if file.is_file() and names_gone[stat.st_dev, stat.st_ino] == stat.st_nlink:
                    freed_bytes += stat.st_size
        sized.append(replace(verdict, freed_bytes=freed_bytes))
    return sized


def _done(verdict: Verdict) -> Verdict:
    """Remove what goes. A store first loses its name, so nobody ever opens a part of one."""
    if not verdict.goes:
        return verdict
    for path in verdict.found.paths:
        if verdict.found.kind == "store":
            with alone(path) as nobody:
                if not nobody:
                    return Verdict(verdict.found, False, READ)
                path = path.rename(path.with_name(f"{path.name}{REMOVED}"))
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return verdict
