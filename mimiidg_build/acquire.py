"""A dataset's archives on disk: from Zenodo, or made here for a synthetic release; then read as a validated dataset.

A synthetic release is generated, served over local HTTP with Zenodo's record API, and fetched by the very code that
fetches the real records. Its served copy is deleted once every archive is verified.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from mimiidg_build import synthesis
from mimiidg_build.archive import open_archive
from mimiidg_build.clip_table import build_clip_table, is_attribute_table
from mimiidg_build.errors import DataError, FetchError, UsageError
from mimiidg_build.fetch import archive_checksums, archive_path, fetch_record
from mimiidg_build.manifest import default_noise, load_dataset, load_table1
from mimiidg_build.mix_plan import noise_kinds
from mimiidg_build.places import Place, local
from mimiidg_build.progress import Reporter
from schemas.manifests import MACHINE_TYPES, DatasetManifest, Record
from schemas.variants import Variant

ZENODO_URL = "https://zenodo.org"


def zenodo_url() -> str:
    """Base URL of the record API: ``MIMIIDG_ZENODO_URL``, or Zenodo itself."""
    return os.environ.get("MIMIIDG_ZENODO_URL", ZENODO_URL)


def machine_type_of(name: str) -> str | None:
    """The machine type that an archive's name tells.

    >>> machine_type_of("eval_data_fan_train.zip"), machine_type_of("noise.zip"), machine_type_of("dev_ToyCar.zip")
    ('fan', None, None)
    """
    parts = re.split(r"[_.-]", name)
    return next((machine for machine in MACHINE_TYPES if machine in parts), None)


def clip_archives(
    dataset: DatasetManifest, wants: Callable[[str], bool] = lambda machine: True
) -> list[tuple[Record, str]]:
    """(record, file name) of every archive that holds clips of a wanted machine type."""
    return [
        (record, file.name)
        for record in dataset.records
        for file in record.files
        if (machine := machine_type_of(file.name)) and wants(machine)
    ]


def needed_archives(variant: Variant) -> dict[str, list[str]]:
    """Files to fetch for a variant, per dataset: its clips' archives, and archives that its noise comes from."""
    dataset = load_dataset(variant.dataset)
    sections = [section for section in load_table1().sections if variant.wants(section.machine_type, section.section)]
    machines = {section.machine_type for section in sections}
    needed = {dataset.name: [name for _, name in clip_archives(dataset, machines.__contains__)]}
    if variant.mixing == "table1":
        defaults = default_noise(dataset)
        for kind in sorted({kind for section in sections for kind in noise_kinds(section)}):
            default = [defaults[kind]] if kind in defaults else []
            for source in variant.noise.get(kind) or default:
                if source.dataset and source.file and source.file not in needed.setdefault(source.dataset, []):
                    needed[source.dataset].append(source.file)
    return needed


def fetch_dataset(
    dataset: DatasetManifest,
    root: Place,
    *,
    names: Collection[str] | None = None,
    offline: bool = False,
    base_url: str | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Place]:
    """Have a dataset's archives on disk, verified.

    Parameters
    ----------
    dataset : DatasetManifest
    root : Place
    names : collection of str, optional
        Only these files.
    offline : bool
        Use what is there; an archive that is not is an error.
    base_url : str, optional
        Record API; :func:`zenodo_url` by default.
    reporter : Reporter, optional
        Shows transfers, and the making of a synthetic release.

    Returns
    -------
    dict of ``<record id>/<file name>`` to path

    Raises
    ------
    FetchError, UsageError
    """
    reporter = reporter or Reporter()
    if dataset.synthetic:
        return _fetch_synthetic(dataset, root, names, offline, reporter)
    fetched: dict[str, Place] = {}
    for record in dataset.records:
        wanted = [file.name for file in record.files if names is None or file.name in names]
        if wanted:
            url = base_url or zenodo_url()
            paths = fetch_record(record, root, names=wanted, base_url=url, offline=offline, progress=reporter.transfer)
            fetched |= {f"{record.id}/{name}": path for name, path in paths.items()}
    return fetched


def _fetch_synthetic(
    dataset: DatasetManifest,
    root: Place,
    names: Collection[str] | None,
    offline: bool,
    reporter: Reporter,
) -> dict[str, Place]:
    """Generate what is not there, serve it, fetch it."""
    from mimiidg_build.local_zenodo import LocalZenodo

    record = dataset.records[0]
    wanted = [file.name for file in record.files if names is None or file.name in names]
    try:
        paths = fetch_record(record, root, names=wanted, offline=True)
    except FetchError:
        if offline:
            raise
        served = local(root) / "archives" / f"{record.id}.served"
        spec = synthesis.parse_name(dataset.name)
        synthesis.write_release(
            spec, served, on_clip=reporter.step("synthesize", synthesis.n_recordings(spec), "recordings")
        )
        with LocalZenodo({record.id: served}) as server:
            paths = fetch_record(record, root, names=wanted, base_url=server.url, progress=reporter.transfer)
        if len(wanted) == len(record.files):
            shutil.rmtree(served)
    return {f"{record.id}/{name}": path for name, path in paths.items()}


