"""Verifying: a finished store, every byte against its digest and, deep, all clips and tables made anew; and archives.

An archive that was verified once is used from then on as long as its size and time of change are the same; here it is
read again, whole, and held against its checksum: bit rot changes neither.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from mimiidg_build.build.decision import Decision
from mimiidg_build.build.inputs import Inputs, read_inputs
from mimiidg_build.build.planning import batches, plan_sections
from mimiidg_build.build.publish import tables
from mimiidg_build.build.render import ShardTask, render_unwritten
from mimiidg_build.build.sections import RenderedSection, finished_section
from mimiidg_build.datasets.findings import ERROR_KINDS
from mimiidg_build.datasets.noise_choice import refuse_unused_kinds, with_stated_rest
from mimiidg_build.datasets.recorded_truth import truth_of_clips
from mimiidg_build.datasets.synthetic import is_synthetic, parse_name
from mimiidg_build.datasets.truth import Truth
from mimiidg_build.datasets.variant import with_noise
from mimiidg_build.errors import DataError, FetchError, counted
from mimiidg_build.fetch.archives import archive_checksums, archive_path
from mimiidg_build.fetch.dataset import fetch_dataset
from mimiidg_build.fetch.transfer import hash_file
from mimiidg_build.parallel.runner import Runner, runner
from mimiidg_build.progress import OnProgress, OnTransfer, Reporter, no_progress
from mimiidg_build.schemas.manifests import DatasetManifest
from mimiidg_build.schemas.stores import RenderedShard
from mimiidg_build.storage.places import Place, place
from mimiidg_build.store.damage import verify_objects
from mimiidg_build.store.store import Store
from mimiidg_build.store.tables import read_table

Lists = Path | Sequence[Path]  # of truth: files, or folders of them
Noise = Mapping[str, str | Sequence[str]]  # where the noise of each kind is


def same_inputs(
    store: Store, root: Place, noise: Noise | None = None, truth: Lists | None = None
) -> tuple[Inputs, list[str]]:
    """What a store was built from, read anew, and one line for every section whose inputs have changed.

    Parameters
    ----------
    store : Store
    root : Place
    noise : mapping of kind to path or paths, optional
        Where noise is now that was moved.
    truth : path or paths, optional
        The truth lists that the store was built with; what its own clip table says by default.

    Raises
    ------
    DataError, FetchError, UsageError
        The archives or the noise are missing; noise is given that the store does not hold; or it was built from a
        generation of the synthetic release that is no longer made.
    """
    _refuse_another_generation(store)
    refuse_unused_kinds(noise or (), store.attributes.provenance.noise, "--noise", "section of the store")
    variant = with_noise(with_stated_rest(store.attributes.variant), noise or {}, "--noise")
    told = _recorded_truth(store) if truth is None else truth
    # the store may have been built with any error allowed: whether the data are the same is for fingerprints to tell
    inputs = read_inputs(variant, root, truth=told, allow=ERROR_KINDS)
    why = "".join(f"; {line}" for line in [*_changed_noise(store, inputs), *_untold(inputs)])
    return inputs, [
        f"{section_id}: its inputs changed since it was built (archives, noise, settings or program version){why}"
        for section_id, section in store.sections.items()
        if inputs.fingerprints.get(section_id) != section.fingerprint
    ]


def _refuse_another_generation(store: Store) -> None:
    """Only the present generation of the synthetic release can be made again, and with it what was built from it."""
    if not is_synthetic(store.attributes.dataset):
        return
    made = parse_name(store.attributes.dataset).record_id
    held = sorted({key.split("/")[0] for key in store.attributes.provenance.archives} - {made})
    if held:
        raise DataError(
            f"{store.path} was built from another generation of the synthetic release ({', '.join(held)}), whose "
            f"recordings this version does not make: it makes {made}. So its clips cannot be rendered anew. "
            "`mimiidg verify` without --deep reads every byte; build the variant again for the present generation."
        )


def _recorded_truth(store: Store) -> Truth:
    """What the store's clip table says of clips; nothing where the table is damaged."""
    try:
        return truth_of_clips(store.clips)
    except DataError:
        return Truth()


