"""``mimiidg fetch``: fetch and verify the archives of datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.options import common, section_option
from mimiidg_build.cli.prefect_server import as_flow, start_prefect
from mimiidg_build.cli.printing import print_json, print_table, shown_progress
from mimiidg_build.cli.values import SweepCommand
from mimiidg_build.errors import UsageError

if TYPE_CHECKING:
    from mimiidg_build.storage.places import Place


@click.command(cls=SweepCommand)
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...", shell_complete=complete.datasets)
@click.option(
    "--file", "files", multiple=True, help="Only this file of the dataset.", shell_complete=complete.archive_files
)
@section_option
@click.option("--offline", is_flag=True, help="Fetch nothing; use and verify existing archives.")
@click.option("--again", is_flag=True, help="Cut own recordings anew that have changed since clips were cut.")
@click.option("--prefect", is_flag=True, help="Run as a Prefect flow.")
@common
def fetch(
    datasets: tuple[str, ...],
    files: tuple[str, ...],
    sections: tuple[str, ...],
    offline: bool,
    again: bool,
    prefect: bool,
    root: Place,
    as_json: bool,
    quiet: bool,
) -> None:
    """Fetch and verify the archives of datasets.

    An interrupted transfer resumes where it stopped; verified archives are not fetched again; a file downloaded by
    hand into ROOT/archives/<record>/ is verified and used. Own recordings are cut into clips and packed; the recordings
    themselves are only read.

    `mimiidg datasets` lists what there is.

    Example: mimiidg fetch dcase2022 --section fan/00 fan/01 fan/02
    """
    from mimiidg_build.datasets.manifest import load_dataset
    from mimiidg_build.datasets.release import check_choices, check_files, clip_archives
    from mimiidg_build.fetch.dataset import fetch_dataset

    manifests = [load_dataset(name) for name in datasets]
    check_files(manifests, files)
    if again and (offline or any(manifest.recordings is None for manifest in manifests)):
        raise UsageError(
            "--again cuts own recordings anew: it goes with manifests that have [recordings], and without --offline. "
            "Published archives that are damaged are fetched again by `mimiidg verify DATASET --repair`."
        )
    if files and sections:
        raise UsageError("--file names archives and --section chooses them: give one of them.")
    for manifest in manifests:
        check_choices(manifest, sections)
    wanted: dict[str, list[str] | None] = {}
    for name, manifest in zip(datasets, manifests, strict=True):
        chosen = [*(file for _, file in clip_archives(manifest, choices=sections)), *manifest.truth]
        wanted[name] = chosen if sections else list(files) or None
    fetched: dict[str, Place] = {}
    with shown_progress(quiet) as reporter:
        if as_flow(prefect):
            start_prefect(root, "fetch_archives")
            from mimiidg_build.flows.fetch_archives import fetch_archives

            fetched = fetch_archives(wanted, str(root), offline, again)
        else:
            for name, manifest in zip(datasets, manifests, strict=True):
                fetched |= fetch_dataset(
                    manifest, root, names=wanted[name], offline=offline, reporter=reporter, cut_again=again
                )
    if as_json:
        print_json({key: str(path) for key, path in fetched.items()})
    else:
        rows = [{"archive": k, "MB": f"{p.stat().st_size / 1e6:,.1f}", "path": str(p)} for k, p in fetched.items()]
        print_table("verified archives", rows)
