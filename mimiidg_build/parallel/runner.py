"""Running independent tasks: in threads, in processes, or on a dask cluster. The result never depends on which.

Threads are the default: the work is in C code that releases the interpreter lock, and they beat processes, which
must first import everything. Clusters are in :mod:`mimiidg_build.parallel.cluster`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from typing import Any, Protocol

from mimiidg_build.errors import UsageError, did_you_mean, shown
from mimiidg_build.parallel.processes import process_pool, require_main_guard
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
        # Here and not only where the processes start: before that a build takes its variant's lock, for which a worker
        # that repeats an unguarded script would wait for ever, as its parent would for the worker.
        require_main_guard()
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
    from dask import threaded

    # A thread a core. One more, to work while another waits for the disk, gains 2 %: not worth its memory.
    return _compute(threaded.get, function, tasks, on_result, num_workers=workers)


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
        self._pool: ProcessPoolExecutor | None = None

    def __call__(
        self, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], on_result: Callable[[Any], None]
    ) -> list[Any]:
        if self._pool is None:
            self._pool = self.enter_context(process_pool(self._workers or _n_cores()))
        with contextlib.ExitStack() as failed:
            failed.push(self._ended)
            # Not through dask's scheduler for processes, which each of them would have to import: 0.3 s.
            futures = [self._pool.submit(function, *task) for task in tasks]
            for future in as_completed(futures):
                on_result(future.result())
            failed.pop_all()
        return [future.result() for future in futures]

    def _ended(self, *error: Any) -> bool | None:
        self._pool = None
        return self.__exit__(*error)


def _n_cores() -> int:
    """As many as dask's threads use: those that affinity and cgroups allow."""
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)


def _compute(
    get: Callable[..., Any],
    function: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    on_result: Callable[[Any], None],
    **options: Any,
) -> list[Any]:
    """Run tasks on a scheduler of dask's: ``get``, given as a function. By its name, dask would import all of
    ``distributed`` to see whether there is one."""
    # Imported here: half a second that a build with nothing to do need not pay.
    from dask.base import compute
    from dask.callbacks import Callback
    from dask.delayed import delayed

    # pure=False: a task writes a file, so no two are ever the same task. Arguments are bound, not given to dask, which
    # would search every clip of every task for graphs, 0.3 ms a clip. The graph has no edges to optimise.
    calls = [delayed(partial(function, *task), pure=False, traverse=False)() for task in tasks]
    keys = {call.key for call in calls}

    def after_task(key: str, result: Any, *_: Any) -> None:
        if key in keys:  # dask has tasks of its own, too
            on_result(result)

    with contextlib.ExitStack() as stack:
        stack.enter_context(Callback(posttask=after_task))
        return list(compute(*calls, scheduler=get, optimize_graph=False, **options))
