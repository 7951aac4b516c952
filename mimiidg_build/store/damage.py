"""What is damaged in a store: every file against the size and digest that were recorded of it."""

from __future__ import annotations

from mimiidg_build.progress import OnProgress, no_progress
from mimiidg_build.storage.files import hash_object
from mimiidg_build.storage.places import file_sizes
from mimiidg_build.store.metadata import METADATA, METADATA_COPY, is_sealed
from mimiidg_build.store.recorded import MISSING, difference, unreadable
from mimiidg_build.store.store import Store

FOREIGN = "not part of the store"


def find_damage(store: Store, on_progress: OnProgress = no_progress) -> dict[str, str]:
    """Compare every file of a store with its recorded size and digest.

    Returns
    -------
    dict of path within the store to what is wrong with it
        Damaged, missing and foreign files; empty if the store is whole.
    """
    damage = {}
    recorded = store.attributes.objects
    for path, expected in recorded.items():
        try:
            found = hash_object(store.path, path)
        except OSError as error:
            damage[path] = unreadable(error)
            continue
        on_progress(found.size_bytes)
        if what := difference(expected, found.size_bytes, found.blake3):
            damage[path] = what
    content = (store.path / METADATA).read_bytes()
    if not is_sealed(content):
        damage[METADATA] = "it carries no seal: written by an earlier version, or damaged"
    elif not (store.path / METADATA_COPY).is_file():
        damage[METADATA_COPY] = MISSING
    elif (store.path / METADATA_COPY).read_bytes() != content:
        damage[METADATA_COPY] = f"differs from {METADATA}: bit rot, or it was changed"
    foreign = sorted(file_sizes(store.path).keys() - set(recorded) - {METADATA, METADATA_COPY})
    return damage | dict.fromkeys(foreign, FOREIGN)


def verify_objects(store: Store, on_progress: OnProgress = no_progress) -> list[str]:
    """One line for every damaged, missing or foreign file of a store; empty if it is whole."""
    return [f"{path}: {what}" for path, what in find_damage(store, on_progress).items()]
