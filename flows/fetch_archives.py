"""Fetch the archives of datasets: one task per dataset, at most two transfers at once, since Zenodo blocks a third."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from mimiidg_build import settings
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.errors import MimiidgError
from mimiidg_build.fetch.dataset import fetch_dataset
from mimiidg_build.flows import artifacts
from mimiidg_build.flows.hermetic import flow
from mimiidg_build.storage.places import Place, place


def is_worth_a_retry(task: object, run: object, state: object) -> bool:
    """Whether a failed task is tried again: a mistake in data or configuration stays one. (The library itself retries
    transfers.)

    Parameters
    ----------
    task, run : object
        Prefect's, not used.
    state : object
        The failed run's, whose ``data`` holds the exception.

    Returns
    -------
    bool
        Whether the library did not foresee this failure.
    """
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
def fetch(dataset: str, root: Place, names: list[str] | None, offline: bool, again: bool = False) -> dict[str, Place]:
    """Make sure that a dataset's archives are on disk and verified.

    Parameters
    ----------
    dataset : str
        Its name, or the path of its manifest.
    root : Place
    names : list of str or None
        Only these files; None: all.
    offline : bool
        Fetch nothing; verify existing archives.
    again : bool
        Cut own recordings anew that have changed.

    Returns
    -------
    dict of str to Place
        By ``<record id>/<file name>``.

    Raises
    ------
    FetchError
        An archive cannot be had, or is not the published one.
    DataError
        Own recordings have errors, or have changed.
    """
    reporter = settings.reporter()
    return fetch_dataset(load_dataset(dataset), root, names=names, offline=offline, reporter=reporter, cut_again=again)


@flow(name="fetch-archives", flow_run_name="fetch")
def fetch_archives(
    wanted: dict[str, list[str] | None], root: str | Path, offline: bool = False, again: bool = False
) -> dict[str, Place]:
    """Fetch datasets' archives; verified ones are not fetched again.

    Parameters
    ----------
    wanted : dict of str to list of str or None
        For each dataset the files to fetch; None: all.
    root : str or Path
        Archives go to ROOT/archives; ``s3://bucket/prefix`` on object storage.
    offline : bool
        Fetch nothing; verify existing archives.
    again : bool
        Cut own recordings anew that have changed.

    Returns
    -------
    dict of str to Place
        By ``<record id>/<file name>``.

    Raises
    ------
    FetchError
        An archive cannot be had, or is not the published one.
    """
    archives: dict[str, Place] = {}
    for dataset, names in wanted.items():
        # one after another: two transfers at once in all, not two per dataset
        fetched = fetch(dataset, place(root), names, offline, again)
        create_table_artifact(
            key=artifacts.key("archives", Path(dataset).stem),
            table=[{"archive": key, "bytes": path.stat().st_size, "path": str(path)} for key, path in fetched.items()],
            description=f"Fetched and verified archives of {dataset}",
        )
        archives |= fetched
    return archives
