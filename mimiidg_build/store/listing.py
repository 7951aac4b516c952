"""What stores there are under a root, finished or not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Any

from mimiidg_build.errors import DataError
from mimiidg_build.storage.places import Place, file_sizes, matching, place
from mimiidg_build.store.metadata import METADATA
from mimiidg_build.store.store import Store, is_finished, is_latest, open_store


@dataclass(frozen=True)
class Listed:
    """A store as ``mimiidg list`` shows it; what the store itself says is empty where it cannot be read.

    ``snr_db`` is the lowest and the highest that was planned, ``noise`` where each kind comes from that the variant
    gives, by kind, ``built`` the local time at which it was finished.
    """

    variant: str
    fingerprint: str
    state: str  # latest, kept, partial or damaged
    n_clips: int
    n_sections: int
    size_bytes: int
    path: Place
    dataset: str = ""
    snr_db: tuple[float, float] | None = None
    seed: int | None = None
    noise: dict[str, str] | None = None
    built: str = ""


def list_stores(root: str | Place) -> list[Listed]:
    """Every store under ROOT, finished or not, by variant."""
    listed = []
    for path in [
        path for kind in ("zarr", "zarr.partial") for path in matching(place(root) / "variants", f"*/*.{kind}")
    ]:
        size = sum(file_sizes(path).values())
        fingerprint = path.name.split(".")[0]
        if not is_finished(path):  # in a bucket, under its final name
            state, counts, said = "partial", [], {}
        else:
            state = "latest" if is_latest(path) else "kept"
            try:
                store = open_store(path, check=False)
                counts = [section.n_clips for section in store.sections.values()]
                said = _said(store)
            except DataError:
                state, counts, said = "damaged", [], {}
        listed.append(Listed(path.parent.name, fingerprint, state, sum(counts), len(counts), size, path, **said))
    return listed


def _said(store: Store) -> dict[str, Any]:
    """What a store says of itself, and when it was finished: its metadata is written last."""
    variant = store.attributes.variant
    planned = [snr for section in store.sections.values() for snr in section.planned_added_noise_snr_db or ()]
    finished_s = (store.path / METADATA).stat().st_mtime_ns / 1e9
    return {
        "dataset": store.attributes.dataset,
        "snr_db": (min(planned), max(planned)) if planned else None,
        "seed": variant.seed,
        "noise": {
            kind: ", ".join(
                PurePath(source.folder or source.archive or source.dataset or "").name for source in sources
            )
            for kind, sources in variant.noise.items()
        },
        "built": datetime.fromtimestamp(finished_s).astimezone().isoformat(" ", "minutes"),
    }
