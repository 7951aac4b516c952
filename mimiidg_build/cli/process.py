"""A command as a process: its exit codes, the signals that stop it, its streams, and what it needs to run at all."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from mimiidg_build.errors import UsageError, refuse_optimised

EXIT_CODES = {
    0: "done",
    1: "the data or the run failed",
    2: "wrong use: nothing was done",
    129: "stopped: its terminal was closed (SIGHUP)",
    130: "stopped with Ctrl-C (SIGINT)",
    141: "nobody read its output any more (SIGPIPE)",
    143: "stopped with kill (SIGTERM)",
}
STREAMS = ("stdin", "stdout", "stderr")
WAKE = signal.SIGURG  # of out-of-band data, for which nothing here asks
WAKE_AFTER_S = (0.0, 0.1, 1.0)  # again: the first may come just before the main thread begins to wait


class StopSignals:
    """While used with ``with``, SIGTERM and SIGHUP do what Ctrl-C does, whatever that is at the moment.

    A signal that is ignored (``nohup``), or that the program which called us handles, stays as it is.

    The system hands a signal to any thread of a process, as of one that was held with Ctrl-Z when it came. Python then
    leaves it to the main thread, which notices when it next runs; while it waits for workers, that is never. So a
    thread listens for signals, and wakes the main one with a signal that means nothing.
    """

    def __init__(self) -> None:
        self.came: int | None = None
        self._taken: list[signal.Signals] = []
        self._listening: tuple[int, int] | None = None  # the wake-up descriptor that was set before, and ours

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # only it may set handlers
            for number in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, self._stop)
                    self._taken.append(number)
            self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        for number in self._taken:
            signal.signal(number, signal.SIG_DFL)
        if self._listening is not None:
            before, ours = self._listening
            self._listening = None
            if (current := signal.set_wakeup_fd(before)) != ours:  # somebody else's, as asyncio's
                signal.set_wakeup_fd(current)
            os.close(ours)  # which ends the thread

    def _listen(self) -> None:
        if signal.getsignal(WAKE) is not signal.SIG_DFL:
            return
        signal.signal(WAKE, lambda number, frame: None)
        self._taken.append(WAKE)
        read, write = os.pipe()
        os.set_blocking(write, False)
        self._listening = signal.set_wakeup_fd(write, warn_on_full_buffer=False), write
        main = threading.main_thread().ident or 0
        threading.Thread(target=_wake, args=(read, main), name="signals", daemon=True).start()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.came = number
        as_ctrl_c = signal.getsignal(signal.SIGINT)
        if callable(as_ctrl_c):  # asyncio's, say, which lets what runs end in order
            as_ctrl_c(signal.SIGINT, frame)
        else:  # a shell has its background jobs ignore Ctrl-C
            raise KeyboardInterrupt

    def release(self) -> None:
        """From now on a signal, Ctrl-C too, ends the process at once."""
        self.__exit__()
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _wake(read: int, thread: int) -> None:
    """Wake a thread after every signal but the one that wakes it, until nothing more can come."""
    with os.fdopen(read, "rb", buffering=0) as signals:
        while numbers := signals.read(64):
            for delay in WAKE_AFTER_S if set(numbers) - {WAKE} else ():
                time.sleep(delay)
                with contextlib.suppress(OSError):  # the thread has ended
                    signal.pthread_kill(thread, WAKE)


def open_streams() -> None:
    """Open closed standard streams to nowhere.

    Where one is closed (``>&-``), Python has None for it, and the next file opened would take its number: what a
    library then prints would stand in that file.
    """
    for number, name in enumerate(STREAMS):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            stream = os.fdopen(number, "r" if number == 0 else "w", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def settle_output() -> None:
    """What of our output cannot be written goes nowhere: Python would try again at exit, and fail again."""
    for stream in (sys.__stdout__, sys.__stderr__):  # click puts one that forgives in their place
        assert stream is not None, "open_streams has opened it"
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


@contextlib.contextmanager
def unread() -> Iterator[None]:
    """Within this block it does not matter whether a message can be written: its reader may have gone, too."""
    with contextlib.suppress(OSError, ValueError):
        yield


def check_process() -> None:
    """Make sure that this process can run a command.

    Raises
    ------
    UsageError
        Python runs without assertions, or the working directory is gone.
    """
    refuse_optimised()
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(
            f"the folder that this command was started in is gone ({error.strerror}). Was it removed or made anew? "
            "Change to one that is there: cd"
        ) from None
