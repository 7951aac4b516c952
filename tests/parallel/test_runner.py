"""Running tasks: the same results in the same order, whoever runs them; failures and wrong names say what they are."""

from __future__ import annotations

import contextlib
import operator
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.parallel.runner import Runner, runner, running
from tests.command_server import needs_an_interpreter_of_its_own

SCHEDULERS = ["threads", "cluster", "processes"]


@contextlib.contextmanager
def local_cluster(**options: Any) -> Iterator[str]:
    """The address of a cluster with a worker process of its own.

    distributed puts ``MALLOC_TRIM_THRESHOLD_`` and ``MKL_NUM_THREADS`` into this process's environment, where its
    worker inherits them, and leaves them there: every command of a later test would be started rather than forked.
    """
    import distributed  # not above: worker processes import this module too

    before = dict(os.environ)
    try:
        # port 0: two test runs at once would both want the default port, and one of them warn
        with distributed.LocalCluster(n_workers=1, dashboard_address=":0", **options) as local:
            yield local.scheduler_address
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with local_cluster(threads_per_worker=2) as address:
        yield address


@pytest.fixture(params=SCHEDULERS[:2])
def run(request: pytest.FixtureRequest) -> Runner:
    name = request.param
    return runner(request.getfixturevalue("cluster") if name == "cluster" else name, 2)


@dataclass(frozen=True)
class Task:
    """As the store's are: plain frozen data."""

    number: int
    layers: tuple[tuple[Path, float], ...]


def late(task: Task) -> tuple[int, str, float]:
    """The first task takes longest, so results come in another order than they are wanted."""
    time.sleep(0.2 * (task.number == 0))
    return task.number, task.layers[0][0].name, task.layers[0][1]


def append(path: Path) -> int:
    with path.open("a") as file:
        return file.write("x")


def failing(number: int) -> int:
    if number == 3:
        raise DataError("clip 3 is damaged")
    return number


def test_a_task_that_kills_its_workers_is_given_up() -> None:
    """The first of this file: only here does the environment show what the cluster leaves in it."""
    import dask
    import distributed  # before its settings are changed, of which it brings the defaults

    assert distributed
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        local_cluster(threads_per_worker=1, silence_logs=50) as address,
        pytest.raises(DataError, match="a task killed 1 workers of the cluster at tcp://.*, the last tcp://.*memory"),
    ):
        runner(address)(os._exit, [(9,)], print)
    assert not needs_an_interpreter_of_its_own(os.environ), "commands of later tests are forked"


# every run on processes starts them anew, which takes seconds: only where it shows something
@pytest.mark.parametrize("run", SCHEDULERS, indirect=True)
def test_results_come_in_order_and_each_is_reported_once(run: Runner) -> None:
    seen: list[tuple[int, str, float]] = []
    expected = [(i, "A.int16", 0.5) for i in range(20)]
    assert run(late, [(Task(i, ((Path("noise/A.int16"), 0.5),)),) for i in range(20)], seen.append) == expected
    assert sorted(seen) == expected


@pytest.mark.parametrize("run", SCHEDULERS, indirect=True)
def test_a_failure_is_raised_as_it_is(run: Runner) -> None:
    with pytest.raises(DataError, match="^clip 3 is damaged$"):
        run(failing, [(i,) for i in range(6)], lambda result: None)


def test_equal_tasks_are_tasks_of_their_own(run: Runner, tmp_path: Path) -> None:
    # a task writes a file: that its arguments are another's is no reason not to run it
    seen: list[int] = []
    assert run(append, [(tmp_path / "file",)] * 4, seen.append) == [1] * 4
    assert seen == [1] * 4
    assert (tmp_path / "file").read_text() == "xxxx"


@pytest.mark.parametrize(
    ("function", "task", "result", "why"),
    [
        (len, (["a", "b"],), 2, "lists go as they are"),
        (operator.add, ("x", "y"), "xy", "strings are no names of other tasks"),
        (dict, ({"a": 1},), {"a": 1}, "results may be containers"),
        (print, (), None, "results may be nothing"),
    ],
    ids=["list", "string", "dict", "nothing"],
)
def test_arguments_and_results_go_through_unchanged(
    run: Runner, function: Callable[..., object], task: tuple[object, ...], result: object, why: str
) -> None:
    seen: list[object] = []
    assert run(function, [task], seen.append) == [result], why
    assert seen == [result]


def test_no_tasks_are_no_work(run: Runner) -> None:
    assert run(abs, [], pytest.fail) == []


def test_a_failure_of_the_callback_is_raised_too(run: Runner) -> None:
    def on_result(result: int) -> None:
        raise OSError("the terminal is gone")

    with pytest.raises(OSError, match="the terminal is gone"):
        run(abs, [(0,)], on_result)


def test_threads_are_as_many_as_asked() -> None:
    # three tasks that wait for each other end only if there are three threads
    barrier = threading.Barrier(3, timeout=120)
    found = runner("threads", 3)(barrier.wait, [()] * 3, lambda result: None)
    assert sorted(found) == [0, 1, 2]
    assert len(set(runner("threads", 1)(threading.get_ident, [()] * 8, lambda result: None))) == 1


def test_killed_processes_are_no_mystery() -> None:
    with pytest.raises(
        DataError, match="a worker process was killed. It probably ran out of memory: use fewer workers. What is"
    ):
        runner("processes", 2)(os._exit, [(9,)] * 2, print)


def test_processes_stay_from_call_to_call_until_one_fails() -> None:
    with running("processes", 1) as run:
        (first,) = run(os.getpid, [()], lambda result: None)
        assert run(os.getpid, [()], lambda result: None) == [first] != [os.getpid()]
        with pytest.raises(DataError, match="a worker process was killed"):
            run(os._exit, [(9,)], print)
        (second,) = run(os.getpid, [()], lambda result: None)
        assert second != first, "of a new pool"
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


@pytest.mark.parametrize("name", ["thread", "", "localhost", "Processes"])
def test_an_unknown_scheduler_is_wrong_use(name: str) -> None:
    with pytest.raises(
        UsageError, match=f"no scheduler is named '{name}': use threads, processes or a cluster's tcp://"
    ):
        runner(name)


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def client(address: str, timeout: float, set_as_default: bool) -> None:
        assert timeout == 10
        raise OSError(f"Timed out trying to connect to {address}")

    with monkeypatch.context() as patch:
        patch.setattr("distributed.Client", client)
        with pytest.raises(
            UsageError, match=r"no dask scheduler answers at tcp://host:1 \(Timed out.*`dask scheduler`"
        ):
            runner("tcp://host:1")(abs, [(0,)], lambda result: None)


def test_an_address_of_another_kind_is_named() -> None:
    with pytest.raises(UsageError, match=r"no dask scheduler answers at htp://localhost:1 \(.*htp"):
        runner("htp://localhost:1")(abs, [(0,)], lambda result: None)
