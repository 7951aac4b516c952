"""Building on a real dask cluster: its scheduler and workers are processes of their own, as ``dask`` starts them."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mimiidg_build.build.variant import build_variant
from mimiidg_build.cli import main
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.parallel import cluster as on_cluster
from mimiidg_build.parallel.runner import runner
from mimiidg_build.progress import Reporter
from mimiidg_build.store.store import variant_dir
from tests.command_server import Command
from tests.conftest import DATASET, content

VARIANT = derive_variant(load_variant("demo"), dataset=DATASET, sections=["fan", "valve"])


class Cluster:
    """``dask scheduler``, and ``dask worker`` as often as wanted."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.processes = directory, list[subprocess.Popen[bytes]]()
        directory.mkdir()
        file = directory / "scheduler.json"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", file)
        wait_for(lambda: file.is_file() and file.stat().st_size > 0)
        self.address = str(json.loads(file.read_text())["address"])

    def _start(self, *arguments: object, **environment: str) -> subprocess.Popen[bytes]:
        program = importlib.util.find_spec(f"distributed.cli.dask_{arguments[0]}")
        assert program is not None and program.origin is not None
        command = [sys.executable, program.origin, *map(str, arguments[1:]), "--no-dashboard"]
        with (self.directory / "log").open("ab") as log:
            started = Command(command, stdout=log, stderr=log, cwd=self.directory, env=os.environ | environment)
        self.processes.append(started)
        return started

    def worker(self, **environment: str) -> subprocess.Popen[bytes]:
        """A worker of one thread that nobody starts again."""
        return self._start(
            "worker", self.address, "--no-nanny", "--nthreads", 1, "--local-directory", self.directory, **environment
        )

    def wait_for_workers(self, n: int) -> None:
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(n, timeout=300)

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()


def wait_for(is_true: Callable[[], bool], within_s: float = 300) -> None:
    end = time.monotonic() + within_s
    while not is_true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Cluster]]:
    started: list[Cluster] = []

    def start() -> Cluster:
        started.append(Cluster(tmp_path / "cluster"))
        return started[-1]

    yield start
    for cluster in started:
        cluster.stop()


class KillOne(Reporter):
    """Kills a worker after the first shard, as the operating system might."""

    def __init__(self, worker: subprocess.Popen[bytes]) -> None:
        self.worker, self.clips_then = worker, 0

    def step(self, title: str, total: int, unit: str = "clips") -> Callable[[int], None]:
        def on_progress(n: int) -> None:
            if title == "render" and n and not self.clips_then:
                self.worker.send_signal(signal.SIGKILL)
                self.worker.wait()
                self.clips_then = n
                self.leave()

        return on_progress

    def leave(self) -> None:
        """What it left."""


class KillOneThatWrites(KillOne):
    """Kills it in the middle of writing another shard."""

    def __init__(self, worker: subprocess.Popen[bytes], root: Path) -> None:
        super().__init__(worker)
        self.root = root

    def leave(self) -> None:
        (staging,) = variant_dir(self.root, VARIANT.name).glob("*.partial")
        shard = staging / "valve/section_02/audio/c/0/0.1.partial"
        shard.parent.mkdir(parents=True, exist_ok=True)
        shard.write_bytes(b"half a shard")


def test_a_worker_killed_in_the_middle_changes_no_byte(root: Path, start: Callable[[], Cluster]) -> None:
    cluster = start()
    cluster.worker()
    victim = cluster.worker()
    cluster.wait_for_workers(2)
    killer = KillOneThatWrites(victim, root)
    store = build_variant(VARIANT, root, scheduler=cluster.address, reporter=killer).store
    assert 0 < killer.clips_then < len(store.clips), "it was killed in the middle"
    found = content(store)
    shutil.rmtree(variant_dir(root, VARIANT.name))
    assert content(build_variant(VARIANT, root, scheduler="threads").store) == found


def test_the_command_line_finds_a_relative_root(
    root: Path, start: Callable[[], Cluster], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = start()
    cluster.worker()
    monkeypatch.chdir(root.parent)
    arguments = ["build", "demo", "--dataset", DATASET, "--section", "fan/00", "--root", root.name]
    assert main([*arguments, "--scheduler", cluster.address, "--json"]) == 0  # it waits for the worker
    assert Path(json.loads(capsys.readouterr().out)["path"]).is_dir()
    cluster.scheduler.kill()
    monkeypatch.setattr(on_cluster, "CONNECT_WITHIN_S", 1.0)
    assert main([*arguments, "--scheduler", cluster.address, "--seed", "1", "--quiet"]) == 2
    assert f"no dask scheduler answers at {cluster.address}" in capsys.readouterr().err


def test_workers_that_cannot_do_it_are_refused(
    start: Callable[[], Cluster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = start()
    monkeypatch.setattr(on_cluster, "WORKERS_WITHIN_S", 1.0)
    with pytest.raises(UsageError, match=f"{cluster.address} has no workers. Start some: dask worker tcp://"):
        runner(cluster.address, root=tmp_path)(abs, [(1,)], print)
    monkeypatch.undo()
    worker = cluster.worker()
    # what this name leads to is another folder in every process, as on machines that share no file system
    mine = Path("/proc/self/cwd") / "mine"
    monkeypatch.chdir(tmp_path)
    mine.mkdir()
    with pytest.raises(
        UsageError, match=f"1 of the cluster's workers, first tcp://.*, do not see.*{mine}.*shared file"
    ):
        runner(cluster.address, root=mine)(abs, [(1,)], print)
    assert list(mine.iterdir()) == [], "what was written to look for it is gone"
    with pytest.raises(UsageError, match="mine: a cluster's workers need an absolute path"):
        runner(cluster.address, root=Path("mine"))(abs, [(1,)], print)
    other = tmp_path / "other" / "soundfile-0.0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: soundfile\nVersion: 0.0.1\n")
    cluster.worker(PYTHONPATH=str(other.parent))
    cluster.wait_for_workers(2)
    worker.terminate()
    with pytest.raises(UsageError, match=r"worker tcp://.* has other versions .*: soundfile 0.0.1, here \d.*install"):
        runner(cluster.address, root=tmp_path)(abs, [(1,)], print)


def test_a_scheduler_that_goes_while_it_is_asked_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its futures are cancelled: the same error, as they are."""
    from distributed.comm import CommClosedError

    def reset() -> None:
        raise CommClosedError("ConnectionResetError: [Errno 104] Connection reset by peer")

    monkeypatch.setattr(on_cluster, "POLL_S", 0.0)
    with pytest.raises(CancelledError):
        on_cluster._next(queue.Queue(), cast(Any, SimpleNamespace(nthreads=reset)), "tcp://127.0.0.1:1")


@pytest.mark.parametrize(
    ("who", "message"), [("worker", "all workers .* are gone"), ("scheduler", "dask scheduler at .* went away")]
)
def test_a_cluster_that_is_gone_is_not_waited_for(
    start: Callable[[], Cluster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str, message: str
) -> None:
    cluster = start()
    victim = {"worker": cluster.worker(), "scheduler": cluster.scheduler}[who]
    cluster.wait_for_workers(1)
    monkeypatch.setattr(on_cluster, "POLL_S", 0.2)
    monkeypatch.setattr(on_cluster, "WORKERS_WITHIN_S", 1.0)
    with pytest.raises(DataError, match=f"{message}. What is finished is kept: run the same command again"):
        runner(cluster.address, root=tmp_path)(time.sleep, [(0,), (60,)], lambda result: victim.kill())
