"""A release as read: which archives hold what, the clip table, and what validation found.

Nothing is fetched and nothing unpacked here: :mod:`mimiidg_build.fetch` says where verified archives lie.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimiidg_build.audio.archive import open_archive
from mimiidg_build.datasets.clip_table.build import build_clip_table
from mimiidg_build.datasets.layouts import LAYOUTS, layout_of
from mimiidg_build.datasets.manifest import load_dataset, recipe_of
from mimiidg_build.datasets.noise_choice import possible_sources
from mimiidg_build.datasets.rows import joined
from mimiidg_build.datasets.stated import check_stated
from mimiidg_build.datasets.stated_audio import check_audio
from mimiidg_build.datasets.table_bytes import TablesRead
from mimiidg_build.datasets.truth import Truth
from mimiidg_build.errors import UsageError, counted, did_you_mean, shown
from mimiidg_build.schemas.manifests import DatasetManifest, Record
from mimiidg_build.schemas.sections import SectionId, rows_by_section
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.storage.places import Place

# Files of a release that is read at once. While they are read, clips are objects of 2.5 KB each, and rows of the clip
# table of 0.3 KB afterwards: of a million, read machine type by machine type, objects take 30 MB in place of 2.7 GB.
AT_ONCE = 100_000


class VerifiedArchive(NamedTuple):
    """An archive on disk whose bytes were seen to be the published ones."""

    path: Place
    md5: str


def clip_archives(
    dataset: DatasetManifest, wants: Callable[[str], bool] = lambda machine: True, choices: Collection[str] = ()
) -> list[tuple[Record, str]]:
    """(record, file name) of every archive that holds clips of a wanted machine type and section.

    Parameters
    ----------
    dataset : DatasetManifest
    wants : callable
        Which machine types.
    choices : collection of str
        Only these machine types and sections, as ``"fan"`` or ``"fan/00"``; all by default. An archive is left out
        where its record states which sections it holds, and none of them is wanted.

    Raises
    ------
    UsageError
        The dataset has a layout that no module reads.
    """
    layout = layout_of(dataset)
    return [
        (record, file.name)
        for record in dataset.records
        for file in record.files
        if (machine := layout.machine_type_of(dataset, file.name))
        and wants(machine)
        and _holds(machine, record.sections_of(machine), choices)
    ]


def _holds(machine_type: str, sections: Collection[str], choices: Collection[str]) -> bool:
    """Whether an archive of a machine type holds something that is chosen; ``sections`` are empty where unknown.

    >>> _holds("fan", ["00", "01"], ["fan/03", "valve"]), _holds("fan", [], ["fan/03"]), _holds("fan", ["00"], ["fan"])
    (False, True, True)
    """
    if not choices or machine_type in choices:
        return True
    chosen = [choice.partition("/")[2] for choice in choices if choice.partition("/")[0] == machine_type]
    return bool(chosen if not sections else set(chosen) & set(sections))


def check_choices(dataset: DatasetManifest, choices: Collection[str]) -> None:
    """Refuse machine types and sections that a dataset does not have, as far as its manifest tells.

    Raises
    ------
    UsageError
        The message lists those that it has.
    """
    check_machine_types(dataset, [choice.partition("/")[0] for choice in choices])
    for machine_type, _, section in (choice.partition("/") for choice in choices):
        known = list(
            dict.fromkeys(name for record, _ in clip_archives(dataset) for name in record.sections_of(machine_type))
        )
        if section and known and section not in known:
            raise UsageError(
                f"{dataset.name} has no section {shown(section)} of {machine_type}.{did_you_mean(section, known)} It "
                f"has {', '.join(known)}."
            )


def machine_types(dataset: DatasetManifest) -> list[str]:
    """The machine types that a dataset has clips of, as its archives' names say.

    Raises
    ------
    UsageError
        The dataset has a layout that no module reads.
    """
    layout = layout_of(dataset)
    found = (layout.machine_type_of(dataset, name) for _, name in clip_archives(dataset))
    return list(dict.fromkeys(filter(None, found)))


def held_sections(dataset: DatasetManifest, archives: Mapping[str, Place]) -> list[SectionId]:
    """The sections that a dataset is known to have: those of its archives if all are there, else those of its recipe.

    Parameters
    ----------
    dataset : DatasetManifest
    archives : mapping of ``<record id>/<file name>`` to Place
        Where its archives would be. Their directories and tables are read, no clip is.

    Returns
    -------
    list of SectionId
        Sorted; none where neither says it, as of a dataset that is yet to be fetched.

    Raises
    ------
    DataError
        An archive has no readable directory.
    """
    needed = [f"{record.id}/{name}" for record, name in clip_archives(dataset)] if dataset.layout in LAYOUTS else []
    if not needed or not all(key in archives and archives[key].is_file() for key in needed):
        return sorted({row.section_id for row in recipe_of(dataset).sections})
    members, tables = _read_archives(dataset, {key: archives[key] for key in needed})
    reading = layout_of(dataset).read_clips(dataset, members, tables, Truth())
    return sorted({clip.section_id for clip in reading.read_clips()})


def check_machine_types(dataset: DatasetManifest, chosen: Collection[str]) -> None:
    """Refuse machine types that a dataset does not have.

    Raises
    ------
    UsageError
        The message lists those that it has.
    """
    known = machine_types(dataset)
    for name in chosen:
        if name not in known:
            raise UsageError(
                f"{dataset.name} has no machine type {shown(name)}.{did_you_mean(name, known)} It has "
                f"{', '.join(known)}."
            )


def needed_archives(variant: Variant) -> dict[str, list[str]]:
    """Files to fetch for a variant, per dataset: its clips' archives, and archives that its noise comes from.

    A dataset is named as the variant names it: that of a user's is the path of its manifest.
    """
    dataset = load_dataset(variant.dataset)
    archives = clip_archives(dataset, variant.wants_machine_type, variant.sections)
    needed = {variant.dataset: [*(name for _, name in archives), *dataset.truth]}
    for source in possible_sources(variant, dataset):
        # noise from folders and zips of the user's is on disk already
        if source.dataset and source.file and source.file not in needed.setdefault(source.dataset, []):
            needed[source.dataset].append(source.file)
    return needed


def check_files(datasets: Collection[DatasetManifest], files: Collection[str]) -> None:
    """Refuse file names that none of the datasets has.

    Raises
    ------
    UsageError
        A name is not one of their files; the message lists those.
    """
    known = [file.name for dataset in datasets for record in dataset.records for file in record.files]
    unknown = [name for name in files if name not in known]
    if unknown:
        raise UsageError(
            f"no file is named {', '.join(unknown)}; there are {', '.join(dict.fromkeys(known))}."
            f"{did_you_mean(unknown[0], known)}"
        )


@dataclass(frozen=True)
class Release:
    """A dataset's archives as read: where they are, their checksums, the clip table and what validation found.

    ``archives`` and ``checksums`` are keyed ``<record id>/<file name>``, as the clip table's ``archive`` column.
    """

    dataset: DatasetManifest
    archives: dict[str, Place]
    checksums: dict[str, str]
    clips: pd.DataFrame
    findings: pd.DataFrame

    def __repr__(self) -> str:
        """A line."""
        parts = (self.clips, "clip"), (self.sections, "section"), (self.archives, "archive"), (self.findings, "finding")
        clips, sections, archives, findings = (counted(len(part), noun) for part, noun in parts)
        return f"<Release {self.dataset.name}: {clips} of {sections} in {archives}, {findings}>"

    @cached_property
    def sections(self) -> list[SectionId]:
        """Every section that has clips, in clip-table order."""
        return list(dict.fromkeys(map(SectionId, self.clips["machine_type"], self.clips["section"])))

    @cached_property
    def rows_by_section(self) -> dict[SectionId, npt.NDArray[np.intp]]:
        """The numbers of each section's rows of the clip table, ascending."""
        return rows_by_section(self.clips)


