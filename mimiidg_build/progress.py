"""Progress of long work, on standard error: a live line with rate and time left at a terminal, plain lines elsewhere.

A step has a title and a total; ``step(title, total)`` returns a function that is told how much more is done. The
library takes such a function as an argument; ``current()`` is the one that the running program set, for the flows,
whose arguments must be plain data.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PLAIN_INTERVAL_S = 10.0


class Reporter:
    """Says nothing; the base of those that do."""

    def step(self, title: str, total: int, unit: str = "clips") -> Callable[[int], None]:
        """Begin a step; the function returned is told how much more is done, from any thread."""
        return lambda n: None

    def note(self, title: str, text: str) -> None:
        """Something to know about a step under way: an epoch's loss."""

    def transfer(self, name: str, done_bytes: int, total_bytes: int | None) -> None:
        """A transfer stands at ``done_bytes``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


class PlainReporter(Reporter):
    """Lines for logs and pipes: one when a step ends, and every ten seconds in a long one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._transfers: dict[str, float] = {}
        self._noted: dict[str, float] = {}

    def step(self, title: str, total: int, unit: str = "clips") -> Callable[[int], None]:
        begun = last = time.monotonic()
        done = 0

        def told(n: int) -> None:
            nonlocal done, last
            with self._lock:
                done += n
                now = time.monotonic()
                if done - n < total <= done or now - last >= PLAIN_INTERVAL_S:
                    last = now
                    rate = done / max(now - begun, 1e-3)
                    print(f"{title}: {done:,} of {total:,} {unit}, {rate:,.0f}/s", file=sys.stderr, flush=True)

        return told

    def note(self, title: str, text: str) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._noted.get(title, -PLAIN_INTERVAL_S) >= PLAIN_INTERVAL_S:
                self._noted[title] = now
                print(f"{title}: {text}", file=sys.stderr, flush=True)

    def transfer(self, name: str, done_bytes: int, total_bytes: int | None) -> None:
        with self._lock:
            now = time.monotonic()
            last = self._transfers.setdefault(name, now)
            if now - last >= PLAIN_INTERVAL_S:
                self._transfers[name] = now
                of = f" of {total_bytes / 1e6:,.0f}" if total_bytes else ""
                print(f"{name}: {done_bytes / 1e6:,.0f}{of} MB", file=sys.stderr, flush=True)


class LiveReporter(Reporter):
    """Bars with count, rate and time left, at a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._tasks: dict[str, TaskID] = {}
        self._steps: dict[str, TaskID] = {}
        self._begun: dict[str, float] = {}
        self._progress: Progress = Progress(
            TextColumn("{task.description:<16}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, title: str, total: int, unit: str = "clips") -> Callable[[int], None]:
        task = self._steps[title] = self._progress.add_task(title, total=total, unit=unit, rate="")
        begun = time.monotonic()

        def told(n: int) -> None:
            done = self._progress.tasks[self._progress.task_ids.index(task)].completed + n
            rate = done / max(time.monotonic() - begun, 1e-3)
            self._progress.update(task, advance=n, rate=f"{rate:,.0f}/s")

        return told

    def note(self, title: str, text: str) -> None:
        if title in self._steps:
            self._progress.update(self._steps[title], description=f"{title}, {text}")

    def transfer(self, name: str, done_bytes: int, total_bytes: int | None) -> None:
        megabytes = int(done_bytes / 1e6)
        if name not in self._tasks:
            self._begun[name] = time.monotonic()
            total = int(total_bytes / 1e6) if total_bytes else None
            self._tasks[name] = self._progress.add_task(name, total=total, unit="MB", rate="")
        rate = megabytes / max(time.monotonic() - self._begun[name], 1e-3)
        self._progress.update(self._tasks[name], completed=megabytes, rate=f"{rate:,.0f} MB/s")


_current: Reporter = Reporter()


def reporter(quiet: bool = False) -> Reporter:
    """The reporter that suits where standard error goes."""
    if quiet:
        return Reporter()
    return LiveReporter() if sys.stderr.isatty() else PlainReporter()


def use(chosen: Reporter) -> None:
    """Make a reporter the running program's."""
    global _current
    _current = chosen


def current() -> Reporter:
    """The running program's reporter; a silent one by default."""
    return _current
