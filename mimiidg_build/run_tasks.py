"""Running independent tasks with dask: threads, processes, or a cluster. The result never depends on which.

Threads are the default: the work is in C code that releases the interpreter lock, and they beat processes, which
must first import everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from dask.base import compute
from dask.callbacks import Callback
from dask.delayed import delayed

from mimiidg_build.errors import UsageError


class Runner(Protocol):
    """Calls ``function(*arguments)`` for each arguments, tells ``on_result`` each result as it comes, and returns all
    results in order."""

    def __call__(
        self, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], on_result: Callable[[Any], None]
    ) -> list[Any]: ...


def runner(scheduler: str = "threads", workers: int | None = None) -> Runner:
    """A runner on the named dask scheduler.

    Parameters
    ----------
    scheduler : str
        ``threads``, ``processes``, or the address of a running cluster (``tcp://host:port``).
    workers : int, optional
        Threads or processes; all cores by default. A cluster has its own.

    Raises
    ------
    UsageError
        No such scheduler.
    """
    if scheduler in ("threads", "processes"):
        return lambda function, tasks, on_result: _run_local(scheduler, workers, function, tasks, on_result)
    if "://" in scheduler:
        return lambda function, tasks, on_result: _run_on_cluster(scheduler, function, tasks, on_result)
    raise UsageError(f"no scheduler is named {scheduler!r}: use threads, processes or a cluster's tcp:// address")


def _run_local(
    scheduler: str,
    workers: int | None,
    function: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    on_result: Callable[[Any], None],
) -> list[Any]:
    # pure=False: a task writes a file, so no two are ever the same task. The graph has no edges to optimise.
    calls = [delayed(function, pure=False)(*task) for task in tasks]
    keys = {call.key for call in calls}

    def told(key: str, result: Any, *_: Any) -> None:
        if key in keys:
            on_result(result)

    with Callback(posttask=told):
        return list(compute(*calls, scheduler=scheduler, num_workers=workers, optimize_graph=False))


def _run_on_cluster(
    address: str, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], on_result: Callable[[Any], None]
) -> list[Any]:
    from distributed import Client, as_completed

    try:
        client = Client(address, timeout="10s")
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            f"no dask scheduler answers at {address} ({error}). Start one with `dask scheduler`."
        ) from None
    with client:
        futures = [client.submit(function, *task, pure=False) for task in tasks]
        for future in as_completed(futures):
            on_result(future.result())
        return list(client.gather(futures))
