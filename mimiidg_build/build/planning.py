"""Planning: the noise prepared, levels measured, a plan drawn for every section, and the work cut into shards."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from mimiidg_build.audio.inflated import InflatedMembers
from mimiidg_build.build.decision import Decision
from mimiidg_build.build.inputs import Inputs
from mimiidg_build.build.render import SHARD_CLIPS, ClipTask, ShardTask
from mimiidg_build.datasets.rows import parts, records
from mimiidg_build.errors import DataError
from mimiidg_build.mixing import levels, mix_plan
from mimiidg_build.mixing.draws import Sides, draw_noise, halves
from mimiidg_build.mixing.noise_bank import NoiseBank, cutting_of, load_noise_bank
from mimiidg_build.mixing.noise_quality import refuse_quiet, summarise_noise
from mimiidg_build.parallel.runner import Runner
from mimiidg_build.progress import OnProgress, no_progress
from mimiidg_build.schemas.manifests import MAX_LAYERS, Section
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.stores import NoiseSummary
from mimiidg_build.schemas.tables import MixPlan
from mimiidg_build.storage.places import Place

ARCHIVE_MEMBER = ["archive", "member"]  # what tells clips of a release apart
# Clips whose members, levels, rows and tasks are there at once, beside the tables: of a million they would take 1 GB.
AT_ONCE = 100_000


@dataclass(frozen=True)
class PlannedSection:
    """A section ready to render: its clips, their levels and plan, row for row, its shards' tasks, and its noise.

    The tasks are cut when they are asked for: they hold half a kilobyte a clip, which would wait for hours.
    """

    section: Section
    clips: pd.DataFrame
    levels: pd.DataFrame  # NaN where nothing is mixed, so nothing depends on them: rendering measures them
    plan: pd.DataFrame
    tasks: Callable[[], list[ShardTask]]
    noise: dict[str, NoiseSummary] = field(default_factory=dict)


def plan_sections(
    inputs: Inputs,
    decision: Decision,
    root: Place,
    run: Runner,
    on_progress: OnProgress = no_progress,
    inflated: InflatedMembers | None = None,
) -> list[PlannedSection]:
    """Prepare the noise, measure levels, and plan every section.

    Parameters
    ----------
    inputs : Inputs
    decision : Decision
    root : Place
        Noise banks lie under ROOT/noise.
    run : Runner
        Where levels are measured.
    on_progress : OnProgress
        Called with the number of clips whose levels are known.
    inflated : InflatedMembers, optional
        Keeps clips whose levels are measured until they are rendered.

    Returns
    -------
    list of PlannedSection
        In the order of ``inputs.sections``.

    Raises
    ------
    DataError
        A clip or a noise recording cannot be read, a section is silent or beyond full scale, or a given plan does not
        fit the dataset.
    """
    banks = _noise_banks(inputs, root)
    inflated = inflated or InflatedMembers()
    known = _clip_levels(inputs, run, on_progress, inflated)
    prepared = _Prepared(known, banks, _noise_summaries(inputs, banks), inflated)
    planned = [_plan_section(inputs, decision, section, prepared) for section in inputs.sections]
    _validate([section.plan for section in planned])
    return planned


def batches(sections: Sequence[PlannedSection]) -> list[list[PlannedSection]]:
    """Sections whose shards are rendered together: enough to keep workers busy, few enough for the memory."""
    return [list(sections[part]) for part in parts([len(section.clips) for section in sections], AT_ONCE)]


def _validate(plans: list[pd.DataFrame]) -> None:
    """Validate the plans of all sections, many at a time: a check takes a millisecond, however few the rows, and all of
    a million clips would take half a gigabyte. That names are unique in a machine type, the clip table has shown."""
    for part in parts(list(map(len, plans)), AT_ONCE):
        MixPlan.validate(pd.concat(plans[part], ignore_index=True), lazy=True)


def _noise_banks(inputs: Inputs, root: Place) -> dict[int, dict[str, NoiseBank]]:
    """The noise bank of every kind, none of it below its limit, by length of the clips that it is cut for.

    All clips of a store have one sample rate, so lengths tell banks apart.
    """
    rates = {inputs.audio(row).n_samples: inputs.audio(row).sample_rate for row in inputs.sections}
    wanted = {(inputs.audio(row).n_samples, kind) for row in inputs.sections for kind in row.noise_kinds}
    keys = [(n_samples, kind) for n_samples, kind in sorted(wanted) if kind in inputs.noise]

    def load(key: tuple[int, str]) -> NoiseBank:
        n_samples, kind = key
        cutting = cutting_of(inputs.variant, kind)
        bank = load_noise_bank(kind, inputs.noise[kind].recordings, root, n_samples, cutting, rates[n_samples])
        refuse_quiet(kind, bank.table, inputs.variant.settings_of(kind))
        return bank

    with ThreadPoolExecutor(1) as beside:  # Ctrl-C comes to the main thread, where libsndfile's callbacks would lose it
        loaded = dict(zip(keys, beside.map(load, keys), strict=True))
    return {
        length: {kind: bank for (n_samples, kind), bank in loaded.items() if n_samples == length}
        for length in dict.fromkeys(n_samples for n_samples, _ in keys)
    }


def _noise_summaries(inputs: Inputs, banks: dict[int, dict[str, NoiseBank]]) -> dict[int, dict[str, NoiseSummary]]:
    """What there is of each noise kind, by length of the clips, as the banks."""
    shapes = {shape.n_samples: shape for shape in map(inputs.audio, inputs.sections)}
    return {
        length: {
            kind: summarise_noise(inputs.noise[kind], bank.table, shapes[length].seconds, shapes[length].sample_rate)
            for kind, bank in own.items()
        }
        for length, own in banks.items()
    }


Levels = dict[SectionId, pd.DataFrame]  # power and peak, row for row with the section's clips


def _clip_levels(inputs: Inputs, run: Runner, on_progress: OnProgress, inflated: InflatedMembers) -> Levels:
    """Power and peak of every clip of the sections; NaN where nothing depends on them."""
    clips, form = inputs.release.clips, inputs.any_clip_format
    # in columns, and each archive's rows found once: objects for each of a million clips would take 0.4 GB
    found = np.full((len(clips), 2), math.nan)
    rows = clips.groupby("archive", sort=False).indices
    of_section = inputs.release.rows_by_section
    wanted = clips.iloc[np.concatenate([of_section[section.section_id] for section in inputs.sections])]
    expected = {str(key): members for key, members in wanted.groupby("archive")["member"]}
    keys = sorted(expected)
    sizes = [len(rows[key]) for key in keys]
    if not inputs.variant.adds_noise:
        # no gain depends on them, so a second pass over the audio, a third of the time, is not worth it
        on_progress(sum(sizes))
        keys, sizes = [], []
    for part in parts(sizes, AT_ONCE):
        for key in keys[part]:
            inflated.expect(inputs.release.archives[key], expected[key])
        archives = {key: _archive_clips(inputs, key, clips.iloc[rows[key]]) for key in keys[part]}
        measured = levels.load_levels(list(archives.values()), run, on_progress, form, inflated)
        for (key, archive), table in zip(archives.items(), measured, strict=True):
            found[rows[key]] = table.loc[list(archive.lengths), ["power", "peak"]]
    columns = pd.DataFrame(found, columns=["power", "peak"])
    return {id: columns.iloc[own].reset_index(drop=True) for id, own in of_section.items()}


def _archive_clips(inputs: Inputs, key: str, clips: pd.DataFrame) -> levels.ArchiveClips:
    """All of an archive's clips, not the sections' alone: the cache of levels is valid for one list of members."""
    ids = map(SectionId, clips["machine_type"], clips["section"])
    lengths = {member: inputs.shapes[id].n_samples for member, id in zip(clips["member"], ids, strict=True)}
    return levels.ArchiveClips(inputs.release.archives[key], inputs.release.checksums[key], lengths)


@dataclass(frozen=True)
class _Prepared:
    """What planning a section takes beside the inputs."""

    levels: Levels
    banks: dict[int, dict[str, NoiseBank]]  # by length of the clips, then kind
    summaries: dict[int, dict[str, NoiseSummary]]
    inflated: InflatedMembers


def _plan_section(inputs: Inputs, decision: Decision, section: Section, prepared: _Prepared) -> PlannedSection:
    clips, length = inputs.clips(section), inputs.audio(section).n_samples
    clip_levels = prepared.levels[section.section_id]
    banks, summaries = prepared.banks.get(length, {}), prepared.summaries.get(length, {})
    tables = {kind: bank.table for kind, bank in banks.items()}
    if (rows := inputs.given_plan(section)) is not None:
        plan = _given_plan(rows, section, clips, tables)
    else:
        n_noise_clips = {kind: len(table) for kind, table in tables.items()}
        mixing = inputs.variant.adds_noise
        seed, sides = inputs.variant.seed, _sides(inputs, tables)
        drawn = draw_noise(section, clips, n_noise_clips, seed, sides) if mixing else [[]] * len(clips)
        cross_powers = levels.cross_powers(drawn, banks)
        plan = mix_plan.plan_section(section, clips, clip_levels, drawn, tables, cross_powers, inputs.variant)
    tasks = partial(_shard_tasks, inputs, decision, section, plan, clip_levels, banks, prepared.inflated)
    noise = {kind: summaries[kind] for kind in section.noise_kinds if kind in summaries}
    return PlannedSection(section, clips, clip_levels, plan, tasks, noise)


def _sides(inputs: Inputs, tables: dict[str, pd.DataFrame]) -> dict[str, Sides]:
    """Of the kinds whose recordings are parted between training and test clips, which noise clips either may get."""
    return {
        kind: halves(kind, table["recording"].tolist(), inputs.variant.seed)
        for kind, table in tables.items()
        if inputs.variant.settings_of(kind).split
    }


def _given_plan(
    rows: pd.DataFrame, section: Section, clips: pd.DataFrame, tables: dict[str, pd.DataFrame]
) -> pd.DataFrame:
    """A section's rows of a user's plan, row for row with its clips.

    Raises
    ------
    DataError
        It lacks clips, names others, or names noise that is not there.
    """
    if set(rows["clip"]) != set(clips["clip"]):
        odd = sorted(set(rows["clip"]) ^ set(clips["clip"]))
        raise DataError(f"the given plan and the dataset differ in {len(odd)} clips of {section.id}, first {odd[0]}.")
    if rows["attenuation"].nunique() != 1:
        raise DataError(f"the given plan has several attenuations in {section.id}; a section has one.")
    for number in range(1, MAX_LAYERS + 1):
        for kind, clip in set(zip(rows[f"noise_{number}_kind"], rows[f"noise_{number}_clip"], strict=True)):
            if kind and (kind not in tables or clip not in set(tables[kind]["noise_clip"])):
                raise DataError(
                    f"the given plan names noise clip {clip} of kind {kind} in {section.id}, which the given noise "
                    "does not have."
                )
    ordered = rows.set_index("clip").loc[clips["clip"]].reset_index()[list(rows.columns)]
    # The plan says how to mix, the release where the clips lie. Both tables are indexed by row.
    ordered[ARCHIVE_MEMBER] = clips[ARCHIVE_MEMBER]
    return ordered


def _shard_tasks(
    inputs: Inputs,
    decision: Decision,
    section: Section,
    plan: pd.DataFrame,
    clip_levels: pd.DataFrame,
    banks: dict[str, NoiseBank],
    inflated: InflatedMembers,
) -> list[ShardTask]:
    """The section's shards, each with all it needs."""
    is_training = (inputs.clips(section)["split"] == "train").tolist()
    clips = _clip_tasks(inputs, plan, clip_levels, banks, is_training)
    return [
        ShardTask(
            staging=decision.staging,
            journal=decision.journal,
            section=section.section_id.group,
            start=start,
            n_clips=len(clips),
            audio=inputs.audio(section),
            form=inputs.clip_format(section),
            a=float(clip_levels["power"].mean()),
            attenuation=float(plan["attenuation"].iloc[0]),
            features=inputs.variant.features,
            clips=tuple(clips[start : start + SHARD_CLIPS]),
            inflated=inflated,
        )
        for start in range(0, len(clips), SHARD_CLIPS)
    ]


def _clip_tasks(
    inputs: Inputs,
    plan: pd.DataFrame,
    clip_levels: pd.DataFrame,
    banks: dict[str, NoiseBank],
    is_training: list[bool],
) -> list[ClipTask]:
    """A task for every row of the plan, in its order."""
    tasks = []
    columns = (clip_levels["power"].tolist(), clip_levels["peak"].tolist(), is_training)
    names = [*ARCHIVE_MEMBER, *(name for name in plan.columns if name.startswith("noise_"))]
    for row, power, peak, trains in zip(records(plan, *names), *columns, strict=True):
        layers = tuple(
            (banks[kind].path, banks[kind].rows[row[f"noise_{number}_clip"]], row[f"noise_{number}_gain"])
            for number in range(1, MAX_LAYERS + 1)
            if (kind := row[f"noise_{number}_kind"])
        )
        level = None if math.isnan(power) else (power, peak)  # None: measured when the clip is rendered
        tasks.append(ClipTask(inputs.release.archives[row["archive"]], row["member"], layers, level, trains))
    return tasks