def read_release(
    dataset: DatasetManifest,
    archives: Mapping[str, VerifiedArchive],
    allow: Collection[str] = (),
    truth: Truth | None = None,
) -> Release:
    """Read and validate the archives of a dataset.

    Parameters
    ----------
    dataset : DatasetManifest
    archives : mapping of ``<record id>/<file name>`` to VerifiedArchive
        Those that hold the clips, or some of them.
    allow : collection of str
        Kinds of findings that are warnings rather than errors.
    truth : Truth, optional
        What lists beside the release say of clips whose names hide it.

    Returns
    -------
    Release

    Raises
    ------
    UsageError
        The dataset has a layout that no module reads, so it can be fetched only.
    DataError
        An archive is damaged, its members' names are not safe, or its attribute tables are larger than any release's.
    """
    paths = {key: verified.path for key, verified in archives.items()}
    parts = _read_parts(dataset, paths, Truth() if truth is None else truth)
    clips, findings = parts[0]
    if len(parts) > 1:
        clips = joined([clips for clips, _ in parts])
        findings = pd.concat([found for _, found in parts], ignore_index=True)
        findings = findings.drop_duplicates(ignore_index=True)  # of the dataset as a whole: every part has found them
    # demoted, not dropped: what was allowed is still reported
    findings["severity"] = findings["severity"].mask(findings["kind"].isin(list(allow)), "warning")
    return Release(dataset, paths, {key: verified.md5 for key, verified in archives.items()}, clips, findings)


