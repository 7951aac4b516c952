"""Running independent tasks: in threads, in processes, or on a dask cluster. The result never depends on which.

Threads are the default: the work is in C code that releases the interpreter lock, and they beat processes, which
must first import everything. Clusters are in :mod:`mimiidg_build.parallel.cluster`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from functools import partial
from typing import Any, Protocol

from mimiidg_build.errors import UsageError, did_you_mean, shown
from mimiidg_build.parallel.cores import n_cores
from mimiidg_build.storage.places import Place


class Runner(Protocol):
    """Calls ``function(*arguments)`` for each of ``tasks`` and returns all results, in order."""

    def __call__(
        self, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], on_result: Callable[[Any], None]
    ) -> list[Any]:
        """Run the tasks.

        Parameters
        ----------
        function : callable
            Defined in a module, so that another process can import it.
        tasks : sequence of tuple
            The arguments of each call, plain data.
        on_result : callable
            Called, in this process, with each result as it comes, in any order.

        Returns
        -------
        list
            Each call's result, in the order of ``tasks``.

        Raises
        ------
        DataError
            A worker process or the cluster was lost. What ``function`` or ``on_result`` raises comes as it is.
        UsageError
            A cluster does not answer or cannot do this work; a script's ``__main__`` guard is missing.
        """


def runner(scheduler: str = "threads", workers: int | None = None, root: Place | None = None) -> Runner:
    """A runner on the named scheduler.

    With ``processes`` a script needs an ``if __name__ == "__main__":`` guard around its work.

    Parameters
    ----------
    scheduler : str
        ``threads``, ``processes``, or the address of a running cluster (``tcp://host:port``).
    workers : int, optional
        Threads or processes; by default as many as this process may use cores. A cluster has its own.
    root : Place, optional
        What a cluster's workers must see, at the same path: what the tasks read and write.

    Returns
    -------
    Runner

    Raises
    ------
    UsageError
        No such scheduler, or no cluster answers there.
    """
    if scheduler == "threads":
        return partial(_run_in_threads, workers)
    if scheduler == "processes":
        return partial(_run_in_processes, workers)
    if is_cluster(scheduler):
        from mimiidg_build.parallel.cluster import check_cluster, run_on_cluster

        check_cluster(scheduler)  # now: before anything is made or read that it would wait for
        return partial(run_on_cluster, scheduler, root)
    near = did_you_mean(scheduler, ["threads", "processes"])
    raise UsageError(
        f"no scheduler is named {shown(scheduler)}: use threads, processes or a cluster's tcp:// address.{near}"
    )


@contextlib.contextmanager
def running(scheduler: str = "threads", workers: int | None = None, root: Place | None = None) -> Iterator[Runner]:
    """A runner for several calls: its processes start with the first and end with the block.

    A build runs tasks some five times (levels, each kind of noise, shards, their digests), and a process takes a
    processor second to import what it needs.

    Parameters
    ----------
    scheduler, workers, root
        See :func:`runner`.

    Yields
    ------
    Runner

    Raises
    ------
    UsageError
        See :func:`runner`.
    """
    run = runner(scheduler, workers, root)
    with _Processes(workers) as processes:
        yield processes if scheduler == "processes" else run


def is_cluster(scheduler: str) -> bool:
    """Whether a scheduler's name is a cluster's address.

    >>> is_cluster("tcp://10.0.0.1:8786"), is_cluster("threads")
    (True, False)
    """
    return "://" in scheduler


def _run_in_threads(
    workers: int | None,
    function: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    on_result: Callable[[Any], None],
) -> list[Any]:
    # A thread a core. One more, to work while another waits for the disk, gains 2 %: not worth its memory.
    # Not dask's threads: its import and its graph took a build 0.1 s before the first clip.
    pool = ThreadPoolExecutor(workers or n_cores())
    try:
        return _gathered(pool, function, tasks, on_result)
    finally:
        # After a failure or Ctrl-C what has begun ends by itself: the message need not wait for it.
        pool.shutdown(wait=False, cancel_futures=True)


def _run_in_processes(
    workers: int | None,
    function: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    on_result: Callable[[Any], None],
) -> list[Any]:
    with _Processes(workers) as run:
        return run(function, tasks, on_result)


class _Processes(contextlib.ExitStack):
    """A runner on processes of its own, which start with the first call and end with the block, or when a call fails:
    what others had begun must end, and a pool that lost a process is of no more use."""

    def __init__(self, workers: int | None) -> None:
        super().__init__()
        self._workers = workers
        self._pool: Executor | None = None

    def __call__(
        self, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], on_result: Callable[[Any], None]
    ) -> list[Any]:
        if self._pool is None:
            from mimiidg_build.parallel.processes import process_pool  # 20 ms that a build in threads does without

            self._pool = self.enter_context(process_pool(self._workers or n_cores()))
        with contextlib.ExitStack() as failed:
            failed.push(self._ended)
            results = _gathered(self._pool, function, tasks, on_result)
            failed.pop_all()
        return results

    def _ended(self, *error: Any) -> bool | None:
        self._pool = None
        return self.__exit__(*error)


def _gathered(
    pool: Executor, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], on_result: Callable[[Any], None]
) -> list[Any]:
    """All results in the order of the tasks, each reported as it comes."""
    futures = [pool.submit(function, *task) for task in tasks]
    for future in as_completed(futures):
        on_result(future.result())
    return [future.result() for future in futures]
