"""Running independent tasks with dask: threads, processes, or a cluster. The result never depends on which.

Threads are the default: the work is in C code that releases the interpreter lock, and they beat processes, which
must first import everything. A cluster's workers must have this program's versions and see ROOT at the same path.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from mimiidg_build.errors import KEPT, DataError, UsageError
from mimiidg_build.parallel.processes import process_pool
from mimiidg_build.storage.places import Place, check_access

if TYPE_CHECKING:
    from distributed import Client

WORKERS_WITHIN_S = 30.0  # a cluster may still be starting, or restart workers that died
CONNECT_WITHIN_S, POLL_S = 10.0, 5.0
ALIKE = ("dask", "distributed", "mimiidg_build", "numba", "numpy", "scipy", "soundfile")


class Runner(Protocol):
    """Calls ``function(*arguments)`` for each arguments, tells ``on_result`` each result as it comes, and returns all
    results in order."""

    def __call__(
        self, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], on_result: Callable[[Any], None]
    ) -> list[Any]: ...


def runner(scheduler: str = "threads", workers: int | None = None, root: Place | None = None) -> Runner:
    """A runner on the named dask scheduler.

    Parameters
    ----------
    scheduler : str
        ``threads``, ``processes``, or the address of a running cluster (``tcp://host:port``).
    workers : int, optional
        Threads or processes; all cores by default. A cluster has its own.
    root : Place, optional
        What a cluster's workers must see, at the same path: what the tasks read and write.

    Raises
    ------
    UsageError
        No such scheduler. When it runs: nothing answers there, or its workers cannot do this work.
    """
    if scheduler in ("threads", "processes"):
        return lambda function, tasks, on_result: _run_local(scheduler, workers, function, tasks, on_result)
    if is_cluster(scheduler):
        return lambda function, tasks, on_result: _run_on_cluster(scheduler, root, function, tasks, on_result)
    raise UsageError(f"no scheduler is named {scheduler!r}: use threads, processes or a cluster's tcp:// address")


def is_cluster(scheduler: str) -> bool:
    """Whether a scheduler's name is a cluster's address.

    >>> is_cluster("tcp://10.0.0.1:8786"), is_cluster("threads")
    (True, False)
    """
    return "://" in scheduler


def _run_local(
    scheduler: str,
    workers: int | None,
    function: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    on_result: Callable[[Any], None],
) -> list[Any]:
    # Imported here: half a second that a build with nothing to do need not pay. The schedulers as functions: by name,
    # dask would import all of `distributed` to see whether there is one.
    from dask import multiprocessing, threaded
    from dask.base import compute
    from dask.callbacks import Callback
    from dask.delayed import delayed

    get = {"threads": threaded.get, "processes": multiprocessing.get}[scheduler]
    # pure=False: a task writes a file, so no two are ever the same task. Arguments are bound, not given to dask, which
    # would search every clip of every task for graphs, 0.3 ms a clip. The graph has no edges to optimise.
    calls = [delayed(partial(function, *task), pure=False, traverse=False)() for task in tasks]
    keys = {call.key for call in calls}

    def told(key: str, result: Any, *_: Any) -> None:
        if key in keys:
            on_result(result)

    with contextlib.ExitStack() as stack:
        # A thread a core. One more, to go on while another waits for the disk, wins 2 %: not worth its memory.
        where: dict[str, Any] = {"num_workers": workers}
        if scheduler == "processes":
            pool = stack.enter_context(process_pool(workers or os.cpu_count() or 1))
            where = {"pool": pool, "chunksize": 1}  # by sixes, as by default, some processes would have nothing to do
        stack.enter_context(Callback(posttask=told))
        return list(compute(*calls, scheduler=get, optimize_graph=False, **where))


def _run_on_cluster(
    address: str,
    root: Place | None,
    function: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    on_result: Callable[[Any], None],
) -> list[Any]:
    from distributed.scheduler import KilledWorker

    with _connected(address) as client:
        _check_workers(client, address, root)
        done: queue.Queue[Any] = queue.Queue()
        futures = [client.submit(function, *task, pure=False) for task in tasks]
        for future in futures:
            future.add_done_callback(done.put)
        results: dict[object, Any] = {}
        try:
            while len(results) < len(futures):
                future = _next(done, client, address)
                results[future.key] = future.result()
                on_result(results[future.key])
        except KilledWorker as error:
            raise DataError(
                f"a task killed {error.allowed_failures + 1} workers of the cluster at {address}, the last "
                f"{error.last_worker.address}. Likely cause: want of memory; see its log. {KEPT}"
            ) from None
        except CancelledError:
            raise DataError(f"the dask scheduler at {address} went away. {KEPT}") from None
    return [results[future.key] for future in futures]


def _next(done: queue.Queue[Any], client: Client, address: str) -> Any:
    """The next future that is done; a cluster that has lost all its workers would keep us waiting for ever."""
    without_workers_s = 0.0
    while True:
        with contextlib.suppress(queue.Empty):
            return done.get(timeout=POLL_S)
        without_workers_s = 0.0 if client.nthreads() else without_workers_s + POLL_S
        if without_workers_s >= WORKERS_WITHIN_S:
            raise DataError(f"all workers of the cluster at {address} are gone. {KEPT}")


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Client]:
    """A client of a running cluster."""
    from distributed import Client
    from distributed.versions import VersionMismatchWarning

    warnings.filterwarnings("ignore", category=VersionMismatchWarning)  # they are compared here, and refused
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it logs is raised, too
    try:
        client = Client(address, timeout=CONNECT_WITHIN_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            f"no dask scheduler answers at {address} ({error}). Start one with `dask scheduler`."
        ) from None
    with client:
        yield client


def _check_workers(client: Client, address: str, root: Place | None) -> None:
    """Refuse workers that would give other bytes, or cannot reach the data.

    Raises
    ------
    UsageError
        No workers, other versions than here, or ROOT is not theirs.
    """
    try:
        client.wait_for_workers(1, timeout=WORKERS_WITHIN_S)
    except TimeoutError:
        raise UsageError(f"the dask scheduler at {address} has no workers. Start some: dask worker {address}") from None
    found: Any = client.get_versions(packages=ALIKE)
    here = _alike(found["client"])
    for worker, versions in found["workers"].items():
        there = _alike(versions)
        if there != here:
            odd = [
                f"{name} {there[name] or 'missing'}, here {here[name]}" for name in here if there[name] != here[name]
            ]
            raise UsageError(
                f"the worker {worker} has other versions than this program: {'; '.join(odd)}. Results would not be the "
                "same: install the same environment there, with the same constraints.txt."
            )
    if root is not None:
        _check_root(client, root)


def _alike(versions: dict[str, Any]) -> dict[str, str | None]:
    """What decides bytes and whether processes understand each other; of Python, the minor version."""
    packages = versions["packages"]
    named = {name: packages.get(name) for name in ALIKE}
    return {"python": ".".join(packages["python"].split(".")[:2]), **named}


def _check_root(client: Client, root: Place) -> None:
    """Every worker must see ROOT, or reach its bucket with credentials of its own."""
    with check_access(root) as complaint:
        complaints = {worker: said for worker, said in client.run(complaint).items() if said}
    if complaints:
        worker, said = next(iter(complaints.items()))
        raise UsageError(f"{len(complaints)} of the cluster's workers, first {worker}, {said}")
