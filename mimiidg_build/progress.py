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

OnProgress = Callable[[int], None]
"""Called with how much more is done, from any thread."""
OnTransfer = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes that have arrived, and how many there will be, None where nobody knows."""


def no_progress(n: int) -> None:
    """What is called where nobody watches."""


class Reporter:
    """Says nothing; the base of those that do."""

    def step(self, title: str, total: int, unit: str = "clips") -> OnProgress:
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
    """Lines for logs and pipes: one when a step ends, and every ten seconds in a long one.

    Parameters
    ----------
    write : callable, optional
        Given each line; standard error by default.
    """

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._write = write or _to_stderr
        self._lock = threading.Lock()
        self._transfers: dict[str, float] = {}
        self._noted: dict[str, float] = {}

    def step(self, title: str, total: int, unit: str = "clips") -> OnProgress:
        begun = last = time.monotonic()
        done = 0

        def on_progress(n: int) -> None:
            nonlocal done, last
            with self._lock:
                done += n
                now = time.monotonic()
                if done - n < total <= done or now - last >= PLAIN_INTERVAL_S:
                    last, passed_s = now, now - begun
                    left = f", {duration(passed_s / done * (total - done))} left" if 0 < done < total else ""
                    self._write(f"{title}: {count(done, total, unit)}, {rate(done, passed_s, unit)}{left}")

        return on_progress

    def note(self, title: str, text: str) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._noted.get(title, -PLAIN_INTERVAL_S) >= PLAIN_INTERVAL_S:
                self._noted[title] = now
                self._write(f"{title}: {text}")

    def transfer(self, name: str, done_bytes: int, total_bytes: int | None) -> None:
        with self._lock:
            now = time.monotonic()
            last = self._transfers.setdefault(name, now)
            if now - last >= PLAIN_INTERVAL_S:
                self._transfers[name] = now
                self._write(f"{name}: {count(done_bytes, total_bytes, 'bytes')}")


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def count(done: int, total: int | None, unit: str) -> str:
    """How much of how much; bytes are shown as MB.

    >>> count(120, 1800, "clips"), count(100_400_000, 929_000_000, "bytes"), count(3_000_000, None, "bytes")
    ('120 of 1,800 clips', '100 of 929 MB', '3 MB')
    """
    if unit == "bytes":
        done, total, unit = round(done / 1e6), total and round(total / 1e6), "MB"
    return f"{done:,} of {total:,} {unit}" if total else f"{done:,} {unit}"


def rate(done: int, passed_s: float, unit: str) -> str:
    """How fast; where one takes seconds, how long it takes.

    >>> rate(900, 2, "clips"), rate(2, 24, "servers"), rate(80_000_000, 2, "bytes")
    ('450/s', '12 s each', '40 MB/s')
    """
    per_s = done / max(passed_s, 1e-3)
    if unit == "bytes":
        return f"{per_s / 1e6:,.0f} MB/s"
    return f"{per_s:,.0f}/s" if per_s >= 1 or not done else f"{1 / per_s:,.0f} s each"


def duration(seconds: float) -> str:
    """Minutes and seconds, or hours.

    >>> duration(75.4), duration(7380)
    ('1:15', '2:03:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class LiveReporter(Reporter):
    """Bars with count, rate and time left, at a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._steps: dict[str, TaskID] = {}
        self._transfers: dict[str, TaskID] = {}
        self._progress: Progress = Progress(
            TextColumn("{task.description:<16}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
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

    def _add(self, title: str, total: int | None, unit: str) -> TaskID:
        return self._progress.add_task(title, total=total, unit=unit, count=count(0, total, unit), rate="")

    def _show(self, task_id: TaskID, done: int) -> None:
        task = self._progress.tasks[self._progress.task_ids.index(task_id)]
        total, unit = None if task.total is None else int(task.total), task.fields["unit"]
        speed = rate(done, task.elapsed or 0, unit)
        self._progress.update(task_id, completed=done, count=count(done, total, unit), rate=speed)

    def step(self, title: str, total: int, unit: str = "clips") -> OnProgress:
        task_id = self._steps[title] = self._add(title, total, unit)
        lock, done = threading.Lock(), 0

        def on_progress(n: int) -> None:
            nonlocal done
            with lock:
                done += n
                self._show(task_id, done)

        return on_progress

    def note(self, title: str, text: str) -> None:
        if title in self._steps:
            self._progress.update(self._steps[title], description=f"{title}, {text}")

    def transfer(self, name: str, done_bytes: int, total_bytes: int | None) -> None:
        if name not in self._transfers:
            self._transfers[name] = self._add(name, total_bytes, "bytes")
        self._show(self._transfers[name], done_bytes)


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
