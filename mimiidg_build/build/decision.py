"""Deciding what must be done, before any audio is opened.

A store's name is the fingerprint of everything that decides its bytes, so a second build of the same inputs is a no-op.
A store is built under ``<fingerprint>.zarr.partial`` beside ``<fingerprint>.journal``, verified, renamed, then
``latest`` moves; a run that finds a partial store resumes it. In a bucket, where nothing can be renamed, it is built
under its own name, and is not a store before its root's metadata is there, which comes last. Sections whose own
fingerprint stands in an earlier store of the variant are linked from there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mimiidg_build.build.inputs import Inputs
from mimiidg_build.errors import DataError
from mimiidg_build.storage.places import Place, matching, staging
from mimiidg_build.store.store import Store, is_finished, open_store, variant_dir


@dataclass(frozen=True)
class Decision:
    """What must be done: the finished store if there is one, else what to render and what to take from where."""

    fingerprint: str
    finished: Store | None
    staging: Place
    journal: Place
    # Section id -> an earlier store that has it; open, so held: prune cannot remove it before its files are linked.
    reuse: dict[str, Store] = field(default_factory=dict)


def decide(inputs: Inputs, root: Place) -> Decision:
    """Whether the variant must be built, and which sections an earlier store of it already has."""
    directory, fingerprint = variant_dir(root, inputs.variant.name), inputs.fingerprint
    final, journal = directory / f"{fingerprint}.zarr", directory / f"{fingerprint}.journal"
    built_at = staging(final)
    if is_finished(final):
        return Decision(fingerprint, open_store(final), built_at, journal)
    reuse: dict[str, Store] = {}
    for path in matching(directory, "*.zarr"):
        try:
            earlier = open_store(path)
        except DataError:
            continue  # nothing is reused from a damaged or older store; `mimiidg verify` reports it
        for section_id, section in earlier.sections.items():
            if inputs.fingerprints.get(section_id) == section.fingerprint:
                reuse[section_id] = earlier
    return Decision(fingerprint, None, built_at, journal, reuse)
