"""Processes that work for this one, and Ctrl-C while they start."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mimiidg_build.cli.process import StopSignals
from mimiidg_build.errors import DataError
from mimiidg_build.parallel.processes import process_pool, start_manager, without_ctrl_c
from tests.command_server import run
from tests.conftest import DATASET


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("threads", [0, 1], ids=["alone", "beside a thread that the signal can reach"])
def test_a_signal_comes_after_the_block_whichever_thread_the_system_gives_it_to(threads: int, number: int) -> None:
    ended = threading.Event()
    others = [threading.Thread(target=ended.wait) for _ in range(threads)]
    for other in others:
        other.start()
    steps = []
    try:
        with StopSignals(), pytest.raises(KeyboardInterrupt), without_ctrl_c():
            os.kill(os.getpid(), number)
            for _ in range(100):  # where the interpreter looks for signals
                time.sleep(0.001)
            steps.append("undisturbed")
    finally:
        ended.set()
        for other in others:
            other.join()
    assert steps == ["undisturbed"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


def test_a_killed_worker_is_one_error() -> None:
    with (
        pytest.raises(DataError, match="a worker process was killed. It probably ran out of memory"),
        process_pool(2) as pool,
    ):
        waiting = pool.submit(time.sleep, 60)
        os.kill(next(iter(pool._processes)), signal.SIGKILL)
        waiting.result()


@pytest.mark.parametrize("start", [lambda: process_pool(2).__enter__(), start_manager], ids=["pool", "manager"])
def test_without_shared_memory_processes_do_not_start(start: Callable[[], object], monkeypatch: Any) -> None:
    """A container without /dev/shm: the system says only that a function is not implemented."""

    def refused(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", refused)
    monkeypatch.setattr("multiprocessing.managers.SyncManager.start", refused)
    with pytest.raises(
        DataError, match=r"cannot be started: Function not implemented\. They need /dev/shm .*--shm-size"
    ):
        start()


def test_workers_start_at_once_and_ignore_ctrl_c() -> None:
    with process_pool(2) as pool:
        first = set(pool._processes)
        assert len(first) == 2
        for worker in first:
            os.kill(worker, signal.SIGINT)
        assert pool.submit(os.getppid).result() == os.getpid()
        assert set(pool._processes) == first, "none died, none was started later"


SCRIPTS = {
    "build": """
from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.variant import derive_variant, load_variant

variant = derive_variant(load_variant("demo"), dataset={dataset!r}, sections=["fan/00"])
build_variant(variant, {root!r}, scheduler="processes", workers=2)
""",
    "fetch": """
import mimiidg_build

mimiidg_build.fetch_dataset("synthetic-1pct-seed77", {root!r})
""",
    "synthesis": """
from pathlib import Path

from mimiidg_build.datasets.synthetic import SyntheticSpec
from mimiidg_build.synthesis.archive import write_release

write_release(SyntheticSpec(1, 0), Path({root!r}) / "release")
""",
    "trainers": """
from mimiidg_build.benchmark.trainers import Trainers
from mimiidg_build.progress import Reporter

with Trainers("cpu", 2, 2, Reporter()):
    pass
""",
}


# Each starts its processes with the pool above, and one script of each way to be told is quick enough for every run:
# the pool's own error here, that of trainings in tests/benchmark/test_trainers.py.
QUICK = ("fetch",)


@pytest.mark.parametrize("script", [pytest.param(k, marks=[pytest.mark.slow] * (k not in QUICK)) for k in SCRIPTS])
def test_a_script_without_a_guard_is_told_so(script: str, root: Path, tmp_path: Path) -> None:
    """Every worker imports the script and comes to the same call: no traceback, no deadlock, no talk of memory."""
    path = tmp_path / "unguarded.py"
    path.write_text(SCRIPTS[script].format(dataset=DATASET, root=str(root)))
    done = run([sys.executable, str(path)], timeout=300)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1, done.stderr  # the script's own
    assert "UsageError: the script has no `__main__` guard. Python imports it again" in done.stderr
    assert "memory" not in done.stderr


def test_a_script_with_a_guard_works(tmp_path: Path) -> None:
    path = tmp_path / "guarded.py"
    lines = SCRIPTS["trainers"].splitlines()
    body = ["    " + line for line in lines if line.startswith(("with", " "))]
    imports = [line for line in lines if line.startswith("from")]
    path.write_text("\n".join([*imports, 'if __name__ == "__main__":', *body, '    print("done")']))
    done = run([sys.executable, str(path)], timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
