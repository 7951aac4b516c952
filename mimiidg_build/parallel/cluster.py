"""Running tasks on a dask cluster that is running already.

Its workers must have this program's versions, or the bytes would not be the same, and must see ROOT at the same path.
Both are checked before any work is sent. A cluster that is lost is an error, never an endless wait.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from mimiidg_build.errors import KEPT, DataError, UsageError
from mimiidg_build.storage.places import Place, check_access

if TYPE_CHECKING:
    from distributed import Client

WORKERS_WITHIN_S = 30.0  # a cluster may still be starting, or restart workers that died
CONNECT_WITHIN_S, POLL_S = 10.0, 5.0
ALIKE = ("dask", "distributed", "mimiidg_build", "numba", "numpy", "scipy", "soundfile")


def run_on_cluster(
    address: str,
    root: Place | None,
    function: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    on_result: Callable[[Any], None],
) -> list[Any]:
    """Run tasks on a cluster.

    Parameters
    ----------
    address : str
        The scheduler's, ``tcp://host:port``.
    root : Place or None
        What the workers must see.
    function, tasks, on_result
        See :class:`mimiidg_build.parallel.runner.Runner`.

    Returns
    -------
    list
        Each call's result, in the order of ``tasks``.

    Raises
    ------
    DataError
        A task killed its workers, or the cluster is gone.
    UsageError
        Nothing answers there, or its workers cannot do this work.
    """
    from distributed.scheduler import KilledWorker

    with _connected(address) as client:
        _check_workers(client, address, root)
        done: queue.Queue[Any] = queue.Queue()  # filled by dask's threads; on_result is called in this one
        # pure=False: else dask gives two equal calls one key, and a task's work is the file that it writes.
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
                f"{error.last_worker.address}. They probably ran out of memory; see their logs. {KEPT}"
            ) from None
        except CancelledError:
            raise DataError(f"the dask scheduler at {address} went away. {KEPT}") from None
    return [results[future.key] for future in futures]


def check_cluster(address: str) -> None:
    """Make sure that a scheduler answers; its workers are looked at when there is work for them.

    Raises
    ------
    UsageError
        Nothing answers there.
    """
    with _connected(address):
        pass


def _next(done: queue.Queue[Any], client: Client, address: str) -> Any:
    """The next future that is done; a cluster that has lost all its workers is an error, not an endless wait.

    Raises
    ------
    DataError
        All workers are gone.
    CancelledError
        The scheduler is.
    """
    without_workers_s = 0.0
    while True:
        with contextlib.suppress(queue.Empty):
            return done.get(timeout=POLL_S)
        try:
            has_workers = bool(client.nthreads())
        except OSError:  # asked at the moment at which it goes: a future would be cancelled a moment later
            raise CancelledError from None
        without_workers_s = 0.0 if has_workers else without_workers_s + POLL_S
        if without_workers_s >= WORKERS_WITHIN_S:
            raise DataError(f"all workers of the cluster at {address} are gone. {KEPT}")


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Client]:
    """A client of a running cluster, whose own log is not shown: what it logs is also raised."""
    from distributed import Client

    log = logging.getLogger("distributed.client")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        try:
            client = _connect(Client, address)
        except (OSError, TimeoutError, ValueError) as error:
            raise UsageError(
                f"no dask scheduler answers at {address} ({error}). Start one with `dask scheduler`."
            ) from None
        with client:
            yield client
    finally:
        log.setLevel(level)


def _connect(client: type[Client], address: str) -> Client:
    """Connect, without the client's warning of versions that differ: they are compared here, and refused."""
    from distributed.versions import VersionMismatchWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VersionMismatchWarning)
        # As the default it would also take the dask work of the program that called this library.
        return client(address, timeout=CONNECT_WITHIN_S, set_as_default=False)


def _check_workers(client: Client, address: str, root: Place | None) -> None:
    """Refuse workers that would give other bytes, or cannot reach the data."""
    try:
        client.wait_for_workers(1, timeout=WORKERS_WITHIN_S)
    except TimeoutError:
        raise UsageError(f"the dask scheduler at {address} has no workers. Start some: dask worker {address}") from None
    found: Any = client.get_versions(packages=ALIKE)  # of the workers so far; one that joins later is not checked
    here = _alike(found["client"])
    for worker, versions in found["workers"].items():
        there = _alike(versions)
        if there != here:
            different = [
                f"{name} {there[name] or 'missing'}, here {here[name]}" for name in here if there[name] != here[name]
            ]
            raise UsageError(
                f"the worker {worker} has other versions than this program: {'; '.join(different)}. Results would not "
                "be the same: install the same environment there, with the same constraints.txt."
            )
    if root is not None:
        _check_root(client, root)


def _alike(versions: dict[str, Any]) -> dict[str, str | None]:
    """The versions that decide bytes, and whether processes understand each other; of Python, the minor version."""
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
