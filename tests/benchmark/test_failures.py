"""A system that fails, or that a store does not suit, stops no other: it is named, and the exit code says so."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from mimiidg_build import read_leaderboard
from mimiidg_build.benchmark.failures import failure_of
from mimiidg_build.benchmark.planning import plan_runs, trainings_of
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.benchmark.trainers import Trainers
from mimiidg_build.cli import main
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.models import GROUPS, model_class
from mimiidg_build.models.base import Chunks, Labels
from mimiidg_build.models.nearest_neighbour import NearestNeighbour
from mimiidg_build.progress import Reporter
from mimiidg_build.store.store import Store
from tests.small_store import make_store

pytestmark = pytest.mark.usefixtures("one_thread")

HERE = "tests.benchmark.test_failures"
OPTIONS: dict[str, Any] = {"profile": "smoke", "device": "cpu"}


class Moody(NearestNeighbour):
    """One that fails where ``failing`` says so."""

    failing: BaseException | None = None

    def fit_after(self, chunks: Chunks) -> None:
        """Fail, or not."""
        if Moody.failing is not None:
            raise Moody.failing
        super().fit_after(chunks)


class Blind(NearestNeighbour):
    """One whose embeddings are of training clips alone."""

    def _embed_clips(self, logmel: torch.Tensor, labels: Labels) -> torch.Tensor:
        return self.pool(logmel).masked_fill(labels.training_row[:, None] < 0, torch.nan)


class Dying(NearestNeighbour):
    """One whose process is killed while it is fitted, as by a machine short of memory."""

    def fit_after(self, chunks: Chunks) -> None:
        """Die."""
        assert multiprocessing.parent_process() is not None, "never the process of the tests"
        os._exit(9)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    return make_store(tmp_path, sections=("fan/00", "valve/00"), variant={"name": "small", "mixing": "none"})


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> None:
    """Have ``Moody`` fail, the one that benchmarks import; the tests' own module is another."""
    monkeypatch.setattr(model_class(f"{HERE}:Moody"), "failing", error)


def run(root: Path, models: Sequence[str], *arguments: str) -> int:
    names = [word for model in models for word in ("--model", model)]
    options = ["--profile", "smoke", "--root", str(root), "--quiet", "--workers", "1", "--device", "cpu"]
    return main(["benchmark", "small", *names, *options, *arguments])


