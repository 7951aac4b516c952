"""A release as read: which archives hold what, the clip table, and what validation found.

Nothing is fetched and nothing unpacked here: :mod:`mimiidg_build.fetch` says where verified archives lie.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from mimiidg_build.audio.archive import Archive, open_archive
from mimiidg_build.datasets.clip_table.build import build_clip_table
from mimiidg_build.datasets.clip_table.clips import Reading
from mimiidg_build.datasets.layouts import LAYOUTS, layout_of
from mimiidg_build.datasets.manifest import load_dataset, recipe_of
from mimiidg_build.datasets.noise_choice import possible_sources
from mimiidg_build.datasets.stated import check_stated
from mimiidg_build.datasets.stated_audio import check_audio
from mimiidg_build.datasets.truth import Truth
from mimiidg_build.errors import DataError, UsageError, did_you_mean, shown
from mimiidg_build.schemas.manifests import DatasetManifest, Record
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.storage.places import Place

# All tables of a release are in memory at once, and every line as a row or a finding: 250,000 of them take 0.5 GB.
# MIMII DG has 30 tables of at most 1,200 lines of 100 bytes. Of archives with more files there may be as many more:
# a file costs its entry in the zip's directory, which is read before, so that this is no way to a large table.
MAX_TABLE_BYTES = 16 * 2**20
MAX_TABLES_BYTES = 64 * 2**20
MAX_TABLES_LINES = 250_000
MAX_FILE_BYTES, MAX_FILE_LINES = 256, 2  # of tables, for each file of the archives


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
    reading, _ = _read_layout(dataset, {key: archives[key] for key in needed}, Truth())
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

    @cached_property
    def sections(self) -> list[SectionId]:
        """Every section that has clips, in clip-table order."""
        return list(dict.fromkeys(map(SectionId, self.clips["machine_type"], self.clips["section"])))


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
    reading, members = _read_layout(dataset, paths, Truth() if truth is None else truth)
    found = reading.read_clips()
    reading.findings += [*check_audio(dataset, found, members, paths), *check_stated(dataset, archives, found)]
    clips, findings = build_clip_table(reading, recipe_of(dataset), dataset.counts)
    # demoted, not dropped: what was allowed is still reported
    findings["severity"] = findings["severity"].mask(findings["kind"].isin(list(allow)), "warning")
    return Release(dataset, paths, {key: verified.md5 for key, verified in archives.items()}, clips, findings)


def _read_layout(
    dataset: DatasetManifest, archives: Mapping[str, Place], truth: Truth
) -> tuple[Reading, dict[str, Mapping[str, int]]]:
    """What a dataset's layout reads of its archives, and the sizes of their members."""
    layout = layout_of(dataset)
    members: dict[str, Mapping[str, int]] = {}
    tables: dict[tuple[str, str], bytes] = {}
    total = _Tables()
    for key, path in archives.items():
        archive = open_archive(path)
        # sizes are the zip directory's: nothing is unpacked for them
        members[key] = {name: info.size_bytes for name, info in archive.members.items()}
        names = [name for name in archive.members if layout.is_attribute_table(name)]
        tables |= {(key, name): data for name, data in total.read(archive, names).items()}
    return layout.read_clips(dataset, members, tables, truth), members


@dataclass
class _Tables:
    """What has been read of a release's attribute tables, and of how many files: never more than it can have."""

    n_bytes: int = 0
    n_lines: int = 0
    n_files: int = 0

    def read(self, archive: Archive, names: Sequence[str]) -> dict[str, bytes]:
        """An archive's tables. What is declared is checked before any of it is inflated, and `Archive.read` inflates
        no more than that."""
        self.n_files += len(archive.members)
        max_bytes = max(MAX_TABLES_BYTES, MAX_FILE_BYTES * self.n_files)
        max_lines = max(MAX_TABLES_LINES, MAX_FILE_LINES * self.n_files)
        for name in names:
            declared = archive.members[name].size_bytes
            self.n_bytes += declared
            if declared > MAX_TABLE_BYTES or self.n_bytes > max_bytes:
                found = f"{declared:,} bytes, all tables up to it {self.n_bytes:,}"
                raise _too_large(archive, name, found, max_bytes, max_lines)
        tables = {}
        for name in names:
            tables[name] = archive.read(name)
            n_lines = _count_lines(tables[name])
            self.n_lines += n_lines
            if self.n_lines > max_lines:
                found = f"{n_lines:,} lines, all tables up to it {self.n_lines:,}"
                raise _too_large(archive, name, found, max_bytes, max_lines)
        return tables


def _too_large(archive: Archive, name: str, found: str, max_bytes: int, max_lines: int) -> DataError:
    return DataError(
        f"{archive.path}: the attribute table {name!r} has {found}. Expected one short line a clip: at most "
        f"{MAX_TABLE_BYTES:,} bytes a table, {max_bytes:,} bytes and {max_lines:,} lines in all of a "
        "release's. Likely it is another file under a table's name."
    )


def _count_lines(data: bytes) -> int:
    """Line ends, either sort: no fewer than lines."""
    return data.count(b"\n") + data.count(b"\r") + 1
