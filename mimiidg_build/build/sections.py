"""Rendering sections: shards that are not finished yet, or those of an earlier store; and the check of their SNR."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimiidg_build.build.decision import Decision
from mimiidg_build.build.inputs import Inputs
from mimiidg_build.build.planning import PlannedSection
from mimiidg_build.build.render import ShardTask, feature_shape, read_entry, render_shard, write_entry
from mimiidg_build.build.statistics import logmel_statistics, sums_of_shard
from mimiidg_build.errors import DataError
from mimiidg_build.parallel.runner import Runner
from mimiidg_build.progress import OnProgress, no_progress
from mimiidg_build.schemas.manifests import Section
from mimiidg_build.schemas.stores import (
    SNR_TOLERANCE_DB,
    BandSums,
    LogmelStatistics,
    NoiseSummary,
    RenderedShard,
    SectionSummary,
    StoreAttributes,
    StoredObject,
)
from mimiidg_build.storage.backend import Identity
from mimiidg_build.storage.files import hash_object
from mimiidg_build.storage.places import link
from mimiidg_build.store.store import Store

# What rendering measures of each clip, as the columns of ``StoredClips`` and the fields of ``RenderedShard`` name it.
MEASURED = {
    "power": "power",
    "peak": "peak",
    "measured_added_noise_snr_db": "measured_snr_db",
    "n_saturated": "n_saturated",
}

Measured = dict[str, npt.NDArray[Any]]  # by column, a value for each clip of a section


@dataclass(frozen=True)
class RenderedSection:
    """A finished section: its rows of the store's tables, its objects, and what the store's attributes say of it."""

    clips: pd.DataFrame
    plan: pd.DataFrame
    objects: tuple[StoredObject, ...]
    summary: SectionSummary
    noise: dict[str, NoiseSummary] = field(default_factory=dict)
    identities: dict[str, Identity] = field(default_factory=dict)  # of objects, when this run wrote or read them


def render_sections(
    inputs: Inputs,
    decision: Decision,
    planned: list[PlannedSection],
    run: Runner,
    on_progress: OnProgress = no_progress,
) -> dict[str, RenderedSection]:
    """Render the sections' shards that are not finished yet, or link them from an earlier store, and check their SNR.

    Parameters
    ----------
    inputs : Inputs
    decision : Decision
    planned : list of PlannedSection
    run : Runner
        Where the shards are rendered.
    on_progress : OnProgress
        Called with the number of clips that are finished, those of an earlier run included.

    Returns
    -------
    dict of section id (``"fan/00"``) to RenderedSection

    Raises
    ------
    DataError
        A clip cannot be read, a shard not written, or a measured SNR is off its plan.
    """
    finished: dict[tuple[str, int], RenderedShard] = {}
    tasks = [section.tasks() for section in planned]
    for section, own in zip(planned, tasks, strict=True):
        done = _finished_shards(decision, section, own)
        finished |= {(shard.section, shard.start): shard for shard in done}
        on_progress(sum(len(shard.n_saturated) for shard in done))  # n_saturated has one number per clip
    waiting = [(task,) for own in tasks for task in own if _key(task) not in finished]
    # one graph for all sections: a small section has fewer shards than there are workers
    for shard in run(render_shard, waiting, lambda shard: on_progress(len(shard.n_saturated))):
        finished[shard.section, shard.start] = shard
    return {
        section.section.id: finished_section(inputs, section, [finished[_key(task)] for task in own])
        for section, own in zip(planned, tasks, strict=True)
    }


def _key(task: ShardTask) -> tuple[str, int]:
    return task.section, task.start


def _finished_shards(decision: Decision, planned: PlannedSection, tasks: list[ShardTask]) -> list[RenderedShard]:
    """Shards that an earlier run of this build finished, or that an earlier store of the variant has."""
    noted = [shard for task in tasks if (shard := read_entry(task)) is not None]
    earlier = decision.reuse.get(planned.section.id)
    if earlier is None or len(noted) == len(tasks):
        return noted
    # a noted shard may have been rendered because the earlier store's is damaged: it must not be replaced by that
    starts = {shard.start for shard in noted}
    waiting = [task for task in tasks if task.start not in starts]
    return noted + _link_shards(decision, planned.section, waiting, earlier)


def _link_shards(decision: Decision, section: Section, tasks: list[ShardTask], earlier: Store) -> list[RenderedShard]:
    """Take shards from an earlier store: hard links, which cost nothing, or copies; none is used unless its digest is
    the recorded one, and what was measured of its clips then fits what is known of them now."""
    rows = earlier.clips.iloc[earlier.rows_by_section[section.id]]
    linked = []
    for task in tasks:
        objects = _link_objects(decision, task, earlier)
        if objects is None or not all(is_recorded(earlier.attributes, found) for found in objects):
            continue
        # What rendering would have measured; the clip table is in the order of the arrays' rows.
        measured = rows.iloc[task.start : task.start + len(task.clips)]
        if not _fits_levels(measured, task):
            continue
        fields: dict[str, Any] = {field: tuple(measured[column]) for column, field in MEASURED.items()}
        shard = RenderedShard(
            section=task.section, start=task.start, objects=objects, bands=_bands_of(decision, task), **fields
        )
        write_entry(task.entry, shard)
        linked.append(shard)
    return linked


def _bands_of(decision: Decision, task: ShardTask) -> BandSums:
    """The sums of a linked shard's log-mel."""
    logmel = task.objects[1 + task.features.arrays.index("logmel")]
    shape = feature_shape(task.features, "logmel", task.audio)
    return sums_of_shard(
        decision.staging / logmel, shape, task.features.dtype, [clip.is_training for clip in task.clips]
    )


