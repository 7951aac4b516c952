"""Processes that work for this one, and Ctrl-C while they start."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from mimiidg_build.errors import DataError
from mimiidg_build.parallel.processes import process_pool, without_ctrl_c


@pytest.mark.parametrize("threads", [0, 1], ids=["alone", "beside a thread that the signal can reach"])
def test_ctrl_c_comes_after_the_block_whichever_thread_the_system_gives_it_to(threads: int) -> None:
    ended = threading.Event()
    others = [threading.Thread(target=ended.wait) for _ in range(threads)]
    for other in others:
        other.start()
    steps = []
    try:
        with pytest.raises(KeyboardInterrupt), without_ctrl_c():
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(100):  # where the interpreter looks for signals
                time.sleep(0.001)
            steps.append("undisturbed")
    finally:
        ended.set()
        for other in others:
            other.join()
    assert steps == ["undisturbed"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


def test_a_killed_worker_is_one_error() -> None:
    with (
        pytest.raises(DataError, match="a worker process was killed, likely for want of memory"),
        process_pool(2) as pool,
    ):
        waiting = pool.submit(time.sleep, 60)
        os.kill(next(iter(pool._processes)), signal.SIGKILL)
        waiting.result()


def test_workers_start_at_once_and_ignore_ctrl_c() -> None:
    with process_pool(2) as pool:
        first = set(pool._processes)
        assert len(first) == 2
        for worker in first:
            os.kill(worker, signal.SIGINT)
        assert pool.submit(os.getppid).result() == os.getpid()
        assert set(pool._processes) == first, "none died, none was started later"
