"""Removing what is no longer needed: superseded stores, and what stopped or killed runs left behind.

``survey`` looks, ``decide`` says what goes and why, ``prune_stores`` does it. Never removed: the store that ``latest``
names, a store that any process holds open (:mod:`mimiidg_build.storage.holds`), anything of a variant that is being
built or of an archive that is being fetched, an archive, a report. What can be resumed (an interrupted build or
transfer that nothing has replaced) and what cost training (runs) goes only when asked for.
"""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace

from filelock import Timeout

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.storage.holds import alone
from mimiidg_build.storage.locks import variant_lock
from mimiidg_build.storage.places import Place, is_local, local, place
from mimiidg_build.upkeep.survey import LATEST, READ, REMOVED, Found, survey

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
        Something cannot be removed.
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
        raise UsageError(f"{root} has no variant {', '.join(unknown)}; it has {', '.join(directories) or 'none'}.")
    chosen = [directories[name] for name in dict.fromkeys(variants)] or list(directories.values())
    try:
        with contextlib.ExitStack() as locks:
            running = []
            for directory in chosen:
                try:
                    # Not waited for: a build may take hours, and what it needs stays.
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
    """Remove what goes. A store is renamed first, so that no process ever opens a part of one."""
    if not verdict.goes:
        return verdict
    for path in verdict.found.paths:
        if verdict.found.kind == "store":
            with alone(path) as nobody:
                if not nobody:
                    return Verdict(verdict.found, False, READ)
                path = path.rename(path.with_name(f"{path.name}{REMOVED}"))
        # Without the lock, for which processes that open a store wait.
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return verdict
