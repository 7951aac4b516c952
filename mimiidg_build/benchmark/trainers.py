"""Several trainings at once on a CPU: each in a process of its own, on the threads that its profile says.

A small network's batches are too short to share between cores: two threads on one training mostly wait for each other,
two trainings side by side do not. On a GPU, or with one worker, trainings run in this process, one after the other.
How many run at once changes no bit of what they find.

With ``keep_going`` a system that fails stops no other: why it did is written in its run's folder (:mod:`.failures`).
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import TracebackType
from typing import Self

from mimiidg_build.benchmark.failures import write_failure
from mimiidg_build.benchmark.messages import Messages, Sender, pass_on
from mimiidg_build.benchmark.planning import Training
from mimiidg_build.benchmark.runs import Network, Run
from mimiidg_build.benchmark.train_network import choose_device, title, train_and_score
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.parallel.cores import n_cores
from mimiidg_build.parallel.processes import process_pool, start_manager
from mimiidg_build.progress import Reporter


class WorkerKilled(DataError):
    """A worker process was killed, perhaps for the memory that another one took."""


class Trainers:
    """Where networks are trained. Used with ``with``, which starts and ends the processes.

    ``run`` returns when the network is trained and scored, and may be called from ``n_workers`` threads at once. With
    more than one worker a script needs an ``if __name__ == "__main__":`` guard around its work.

    Parameters
    ----------
    device : str
        See ``choose_device``.
    workers : int or None
        Processes; None: as many as the cores of a CPU have threads for.
    n_trainings : int
        Networks there are to train: no more processes than that.
    reporter : Reporter
    threads : int
        Of a training, the most that one takes.
    keep_going : bool
        Whether the others are trained where one fails.
    """

    def __init__(
        self,
        device: str,
        workers: int | None,
        n_trainings: int,
        reporter: Reporter,
        threads: int = 1,
        keep_going: bool = False,
    ) -> None:
        self._device, self._reporter, self._keep_going = device, reporter, keep_going
        self._failed: set[Path] = set()
        at_once = workers or n_cores() // threads
        on_cpu = choose_device(device).type == "cpu"
        self.n_workers = max(1, min(at_once, n_trainings)) if on_cpu else 1
        self._pool: ProcessPoolExecutor | None = None
        self._starting = threading.Lock()
        self._other_children: set[int | None] = set()

    def __enter__(self) -> Self:
        if self.n_workers > 1:
            self._manager = start_manager()
            self._messages: Messages = self._manager.Queue()
            self._listener = threading.Thread(target=pass_on, args=(self._messages, self._reporter), daemon=True)
            self._listener.start()
            # the manager's process among them: the workers, started next, are the ones that _stop may end
            self._other_children = {child.pid for child in multiprocessing.active_children()}
            self._start()
        return self

    def _start(self) -> None:
        self._processes = process_pool(self.n_workers, _begin, self._messages)
        self._pool = self._processes.__enter__()

    def _start_again(self, broken: ProcessPoolExecutor) -> None:
        """Start new processes in place of those of a pool of which one was killed; the others have ended with it."""
        with self._starting:  # several trainings wait for one pool
            if self._pool is broken:
                self._processes.__exit__(None, None, None)
                self._start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        if kind is not None:
            self._stop()
        # no exception is handed in: what broke the pool is known by now, and has its own message
        self._processes.__exit__(None, None, None)
        self._messages.put(None)  # after the workers' last message, so that nothing is lost
        self._listener.join()
        self._manager.shutdown()

    def _stop(self) -> None:
        """End the processes: what is under way would take minutes, and resumes from its last epoch."""
        for child in multiprocessing.active_children():
            if child.pid not in self._other_children:
                child.terminate()

    def run_all(self, trainings: Sequence[Training]) -> None:
        """Train and score networks, as many at once as there are workers."""
        if self._pool is None:  # in this very thread, where Ctrl-C arrives
            for run, network in trainings:
                self._attempt(run, network)
            return
        threads, again = ThreadPoolExecutor(self.n_workers), list[Training]()
        try:
            waiting = [(training, threads.submit(self._attempt, *training)) for training in trainings]
            for training, future in waiting:
                try:
                    future.result()
                except WorkerKilled:
                    if not self._keep_going:
                        raise
                    again.append(training)
            for run, network in again:  # alone: one that is killed again is so for what it takes itself
                self._attempt(run, network, alone=True)
        except BaseException:
            self._stop()  # before the threads are waited for: they wait for the processes
            raise
        finally:
            threads.shutdown(cancel_futures=True)

    def _attempt(self, run: Run, network: Network, alone: bool = False) -> None:
        """Train and score one network; of a run that failed, no further one."""
        if run.directory in self._failed:
            return
        try:
            self.run(run, network)
        except Exception as error:
            if isinstance(error, WorkerKilled) and not alone:
                raise
            self.failed(run, network, error)

    def failed(self, run: Run, network: Network, error: Exception) -> None:
        """Note that a network failed, and go on; raise its error where that is not asked for, or where it is wrong use.

        Parameters
        ----------
        run : Run
        network : Network
        error : Exception
        """
        if not self._keep_going or isinstance(error, UsageError):
            raise error
        if not run.is_trained(network):  # else it was a back end, and the model's own scores are worth finishing
            self._failed.add(run.directory)
        write_failure(run.directory, network.name, error)
        self._reporter.note(title(run, network), "failed")

    def run(self, run: Run, network: Network) -> None:
        """Train and score one network of a run; finished already: nothing to do.

        Raises
        ------
        UsageError, DataError
            See :func:`~mimiidg_build.benchmark.train_network.train_and_score`; or its process was killed.
        """
        pool = self._pool
        if pool is None or run.is_finished(network):
            train_and_score(run, network, self._device, self._reporter)
            return
        try:
            pool.submit(_train, run, network, self._device).result()
        except BrokenProcessPool:
            if self._keep_going:
                self._start_again(pool)
            raise WorkerKilled(
                f"{run.model}, {network.name}: its process was killed, likely because memory ran out. Finished epochs "
                "are kept: run the same benchmark again, with fewer workers, which gives the same scores."
            ) from None


# ---- In a worker process ---------------------------------------------------------------------------------------------

_sender: Reporter = Reporter()


def _begin(messages: Messages) -> None:
    """Ready a worker process."""
    global _sender
    _sender = Sender(messages)


def _train(run: Run, network: Network, device: str) -> None:
    train_and_score(run, network, device, _sender)