def _untold(inputs: Inputs) -> list[str]:
    """What to do where clips have no condition because nobody gave their truth."""
    n_clips = int((inputs.release.clips["condition"] == "").sum())
    told = f"{n_clips} clips hide their condition: give the truth lists that it was built with (--truth FOLDER)"
    return [told] if n_clips else []


def _changed_noise(store: Store, inputs: Inputs) -> list[str]:
    """One line for every noise kind whose recordings are not those that the store was mixed with."""
    lines = []
    for kind, recorded in store.attributes.provenance.noise.items():
        found = {r.name: r.digest for r in inputs.noise[kind].recordings} if kind in inputs.noise else {}
        odd = sorted(name for name in recorded.keys() | found.keys() if recorded.get(name) != found.get(name))
        if odd:
            what = "is missing" if odd[0] not in found else "is new" if odd[0] not in recorded else "has other content"
            lines.append(f"noise kind {kind}: {len(odd)} of {len(recorded)} recordings differ, first {odd[0]}: {what}")
    return lines


def verify_store(
    store: Store,
    root: str | Place | None = None,
    *,
    deep: bool = False,
    run: Runner | None = None,
    reporter: Reporter | None = None,
    noise: Noise | None = None,
    truth: Lists | None = None,
) -> list[str]:
    """Compare every file of a store with its recorded digest and, deep, render every clip anew.

    Parameters
    ----------
    store : Store
    root : str or Place, optional
        Where archives and noise are, for a deep verification; the root that the store lies under by default.
    deep : bool
        Whether to render every clip anew from the archives and compare.
    run : Runner, optional
        Where clips are rendered; threads by default.
    reporter : Reporter, optional
        Shows progress.
    noise : mapping of kind to path or paths, optional
        Where noise is now that was moved since the build, for a deep verification.
    truth : path or paths, optional
        The truth lists that the store was built with, for a deep verification; what its clip table says by default.

    Returns
    -------
    list of str
        One line for everything that is damaged, missing, foreign or different; empty if the store is whole.

    Raises
    ------
    DataError, FetchError, UsageError
        The archives or the noise are missing.
    """
    reporter = reporter or Reporter()
    problems = verify_objects(store, reporter.step("verify", store.attributes.size_bytes, "bytes"))
    if deep:
        at = store.root if root is None else place(root)
        n_clips = sum(section.n_clips for section in store.sections.values())
        problems += render_again(store, at, run or runner(), reporter.step("render", n_clips), noise, truth)
    return problems


def render_again(
    store: Store,
    root: Place,
    run: Runner,
    on_progress: OnProgress = no_progress,
    noise: Noise | None = None,
    truth: Lists | None = None,
) -> list[str]:
    """Plan and render the store's variant anew from the archives and noise, and compare with what is stored.

    Parameters
    ----------
    store : Store
    root : Place
        Where archives and noise are.
    run : Runner
    on_progress : OnProgress
        Called with the number of clips that are compared.
    noise : mapping of kind to path or paths, optional
        Where noise is now that was moved.
    truth : path or paths, optional
        The truth lists that the store was built with; what its own clip table says by default.

    Returns
    -------
    list of str
        One line for everything that differs; empty if every byte comes out the same.

    Raises
    ------
    DataError, FetchError, UsageError
        The archives or the noise are missing.
    """
    inputs, changed = same_inputs(store, root, noise, truth)
    if changed:
        return changed
    unused = Decision(store.fingerprint, None, store.path, store.path)  # the tasks' paths are not written to here
    planned = plan_sections(inputs, unused, root, run)
    problems: list[str] = []
    sections: dict[str, RenderedSection] = {}
    for batch in batches(planned):
        # without the levels that are known: the cache that they are from may be what is wrong
        tasks = [[(_unmeasured(task),) for task in section.tasks()] for section in batch]
        flat = [task for own in tasks for task in own]
        results = iter(run(render_unwritten, flat, lambda shard: on_progress(len(shard.n_saturated))))
        for section, own in zip(batch, tasks, strict=True):
            shards = [next(results) for _ in own]
            problems += _other_bytes(store, shards)
            sections[section.section.id] = finished_section(inputs, section, shards)
    return problems + _compare_tables(store, sections)


