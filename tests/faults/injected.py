"""Faults of a process of ``tests.faults.processes``, set before it does what it is asked to do."""

from __future__ import annotations

import itertools
import json
import os
import re
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS = ("replace", "rename", "fsync", "mkdir", "link", "unlink", "rmdir")  # what moves a file system on
NEED_ROOM = ("replace", "rename", "fsync", "mkdir", "link")
CRASHED = 9


def name_within(path: Any) -> str:
    """A path within variants/<variant>/, without the store's fingerprint and what is random; empty for any other.

    >>> name_within("/root/variants/one/0123456789abcdef0123456789abcdef.zarr.partial/fan/zarr.json")
    'zarr.partial/fan/zarr.json'
    >>> name_within("/root/variants/one/latest.0123456789abcdef.partial"), name_within("/root/variants/one")
    ('latest.partial', '.')
    >>> name_within("/root/noise/hum.wav")
    ''
    """
    parts = Path(path).parts
    if "variants" not in parts:
        return ""
    within = "/".join(parts[parts.index("variants") + 2 :]) or "."
    return re.sub(r"\.[0-9a-f]{16}\.partial$", ".partial", re.sub(r"^[0-9a-f]{32}\.", "", within))


def named(verb: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> str:
    """What a step is about: the name that a file gets, or the one that it is flushed or removed under."""
    if verb == "fsync":
        return name_within(Path(f"/proc/self/fd/{arguments[0]}").readlink())
    path = Path(arguments[1 if verb in ("replace", "rename", "link") else 0])
    if options.get("dir_fd") is not None:
        path = Path(f"/proc/self/fd/{options['dir_fd']}").readlink() / path
    return name_within(path)


def numbered(steps: list[tuple[str, str]]) -> list[tuple[str, str, int]]:
    """The steps, each with how many of the same come before it."""
    return [(*step, steps[:index].count(step)) for index, step in enumerate(steps)]


def before_every_step(act: Callable[[int, str, str, tuple[Any, ...]], None]) -> None:
    """Call ``act(number, verb, name, arguments)`` before every step that changes what lies under variants/.

    ``number`` counts them from 0; ``name`` is :func:`named`'s.
    """
    numbers = itertools.count()

    def watched(verb: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            if name := named(verb, arguments, options):
                act(next(numbers), verb, name, arguments)
            return real(*arguments, **options)

        return step

    for verb in STEPS:
        setattr(os, verb, watched(verb, getattr(os, verb)))


def list_steps(_: bool) -> None:
    """Print (verb, name) of every step, last of all."""
    steps: list[tuple[str, str]] = []
    before_every_step(lambda number, verb, name, arguments: steps.append((verb, name)))
    at_end.append(lambda: print(json.dumps(steps)))


def crash_before(step: tuple[str, str, int]) -> None:
    """Die before a step: (verb, name, how many of the same were done before)."""
    seen: Counter[tuple[str, str]] = Counter()

    def act(number: int, verb: str, name: str, arguments: tuple[Any, ...]) -> None:
        if [verb, name, seen[verb, name]] == list(step):
            os._exit(CRASHED)
        seen[verb, name] += 1

    before_every_step(act)


def crash_writing(file: str) -> None:
    """Die when half of a file is written: before it gets its name, for it must not have that any earlier."""

    def act(number: int, verb: str, name: str, arguments: tuple[Any, ...]) -> None:
        if (verb, name) == ("replace", file):
            os.truncate(arguments[0], Path(arguments[0]).stat().st_size // 2)
            os._exit(CRASHED)

    before_every_step(act)


def flip_staged(file: str) -> None:
    """A bit of a staged file flips when all shards are rendered, just before the tables are written; what can be set
    back, its time of modification, is."""

    def act(number: int, verb: str, name: str, arguments: tuple[Any, ...]) -> None:
        if (verb, name) == ("replace", "zarr.partial/clips.parquet"):
            path = Path(arguments[1]).parent / file
            content, before = bytearray(path.read_bytes()), path.stat()
            content[len(content) // 2] ^= 4
            path.write_bytes(content)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    before_every_step(act)


def no_space_at(step: int) -> None:
    """The disk is full from the numbered step on, until the process ends."""

    def act(number: int, verb: str, name: str, arguments: tuple[Any, ...]) -> None:
        if number >= step and verb in NEED_ROOM:
            raise OSError(28, "No space left on device", str(arguments[0]))

    before_every_step(act)


def largest_file(size_bytes: int) -> None:
    """The kernel refuses to write beyond this size, as it does on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


def slow(seconds: float) -> None:
    """Every shard takes this much longer."""
    from mimiidg_build.build import render

    written = render.write_entry

    def write_entry(*arguments: Any) -> None:
        time.sleep(seconds)
        written(*arguments)

    render.write_entry = write_entry


def list_unflushed_at_rename(_: bool) -> None:
    """Print what had changed since it was last flushed when the partial store got its name."""
    flushed: dict[int, int] = {}
    fsync, rename = os.fsync, os.rename

    def noted_fsync(descriptor: int) -> None:
        fsync(descriptor)
        status = os.fstat(descriptor)
        flushed[status.st_ino] = max(status.st_mtime_ns, status.st_ctime_ns)

    def checked_rename(source: Any, target: Any) -> None:
        paths = [Path(source), *Path(source).rglob("*")]
        changed = {path: path.stat() for path in paths}
        unflushed = [str(p) for p, s in changed.items() if flushed.get(s.st_ino, 0) < max(s.st_mtime_ns, s.st_ctime_ns)]
        at_end.append(lambda: print(json.dumps({"n_checked": len(paths), "unflushed": unflushed})))
        rename(source, target)

    os.fsync, os.rename = noted_fsync, checked_rename


def slow_epochs(seconds: float) -> None:
    """Every epoch of a training takes this much longer."""
    from mimiidg_build.training import train

    save = train.save_checkpoint

    def save_checkpoint(*arguments: Any) -> None:
        save(*arguments)
        time.sleep(seconds)

    train.save_checkpoint = save_checkpoint


def another_container(_: bool) -> None:
    """A process of a container that shares only the root with the others: all call themselves 1, and see nobody."""

    def kill(process: int, signal: int) -> None:
        raise ProcessLookupError(3, "No such process")

    os.getpid, os.kill = lambda: 1, kill


def work(directory: str) -> None:
    """Not a fault: where caches and locks lie that cannot lie where the data does."""
    os.environ["MIMIIDG_WORK"] = directory


at_end: list[Callable[[], None]] = []
FAULTS: dict[str, Callable[..., None]] = {
    function.__name__: function
    for function in (
        list_steps,
        crash_before,
        crash_writing,
        flip_staged,
        no_space_at,
        largest_file,
        slow,
        slow_epochs,
        another_container,
        work,
        list_unflushed_at_rename,
    )
}
