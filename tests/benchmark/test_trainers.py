"""Trainings side by side: the same files as one after the other, watched from outside, and nothing lost to a kill."""

from __future__ import annotations

import json
import multiprocessing
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mimiidg_build.benchmark.planning import plan_runs, trainings_of
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.benchmark.trainers import Trainers
from mimiidg_build.errors import DataError
from mimiidg_build.progress import Reporter
from mimiidg_build.store.store import Store
from tests import command_server
from tests.small_store import make_store

pytestmark = pytest.mark.usefixtures("one_thread")


class Watching(Reporter):
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.done: dict[str, int] = {}
        self.notes: list[str] = []

    def step(self, title: str, total: int, unit: str = "clips") -> Callable[[int], None]:
        self.totals[title] = total

        def on_progress(n: int) -> None:
            self.done[title] = self.done.get(title, 0) + n

        return on_progress

    def note(self, title: str, text: str) -> None:
        self.notes.append(f"{title}: {text}")


class Killing(Watching):
    """Kills the workers when the first epoch is finished, as a machine short of memory would."""

    def note(self, title: str, text: str) -> None:
        super().note(title, text)
        for child in multiprocessing.active_children():
            if "Manager" not in child.name:
                child.kill()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("root"))


def scores(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.rglob("*.csv")}


@pytest.mark.slow  # as the test of threads below, with every file of a run
def test_two_at_once_give_the_same_files(store: Store, tmp_path: Path) -> None:
    watching = Watching()
    options = {"profile": "smoke", "device": "cpu"}
    benchmark_models(store, tmp_path / "two", ["autoencoder"], workers=2, reporter=watching, **options)
    benchmark_models(store, tmp_path / "one", ["autoencoder"], workers=1, **options)
    assert scores(tmp_path / "two") == scores(tmp_path / "one") != {}
    assert watching.done == watching.totals and len(watching.totals) == 4, "training and scores, of fan and valve"
    assert any("epoch 3 of 3" in note for note in watching.notes)


@pytest.mark.slow
def test_threads_are_the_profiles_whatever_the_workers_and_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums in another order differ in their last bits, which a training amplifies."""
    store = make_store(tmp_path, sections=("fan/00", "fan/01", "valve/00", "valve/01"))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # for the workers, who read it when they start
    options = {"profile": "smoke", "device": "cpu"}
    before = torch.get_num_threads()
    torch.set_num_threads(2)  # as if this process had read it, too
    try:
        for workers in (1, 2):
            benchmark_models(store, tmp_path / str(workers), ["mobilenetv2"], workers=workers, **options)
        assert torch.get_num_threads() == 2, "what the caller set stays"
    finally:
        torch.set_num_threads(before)
    benchmark_models(store, tmp_path / "plain", ["mobilenetv2"], workers=1, **options)
    found = [scores(tmp_path / name) for name in ("1", "2", "plain")]
    assert found[0] == found[1] == found[2] != {}
    for summary in tmp_path.rglob("summary_*.json"):
        assert json.loads(summary.read_text())["threads"] == 1


@pytest.mark.slow
def test_a_killed_worker_is_named_and_the_run_goes_on(store: Store, tmp_path: Path) -> None:
    (run,) = plan_runs(store, tmp_path, ["autoencoder"], "smoke", 1, epochs=30)
    trainings = trainings_of([run])
    with (
        pytest.raises(DataError, match=r"autoencoder, fan: its process was killed.*run the same benchmark again"),
        Trainers("cpu", 2, len(trainings), Killing()) as trainers,
    ):
        trainers.run_all(trainings)
    kept = [path.stem.removeprefix("checkpoint_") for path in run.directory.glob("checkpoint_*.pt")]
    assert kept, "the finished epoch is kept"
    watching = Watching()
    with Trainers("cpu", 2, len(trainings), watching) as trainers:
        trainers.run_all(trainings)
    assert all(run.is_finished(network) for network in run.networks())
    again = [
        name for name in kept for note in watching.notes if note.startswith(f"autoencoder {name} seed 0: epoch 1 ")
    ]
    assert again == [], "no finished epoch is trained again"


SCRIPT = """
import sys
from pathlib import Path
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.store.store import open_store
store = open_store(Path(sys.argv[1]))
benchmark_models(store, sys.argv[2], ["nearest_neighbour"], profile="smoke", device="cpu", workers=2)
"""


def test_a_script_without_a_guard_is_told_apart_from_a_killed_worker(store: Store, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(store.path), str(tmp_path)]
    done = command_server.run(command, timeout=300)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1, "none of a worker's"
    last = done.stderr.splitlines()[-1]
    assert (
        last.startswith("mimiidg_build.errors.UsageError: the script has no `__main__` guard") and "memory" not in last
    )


def test_no_more_workers_than_trainings(store: Store) -> None:
    assert Trainers("cpu", 8, 1, Reporter()).n_workers == 1
    assert Trainers("cpu", 2, 5, Reporter()).n_workers == 2
    assert Trainers("cpu", 1, 5, Reporter()).n_workers == 1


def test_as_many_workers_as_the_cores_have_threads_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimiidg_build.benchmark.trainers.n_cores", lambda: 8)
    assert [Trainers("cpu", None, 99, Reporter(), threads).n_workers for threads in (1, 2, 3, 16)] == [8, 4, 2, 1]
    assert Trainers("cpu", 5, 99, Reporter(), 4).n_workers == 5, "as many as were asked for"


def test_one_worker_is_this_process(store: Store, tmp_path: Path) -> None:
    (run,) = plan_runs(store, tmp_path, ["nearest_neighbour"], "smoke", 1)
    seen: list[threading.Thread] = []

    class Seeing(Reporter):
        def step(self, title: str, total: int, unit: str = "clips") -> Callable[[int], None]:
            seen.append(threading.current_thread())
            return lambda n: None

    with Trainers("cpu", 1, 2, Seeing()) as trainers:
        trainers.run_all(trainings_of([run]))
    assert set(seen) == {threading.main_thread()}, "where Ctrl-C arrives"
