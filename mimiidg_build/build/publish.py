"""Publishing: a staged store gets its tables and metadata, is verified, then gets its final name.

Order matters and is what makes a kill at any moment harmless:

1. shards, each noted in the journal after it is on the disk (:mod:`mimiidg_build.build.render`);
2. tables, the metadata of groups and arrays, and the description for other programs (``croissant.json``);
3. the root's metadata, with the digest of every object: first its copy, then itself, last of all;
4. everything that this run did not write or read itself, or that changed since, read once more and held against its
   digest, all flushed, and the store renamed;
5. ``latest`` moves; only then the journal goes.

In a bucket a put is whole and durable or it is not at all, and the root's metadata is what makes a store: there is
nothing to flush and nothing to rename. Nor is anything read again there: each put carries the digest of its content,
which the storage checks.
"""

from __future__ import annotations

import json
from importlib.metadata import version

import pandas as pd

from mimiidg_build import __version__
from mimiidg_build.build.decision import Decision
from mimiidg_build.build.inputs import Inputs
from mimiidg_build.build.metadata import array_metadata
from mimiidg_build.build.sections import RenderedSection
from mimiidg_build.build.sources import stated_sources
from mimiidg_build.datasets.noise_choice import noise_sources
from mimiidg_build.errors import DataError, counted
from mimiidg_build.parallel.runner import Runner
from mimiidg_build.schemas.stores import FORMAT_VERSION, ObjectRecord, Provenance, StoreAttributes, StoredObject
from mimiidg_build.schemas.tables import StoredClips
from mimiidg_build.storage import places
from mimiidg_build.storage.files import hash_object, write_object
from mimiidg_build.storage.places import (
    Place,
    file_sizes,
    identity,
    is_local,
    point,
    prepare,
    remove_partial,
    remove_tree,
)
from mimiidg_build.store.croissant import CROISSANT, store_description
from mimiidg_build.store.metadata import METADATA, METADATA_COPY, sealed
from mimiidg_build.store.store import Store, is_latest, open_store
from mimiidg_build.store.tables import CLIPS, MIX_PLAN

VERSIONED = ("numba", "numpy", "scipy", "soundfile", "zarr")


def open_staging(decision: Decision) -> None:
    """Make the partial store's directory and its journal's; what an interrupted write left there is removed.

    Raises
    ------
    DataError
        It cannot be written.
    """
    prepare(decision.staging)
    prepare(decision.journal)


def publish(inputs: Inputs, decision: Decision, rendered: dict[str, RenderedSection], run: Runner) -> Store:
    """Write tables and metadata, verify, rename, and move ``latest``.

    Parameters
    ----------
    inputs : Inputs
    decision : Decision
    rendered : dict of section id to RenderedSection
        Every section of the store, in the order of its tables.
    run : Runner
        Where what was written is read again.

    Returns
    -------
    Store
        Finished, open and held.

    Raises
    ------
    DataError
        The partial store does not hold exactly what was rendered, or cannot be written.
    """
    staging = decision.staging
    objects = [obj for section in rendered.values() for obj in section.objects]
    shapes = {key: (section.summary.n_clips, section.summary.audio) for key, section in rendered.items()}
    metadata = array_metadata(shapes, inputs.variant.features)
    root = json.loads(metadata.pop(METADATA))
    contents = tables(rendered) | metadata
    attributes = _attributes(inputs, decision, rendered)
    contents[CROISSANT] = store_description(attributes, contents)
    # Flushed with the whole store below: one by one, each would wait for the disk, and all workers with it.
    objects += [write_object(staging, name, content, durable=False) for name, content in contents.items()]
    remove_partial(staging)  # left by a cluster's worker that was killed: another has done its work
    _check_complete(staging, objects)
    if is_local(staging):
        _check_content(staging, objects, rendered, run)
    content = sealed(root, attributes.model_copy(update={"objects": _records(objects)}))
    for name in (METADATA_COPY, METADATA):
        write_object(staging, name, content, durable=False)
    store = open_store(places.publish(staging))
    move_latest(store)
    return store


