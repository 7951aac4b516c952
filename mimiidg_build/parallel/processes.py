"""Processes that work for this one: Ctrl-C is this one's to handle, and none outlives it.

They are spawned: each is a fresh interpreter that imports the main script again before it does anything else. So a
script that starts them outside an ``if __name__ == "__main__":`` guard would start them again in every one of them.
Python notices, the process dies, and its parent sees no more than that. Here such a process ends with an exit code of
its own, by which the parent knows what to say.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from multiprocessing.managers import SyncManager
from types import FrameType
from typing import Any

from mimiidg_build.errors import KEPT, NO_GUARD, DataError, MimiidgError, UsageError, require_main_guard

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Processes started in this block never see Ctrl-C, not even while they start. For this one it only comes later.

    They inherit that the signal is blocked. Here that is not enough: the system gives it to any thread that does not
    block it (one that draws a progress bar), and Python then raises KeyboardInterrupt in the main thread all the same,
    between starting a process and sending it its work; the process would then end with a traceback.

    SIGTERM and SIGHUP come later, too, where this process handles them. Those reach its children, which end.
    """
    came: list[tuple[int, FrameType | None]] = []
    before = {}
    if threading.current_thread() is threading.main_thread():  # only it may set handlers, and Python runs them there
        for number in STOPPING:
            handler = signal.getsignal(number)
            if callable(handler):
                before[int(number)] = handler
                signal.signal(number, lambda number, frame: came.append((number, frame)))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)  # what waited comes now, to the handlers above
        for held, handler in before.items():
            signal.signal(held, handler)
        if came:
            before[came[0][0]](*came[0])


@contextlib.contextmanager
def process_pool(
    n: int, initializer: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """A pool of ``n`` fresh processes, started at once. When the block ends, what has not begun is cancelled.

    Fresh, not forked: the caller may hold threads, which a fork would copy in whatever state they are. A script that
    comes here needs an ``if __name__ == "__main__":`` guard.

    A terminal sends Ctrl-C to every process of a command. The workers never see it: this process ends what they do, in
    order.

    Parameters
    ----------
    n : int
    initializer : callable, optional
        Called with ``arguments`` in each process first.
    *arguments
        The initializer's.

    Yields
    ------
    ProcessPoolExecutor

    Raises
    ------
    DataError
        A process was killed, unless the caller caught ``BrokenProcessPool`` and said so itself; or none can be started.
    UsageError
        The script has no guard.
    """
    require_main_guard()
    with _start_errors():
        _start_resource_tracker()
        pool = ProcessPoolExecutor(
            n, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(initializer, arguments)
        )
    processes = pool._processes  # kept here: a broken pool forgets them, and with them how they ended
    try:
        with without_ctrl_c():
            for _ in range(n):
                pool.submit(time.sleep, 0.05)  # each starts one, as long as none is idle
        yield pool
    except BrokenProcessPool:
        pool.shutdown(cancel_futures=True)  # only then have all of them ended
        raise _lost([process.exitcode for process in processes.values()]) from None
    finally:
        pool.shutdown(cancel_futures=True)


def start_manager() -> SyncManager:
    """A process that holds queues for this one and its workers. A script that comes here needs a ``__main__`` guard.

    Raises
    ------
    DataError
        It did not start.
    UsageError
        The script has no guard.
    """
    require_main_guard()
    manager = SyncManager(ctx=multiprocessing.get_context("spawn"))
    try:
        with without_ctrl_c(), _start_errors():
            _start_resource_tracker()
            manager.start(_begin, (None, ()))
    except EOFError:  # it ended before it had said where it can be reached
        process = manager._process  # type: ignore[attr-defined]
        process.join()  # it has its exit code only then
        raise _lost([process.exitcode]) from None
    return manager


def _start_resource_tracker() -> None:
    """Start the process by which Python frees what processes share, if it does not run, so that SIGHUP spares it.

    By itself it ignores SIGINT and SIGTERM alone. Ended by a SIGHUP that goes to all processes of a command, it is
    started anew, knows nothing of what it is to free, and says so with a traceback for each.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # which it inherits
    try:
        resource_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _start_errors() -> Iterator[None]:
    """Name what is missing where processes cannot share anything: the system says no more than 'not implemented'."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"worker processes cannot be started: {error.strerror or error}. They need /dev/shm and a temporary folder "
            "(TMPDIR), both writable and not full. A container gets the first with `--shm-size=64m`."
        ) from error


def _lost(exit_codes: Iterable[int | None]) -> MimiidgError:
    """The error that says why processes ended."""
    if NO_GUARD in exit_codes:
        return UsageError(
            "the script has no `__main__` guard. Python imports it again in every worker process, so its work must "
            'stand in a function that is called under `if __name__ == "__main__":`.'
        )
    return DataError(f"a worker process was killed. It probably ran out of memory: use fewer workers. {KEPT}")


# ---- In a worker process ---------------------------------------------------------------------------------------------


def _begin(initializer: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if initializer is not None:
        initializer(*arguments)


def _end_with_parent() -> None:
    """Without this, the workers of a killed process would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # sys.exit would end this thread alone
