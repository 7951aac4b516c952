"""Benchmark models on variants: build what is missing, then one task per model, seed and machine type."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.build_variant import build_variant
from flows.fetch_archives import is_worth_a_retry
from flows.hermetic import flow
from mimiidg_build import settings
from mimiidg_build.benchmark import Part, Run, Trainers, collect, compare_rows, parts_of, plan_runs, stored
from mimiidg_build.datasets.variant import parse_variant
from mimiidg_build.storage.places import Place, place
from mimiidg_build.store.store import Store, open_store
from schemas.variants import Variant


@task(
    name="train-and-score",
    task_run_name="{run.model} {run.label} seed {run.seed}: {part.name}",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=is_worth_a_retry,
    cache_policy=NO_CACHE,
)
def train_and_score(trainers: Trainers, run: Run, part: Part) -> None:
    """Train and score one part of a run; over a retry, finished epochs are kept."""
    trainers.run(run, part)


# No more threads than this wait for trainings; how many train at once, and where, the library decides.
RUNNER = cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=os.cpu_count() or 1))


@flow(name="benchmark", task_runner=RUNNER)
def benchmark(
    variants: list[dict[str, Any]],
    root: str | Path,
    models: list[str],
    profile: str = "paper",
    seeds: int = 1,
    epochs: int | None = None,
    known_anomalies: Sequence[int] = (),
    device: str = "auto",
    workers: int | None = None,
) -> list[Place]:
    """Benchmark models on variants, each given as a variant file's content; the paths of their stores.

    On a CPU as many train at once as there are workers, one a core by default. Finished ones are not run again.
    """

    at = place(root)

    def build(variant: Variant) -> Store:
        return open_store(build_variant(variant.model_dump(mode="json"), root))

    stores = [stored(parse_variant(content), at, build) for content in variants]
    found = []
    for store in stores:
        runs = plan_runs(store, at, models, profile, seeds, epochs, known_anomalies)
        parts = parts_of(runs)
        with Trainers(device, workers, len(parts), settings.reporter()) as trainers:
            if trainers.n_workers == 1:
                for run, part in parts:
                    train_and_score(trainers, run, part)
            else:
                for future in [train_and_score.submit(trainers, run, part) for run, part in parts]:
                    future.result()
        found.append(collect(runs))
    for of in found:
        create_table_artifact(key="benchmark", table=of.rows(), description=of.title)
    create_table_artifact(key="benchmark-means", table=compare_rows(found), description="Means over sections")
    return [store.path for store in stores]
