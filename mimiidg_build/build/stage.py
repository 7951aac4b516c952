"""Staging and publishing: the partial store takes shape section by section, is verified, then gets its final name.

Order matters and is what makes a kill at any moment harmless: shards, each noted in the journal after it is on the
disk; tables; the arrays' metadata; the root's, with the digest of every object, last; everything flushed; rename;
``latest``; only then the journal goes. On object storage a put is whole and lasting or it is not at all, and the root's
metadata is what makes a store: there is nothing to flush and nothing to rename.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from mimiidg_build import features
from mimiidg_build.build.inputs import Inputs
from mimiidg_build.build.plan_build import Decision, PlannedSection
from mimiidg_build.build.render import SHARD_CLIPS, read_entry, render_shard, write_entry
from mimiidg_build.datasets.manifest import load_table1
from mimiidg_build.errors import DataError
from mimiidg_build.parallel.run_tasks import Runner
from mimiidg_build.progress import OnProgress, no_progress
from mimiidg_build.settings import __version__
from mimiidg_build.storage import places
from mimiidg_build.storage.files import hash_object, write_object
from mimiidg_build.storage.places import Place, file_sizes, link, point, prepare, remove_partial, remove_tree
from mimiidg_build.store.store import (
    ARRAYS,
    METADATA,
    METADATA_COPY,
    Store,
    is_latest,
    open_store,
    sealed,
    section_path,
)
from schemas.stores import (
    FORMAT_VERSION,
    ObjectRecord,
    Provenance,
    RenderedShard,
    SectionSummary,
    StoreAttributes,
    StoredObject,
)
from schemas.tables import StoredClips

log = logging.getLogger(__name__)

SNR_TOLERANCE_DB = 0.05
MEASURED = ("power", "peak", "measured_added_noise_snr_db", "n_saturated")  # per clip, by rendering
VERSIONED = ("numba", "numpy", "scipy", "soundfile", "zarr")


@dataclass(frozen=True)
class RenderedSection:
    """A finished section: its rows of the store's tables, its objects, and what the store's attributes say of it."""

    clips: pd.DataFrame
    plan: pd.DataFrame
    objects: tuple[StoredObject, ...]
    summary: SectionSummary


def open_staging(decision: Decision) -> None:
    """A place for the partial store; what an interrupted write left behind is removed.

    Raises
    ------
    DataError
        It cannot be written.
    """
    prepare(decision.staging)
    prepare(decision.journal)


def array_metadata(n_clips: Mapping[str, int], feature_dtype: str) -> dict[str, bytes]:
    """The zarr metadata of a store, as zarr writes it, by path within the store; the root's is consolidated.

    Parameters
    ----------
    n_clips : mapping of section id (``"fan/00"``) to its number of clips
    feature_dtype : str
    """
    import zarr

    n_samples, buffers = load_table1().n_samples, dict[str, Any]()
    memory = zarr.storage.MemoryStore(buffers)
    root = zarr.create_group(memory)
    for section_id, n in n_clips.items():
        group = root.require_group(section_path(*section_id.split("/")))
        shapes: dict[str, tuple[int, ...]] = {
            "audio": (n, n_samples),
            "logmel": (n, features.n_frames(n_samples), features.N_MELS),
        }
        for name, dtype in zip(ARRAYS, ("int16", feature_dtype), strict=True):
            shape = shapes[name]
            group.create_array(
                name,
                shape=shape,
                dtype=dtype,
                chunks=(1, *shape[1:]),
                shards=(SHARD_CLIPS, *shape[1:]),
                compressors=None,
                filters=None,
                fill_value=0,
                dimension_names=("clip", "sample") if name == "audio" else ("clip", "frame", "mel"),
            )
    with warnings.catch_warnings():
        # Consolidated metadata is not in the v3 specification yet. It lets the tables lie beside the groups without
        # a warning from whoever lists the store, and a remote reader open it with one request.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(memory)
    return {path: bytes(buffer.to_bytes()) for path, buffer in sorted(buffers.items())}


def render_sections(
    inputs: Inputs,
    decision: Decision,
    planned: list[PlannedSection],
    run: Runner,
    on_progress: OnProgress = no_progress,
) -> dict[str, RenderedSection]:
    """Render the sections' shards that are not finished yet, or link them from an earlier store, and check their SNR.

    Raises
    ------
    DataError
        A clip cannot be read, a shard not written, or a measured SNR is off its plan.
    """
    finished: dict[str, dict[int, RenderedShard]] = {}
    for section in planned:
        done = {task.start: result for task in section.tasks if (result := read_entry(task)) is not None}
        earlier = decision.reuse.get(section.section.id)
        if earlier is not None and len(done) < len(section.tasks):
            done |= _link_section(decision, section, earlier)
        finished[section.tasks[0].section] = done
        on_progress(sum(len(result.n_saturated) for result in done.values()))
    waiting = [(task,) for section in planned for task in section.tasks if task.start not in finished[task.section]]
    # one graph for all sections: a small section has fewer shards than there are workers
    for result in run(render_shard, waiting, lambda result: on_progress(len(result.n_saturated))):
        finished[result.section][result.start] = result
    return {
        section.section.id: finished_section(
            inputs, section, [finished[task.section][task.start] for task in section.tasks]
        )
        for section in planned
    }


def _link_section(decision: Decision, planned: PlannedSection, earlier: Store) -> dict[int, RenderedShard]:
    """Take a section's shards from an earlier store: hard links, which cost nothing, or copies; none is trusted
    before its digest is seen to be right."""
    clips = earlier.clips
    key = planned.section
    rows = clips[(clips["machine_type"] == key.machine_type) & (clips["section"] == key.section)]
    linked = {}
    for task in planned.tasks:
        for path in task.objects:
            try:
                link(earlier.path / path, decision.staging / path)
            except FileNotFoundError:
                break
        else:
            objects = tuple(hash_object(decision.staging, path) for path in task.objects)
            if all(is_recorded(earlier.attributes, found) for found in objects):
                part = rows.iloc[task.start : task.start + len(task.clips)]
                power, peak, snr_db, n_saturated = (tuple(part[name]) for name in MEASURED)
                linked[task.start] = RenderedShard(
                    section=task.section,
                    start=task.start,
                    objects=objects,
                    power=power,
                    peak=peak,
                    measured_snr_db=snr_db,
                    n_saturated=n_saturated,
                )
                write_entry(task.entry, linked[task.start])
    return linked


def is_recorded(attributes: StoreAttributes, found: StoredObject) -> bool:
    """Whether a file has the size and digest that a store recorded of it."""
    recorded = attributes.objects.get(found.path)
    return recorded is not None and (recorded.size_bytes, recorded.blake3) == (found.size_bytes, found.blake3)


def finished_section(inputs: Inputs, planned: PlannedSection, results: list[RenderedShard]) -> RenderedSection:
    """A section from its shards' results, its SNR checked.

    Raises
    ------
    DataError
        A measured SNR is off its plan.
    """
    section, plan = planned.section, planned.plan
    n_saturated = [n for result in results for n in result.n_saturated]
    power = pd.Series([value for result in results for value in result.power], dtype=float)
    mixed = plan["added_noise_snr_db"].notna()
    measured = pd.Series([snr for result in results for snr in result.measured_snr_db], dtype=float)
    off = (measured - plan["added_noise_snr_db"]).abs()
    wrong = (off > SNR_TOLERANCE_DB) & (pd.Series(n_saturated) == 0)
    if wrong.any():
        worst = int(off.where(wrong).argmax())
        wanted, found = plan["added_noise_snr_db"][worst], measured[worst]
        raise DataError(
            f"{section.id}: {int(wrong.sum())} clips are off their planned SNR by more than {SNR_TOLERANCE_DB} dB, "
            f"worst {plan['clip'][worst]}: planned {wanted:.2f} dB, measured {found:.2f} dB. "
            "Likely cause: at this SNR the noise is as quiet as 16-bit rounding; lower the SNR."
        )
    clips = planned.clips.assign(
        row=np.arange(len(plan)),
        power=power,
        peak=[value for result in results for value in result.peak],
        measured_added_noise_snr_db=measured,
        n_saturated=n_saturated,
    )
    counts = planned.clips.groupby(["domain", "split", "condition"], sort=True).size()
    summary = SectionSummary(
        fingerprint=inputs.fingerprints[section.id],
        n_clips=len(plan),
        counts={"_".join(map(str, key)): int(n) for key, n in zip(counts.index, counts, strict=True)},
        a=float(power.mean()),
        attenuation=float(plan["attenuation"].iloc[0]),
        n_saturated_clips=int(sum(n > 0 for n in n_saturated)),
        planned_added_noise_snr_db=sorted(set(plan["added_noise_snr_db"].tolist())) if mixed.any() else None,
        largest_snr_error_db=float(off.max()) if mixed.any() else None,
    )
    objects = tuple(obj for result in results for obj in result.objects)
    return RenderedSection(clips, plan, objects, summary)


def publish(inputs: Inputs, decision: Decision, rendered: dict[str, RenderedSection]) -> Store:
    """Write tables and metadata, verify, rename, and move ``latest``.

    Raises
    ------
    DataError
        The partial store does not hold exactly what was rendered, or cannot be written.
    """
    staging = decision.staging
    objects = [obj for section in rendered.values() for obj in section.objects]
    metadata = array_metadata({key: len(s.clips) for key, s in rendered.items()}, inputs.variant.features.dtype)
    root = json.loads(metadata.pop(METADATA))
    contents = tables(rendered) | metadata
    objects += [write_object(staging, name, content) for name, content in contents.items()]
    remove_partial(staging)  # of a cluster's worker that was killed: another has done its work
    _check_complete(staging, objects)
    content = sealed(root, _attributes(inputs, decision, rendered, objects))
    for name in (METADATA_COPY, METADATA):
        write_object(staging, name, content)
    store = open_store(places.publish(staging))
    move_latest(store)
    return store


def tables(rendered: dict[str, RenderedSection]) -> dict[str, bytes]:
    """The store's tables by file name."""
    clips = pd.concat([section.clips for section in rendered.values()], ignore_index=True)
    plan = pd.concat([section.plan for section in rendered.values()], ignore_index=True)
    # validated as a whole: pandera takes 25 ms a call, however few the rows
    frames = {"clips.parquet": StoredClips.validate(clips, lazy=True), "mix_plan.parquet": plan}
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


def _attributes(
    inputs: Inputs, decision: Decision, rendered: dict[str, RenderedSection], objects: list[StoredObject]
) -> StoreAttributes:
    dataset = inputs.release.dataset
    return StoreAttributes(
        format_version=FORMAT_VERSION,
        fingerprint=decision.fingerprint,
        dataset=dataset.name,
        dataset_title=dataset.title,
        synthetic=dataset.synthetic,
        recording=dataset.recording,
        license=dataset.records[0].license,
        citation=dataset.citation,
        variant=inputs.variant,
        provenance=Provenance(
            archives=inputs.release.checksums,
            noise={kind: {r.name: r.digest for r in recordings} for kind, recordings in inputs.noise.items()},
            versions={"mimiidg_build": __version__} | {name: version(name) for name in VERSIONED},
        ),
        sections={section_id: section.summary for section_id, section in rendered.items()},
        objects={
            obj.path: ObjectRecord(size_bytes=obj.size_bytes, blake3=obj.blake3)
            for obj in sorted(objects, key=lambda o: o.path)
        },
    )


def move_latest(store: Store) -> None:
    """Point the variant's ``latest`` at a finished store, whose journal has served.

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
