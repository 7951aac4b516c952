"""A release as read: which archives hold what, the clip table, and what validation found.

Nothing is fetched and nothing unpacked here: :mod:`mimiidg_build.fetch` says where verified archives lie.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import NamedTuple

import pandas as pd

from mimiidg_build.audio.archive import Archive, open_archive
from mimiidg_build.datasets.clip_table.build import build_clip_table
from mimiidg_build.datasets.clip_table.sizes import check_sizes
from mimiidg_build.datasets.layouts import layout_of
from mimiidg_build.datasets.manifest import load_dataset, mixing_recipe, recipe_of
from mimiidg_build.datasets.noise_choice import noise_sources
from mimiidg_build.datasets.truth import Truth
from mimiidg_build.errors import DataError, UsageError, did_you_mean, shown
from mimiidg_build.schemas.manifests import DatasetManifest, Record
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.storage.places import Place

# All tables of a release are in memory at once, and every line as a row or a finding: 250,000 of them take 0.5 GB.
# MIMII DG has 30 tables of at most 1,200 lines of 100 bytes.
MAX_TABLE_BYTES = 16 * 2**20
MAX_TABLES_BYTES = 64 * 2**20
MAX_TABLES_LINES = 250_000


class VerifiedArchive(NamedTuple):
    """An archive on disk whose bytes were seen to be the published ones."""

    path: Place
    md5: str


def clip_archives(
    dataset: DatasetManifest, wants: Callable[[str], bool] = lambda machine: True
) -> list[tuple[Record, str]]:
    """(record, file name) of every archive that holds clips of a wanted machine type.

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
        if (machine := layout.machine_type_of(dataset, file.name)) and wants(machine)
    ]


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
    sections = [row for row in mixing_recipe(variant, dataset).sections if variant.wants(*row.section_id)]
    needed = {variant.dataset: [name for _, name in clip_archives(dataset, variant.wants_machine_type)]}
    sources = noise_sources(variant, dataset, sections) if variant.adds_noise else {}
    for source in chain.from_iterable(sources.values()):
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
    layout = layout_of(dataset)
    members: dict[str, Mapping[str, int]] = {}
    tables: dict[tuple[str, str], bytes] = {}
    for key, verified in archives.items():
        archive = open_archive(verified.path)
        # sizes are the zip directory's: nothing is unpacked for them
        members[key] = {name: info.size_bytes for name, info in archive.members.items()}
        names = [name for name in archive.members if layout.is_attribute_table(name)]
        tables |= {(key, name): data for name, data in _read_tables(archive, names, list(tables.values())).items()}
    reading = layout.read_clips(dataset, members, tables, Truth() if truth is None else truth)
    reading.findings += check_sizes(dataset, reading.read_clips(), members)
    clips, findings = build_clip_table(reading, recipe_of(dataset), dataset.counts)
    # demoted, not dropped: what was allowed is still reported
    findings["severity"] = findings["severity"].mask(findings["kind"].isin(list(allow)), "warning")
    paths = {key: verified.path for key, verified in archives.items()}
    return Release(dataset, paths, {key: verified.md5 for key, verified in archives.items()}, clips, findings)


def _read_tables(archive: Archive, names: Sequence[str], before: Sequence[bytes]) -> dict[str, bytes]:
    """The archive's attribute tables, unless they and those read before are more than a release can have.

    What is declared is checked before anything is inflated, and `Archive.read` inflates no more than that.
    """
    n_bytes = sum(map(len, before))
    for name in names:
        declared = archive.members[name].size_bytes
        n_bytes += declared
        if declared > MAX_TABLE_BYTES or n_bytes > MAX_TABLES_BYTES:
            raise _too_large(archive, name, f"{declared:,} bytes, all tables up to it {n_bytes:,}")
    n_lines = sum(map(_count_lines, before))
    tables = {}
    for name in names:
        tables[name] = archive.read(name)
        n_lines += _count_lines(tables[name])
        if n_lines > MAX_TABLES_LINES:
            raise _too_large(archive, name, f"{_count_lines(tables[name]):,} lines, all tables up to it {n_lines:,}")
    return tables


def _too_large(archive: Archive, name: str, found: str) -> DataError:
    return DataError(
        f"{archive.path}: the attribute table {name!r} has {found}. Expected one short line a clip: at most "
        f"{MAX_TABLE_BYTES:,} bytes a table, {MAX_TABLES_BYTES:,} bytes and {MAX_TABLES_LINES:,} lines in all of a "
        "release's. Likely it is another file under a table's name."
    )


def _count_lines(data: bytes) -> int:
    """Line ends, either sort: no fewer than lines."""
    return data.count(b"\n") + data.count(b"\r") + 1