def _fits_levels(measured: pd.DataFrame, task: ShardTask) -> bool:
    """Whether a table has the levels that the task's clips are known to have: it may have been wrong when its digest
    was taken."""
    found = zip(measured["power"], measured["peak"], strict=True)
    return all(clip.level in (None, levels) for clip, levels in zip(task.clips, found, strict=True))


def _link_objects(decision: Decision, task: ShardTask, earlier: Store) -> tuple[StoredObject, ...] | None:
    """The shard's files as they are in the partial store now; None where the earlier store lacks one."""
    try:
        for path in task.objects:
            link(earlier.path / path, decision.staging / path)
    except FileNotFoundError:
        return None
    return tuple(hash_object(decision.staging, path) for path in task.objects)


def is_recorded(attributes: StoreAttributes, found: StoredObject) -> bool:
    """Whether a file has the size and digest that a store recorded of it."""
    recorded = attributes.objects.get(found.path)
    return recorded is not None and (recorded.size_bytes, recorded.blake3) == (found.size_bytes, found.blake3)


def finished_section(inputs: Inputs, planned: PlannedSection, shards: list[RenderedShard]) -> RenderedSection:
    """A section from its shards, its SNR checked.

    Parameters
    ----------
    inputs : Inputs
    planned : PlannedSection
    shards : list of RenderedShard
        All of the section's, in order.

    Returns
    -------
    RenderedSection

    Raises
    ------
    DataError
        A measured SNR is off its plan.
    """
    # arrays, not a frame: with pandas this function took 4 ms a section, as long as two clips
    measured = {
        column: np.array([value for shard in shards for value in getattr(shard, field)])
        for column, field in MEASURED.items()
    }
    _check_snr(planned, measured)
    columns = {name: planned.clips[name].array for name in planned.clips.columns}
    clips = pd.DataFrame(columns | {"row": np.arange(len(planned.plan))} | measured)
    objects = tuple(found for shard in shards for found in shard.objects)
    summary = _summary(inputs, planned, measured, logmel_statistics([shard.bands for shard in shards]))
    identities = {path: found for shard in shards for path, found in shard.identities.items()}
    return RenderedSection(clips, planned.plan, objects, summary, planned.noise, identities)


def _check_snr(planned: PlannedSection, measured: Measured) -> None:
    """Refuse a section with a clip off its planned SNR; clipped samples are reported, and no reason to refuse."""
    wanted, found = planned.plan["added_noise_snr_db"].to_numpy(), measured["measured_added_noise_snr_db"]
    off = np.abs(found - wanted)  # NaN where no noise is added: never beyond the tolerance
    wrong = (off > SNR_TOLERANCE_DB) & (measured["n_saturated"] == 0)
    if wrong.any():
        worst = int(np.where(wrong, off, 0).argmax())
        raise DataError(
            f"{planned.section.id}: {int(wrong.sum())} clips are off their planned SNR by more than {SNR_TOLERANCE_DB} "
            f"dB, worst {planned.plan['clip'][worst]}: planned {wanted[worst]:.2f} dB, measured {found[worst]:.2f} dB. "
            "Likely cause: at this SNR the noise is as quiet as 16-bit rounding; lower the SNR."
        )


def _summary(
    inputs: Inputs, planned: PlannedSection, measured: Measured, logmel: LogmelStatistics | None
) -> SectionSummary:
    wanted = planned.plan["added_noise_snr_db"].to_numpy()
    off = np.abs(measured["measured_added_noise_snr_db"] - wanted)
    mixed = not np.isnan(wanted).all()
    counts = Counter(zip(*(planned.clips[name].tolist() for name in ("domain", "split", "condition")), strict=True))
    return SectionSummary(
        fingerprint=inputs.fingerprints[planned.section.id],
        n_clips=len(planned.plan),
        audio=inputs.audio(planned.section),
        counts={"_".join(filter(None, key)): n for key, n in sorted(counts.items())},
        a=float(measured["power"].mean()),
        attenuation=float(planned.plan["attenuation"].iloc[0]),
        n_saturated_clips=int((measured["n_saturated"] > 0).sum()),
        planned_added_noise_snr_db=sorted(set(wanted.tolist())) if mixed else None,
        largest_snr_error_db=float(np.nanmax(off)) if mixed else None,
        logmel=logmel,
    )
