"""Fetch the archives of datasets: one task per record file, at most two at once, since Zenodo blocks a third."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.hermetic import flow
from mimiidg_build import settings
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.errors import MimiidgError
from mimiidg_build.fetch.dataset import fetch_dataset
from mimiidg_build.storage.places import Place, place


def is_worth_a_retry(task: object, run: object, state: object) -> bool:
    """A mistake in data or configuration stays one; only what the library did not foresee is tried again. (The
    library itself retries transfers.)"""
    error = getattr(state, "data", None)
    return not isinstance(getattr(error, "exception", error), MimiidgError)


@task(
    name="fetch",
    task_run_name="fetch {dataset}",
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=is_worth_a_retry,
    cache_policy=NO_CACHE,
)
def fetch(dataset: str, root: Place, names: list[str] | None, offline: bool) -> dict[str, Place]:
    """Have a dataset's archives on disk, verified."""
    return fetch_dataset(load_dataset(dataset), root, names=names, offline=offline, reporter=settings.reporter())


@flow(name="fetch-archives", flow_run_name="fetch")
def fetch_archives(wanted: dict[str, list[str] | None], root: str | Path, offline: bool = False) -> dict[str, Place]:
    """Fetch datasets' archives, all or the named files of each; what is there and verified is not fetched again."""
    archives: dict[str, Place] = {}
    for dataset, names in wanted.items():
        archives |= fetch(dataset, place(root), names, offline)
    create_table_artifact(
        key="archives",
        table=[{"archive": key, "bytes": path.stat().st_size, "path": str(path)} for key, path in archives.items()],
        description="Fetched and verified archives",
    )
    return archives
