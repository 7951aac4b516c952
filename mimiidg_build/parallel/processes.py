"""Processes that work for this one: Ctrl-C is this one's to handle, and none outlives it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import FrameType
from typing import Any

from mimiidg_build.errors import KEPT, DataError


@contextlib.contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Processes started in this block never see Ctrl-C, not even while they start. For this one it only comes later.

    They inherit that the signal is blocked. Here that is not enough: the system gives it to any thread that does not
    block it (one that draws a progress bar), and Python then raises KeyboardInterrupt in the main thread all the same,
    between starting a process and telling it what to do, which the process would end with a traceback.
    """
    here = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    came: list[FrameType | None] = []
    if callable(here):
        signal.signal(signal.SIGINT, lambda _, frame: came.append(frame))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)  # what waited comes now, to the handler above
        if callable(here):
            signal.signal(signal.SIGINT, here)
            if came:
                here(signal.SIGINT, came[0])


@contextlib.contextmanager
def process_pool(
    n: int, initializer: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """A pool of ``n`` fresh processes, started at once. When the block ends, what has not begun is cancelled.

    Fresh, not forked: the caller may hold threads, which a fork would copy in whatever state they are.

    A terminal sends Ctrl-C to every process of a command. The workers never see it: this process ends what they do, in
    order.

    Parameters
    ----------
    n : int
    initializer : callable, optional
        Called with ``arguments`` in each process first.

    Raises
    ------
    DataError
        One of them was killed, and whoever waited for it did not say so otherwise.
    """
    pool = ProcessPoolExecutor(
        n, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(initializer, arguments)
    )
    try:
        with without_ctrl_c():
            for _ in range(n):
                pool.submit(time.sleep, 0.05)  # each starts one, as long as none is idle
        yield pool
    except BrokenProcessPool:
        raise DataError(f"a worker process was killed, likely for want of memory: use fewer. {KEPT}") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(initializer: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if initializer is not None:
        initializer(*arguments)


def _end_with_parent() -> None:
    """Without this, the workers of a killed process would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