def _other_bytes(store: Store, shards: Sequence[RenderedShard]) -> list[str]:
    """One line for every file of some shards that was rendered to other bytes than the store has."""
    return [
        f"{rendered.path}: renders to other bytes than are recorded"
        for shard in shards
        for rendered in shard.objects
        if (recorded := store.attributes.objects.get(rendered.path)) is None or recorded.blake3 != rendered.blake3
    ]


def _unmeasured(task: ShardTask) -> ShardTask:
    return replace(task, clips=tuple(replace(clip, level=None) for clip in task.clips))


def _compare_tables(store: Store, sections: dict[str, RenderedSection]) -> list[str]:
    """One line for each table, and for each section's summary, that comes out otherwise than it is stored."""
    problems = []
    for name, content in tables(sections).items():
        try:
            stored = read_table(store.recorded, name)
        except DataError:
            continue  # its digest has told
        made = pd.read_parquet(io.BytesIO(content))
        if not made.equals(stored):
            problems.append(f"{name}: {_first_difference(stored, made)}")
    problems += [
        f"zarr.json: its summary of {section_id} does not come out"
        for section_id, section in sections.items()
        if store.sections[section_id] != section.summary
    ]
    return problems


def _first_difference(stored: pd.DataFrame, made: pd.DataFrame) -> str:
    """Where a table that was made anew differs from the stored one.

    >>> _first_difference(pd.DataFrame({"clip": ["a"], "power": [0.5]}), pd.DataFrame({"clip": ["a"], "power": [0.25]}))
    'comes out otherwise in 1 row, first clip a: power is 0.5, made anew 0.25'
    """
    if list(stored.columns) != list(made.columns) or len(stored) != len(made):
        return f"{len(stored)} rows of {len(stored.columns)} columns, made anew {len(made)} of {len(made.columns)}"
    is_same = (stored == made) | (stored.isna() & made.isna())
    rows = np.flatnonzero(~is_same.all(axis=1))
    if not len(rows):
        return "its columns have other types than those that are made anew"
    first = int(rows[0])
    column = stored.columns[~is_same.iloc[first]][0]
    return (
        f"comes out otherwise in {counted(len(rows), 'row')}, first clip {made['clip'].iloc[first]}: "
        f"{column} is {stored[column].iloc[first]}, made anew {made[column].iloc[first]}"
    )


def damaged_archives(dataset: DatasetManifest, root: Place, on_progress: OnTransfer | None = None) -> dict[str, str]:
    """Read every archive of a dataset that was fetched, and compare it with its checksum.

    Parameters
    ----------
    dataset : DatasetManifest
    root : Place
    on_progress : OnTransfer, optional
        Called as each archive is read.

    Returns
    -------
    dict of ``<record id>/<file name>`` to what is wrong with it
        Empty if all are whole.

    Raises
    ------
    FetchError
        None was fetched.
    """
    damage, n_found = {}, 0
    for record in dataset.records:
        checksums = archive_checksums(record, root)
        for file in record.files:
            path, expected = archive_path(root, record.id, file.name), file.md5 or checksums.get(file.name)
            if not path.is_file():
                if file.name in checksums:
                    damage[f"{record.id}/{file.name}"] = "missing, and it was fetched: fetch it again, or with --repair"
                continue
            n_found += 1
            if expected is None:
                damage[f"{record.id}/{file.name}"] = f"never verified; run `mimiidg fetch {dataset.name}`"
            elif (found := hash_file(path, on_progress)) != expected:
                damage[f"{record.id}/{file.name}"] = f"md5 {found}, expected {expected}: bit rot, or it was changed"
    if not n_found and not damage:
        raise FetchError(f"no archive of {dataset.name} is under {root}. Fetch them: mimiidg fetch {dataset.name}")
    return damage


def replace_archives(dataset: DatasetManifest, root: Place, keys: list[str], reporter: Reporter) -> None:
    """Fetch damaged or missing archives again, and only them. An old one is replaced once the new one is whole.

    Parameters
    ----------
    dataset : DatasetManifest
    root : Place
    keys : list of str
        ``<record id>/<file name>`` of each.
    reporter : Reporter
        Shows the transfers.

    Raises
    ------
    FetchError
        They cannot be had; the old ones are as they were.
    """
    fetch_dataset(dataset, root, names=[key.split("/", 1)[1] for key in keys], again=keys, reporter=reporter)
