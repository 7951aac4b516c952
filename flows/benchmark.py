"""Benchmark models on variants: the library's own stages, each a task, so that a run can be watched and retried.

Each network of each model and seed is trained by a task of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from prefect.artifacts import create_table_artifact
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from mimiidg_build import settings
from mimiidg_build.benchmark.planning import Training
from mimiidg_build.benchmark.results import Benchmark, raise_any_failed
from mimiidg_build.benchmark.rows import compare_rows, result_rows
from mimiidg_build.benchmark.stages import BenchmarkExecutor, Stage, benchmark_variants
from mimiidg_build.benchmark.trainers import Trainers
from mimiidg_build.datasets.variant import parse_variant
from mimiidg_build.flows import artifacts
from mimiidg_build.flows.build_variant import build_variant
from mimiidg_build.flows.hermetic import flow
from mimiidg_build.flows.tasks import stage_task
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.storage.places import Place, place
from mimiidg_build.store.store import Store, open_store

T = TypeVar("T")

RETRIES: dict[Stage, int] = {"train-and-score": 1}  # a retry is cheap: it resumes after the last finished epoch

# No more threads than this wait for trainings; how many train at once, and where, the library decides.
RUNNER = cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=os.cpu_count() or 1))


class Tasks(BenchmarkExecutor):
    """Runs each stage of a benchmark as a task; every network's training is its own."""

    def run(self, stage: Stage, call: Callable[[], T], subject: str = "") -> T:
        """Run a stage as a task.

        Parameters
        ----------
        stage : Stage
        call : callable
        subject : str
            The variant or the training, for the task's name.

        Returns
        -------
        What ``call`` returns.
        """
        return stage_task(stage, call, subject, RETRIES.get(stage, 0))()

    def train(self, trainers: Trainers, trainings: Sequence[Training]) -> None:
        """Run the trainings as tasks; several at once where the library has a process for each."""
        tasks = [
            stage_task(
                "train-and-score",
                partial(trainers.run, run, network),
                f"{run.model} {run.label} seed {run.seed}: {network.name}",
                RETRIES["train-and-score"],
            )
            for run, network in trainings
        ]
        if trainers.n_workers == 1:  # in this very thread, where Ctrl-C arrives
            waiting: list[Callable[[], object]] = list(tasks)
        else:
            waiting = [training.submit().result for training in tasks]
        for (run, network), finish in zip(trainings, waiting, strict=True):
            try:
                finish()
            except Exception as error:
                trainers.failed(run, network, error)


def report(found: Sequence[Benchmark]) -> None:
    """The tables of every variant and of all of them, as artifacts of the run; of those that have results."""
    found = [benchmark for benchmark in found if benchmark.models]
    if not found:
        return
    for benchmark in found:
        key = artifacts.key("benchmark", benchmark.variant)
        create_table_artifact(key=key, table=result_rows(benchmark), description=benchmark.title)
    key = artifacts.key("benchmark-means", *(benchmark.variant for benchmark in found))
    create_table_artifact(key=key, table=compare_rows(found), description="Means over sections")


@flow(name="benchmark", task_runner=RUNNER)
def benchmark(
    variants: list[dict[str, Any]],
    root: str | Path,
    models: list[str],
    profile: str = "paper",
    seeds: int = 1,
    epochs: int | None = None,
    known_anomalies: Sequence[int] = (),
    changes: dict[str, Any] | None = None,
    backends: Sequence[str] = (),
    encoders: Sequence[str] = (),
    device: str = "auto",
    workers: int | None = None,
    keep_going: bool = False,
    replace: bool = False,
) -> list[Place]:
    """Benchmark models on variants; see :func:`mimiidg_build.benchmark.stages.benchmark_models`.

    On a CPU as many train at once as there are workers, one a core by default: then a script needs an
    ``if __name__ == "__main__":`` guard around its work.

    Parameters
    ----------
    variants : list of dict
        The content of variant files.
    root : str or Path
        Where archives, stores and runs lie; ``s3://bucket/prefix`` on object storage.
    models : list of str
    profile : str
    seeds : int
    epochs : int, optional
        Instead of the profile's.
    known_anomalies : sequence of int
    changes : dict, optional
        Settings in place of the profile's, by name.
    backends : sequence of str
        Back ends that score the models' embeddings.
    encoders : sequence of str
        Paths of frozen encoders' files, a model each.
    device : str
    workers : int, optional
        Trainings at once on a CPU; one a core by default.
    keep_going : bool
        Whether the other systems are finished where one fails; the flow fails after that.
    replace : bool
        Whether a variant that is built may take its name over from a store of another definition.

    Returns
    -------
    list of Path or ObjectPath
        The stores.
    """

    def build(variant: Variant) -> Store:
        return open_store(build_variant(variant.model_dump(mode="json"), root, replace=replace))

    found = benchmark_variants(
        [parse_variant(content) for content in variants],
        place(root),
        models,
        build,
        profile=profile,
        seeds=seeds,
        epochs=epochs,
        known_anomalies=known_anomalies,
        changes=changes or {},
        backends=backends,
        encoders=encoders,
        device=device,
        workers=workers,
        keep_going=keep_going,
        reporter=settings.reporter(),
        executor=Tasks(),
    )
    report(found)
    raise_any_failed(found)
    return [benchmark.store.path for benchmark in found]
