"""Refresh: fetch what is missing and build every variant given. Nothing new: nothing is done, and the run says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.build_variant import build_variant
from flows.fetch_archives import fetch_archives
from mimiidg_build.acquire import needed_archives
from mimiidg_build.manifest import load_variant, parse_variant
from mimiidg_build.store import list_stores


@flow(name="refresh")
def refresh(
    variants: list[dict[str, Any] | str],
    root: Path,
    scheduler: str = "threads",
    workers: int | None = None,
    offline: bool = False,
) -> list[Path]:
    """Fetch and build variants, each a name, the path of a file, or a file's content; the paths of their stores."""
    contents = [v if isinstance(v, dict) else load_variant(v).model_dump(mode="json") for v in variants]
    before = {listed.path for listed in list_stores(root)}
    wanted: dict[str, list[str] | None] = {}
    for content in contents:
        for dataset, names in needed_archives(parse_variant(content)).items():
            wanted[dataset] = sorted({*(wanted.get(dataset) or []), *names})
    fetch_archives(wanted, root, offline=offline)
    stores = [build_variant(content, root, scheduler, workers) for content in contents]
    lines = [f"- `{path}`: {'nothing new' if path in before else 'built'}" for path in stores]
    create_markdown_artifact(key="refresh", markdown="\n".join(lines), description="What a refresh did")
    return stores
