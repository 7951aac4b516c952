"""Progress of long work, on standard error: a live line with rate and time left at a terminal, plain lines elsewhere.

A step has a title and a total; ``reporter.step(title, total)`` returns a function to be called with how much more is
done. The library takes a reporter, or such a function, as an argument.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, Task, TaskID
    from rich.table import Table
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
    """Bars with count, rate and time left, at a terminal: of what is under way. What has ended is a line above them.

    Parameters
    ----------
    console : rich.console.Console, optional
        The terminal; standard error's by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console

        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._lock = threading.Lock()
        self._progress = _bars(console or Console(stderr=True))

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

        def on_progress(n: int) -> None:
            with self._lock:
                if task in self._progress.task_ids:  # callers may count beyond the total, when the bar has gone
                    self._progress.advance(task, n)
                    self._collapse(("step", title), task)

        return on_progress

    def note(self, title: str, text: str) -> None:
        """Put the note beside the step's title."""
        with self._lock:
            if ("step", title) in self._tasks:
                self._progress.update(self._tasks["step", title], description=f"{title}, {text}")

    def transfer(self, name: str, done_bytes: int, total_bytes: int | None) -> None:
        """Move the transfer's bar; see :meth:`Reporter.transfer`."""
        key = ("transfer", name)
        with self._lock:
            if key not in self._tasks:
                self._tasks[key] = self._progress.add_task(name, total=total_bytes, unit="bytes")
            self._progress.update(self._tasks[key], completed=done_bytes)
            self._collapse(key, self._tasks[key])

    def _collapse(self, key: tuple[str, str], task_id: TaskID) -> None:
        """Replace the bar of what has ended by a line above all bars: those of what goes on stay in sight."""
        (task,) = (task for task in self._progress.tasks if task.id == task_id)
        if not task.finished or not task.total:
            return
        self._progress.remove_task(task_id)
        if self._tasks.get(key) == task_id:
            del self._tasks[key]
        unit, passed_s = task.fields["unit"], task.finished_time or 0.0
        line = f"{task.description:<16} {count(int(task.completed), int(task.total), unit)}"
        line += f", {rate(int(task.completed), passed_s, unit)}, {duration(passed_s)}"
        # cut rather than broken, like the bars: one line each; and neither a [tag] nor a :smiley: is anything but text
        self._progress.console.print(
            line, markup=False, emoji=False, highlight=False, no_wrap=True, overflow="ellipsis"
        )


def _bars(console: Console) -> Progress:
    """Bars that fit the terminal: text is never broken but cut, and no more bars than lines.

    Made in a function, since a class derived from rich's would import rich with this module.
    """
    from rich.progress import Progress
    from rich.text import Text

    class Bars(Progress):
        """rich would leave out the last bars where there are too many, without a word."""

        def get_renderables(self) -> Iterator[Table | Text]:
            """The bars that there is room for. See :meth:`Progress.get_renderables`."""
            room = max(1, console.height - 3)  # lines
            yield self.make_tasks_table(self.tasks[:room])
            if len(self.tasks) > room:
                yield Text(f"and {len(self.tasks) - room} more")

    return Bars(*_columns(), console=console)


def _columns() -> tuple[ProgressColumn, ...]:
    """Title, bar, count, rate and time left. Where the terminal is too narrow, the bar shrinks and the title is cut.

    rich's MofNCompleteColumn has no unit and no thousands separator, its DownloadColumn and TransferSpeedColumn count
    bytes alone, and its speed is that of the last 30 s: of a step whose items take minutes it knows none.
    """
    from rich.progress import BarColumn, ProgressColumn, TimeRemainingColumn
    from rich.table import Column
    from rich.text import Text

    class TitleColumn(ProgressColumn):
        """A title may be a file's name: brackets are no markup."""

        def render(self, task: Task) -> Text:
            return Text(f"{task.description:<16}", no_wrap=True, overflow="ellipsis")

    class CountColumn(ProgressColumn):
        """120 of 1,800 clips."""

        def render(self, task: Task) -> Text:
            total = None if task.total is None else int(task.total)
            return Text(count(int(task.completed), total, task.fields["unit"]))

    class RateColumn(ProgressColumn):
        """450/s, the mean since the start."""

        def render(self, task: Task) -> Text:
            done = int(task.completed)
            return Text(rate(done, task.elapsed or 0, task.fields["unit"]) if done else "")

    # rich takes room from the columns that may wrap: title and bar
    kept = [kind(table_column=Column(no_wrap=True)) for kind in (CountColumn, RateColumn, TimeRemainingColumn)]
    return TitleColumn(), BarColumn(), *kept


def choose_reporter(quiet: bool = False) -> Reporter:
    """The reporter that suits where standard error goes: bars at a terminal, lines elsewhere, or nothing."""
    if quiet:
        return Reporter()
    return LiveReporter() if sys.stderr.isatty() else PlainReporter()