def _read_parts(
    dataset: DatasetManifest, paths: Mapping[str, Place], truth: Truth
) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Clip tables and findings: of all archives together or, where they are many, of one machine type after the other.

    The archives' members are gone before the tables are joined: a million of them take 0.3 GB.
    """
    members, tables = _read_archives(dataset, paths)
    content = _Content(dataset, paths, members, tables, truth)
    groups = _machine_types(dataset, paths) if sum(map(len, members.values())) > AT_ONCE else [list(paths)]
    parts = [content.read(group) for group in groups]
    held = [set(clips["machine_type"]) for clips, _ in parts]
    if len(set().union(*held)) < sum(map(len, held)):  # an archive holds clips of another's machine type
        parts = [content.read(list(paths))]
    return parts


def _machine_types(dataset: DatasetManifest, archives: Collection[str]) -> list[list[str]]:
    """Archives by the machine type that they are named after, in the clip table's order."""
    layout, groups = layout_of(dataset), dict[str, list[str]]()
    for key in archives:
        groups.setdefault(layout.machine_type_of(dataset, key.rpartition("/")[2]) or "", []).append(key)
    return [groups[name] for name in sorted(groups)]


@dataclass(frozen=True)
class _Content:
    """What archives hold: the sizes of their members, and their attribute tables by (archive, member)."""

    dataset: DatasetManifest
    paths: Mapping[str, Place]
    members: Mapping[str, Mapping[str, int]]
    tables: Mapping[tuple[str, str], bytes]
    truth: Truth

    def read(self, archives: Collection[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The clip table of some of the archives, and what is wrong with them."""
        dataset, paths = self.dataset, {key: self.paths[key] for key in archives}
        members = {key: self.members[key] for key in archives}
        tables = {key: data for key, data in self.tables.items() if key[0] in paths}
        reading = layout_of(dataset).read_clips(dataset, members, tables, self.truth)
        found = reading.read_clips()
        reading.findings += [*check_audio(dataset, found, members, paths), *check_stated(dataset, paths, found)]
        return build_clip_table(reading, recipe_of(dataset), dataset.counts)


def _read_archives(
    dataset: DatasetManifest, archives: Mapping[str, Place]
) -> tuple[dict[str, Mapping[str, int]], dict[tuple[str, str], bytes]]:
    """The sizes of the archives' members, and the members that the dataset's layout reads."""
    layout = layout_of(dataset)
    members: dict[str, Mapping[str, int]] = {}
    tables: dict[tuple[str, str], bytes] = {}
    total = TablesRead()
    for key, path in archives.items():
        archive = open_archive(path)
        # sizes are the zip directory's: nothing is unpacked for them
        members[key] = {name: info.size_bytes for name, info in archive.members.items()}
        names = [name for name in archive.members if layout.is_attribute_table(name)]
        tables |= {(key, name): data for name, data in total.read(archive, names).items()}
    return members, tables
