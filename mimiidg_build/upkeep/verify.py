"""Verifying: a finished store, every byte against its digest and, deep, every clip rendered anew; and archives.

An archive that was verified once is used from then on as long as its size and time of change are the same; here it is
read again, whole, and held against its checksum: bit rot changes neither.
"""

from __future__ import annotations

import pandas as pd

from mimiidg_build.build.decision import decide
from mimiidg_build.build.inputs import Inputs, read_inputs
from mimiidg_build.build.planning import plan_sections
from mimiidg_build.build.render import render_unwritten
from mimiidg_build.errors import FetchError
from mimiidg_build.fetch.archives import archive_checksums, archive_path
from mimiidg_build.fetch.dataset import fetch_dataset
from mimiidg_build.fetch.transfer import hash_file
from mimiidg_build.parallel.runner import Runner, runner
from mimiidg_build.progress import OnProgress, OnTransfer, Reporter, no_progress
from mimiidg_build.schemas.manifests import DatasetManifest
from mimiidg_build.storage.places import Place, move, place
from mimiidg_build.store.damage import verify_objects
from mimiidg_build.store.store import Store


def same_inputs(store: Store, root: Place) -> tuple[Inputs, list[str]]:
    """What a store was built from, read anew, and one line for every section whose inputs have changed.

    Raises
    ------
    DataError, FetchError, UsageError
        The archives or the noise are missing.
    """
    inputs = read_inputs(store.attributes.variant, root)
    return inputs, [
        f"{section_id}: its inputs changed since it was built (archives, noise, settings or program version)"
        for section_id, section in store.sections.items()
        if inputs.fingerprints.get(section_id) != section.fingerprint
    ]


def verify_store(
    store: Store,
    root: str | Place | None = None,
    *,
    deep: bool = False,
    run: Runner | None = None,
    reporter: Reporter | None = None,
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
        problems += render_again(store, at, run or runner(), reporter.step("render", len(store.clips)))
    return problems


def render_again(store: Store, root: Place, run: Runner, on_progress: OnProgress = no_progress) -> list[str]:
    """Plan and render the store's variant anew from the archives and noise, and compare with what is stored.

    Parameters
    ----------
    store : Store
    root : Place
        Where archives and noise are.
    run : Runner
    on_progress : OnProgress
        Called with the number of clips that are compared.

    Returns
    -------
    list of str
        One line for everything that differs; empty if every byte comes out the same.

    Raises
    ------
    DataError, FetchError, UsageError
        The archives or the noise are missing.
    """
    inputs, changed = same_inputs(store, root)
    if changed:
        return changed
    planned = plan_sections(inputs, decide(inputs, root), root, run)  # the tasks' paths are not written to here
    plan = pd.concat([section.plan for section in planned], ignore_index=True)
    problems = [] if plan.equals(store.mix_plan) else ["mix_plan.parquet: the plan comes out otherwise"]
    tasks = [(task,) for section in planned for task in section.tasks]
    for result in run(render_unwritten, tasks, lambda result: on_progress(len(result.n_saturated))):
        for rendered in result.objects:
            if store.attributes.objects[rendered.path].blake3 != rendered.blake3:
                problems.append(f"{rendered.path}: renders to other bytes than are recorded")
    return problems


def damaged_archives(dataset: DatasetManifest, root: Place, on_progress: OnTransfer | None = None) -> dict[str, str]:
    """Read every archive of a dataset that is there, and compare it with its checksum.

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
        None is there.
    """
    damage, n_found = {}, 0
    for record in dataset.records:
        checksums = archive_checksums(record, root)
        for file in record.files:
            path, expected = archive_path(root, record.id, file.name), file.md5 or checksums.get(file.name)
            if not path.is_file():
                continue
            n_found += 1
            if expected is None:
                damage[f"{record.id}/{file.name}"] = f"never verified; run `mimiidg fetch {dataset.name}`"
            elif (found := hash_file(path, on_progress)) != expected:
                damage[f"{record.id}/{file.name}"] = f"md5 {found}, expected {expected}: bit rot, or it was changed"
    if not n_found:
        raise FetchError(f"no archive of {dataset.name} is under {root}. Fetch them: mimiidg fetch {dataset.name}")
    return damage


def replace_archives(dataset: DatasetManifest, root: Place, keys: list[str], reporter: Reporter) -> None:
    """Fetch damaged archives again, and only them. Until the new one is there, the old one is set aside.

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
        They cannot be had; the old ones are where they were.
    """
    aside = {path: path.with_name(f"{path.name}.damaged") for path in (root / "archives" / key for key in keys)}
    for path, kept in aside.items():
        move(path, kept)
    try:
        fetch_dataset(dataset, root, names=[key.split("/", 1)[1] for key in keys], reporter=reporter)
    finally:  # after Ctrl-C, too: an archive that could not be replaced gets its name back
        for path, kept in aside.items():
            if path.exists():
                kept.unlink()
            else:
                move(kept, path)
