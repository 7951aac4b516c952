"""Several trainings at once on a CPU: each in a process of its own, with its share of the cores.

A small network's batches are too short to share between cores: two threads on one training mostly wait for each other,
two trainings side by side do not. On a GPU, or with one worker, trainings run in this process, one after the other.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Self

from mimiidg_build.benchmark.runs import Part, Run, choose_device, train_and_score
from mimiidg_build.errors import DataError
from mimiidg_build.parallel.processes import process_pool, start_manager
from mimiidg_build.progress import Reporter

TELL_EVERY_S = 0.5
Messages = Any  # a queue between processes


class Trainers:
    """Where parts of runs are trained. Used with ``with``, which starts and ends the processes.

    ``run`` returns when the part is trained and scored, and may be called from ``n_workers`` threads at once.

    Parameters
    ----------
    device : str
        See ``choose_device``.
    workers : int or None
        Processes; None: one a core on a CPU.
    n_parts : int
        Parts there are to train: no more processes than that.
    reporter : Reporter
    """

    def __init__(self, device: str, workers: int | None, n_parts: int, reporter: Reporter) -> None:
        self._device, self._reporter = device, reporter
        cores = os.cpu_count() or 1
        on_cpu = choose_device(device).type == "cpu"
        self.n_workers = max(1, min(workers or cores, n_parts)) if on_cpu else 1
        self._threads = max(1, cores // self.n_workers)
        self._pool: ProcessPoolExecutor | None = None
        self._children: set[int | None] = set()

    def __enter__(self) -> Self:
        if self.n_workers > 1:
            self._manager = start_manager()
            self._messages = self._manager.Queue()
            self._listener = threading.Thread(target=_listen, args=(self._messages, self._reporter), daemon=True)
            self._listener.start()
            self._children = {child.pid for child in multiprocessing.active_children()}
            self._processes = process_pool(self.n_workers, _begin, self._messages, self._threads)
            self._pool = self._processes.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        if kind is not None:
            self._stop()
        self._processes.__exit__(None, None, None)
        self._messages.put(None)
        self._listener.join()
        self._manager.shutdown()

    def _stop(self) -> None:
        """End the processes: what is under way would take minutes, and resumes from its last epoch."""
        for child in multiprocessing.active_children():
            if child.pid not in self._children:
                child.terminate()

    def run_all(self, parts: Sequence[tuple[Run, Part]]) -> None:
        """Train and score parts, as many at once as there are workers."""
        if self._pool is None:  # in this very thread, where Ctrl-C arrives
            for run, part in parts:
                self.run(run, part)
            return
        threads = ThreadPoolExecutor(self.n_workers)
        try:
            for future in [threads.submit(self.run, run, part) for run, part in parts]:
                future.result()
        except BaseException:
            self._stop()
            raise
        finally:
            threads.shutdown(cancel_futures=True)

    def run(self, run: Run, part: Part) -> None:
        """Train and score one part of a run; finished already: nothing to do."""
        if self._pool is None or run.is_finished(part):
            train_and_score(run, part, self._device, self._reporter)
            return
        try:
            self._pool.submit(_train, run, part, self._device).result()
        except BrokenProcessPool:
            raise DataError(
                f"{run.model}, {part.name}: its process was killed, likely for want of memory. Finished epochs are "
                "kept: run the same benchmark again, with fewer workers."
            ) from None


# ---- In a worker process ---------------------------------------------------------------------------------------------


class _Sender(Reporter):
    """Tells the parent process, now and then."""

    def __init__(self, messages: Messages) -> None:
        self._messages, self._numbers = messages, itertools.count()

    def step(self, title: str, total: int, unit: str = "clips") -> Callable[[int], None]:
        number, waiting, last = (os.getpid(), next(self._numbers)), 0, time.monotonic()
        done = 0
        self._messages.put(("step", number, title, total, unit))

        def told(n: int) -> None:
            nonlocal waiting, last, done
            waiting, done = waiting + n, done + n
            if done >= total or time.monotonic() - last >= TELL_EVERY_S:
                self._messages.put(("told", number, waiting))
                waiting, last = 0, time.monotonic()

        return told

    def note(self, title: str, text: str) -> None:
        self._messages.put(("note", title, text))


_sender: Reporter = Reporter()


def _begin(messages: Messages, threads: int) -> None:
    """Ready a worker process."""
    import torch

    global _sender
    torch.set_num_threads(threads)
    _sender = _Sender(messages)


def _train(run: Run, part: Part, device: str) -> None:
    train_and_score(run, part, device, _sender)


def _listen(messages: Messages, reporter: Reporter) -> None:
    """Pass on what the worker processes tell, until None comes."""
    steps: dict[object, Callable[[int], None]] = {}
    while True:
        try:
            message = messages.get()
        except (EOFError, OSError, queue.Empty):
            return  # the manager is gone
        if message is None:
            return
        if message[0] == "step":
            steps[message[1]] = reporter.step(*message[2:])
        elif message[0] == "told":
            steps[message[1]](message[2])
        else:
            reporter.note(*message[1:])
