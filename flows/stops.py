"""Ctrl-C and SIGTERM while a flow is called: they stop a stage at once, and Prefect only between two things it does.

Prefect cannot be interrupted at any line. It may keep a lock, on which its next step waits for ever; it drops what is
raised once a flow has its final state (``flow_engine.initialize_run``), and the command goes on to its next flow; what
is raised while it begins a task becomes a ValueError of its own (``task_engine.initialize_run``). And it puts a handler
of its own in SIGTERM's place, which raises an exception: where that is lost, nobody knows of the signal.

So while Prefect works a stop waits for the next stage or the end of the call; or for :data:`PATIENCE_S`, since Prefect
may wait for a server for minutes.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

PATIENCE_S = 1.0
STOPS = (signal.SIGINT, signal.SIGTERM)


class Stops:
    """The stops of a call, from the outermost flow's beginning to its end, in the main thread.

    Parameters
    ----------
    handlers : dict
        What the program does with each signal, by its number. Most raise KeyboardInterrupt.
    """

    def __init__(self, handlers: dict[int, Callable[[int, FrameType | None], Any]]) -> None:
        self.handlers = handlers
        self.in_stage = False
        self._waiting: threading.Timer | None = None
        self._number: int | None = None
        self._raised: BaseException | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal, or have it wait; a second one does not."""
        if self.in_stage or self._number is not None or self._raised is not None:
            self._deliver(number, frame)
            return
        self._number = number
        self._waiting = threading.Timer(PATIENCE_S, self._send_again)
        self._waiting.daemon = True
        self._waiting.start()

    def _send_again(self) -> None:
        if self._number is not None:
            signal.pthread_kill(threading.main_thread().ident or 0, self._number)

    def raise_any(self) -> None:
        """Handle the signal that waits; raise anew what was raised and got lost."""
        if self._number is not None:
            self._deliver(self._number, None)
        elif self._raised is not None:
            raise self._raised

    def _deliver(self, number: int, frame: FrameType | None) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting, self._number = None, None
        in_stage, self.in_stage = self.in_stage, True  # that of SIGTERM calls that of Ctrl-C
        try:
            self.handlers[number](number, frame)
        except BaseException as error:
            self._raised = error
            raise
        finally:
            self.in_stage = in_stage

    def take(self) -> None:
        """Have the signals come here."""
        for number in self.handlers:
            signal.signal(number, self.handle)

    def give_back(self) -> None:
        """Have the signals go where they went before."""
        for number, handler in self.handlers.items():
            signal.signal(number, handler)


_current: Stops | None = None  # of this process: signals are, too


def _here() -> Stops | None:
    """The stops of the call under way, in the thread that is stopped."""
    return _current if threading.current_thread() is threading.main_thread() else None


@contextlib.contextmanager
def no_lost_stop() -> Iterator[None]:
    """Around the call of a flow: however it ends, it raises what its program raises of a signal that came meanwhile.

    That is KeyboardInterrupt where the program has no handlers of its own.
    """
    global _current
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is interrupted
        return
    if _current is not None:  # a flow within a flow
        with _raised_at_end(_current):
            yield
        return
    _current = Stops({number: handler for number in STOPS if callable(handler := signal.getsignal(number))})
    try:
        _current.take()
        with _raised_at_end(_current):
            yield
    finally:
        _current.give_back()
        _current = None


@contextlib.contextmanager
def _raised_at_end(stops: Stops) -> Iterator[None]:
    try:
        yield
    except BaseException:
        stops.raise_any()
        raise
    stops.raise_any()


def take_back(flow: object, flow_run: object, state: object) -> None:
    """Have signals come here again, not to Prefect: what Prefect calls once a flow runs.

    Parameters
    ----------
    flow, flow_run, state : object
        Prefect's, not used.
    """
    if (stops := _here()) is not None:
        stops.take()


@contextlib.contextmanager
def stage() -> Iterator[None]:
    """Within this block, what a stage does, a stop is raised at once; one that waits is raised first."""
    if (stops := _here()) is None:
        yield
        return
    stops.raise_any()
    before, stops.in_stage = stops.in_stage, True
    try:
        yield
    finally:
        stops.in_stage = before
