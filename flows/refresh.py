"""Refresh: fetch what is missing, build every variant given, write the reports. Nothing new: nothing is done.

What ``mimiidg serve`` runs on a schedule. A variant whose noise or archives changed is built anew, only its changed
sections rendered; ``latest`` moves to the new store, the previous one stays for its readers.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from prefect import get_run_logger, runtime
from prefect.artifacts import create_markdown_artifact

from mimiidg_build import settings
from mimiidg_build.datasets.release import needed_archives
from mimiidg_build.datasets.variant import load_variant, parse_variant
from mimiidg_build.flows import artifacts
from mimiidg_build.flows.build_variant import build_variant
from mimiidg_build.flows.fetch_archives import fetch_archives
from mimiidg_build.flows.hermetic import flow, hide_tracebacks
from mimiidg_build.flows.server import end_with
from mimiidg_build.flows.tasks import stage_task
from mimiidg_build.report.page import report_path, write_report
from mimiidg_build.storage.places import Place, place
from mimiidg_build.store.listing import list_stores
from mimiidg_build.store.store import open_store
from mimiidg_build.store.summary import markdown_table, section_rows


def run_name() -> str:
    """What a server shows a run as."""
    variants = runtime.flow_run.parameters["variants"]
    return "refresh " + ", ".join(str(v.get("name")) if isinstance(v, dict) else Path(v).stem for v in variants)


@flow(name="refresh", flow_run_name=run_name)
def refresh(
    variants: list[dict[str, Any] | str],
    root: str | Path,
    scheduler: str = "threads",
    workers: int | None = None,
    offline: bool = False,
    with_report: bool = True,
    replace: bool = True,
    truth: list[Path] | None = None,
    allow: list[str] | None = None,
) -> list[Place]:
    """Fetch, build and report variants. What is up to date is left as it is.

    With ``scheduler="processes"`` a script that calls this needs an ``if __name__ == "__main__":`` guard.

    Parameters
    ----------
    variants : list of dict or str
        Each a shipped variant's name, the path of a variant file, or such a file's content.
    root : str or Path
        Where everything lies; ``s3://bucket/prefix`` on object storage.
    scheduler : str
        ``threads``, ``processes`` or a dask cluster's address.
    workers : int, optional
        Threads or processes; all cores by default.
    offline : bool
        Fetch nothing; use and verify existing archives.
    with_report : bool
        Whether to write the report of each store that has none.
    replace : bool
        Whether a variant may take its name over from a store of another definition: a schedule is there to build what
        a variant's file says now.
    truth : list of Path, optional
        The organisers' lists of what clips are whose names hide it, or folders of them; for all variants.
    allow : list of str, optional
        Kinds of validation findings that are warnings rather than errors.

    Returns
    -------
    list of Place
        The variants' stores.

    Raises
    ------
    MimiidgError
        The data, the configuration or a transfer failed; nothing half-written is left.
    """
    log, at = get_run_logger(), place(root)
    if runtime.deployment.id:  # started by a server: there is no terminal; progress goes to its pages
        hide_tracebacks()
        end_with(settings.served_by())
        settings.report_to(log.info)
    contents = [v if isinstance(v, dict) else load_variant(v).model_dump(mode="json") for v in variants]
    # before anything is built: afterwards every store would be the latest
    before = {listed.path: listed.state for listed in list_stores(at)}
    fetch_archives(_needed(contents), root, offline=offline)
    stores = []
    for content in contents:
        path = build_variant(content, root, scheduler, workers, allow=allow, replace=replace, truth=truth)
        if with_report:
            _have_report(path, at)
        name = content["name"]
        done = {"latest": "nothing new", "kept": "built before: latest again"}.get(before.get(path, ""), "built")
        create_markdown_artifact(
            f"- `{path}`: {done}", key=artifacts.key("refresh", name), description=f"What a refresh of {name} did"
        )
        log.info("%s: %s", path, done)
        stores.append(path)
    return stores


def _needed(contents: list[dict[str, Any]]) -> dict[str, list[str] | None]:
    """The archives of all variants by dataset: those that share one fetch it once."""
    needed: dict[str, set[str]] = {}
    for content in contents:
        for dataset, names in needed_archives(parse_variant(content)).items():
            needed.setdefault(dataset, set()).update(names)
    return {dataset: sorted(names) for dataset, names in needed.items()}


def _have_report(store: Place, root: Place) -> None:
    """Write a store's report where there is none yet, and show the run where it lies.

    With what it is about: browsers open no file from a server's page.
    """
    opened = open_store(store)
    name, page = opened.attributes.variant.name, report_path(opened, root)
    if not page.is_file():
        stage_task("report", partial(write_report, opened, root, reporter=settings.reporter()), name)()
    at = page.resolve()
    lines = [
        f"**{name}** ({opened.attributes.data_kind}, {len(opened.clips):,} clips)",
        markdown_table(section_rows(opened)),
        f"The report, on the machine that made it: `{at}`",
        f"To open it there, copy this into the browser's address line: `{at.as_uri()}`",
    ]
    create_markdown_artifact("\n\n".join(lines), key=artifacts.key("report", name), description=f"The report of {name}")
