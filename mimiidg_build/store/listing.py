"""What stores there are under a root, finished or not."""

from __future__ import annotations

from dataclasses import dataclass

from mimiidg_build.errors import DataError
from mimiidg_build.storage.places import Place, file_sizes, matching, place
from mimiidg_build.store.store import is_finished, is_latest, open_store


@dataclass(frozen=True)
class Listed:
    """A store as ``mimiidg list`` shows it."""

    variant: str
    fingerprint: str
    state: str  # latest, kept, partial or damaged
    n_clips: int
    n_sections: int
    size_bytes: int
    path: Place


def list_stores(root: str | Place) -> list[Listed]:
    """Every store under ROOT, finished or not, by variant."""
    listed = []
    for path in [
        path for kind in ("zarr", "zarr.partial") for path in matching(place(root) / "variants", f"*/*.{kind}")
    ]:
        size = sum(file_sizes(path).values())
        fingerprint = path.name.split(".")[0]
        if not is_finished(path):  # in a bucket, under its final name
            state, counts = "partial", []
        else:
            state = "latest" if is_latest(path) else "kept"
            try:
                counts = [section.n_clips for section in open_store(path, check=False).sections.values()]
            except DataError:
                state, counts = "damaged", []
        listed.append(Listed(path.parent.name, fingerprint, state, sum(counts), len(counts), size, path))
    return listed
