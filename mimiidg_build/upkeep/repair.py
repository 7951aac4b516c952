"""Repairing a finished store: what is damaged is made again, compared with its recorded digest, and put in place.

The metadata has a copy. Everything else is a pure function of archives and noise, so the damaged shards (and only they)
are rendered again into a partial store beside, and an object is taken from there only if it has the very digest that
was recorded: a repair gives back the bytes that were lost, or says why it cannot.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import PurePosixPath

from blake3 import blake3

from mimiidg_build.build.decision import Decision
from mimiidg_build.build.inputs import Inputs
from mimiidg_build.build.metadata import array_metadata
from mimiidg_build.build.planning import PlannedSection, plan_sections
from mimiidg_build.build.publish import open_staging, tables
from mimiidg_build.build.render import render_shard, render_unwritten
from mimiidg_build.build.sections import finished_section
from mimiidg_build.errors import DataError
from mimiidg_build.parallel.runner import Runner, runner
from mimiidg_build.progress import Reporter
from mimiidg_build.schemas.stores import RenderedShard
from mimiidg_build.storage.files import hash_object, write_file, write_object
from mimiidg_build.storage.locks import locked_variant
from mimiidg_build.storage.places import Place, file_sizes, is_local, local, move, place, remove_tree
from mimiidg_build.store.croissant import CROISSANT, store_description
from mimiidg_build.store.damage import FOREIGN, find_damage
from mimiidg_build.store.metadata import METADATA, METADATA_COPY, is_sealed
from mimiidg_build.store.store import Store, open_store
from mimiidg_build.store.tables import CLIPS, MIX_PLAN
from mimiidg_build.upkeep.verify import Lists, Noise, same_inputs

TABLES = (CLIPS, MIX_PLAN)


def restore_metadata(path: Place) -> list[str]:
    """Make a store's metadata and its copy whole from each other; what was restored.

    Raises
    ------
    DataError
        Neither is whole.
    """
    names = (METADATA, METADATA_COPY)
    contents = {name: (path / name).read_bytes() if (path / name).is_file() else b"" for name in names}
    whole = [name for name in names if is_sealed(contents[name])]
    if not whole:
        raise DataError(
            f"{path}: neither {METADATA} nor {METADATA_COPY} is intact, so there is no record of what the store held. "
            "Remove the store and build its variant again."
        )
    restored = [name for name in names if contents[name] != contents[whole[0]]]
    for name in restored:
        write_file(path / name, [contents[whole[0]]])
    return restored


def repair_store(
    path: str | Place,
    root: str | Place,
    run: Runner | None = None,
    reporter: Reporter | None = None,
    noise: Noise | None = None,
    truth: Lists | None = None,
) -> list[str]:
    """Make what is damaged in a store anew.

    Parameters
    ----------
    path : str or Place
        The store: ``<fingerprint>.zarr``.
    root : str or Place
        Where archives and noise are.
    run : Runner, optional
        Where shards are rendered; threads by default.
    reporter : Reporter, optional
        Shows progress.
    noise : mapping of kind to path or paths, optional
        Where noise is now that was moved since the build.
    truth : path or paths, optional
        The truth lists that the store was built with; what its clip table says by default, which may be damaged.

    Returns
    -------
    list of str
        What was restored. What was not, ``find_damage`` still names: files that are no part of the store, and what
        comes out in other bytes than were recorded, as a table does with another pyarrow.

    Raises
    ------
    DataError, FetchError, UsageError
        The archives or the noise are not what the store was built from, or are damaged themselves.
    """
    path, root, run, reporter = place(path), place(root), run or runner(), reporter or Reporter()
    with locked_variant(path.parent, f"a build of {path.parent.name} is running; waiting for it"):
        restored = restore_metadata(path)
        store = open_store(path, check=False)
        for name in file_sizes(path):  # an interrupted repair's, which would be reported as foreign
            if name.endswith(".partial"):
                (path / name).unlink()
        size_bytes = store.attributes.size_bytes
        found = find_damage(store, reporter.step("verify", size_bytes, "bytes"))
        damaged = {name for name, what in found.items() if what != FOREIGN}
        # Named here, not by `staging`: in a bucket that is the store itself.
        beside = Decision(store.fingerprint, None, path.with_suffix(".zarr.partial"), path.with_suffix(".journal"))
        if damaged:
            _refuse_links(path, damaged)
            restored += _restore(store, root, beside, damaged, run, reporter, noise, truth)
        remove_tree(beside.staging)  # also without damage: an interrupted run may have left it
        remove_tree(beside.journal)
        return restored


def _refuse_links(path: Place, names: Collection[str]) -> None:
    """Refuse to write through a folder that is a link: what it leads to is not the store's.

    Raises
    ------
    DataError
        One of the files lies below such a folder.
    """
    for folder in sorted({path / parent for name in names for parent in PurePosixPath(name).parents}):
        if is_local(folder) and folder != path and local(folder).is_symlink():
            raise DataError(
                f"{folder} is a link to {local(folder).resolve()}, outside of what the store may write to. Replace the "
                "link by the folder that it leads to, then repair again."
            )


def _restore(
    store: Store,
    root: Place,
    decision: Decision,
    damaged: set[str],
    run: Runner,
    reporter: Reporter,
    noise: Noise | None,
    truth: Lists | None,
) -> list[str]:
    """Make the damaged objects in a partial store and put in place those that come out as recorded; their names."""
    inputs, changed = same_inputs(store, root, noise, truth)
    if changed:
        raise DataError(f"{store.path} cannot be repaired:\n" + "\n".join(changed))
    planned = plan_sections(inputs, decision, root, run)
    open_staging(decision)
    shapes = {s.section.id: (len(s.clips), inputs.audio(s.section)) for s in planned}
    for described in (True, False):  # stores of version 0.1.0 have arrays without attributes
        for name, content in array_metadata(shapes, inputs.variant.features, described=described).items():
            if name in damaged and blake3(content).hexdigest() == store.attributes.objects[name].blake3:
                write_object(decision.staging, name, content)
    _render(inputs, decision, planned, damaged, run, reporter)
    restored = []
    # the description last: the tables' digests stand in it
    for name in sorted(damaged, key=lambda name: (name == CROISSANT, name)):
        if name == CROISSANT:
            _describe(store, decision)
        made, recorded = decision.staging / name, store.attributes.objects[name].blake3
        if made.is_file() and hash_object(decision.staging, name).blake3 == recorded:
            move(made, store.path / name)
            restored.append(name)
    return restored


def _describe(store: Store, decision: Decision) -> None:
    """The store's description into the partial store, unless a table that it tells of could not be restored."""
    with contextlib.suppress(DataError):
        contents = {name: store.recorded.read(name) for name in TABLES}
        write_object(decision.staging, CROISSANT, store_description(store.attributes, contents))


def _render(
    inputs: Inputs,
    decision: Decision,
    planned: list[PlannedSection],
    damaged: set[str],
    run: Runner,
    reporter: Reporter,
) -> None:
    """Damaged shards into the partial store; the tables too, for which every clip's measured SNR must be known."""
    with_tables = not damaged.isdisjoint(TABLES)
    tasks = [task for section in planned for task in section.tasks()]
    wanted = [task for task in tasks if not damaged.isdisjoint(task.objects)]
    rest = [task for task in tasks if with_tables and task not in wanted]
    on_progress = reporter.step("repair", sum(len(task.clips) for task in wanted + rest))
    results: dict[tuple[str, int], RenderedShard] = {}
    for function, some in ((render_shard, wanted), (render_unwritten, rest)):
        for result in run(function, [(task,) for task in some], lambda result: on_progress(len(result.n_saturated))):
            results[result.section, result.start] = result
    if with_tables:
        rendered = {}
        for section in planned:
            shards = [results[task.section, task.start] for task in section.tasks()]
            rendered[section.section.id] = finished_section(inputs, section, shards)
        for name, content in tables(rendered).items():
            write_object(decision.staging, name, content)
