"""Progress of long work, on standard error: a live line with rate and time left at a terminal, plain lines elsewhere.

A step has a title and a total; ``reporter.step(title, total)`` returns a function to be called with how much more is
done. The library takes a reporter, or such a function, as an argument.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, Task, TaskID
    from rich.text import Text

PLAIN_INTERVAL_S = 10.0

OnProgress = Callable[[int], None]
"""Called with how much more is done, from any thread."""
OnTransfer = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes that have arrived, and how many there will be; None where that is unknown."""


def no_progress(n: int) -> None:
    """The callback where progress is not shown."""


class Reporter:
    """Shows nothing; the base of those that do. Used with ``with`` where it draws on a terminal."""

    def step(self, title: str, total: int, unit: str = "clips") -> OnProgress:
        """Begin a step.

        Parameters
        ----------
        title : str
        total : int
            How much there is to do.
        unit : str
            What is counted, in the plural; ``bytes`` are shown as MB.

        Returns
        -------
        callable
            To be called with how much more is done, from any thread.
        """
        return no_progress

    def note(self, title: str, text: str) -> None:
        """Show something about a step under way: an epoch's loss."""

    def transfer(self, name: str, done_bytes: int, total_bytes: int | None) -> None:
        """Show how far a transfer is.

        Parameters
        ----------
        name : str
            The file's.
        done_bytes : int
            All that have arrived so far.
        total_bytes : int or None
            None where it is unknown.
        """

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
        Called with each line; prints it on standard error by default.
    """

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._write = write or _to_stderr
        self._lock = threading.Lock()
        self._transfers: dict[str, float] = {}
        self._noted: dict[str, float] = {}

    def step(self, title: str, total: int, unit: str = "clips") -> OnProgress:
        """Begin a step; see :meth:`Reporter.step`."""
        begun = last = time.monotonic()
        done = 0

        def on_progress(n: int) -> None:
            nonlocal done, last
            with self._lock:
                done += n
                now = time.monotonic()
                # Once when the total is reached, though callers may count beyond it.
                if done - n < total <= done or now - last >= PLAIN_INTERVAL_S:
                    last, passed_s = now, now - begun
                    left = f", {duration(passed_s / done * (total - done))} left" if 0 < done < total else ""
                    self._write(f"{title}: {count(done, total, unit)}, {rate(done, passed_s, unit)}{left}")

        return on_progress

    def note(self, title: str, text: str) -> None:
        """Print a step's note, at most every ten seconds."""
        with self._lock:
            now = time.monotonic()
            if now - self._noted.get(title, -PLAIN_INTERVAL_S) >= PLAIN_INTERVAL_S:
                self._noted[title] = now
                self._write(f"{title}: {text}")

    def transfer(self, name: str, done_bytes: int, total_bytes: int | None) -> None:
        """Print how far a transfer is, every ten seconds; see :meth:`Reporter.transfer`."""
        with self._lock:
            now = time.monotonic()
            last = self._transfers.setdefault(name, now)  # so a transfer shorter than the interval prints nothing
            if now - last >= PLAIN_INTERVAL_S:
                self._transfers[name] = now
                self._write(f"{name}: {count(done_bytes, total_bytes, 'bytes')}")


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def count(done: int, total: int | None, unit: str) -> str:
    """How much of how much.

    Parameters
    ----------
    done, total : int
        A total that is None is left out.
    unit : str
        What is counted; ``bytes`` are shown as MB.

    >>> count(120, 1800, "clips"), count(100_400_000, 929_000_000, "bytes"), count(3_000_000, None, "bytes")
    ('120 of 1,800 clips', '100 of 929 MB', '3 MB')
    """
    if unit == "bytes":
        done, total, unit = round(done / 1e6), total and round(total / 1e6), "MB"
    return f"{done:,} of {total:,} {unit}" if total else f"{done:,} {unit}"


def rate(done: int, passed_s: float, unit: str) -> str:
    """How fast; where one takes seconds, how long it takes.

    Parameters
    ----------
    done : int
    passed_s : float
    unit : str
        What is counted; ``bytes`` are shown as MB.

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

        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._progress: Progress = Progress(
            TextColumn("{task.description:<16}", markup=False),  # titles are file names, too: brackets are no markup
            BarColumn(),
            *_count_and_rate(),
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

    def step(self, title: str, total: int, unit: str = "clips") -> OnProgress:
        """Add a bar; see :meth:`Reporter.step`."""
        task = self._tasks["step", title] = self._progress.add_task(title, total=total, unit=unit)
        return lambda n: self._progress.advance(task, n)

    def note(self, title: str, text: str) -> None:
        """Put the note beside the step's title."""
        if ("step", title) in self._tasks:
            self._progress.update(self._tasks["step", title], description=f"{title}, {text}")

    def transfer(self, name: str, done_bytes: int, total_bytes: int | None) -> None:
        """Move the transfer's bar; see :meth:`Reporter.transfer`."""
        if ("transfer", name) not in self._tasks:
            self._tasks["transfer", name] = self._progress.add_task(name, total=total_bytes, unit="bytes")
        self._progress.update(self._tasks["transfer", name], completed=done_bytes)


def _count_and_rate() -> tuple[ProgressColumn, ProgressColumn]:
    """Columns for what rich's own do not show.

    Its MofNCompleteColumn has no unit and no thousands separator, its DownloadColumn and TransferSpeedColumn count
    bytes alone, and its speed is that of the last 30 s: of a step whose items take minutes it knows none.
    Made in a function, since a class derived from rich's would import rich with this module.
    """
    from rich.progress import ProgressColumn
    from rich.text import Text

    class CountColumn(ProgressColumn):
        """120 of 1,800 clips."""

        def render(self, task: Task) -> Text:
            total = None if task.total is None else int(task.total)
            return Text(count(int(task.completed), total, task.fields["unit"]))

    class RateColumn(ProgressColumn):
        """450/s, the mean since the start."""

        def render(self, task: Task) -> Text:
            # rich's elapsed time goes on after the last item: the rate of a finished step would fall.
            passed_s = task.finished_time if task.finished else task.elapsed
            done = int(task.completed)
            return Text(rate(done, passed_s or 0, task.fields["unit"]) if done else "")

    return CountColumn(), RateColumn()


def choose_reporter(quiet: bool = False) -> Reporter:
    """The reporter that suits where standard error goes: bars at a terminal, lines elsewhere, or nothing."""
    if quiet:
        return Reporter()
    return LiveReporter() if sys.stderr.isatty() else PlainReporter()