def make_synthetic(variant: Variant, root: Place, reporter: Reporter | None = None) -> None:
    """Have a variant's synthetic release on disk; a release of any other kind must have been fetched."""
    if synthesis.is_synthetic(variant.dataset):
        fetch_dataset(load_dataset(variant.dataset), root, reporter=reporter)


def check_files(datasets: Collection[DatasetManifest], files: Collection[str]) -> None:
    """Refuse file names that none of the datasets has.

    Raises
    ------
    UsageError
    """
    known = [file.name for dataset in datasets for record in dataset.records for file in record.files]
    unknown = [name for name in files if name not in known]
    if unknown:
        raise UsageError(f"no file is named {', '.join(unknown)}; there are {', '.join(dict.fromkeys(known))}")


def archives_are_there(variant: Variant, root: Place) -> bool:
    """Whether every archive that the variant needs has been fetched."""
    for name, files in needed_archives(variant).items():
        for record in load_dataset(name).records:
            wanted = {file.name for file in record.files} & set(files)
            if wanted - archive_checksums(record, root).keys():
                return False
            if not all(archive_path(root, record.id, file).is_file() for file in wanted):
                return False
    return True


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
    def sections(self) -> list[tuple[str, str]]:
        """(machine type, section) of every section that has clips, in clip-table order."""
        return list(dict.fromkeys(zip(self.clips["machine_type"], self.clips["section"], strict=True)))


def read_release(
    dataset: DatasetManifest,
    root: Place,
    wants: Callable[[str], bool] = lambda machine: True,
    allow: Collection[str] = (),
) -> Release:
    """Read and validate the fetched archives of a dataset; nothing is fetched, nothing unpacked.

    Parameters
    ----------
    dataset : DatasetManifest
    root : Place
    wants : callable
        Which machine types.
    allow : collection of str
        Kinds of findings that are warnings rather than errors.

    Raises
    ------
    UsageError
        The dataset is not in MIMII DG's layout, so it can be fetched only.
    FetchError
        An archive is missing or not verified.
    DataError
        An archive is damaged or its members' names are not safe.
    """
    if dataset.layout != "mimii_dg":
        raise UsageError(f"{dataset.name} has a layout of its own: it can be fetched and give noise, not be built.")
    chosen = clip_archives(dataset, wants)
    try:
        paths = fetch_dataset(dataset, root, names=[name for _, name in chosen], offline=True)
    except FetchError as error:
        raise FetchError(f"{error}\nor let `mimiidg fetch {dataset.name}` do it.") from None
    checksums = {f"{r.id}/{name}": md5 for r in dataset.records for name, md5 in archive_checksums(r, root).items()}
    members: dict[str, Mapping[str, int]] = {}
    tables: dict[tuple[str, str], bytes] = {}
    for key, path in paths.items():
        archive = open_archive(path)
        members[key] = {name: info.size_bytes for name, info in archive.members.items()}
        tables |= {(key, name): archive.read(name) for name in archive.members if is_attribute_table(name)}
    clips, findings = build_clip_table(members, tables, load_table1(), expected_counts=_counts(dataset))
    tolerated = findings["kind"].isin(list(allow))
    findings["severity"] = findings["severity"].mask(tolerated, "warning")
    return Release(dataset, paths, {key: checksums[key] for key in paths}, clips, findings)


def _counts(dataset: DatasetManifest) -> dict[str, int]:
    """Clips per section that the dataset should have; empty where nobody published them."""
    if dataset.synthetic:
        return synthesis.clip_counts(synthesis.parse_name(dataset.name).percent)
    return load_table1().counts if dataset.name == "mimii_dg" else {}


def noise_archive(root: Place, dataset_name: str, file: str) -> Place:
    """Where a fetched archive that gives noise lies.

    Raises
    ------
    DataError
        It is not there; the message says how to fetch it.
    """
    for record in load_dataset(dataset_name).records:
        if any(entry.name == file for entry in record.files):
            path = archive_path(root, record.id, file)
            if path.is_file():
                return path
            raise DataError(f"{path} is not there. Fetch it: mimiidg fetch {dataset_name} --file {file}")
    raise UsageError(f"dataset {dataset_name} has no file {file}")