def test_a_system_that_fails_stops_no_other(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are finished and shown; run again, what is finished is kept, and the failure is forgotten."""
    fail_with(monkeypatch, DataError("the covariance of valve is singular"))
    models = [f"{HERE}:Moody", "nearest_neighbour", "nearest_neighbour_max"]
    assert run(tmp_path, models) == 1
    out, err = capsys.readouterr()
    reason = f"{HERE}:Moody (smoke profile) failed: fan: the covariance of valve is singular"
    assert err.startswith(
        f"error: 1 of 3 systems failed, the others are finished. {reason}. Run the same command again"
    )
    assert "Traceback" not in err and reason in out and "nearest_neighbour_max" in out
    folder = tmp_path / "runs/small/small"
    assert out.splitlines()[-1] == str(folder / "leaderboard.html")
    found = read_leaderboard(folder)
    assert [one.name for one in found.systems] == ["nearest_neighbour", "nearest_neighbour_max"]
    failed = {"name": f"{HERE}:Moody", "profile": "smoke-0", "state": "failed"}
    assert failed | {"reason": "fan: the covariance of valve is singular"} in [o.model_dump() for o in found.absent]
    assert "the covariance of valve is singular" in (folder / "leaderboard.html").read_text()
    assert [path.name for path in (folder / f"{HERE}.Moody-smoke-0").glob("failure_*")] == ["failure_fan.json"], "once"

    assert run(tmp_path, models, "--json") == 1
    (variant,) = json.loads(capsys.readouterr().out)["variants"]
    assert variant["failed"] == [{"name": f"{HERE}:Moody", "label": "smoke", "reason": failed_reason(reason)}]

    finished = {path: path.stat().st_mtime_ns for path in folder.glob("nearest*/*") if path.is_file()}
    fail_with(monkeypatch, None)
    assert run(tmp_path, models) == 0
    assert len(read_leaderboard(folder).systems) == 3 and not list(folder.glob("*/failure_*"))
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "nothing is trained again"


def failed_reason(said: str) -> str:
    return said.split("failed: ")[1]


def test_a_mistake_in_a_model_is_told_with_its_traceback_in_a_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, RuntimeError("CUDA out of memory"))
    found = benchmark_models(store, tmp_path, [f"{HERE}:Moody", "nearest_neighbour"], keep_going=True, **OPTIONS)
    (failed,) = found.failed
    assert [model.model for model in found.models] == ["nearest_neighbour"]
    path = tmp_path / f"runs/small/small/{HERE}.Moody-smoke-0/failure_fan.json"
    assert failed.reason == f"fan: RuntimeError: CUDA out of memory (its traceback is in {path})"
    assert "fit_after" in json.loads(path.read_text())["traceback"]
    path.write_text("{}")
    with pytest.raises(DataError, match=r"failure_fan.json is damaged.*message: Field required.*Remove"):
        failure_of(path.parent)


def test_without_being_asked_to_go_on_the_first_failure_ends_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a single system's error is its own, however it is asked."""
    fail_with(monkeypatch, DataError("the covariance of valve is singular"))
    for models, options in (([f"{HERE}:Moody", "nearest_neighbour"], {}), ([f"{HERE}:Moody"], {"keep_going": True})):
        with pytest.raises(DataError, match=r"^the covariance of valve is singular$"):
            benchmark_models(store, tmp_path, models, **options, **OPTIONS)
    assert not list(tmp_path.glob("runs/small/small/*/summary_*")), "none was trained after it"


def test_of_several_seeds_those_that_did_not_fail_are_not_shown(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would flatter the system: seeds that fail are its worst."""
    trained = Trainers.run

    def fail_second(self: Trainers, run: Any, network: Any) -> None:
        if run.model == "autoencoder" and run.seed == 1:
            raise DataError("the loss is nan")
        trained(self, run, network)

    monkeypatch.setattr(Trainers, "run", fail_second)
    options: dict[str, Any] = {"seeds": 2, "epochs": 1, "keep_going": True}
    found = benchmark_models(store, tmp_path, ["autoencoder", "nearest_neighbour"], **options, **OPTIONS)
    assert [model.model for model in found.models] == ["nearest_neighbour"]
    assert [(one.name, one.reason) for one in found.failed] == [("autoencoder", "fan: the loss is nan")]


def test_a_back_end_that_fails_leaves_the_models_own_score(store: Store, tmp_path: Path) -> None:
    models = [f"{HERE}:Blind", "nearest_neighbour"]
    found = benchmark_models(store, tmp_path, models, backends=["kmeans"], keep_going=True, **OPTIONS)
    assert [model.name for model in found.models] == [models[0], "nearest_neighbour", "nearest_neighbour/kmeans"]
    assert [one.name for one in found.failed] == [f"{models[0]}/kmeans"]
    assert "the embedding of fan/section_00" in found.failed[0].reason


def test_where_every_system_fails_each_is_named(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, DataError("no"))
    assert run(tmp_path, [f"{HERE}:Moody", "tests.benchmark.test_failures:Moody2"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: 2 of 2 systems failed. ") and err.count("failed: fan: no") == 2
    assert not list(tmp_path.rglob("leaderboard.*"))


class Moody2(Moody):
    """Another one."""


def test_a_damaged_earlier_run_hides_no_result(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stands beside, and the leaderboard cannot be written: that is said after what was found now."""
    assert run(tmp_path, ["nearest_neighbour"]) == 0
    capsys.readouterr()
    folder = tmp_path / "runs/small/small"
    shutil.copytree(folder / "nearest_neighbour-smoke-0", folder / "nearest_neighbour-cpu-0")
    (folder / "nearest_neighbour-cpu-0/results.json").write_text("{}")
    assert run(tmp_path, ["nearest_neighbour", "nearest_neighbour_max"]) == 1
    out, err = capsys.readouterr()
    assert "nearest_neighbour_max" in out and "official score" in out
    assert "nearest_neighbour-cpu-0/results.json: not a results file of this version" in err
    assert not list(folder.glob("leaderboard.*"))


def test_wrong_use_stops_at_once(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, ["nearest_neighbour"]) == 0
    path = tmp_path / "runs/small/small/nearest_neighbour-smoke-0/config.json"
    path.write_text(path.read_text().replace('"batch_size": 128', '"batch_size": 64'))
    assert run(tmp_path, ["nearest_neighbour", "nearest_neighbour_max"]) == 2
    assert "holds a run of other settings: batch_size 64, expected 128" in capsys.readouterr().err


def test_of_all_those_that_do_not_suit_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For the data, or for want of the profile; each with its reason."""
    monkeypatch.setitem(GROUPS, "all", ("nearest_neighbour", "conformer", "two_branch", "mobilenetv2"))
    store = make_store(tmp_path, sections=("fan/00",), variant={"name": "small", "mixing": "none"})
    assert (
        main(["benchmark", "small", "--model", "all", "--profile", "released", "--root", str(tmp_path), "--quiet"]) == 0
    )
    out = capsys.readouterr().out
    assert "left out: conformer has no profile 'released'; choose one of paper, cpu, smoke" in out
    found = read_leaderboard(tmp_path / "runs/small/small")
    assert [one.name for one in found.systems] == ["nearest_neighbour"]
    assert {(one.name, one.state, one.profile) for one in found.absent} == {
        (name, "left out", "released") for name in ("conformer", "two_branch", "mobilenetv2")
    }
    reasons = {one.name: one.reason for one in found.absent}
    assert "needs two or more in a network" in reasons["mobilenetv2"] and "no profile" in reasons["two_branch"]
    with pytest.raises(UsageError, match="conformer has no profile 'released'"):
        benchmark_models(store, tmp_path, ["conformer"], profile="released")


def test_an_interrupted_benchmark_goes_on(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was finished before Ctrl-C is kept; until then it is listed as not finished."""
    fail_with(monkeypatch, KeyboardInterrupt())
    models = ["nearest_neighbour", f"{HERE}:Moody"]
    with pytest.raises(KeyboardInterrupt):
        benchmark_models(store, tmp_path, models, keep_going=True, **OPTIONS)
    folder = tmp_path / "runs/small/small"
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("nearest*/weights_*")}
    assert len(finished) == 2 and not list(folder.glob("*/failure_*"))
    fail_with(monkeypatch, None)
    assert run(tmp_path, models) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.glob("nearest*/weights_*")} == finished
    assert len(read_leaderboard(folder).systems) == 2


@pytest.mark.slow  # starts processes again and again
def test_a_system_whose_process_is_killed_takes_no_other_with_it(store: Store, tmp_path: Path) -> None:
    """Those that were trained beside it are trained again, alone; it fails alone."""
    models = [f"{HERE}:Dying", "nearest_neighbour", "nearest_neighbour_max"]
    runs = plan_runs(store, tmp_path, models, "smoke", 1)
    trainings = trainings_of(runs)
    with Trainers("cpu", 2, len(trainings), Reporter(), keep_going=True) as trainers:
        trainers.run_all(trainings)
    dying, *others = runs
    assert all(run.is_finished(network) for run in others for network in run.networks())
    assert "its process was killed, likely because memory ran out" in str(failure_of(dying.directory))
    assert [failure_of(run.directory) for run in others] == [None, None]