def tables(rendered: dict[str, RenderedSection]) -> dict[str, bytes]:
    """The store's tables by file name."""
    clips = pd.concat([section.clips for section in rendered.values()], ignore_index=True)
    plan = pd.concat([section.plan for section in rendered.values()], ignore_index=True)
    # validated as a whole: a check takes a millisecond, however few the rows
    frames = {CLIPS: StoredClips.validate(clips, lazy=True), MIX_PLAN: plan}
    return {name: frame.to_parquet(index=False) for name, frame in frames.items()}


def _check_complete(staging: Place, objects: list[StoredObject]) -> None:
    """Every object there with its size, and nothing else but the root's metadata of a run that was killed there."""
    found = file_sizes(staging)
    for name in (METADATA, METADATA_COPY):
        found.pop(name, None)
    expected = {obj.path: obj.size_bytes for obj in objects}
    if found != expected:
        odd = sorted(path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path))
        raise DataError(
            f"{staging}: {len(odd)} files are missing, foreign or of another size, first {odd[0]}. Something else "
            "writes there, or the disk lost data. Remove the folder and build again."
        )


def _check_content(
    staging: Place, objects: list[StoredObject], rendered: dict[str, RenderedSection], run: Runner
) -> None:
    """Every object with the bytes that were meant to be written: what was changed must not get a store's name.

    A shard that this run wrote, and that nobody has written to since, is not read: it would come from the same page
    cache that it was written to, and cost 0.15 ms a clip, a twentieth of a build. The next run finds a damaged shard at
    odds with its journal entry, and renders it anew.
    """
    known = {path: found for section in rendered.values() for path, found in section.identities.items()}
    unsure = [obj for obj in objects if obj.path not in known or identity(staging / obj.path) != known[obj.path]]
    found = run(hash_object, [(staging, obj.path) for obj in unsure], lambda _: None)
    damaged = [obj.path for obj, there in zip(unsure, found, strict=True) if there != obj]
    if damaged:
        raise DataError(
            f"{staging / damaged[0]}: its content is not what was written{_others(len(damaged) - 1)}. Likely cause: a "
            "failing disk or memory. Run the same command again: it makes what is damaged anew."
        )


def _others(n: int) -> str:
    """How many more files are damaged.

    >>> _others(0), _others(2)
    ('', ', as with 2 more files')
    """
    return f", as with {counted(n, 'more file')}" if n else ""


def _attributes(inputs: Inputs, decision: Decision, rendered: dict[str, RenderedSection]) -> StoreAttributes:
    """All but the records of the objects, one of which is made from it."""
    dataset = inputs.release.dataset
    mixed_in = noise_sources(inputs.variant, dataset, inputs.sections) if inputs.noise else {}
    noise = {kind: summary for section in rendered.values() for kind, summary in section.noise.items()}
    return StoreAttributes(
        format_version=FORMAT_VERSION,
        fingerprint=decision.fingerprint,
        dataset=dataset.name,
        dataset_title=dataset.title,
        synthetic=dataset.synthetic,
        layout=dataset.layout,
        protocol=dataset.protocol,
        recipe=dataset.recipe or "",
        recording=dataset.recording,
        license=dataset.records[0].license,
        citation=dataset.citation,
        variant=inputs.variant,
        provenance=Provenance(
            archives=inputs.release.checksums,
            noise={kind: {r.name: r.digest for r in listed.recordings} for kind, listed in inputs.noise.items()},
            versions={"mimiidg_build": __version__} | {name: version(name) for name in VERSIONED},
        ),
        noise=dict(sorted(noise.items())) or None,
        sources=stated_sources(dataset, inputs.release.checksums, mixed_in),
        sections={section_id: section.summary for section_id, section in rendered.items()},
        objects={},
    )


def _records(objects: list[StoredObject]) -> dict[str, ObjectRecord]:
    in_order = sorted(objects, key=lambda obj: obj.path)
    return {obj.path: ObjectRecord(size_bytes=obj.size_bytes, blake3=obj.blake3) for obj in in_order}


def move_latest(store: Store) -> None:
    """Point the variant's ``latest`` at a finished store, then remove its journal.

    On object storage the put is on condition that ``latest`` is still what was read: of two machines that publish
    different stores of a variant at once, one sees the other's and moves it after that.

    Raises
    ------
    DataError
        It cannot be written.
    """
    while not is_latest(store.path):
        point(store.path.parent / "latest", f"{store.fingerprint}\n".encode())
    remove_tree(store.path.with_suffix(".journal"))
