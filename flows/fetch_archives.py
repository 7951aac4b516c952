"""Fetch the archives of datasets: one task per dataset, at most two transfers at once, since Zenodo blocks a third."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from prefect.artifacts import create_table_artifact

from mimiidg_build import settings
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.fetch.dataset import fetch_dataset
from mimiidg_build.flows import artifacts
from mimiidg_build.flows.hermetic import flow
from mimiidg_build.flows.tasks import stage_task
from mimiidg_build.storage.places import Place, place

RETRIES = 2  # of a failure that the library did not foresee; transfers it retries itself


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
    DataError
        Own recordings have errors, or have changed.
    """
    archives: dict[str, Place] = {}
    for dataset, names in wanted.items():
        # one after another: two transfers at once in all, not two per dataset
        have = partial(fetch_dataset, load_dataset(dataset), place(root), names=names, offline=offline)
        fetched = stage_task("fetch", partial(have, reporter=settings.reporter(), cut_again=again), dataset, RETRIES)()
        create_table_artifact(
            key=artifacts.key("archives", Path(dataset).stem),
            table=[{"archive": key, "bytes": path.stat().st_size, "path": str(path)} for key, path in fetched.items()],
            description=f"Fetched and verified archives of {dataset}",
        )
        archives |= fetched
    return archives
