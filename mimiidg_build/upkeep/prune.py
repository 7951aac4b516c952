"""Removing what is no longer needed: superseded stores, and what stopped or killed runs left behind.

``survey`` looks, ``decide`` says what goes and why, ``prune_stores`` does it. Never removed: the store that ``latest``
names, a store that any process holds open (:mod:`mimiidg_build.storage.holds`), anything of a variant that is being
built or of an archive that is being fetched, an archive, a report. What can be resumed (an interrupted build or
transfer that nothing has replaced) and what cost training (runs) goes only when asked for.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import BaseFileLock, Timeout

from mimiidg_build.errors import DataError, UsageError, did_you_mean
from mimiidg_build.fetch.lock import guard
from mimiidg_build.storage.holds import alone
from mimiidg_build.storage.locks import VARIANT_LOCK, file_lock, variant_lock
from mimiidg_build.storage.places import Place, cache_places, is_local, local, place
from mimiidg_build.store.metadata import METADATA
from mimiidg_build.upkeep.survey import FETCHED, LATEST, READ, REMOVED, WRITTEN, Found, survey

STAYS = "its store stays"
ORDINARY = (LATEST, STAYS)  # reasons that need no mention


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
        Whether builds and transfers that can be resumed, and runs of stores that are gone, go too.

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
                why = "interrupted" if unfinished else "can be resumed: run it again, or remove it with --unfinished"
                return Verdict(one, unfinished, why)
            case "build" | "transfer":
                return Verdict(one, True, "interrupted, and replaced since")
            case "runs":
                gone = (one.variant, _fingerprint(one)) not in stays
                why = "its store is gone" if runs else "its store is gone; remove it with --runs"
                return Verdict(one, gone and runs, why if gone else STAYS)
            case "embeddings":  # computed again if ever needed
                gone = (one.variant, _fingerprint(one)) not in stays
                return Verdict(one, gone, "its store is gone" if gone else STAYS)
            case _:
                return Verdict(one, True, "left by a run that ended")

    return [verdict(one) for one in found]


def _fingerprint(found: Found) -> str:
    return found.paths[0].name.split(".")[0]


def prune_stores(
    root: str | Place,
    variants: Collection[str] = (),
    *,
    keep: int = 0,
    unfinished: bool = False,
    runs: bool = False,
    dry_run: bool = False,
) -> list[Verdict]:
    """Remove what is no longer needed, of some variants or of all of ROOT; see :func:`decide`.

    Parameters
    ----------
    root : str or Place
    variants : collection of str
        Names of variants; all of ROOT by default, archives and noise banks included.
    keep : int
        Superseded stores to keep per variant, the newest.
    unfinished : bool
        Whether builds and transfers that can be resumed are removed, too.
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
        There is no such variant, or ROOT is on object storage, where it cannot be known which stores are being read.
    DataError
        Something cannot be removed; everything else was.
    """
    root = place(root)
    if not is_local(root):
        raise UsageError(
            f"{root} is on object storage, where it cannot be known whether anybody reads a store, so nothing is "
            "removed. List the stores with `mimiidg list` and remove superseded ones with the storage's own tools; "
            "keep the one that `latest` names."
        )
    root = local(root)
    directories = {path.name: path for path in sorted((root / "variants").glob("*/"))}
    if unknown := sorted(set(variants) - directories.keys()):
        raise UsageError(
            f"{root} has no variant {', '.join(unknown)}; it has {', '.join(directories) or 'none'}."
            f"{did_you_mean(unknown[0], directories)}"
        )
    chosen = [directories[name] for name in dict.fromkeys(variants)] or list(directories.values())
    failures: list[str] = []
    with contextlib.ExitStack() as locks:
        free, running = _lock_all(chosen, dry_run, locks, failures)
        chosen = [directory for directory in chosen if directory in (*free, *running)]
        try:
            found = survey(root, chosen, running, everything=not variants)
            verdicts = _with_sizes(decide(found, keep=keep, unfinished=unfinished, runs=runs))
        except OSError as error:
            raise DataError(f"{error.filename or root} cannot be read: {error.strerror}.") from error
        done = verdicts if dry_run else [_done(verdict, failures) for verdict in verdicts]
    if failures:
        several = f"{len(failures)} things could not be removed; all else that should go is gone:\n"
        raise DataError((several if len(failures) > 1 else "") + "\n".join(failures))
    return done


def _lock_all(
    directories: Collection[Path], dry_run: bool, locks: contextlib.ExitStack, failures: list[str]
) -> tuple[list[Path], list[Path]]:
    """Lock the variants' directories: those that are locked now, and those in which a build runs."""
    free, running = [], []
    for directory in directories:
        try:
            # Not waited for: a build may take hours, and what it needs stays.
            locks.enter_context(_lock(directory, dry_run).acquire(timeout=0))
            free.append(directory)
        except Timeout:
            running.append(directory)
        except OSError as error:
            failures.append(_failure(directory, error))
    return free, running


def _lock(directory: Path, dry_run: bool) -> BaseFileLock:
    """The variant's lock; where nothing will be changed, as good a one in the work folder if need be."""
    return file_lock(cache_places(directory / VARIANT_LOCK)[-1]) if dry_run else variant_lock(directory)


def _failure(path: Path, error: OSError) -> str:
    return f"{error.filename or path} cannot be removed: {error.strerror}."


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


def _done(verdict: Verdict, failures: list[str]) -> Verdict:
    """Remove what goes, unless somebody has begun to use it since it was looked at; what cannot be removed is noted."""
    if not verdict.goes:
        return verdict
    for path in verdict.found.paths:
        try:
            if why := _remove(path, verdict.found):
                return Verdict(verdict.found, False, why)
        except FileNotFoundError:
            continue  # gone already
        except OSError as error:
            failures.append(_failure(path, error))
    return verdict


def _remove(path: Path, found: Found) -> str:
    """Remove it, or say who has it."""
    with contextlib.ExitStack() as held:
        if found.guarded is not None:
            try:
                held.enter_context(guard(*found.guarded).acquire(timeout=0))
            except Timeout:
                return FETCHED
        if found.kind in ("store", "temporary"):
            if not held.enter_context(alone(path)):
                return READ if found.kind == "store" else WRITTEN
            if found.kind == "store":
                path = _unnamed(path)
                held.close()  # what follows takes its time, and processes that open a store wait for the lock
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return ""


def _unnamed(store: Path) -> Path:
    """Rename a store first, so that no process ever opens a part of one."""
    try:
        return store.rename(store.with_name(f"{store.name}{REMOVED}"))
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        (store / METADATA).unlink()  # an overlay renames no folder of its lower layers; without this it is no store
        return store
