"""What of a dataset is fetched: read from the disk and the records' lock files, nothing asked and nothing hashed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mimiidg_build.fetch.lock import read_lock, record_dir
from mimiidg_build.schemas.manifests import DatasetManifest
from mimiidg_build.storage.places import Place, matching


@dataclass(frozen=True)
class ArchiveState:
    """One archive of a record: what is known of it, and whether it is there.

    ``md5`` is published in the manifest, pinned when it was first fetched, or ``""`` before that; ``size_bytes`` None
    where nobody stated it, ``is_approximate`` where the record's page gives it rounded.
    """

    record: str
    name: str
    size_bytes: int | None
    is_approximate: bool
    md5: str
    md5_is: Literal["published", "pinned", ""]
    is_fetched: bool


def archive_states(dataset: DatasetManifest, root: Place) -> list[ArchiveState]:
    """Every archive of a dataset, in the order of its records.

    Raises
    ------
    FetchError
        A record's lock file is damaged.
    """
    states = []
    for record in dataset.records:
        directory = record_dir(root, record.id)
        there, pinned = {path.name for path in matching(directory, "*")}, read_lock(directory)
        for file in record.files:
            entry = pinned.get(file.name)
            size_bytes = file.size_bytes or (entry.size_bytes if entry else None)
            md5 = file.md5 or (entry.md5 if entry else "")
            states.append(
                ArchiveState(
                    record.id,
                    file.name,
                    size_bytes or file.approximate_size_bytes,
                    size_bytes is None and file.approximate_size_bytes is not None,
                    md5,
                    "published" if file.md5 else "pinned" if md5 else "",
                    file.name in there,
                )
            )
    return states
