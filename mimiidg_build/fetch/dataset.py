"""A dataset's archives on disk: from Zenodo, or made here for a synthetic release.

A synthetic release is generated, served over local HTTP with Zenodo's record API, and fetched by the very code that
fetches the real records. Its served copy is deleted once every archive is verified.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from mimiidg_build import settings
from mimiidg_build.datasets import synthetic
from mimiidg_build.datasets.findings import findings_frame
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.release import (
    Release,
    VerifiedArchive,
    clip_archives,
    needed_archives,
    read_release,
)
from mimiidg_build.datasets.truth import Truth
from mimiidg_build.errors import DataError, FetchError, UsageError
from mimiidg_build.fetch.archives import archive_checksums, archive_path, fetch_record
from mimiidg_build.fetch.lock import SERVED, guard, record_dir, served_dir
from mimiidg_build.fetch.recordings import cut_findings, have_recordings
from mimiidg_build.fetch.truth_lists import fetched_truth, given_truth
from mimiidg_build.progress import Reporter
from mimiidg_build.schemas.manifests import DatasetManifest, Record
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.storage.locks import locked
from mimiidg_build.storage.places import Place, place, prepare, remove_tree


def fetch_dataset(
    dataset: DatasetManifest | str,
    root: str | Place,
    *,
    names: Collection[str] | None = None,
    again: Collection[str] = (),
    offline: bool = False,
    base_url: str | None = None,
    reporter: Reporter | None = None,
    cut_again: bool = False,
    allow: Collection[str] = (),
) -> dict[str, Place]:
    """Make sure that a dataset's archives are on disk and verified. Verified archives are not fetched again.

    Of own recordings they are cut here, once: see :mod:`mimiidg_build.fetch.recordings`.

    A synthetic release is made in worker processes: a script that fetches one needs an ``if __name__ == "__main__"``
    guard.

    Parameters
    ----------
    dataset : DatasetManifest or str
        Or a dataset's name, or the path of a manifest.
    root : str or Place
        The data root; archives go to ROOT/archives.
    names : collection of str, optional
        Only these files.
    again : collection of str
        ``<record id>/<file name>`` of archives that are damaged: each is replaced once the new one is whole.
    offline : bool
        Use the archives on disk; a missing one is an error.
    base_url : str, optional
        Record API; ``MIMIIDG_ZENODO_URL`` or Zenodo itself by default.
    reporter : Reporter, optional
        Shows transfers, and the making of a synthetic release.
    cut_again : bool
        Whether own recordings that have changed since clips were cut from them are cut anew.
    allow : collection of str
        Kinds of errors in own recordings that are warnings.

    Returns
    -------
    dict of str to Place
        By ``<record id>/<file name>``.

    Raises
    ------
    FetchError
        An archive cannot be had, or is not the published one.
    DataError
        Own recordings have errors, or have changed.
    UsageError
        ``names`` holds a file that no record lists.
    """
    dataset, root, reporter = _loaded(dataset), place(root), reporter or Reporter()
    if dataset.recordings is not None and not offline:
        (record,), damaged = dataset.records, _of_record(dataset.records[0], again)
        cut = have_recordings(
            dataset, root, names=names, damaged=damaged, again=cut_again, allow=allow, reporter=reporter
        )
        return {f"{record.id}/{name}": path for name, path in cut.items()}
    if dataset.synthetic:
        return _fetch_synthetic(dataset, root, names, again, offline, reporter)
    fetched: dict[str, Place] = {}
    for record in dataset.records:
        wanted = [file.name for file in record.files if names is None or file.name in names]
        if wanted:
            url = base_url or settings.zenodo_url()
            paths = fetch_record(
                record,
                root,
                names=wanted,
                again=_of_record(record, again),
                base_url=url,
                offline=offline,
                on_progress=reporter.transfer,
            )
            fetched |= {f"{record.id}/{name}": path for name, path in paths.items()}
    return fetched


def _of_record(record: Record, keys: Collection[str]) -> list[str]:
    """Those files of a record that are named by ``<record id>/<file name>``."""
    return [file.name for file in record.files if f"{record.id}/{file.name}" in keys]


def _loaded(dataset: DatasetManifest | str) -> DatasetManifest:
    return load_dataset(dataset) if isinstance(dataset, str) else dataset


def _fetch_synthetic(
    dataset: DatasetManifest,
    root: Place,
    names: Collection[str] | None,
    again: Collection[str],
    offline: bool,
    reporter: Reporter,
) -> dict[str, Place]:
    """Make what is not there, or wait for another process that makes it."""
    record = dataset.records[0]
    wanted = [file.name for file in record.files if names is None or file.name in names]
    damaged = _of_record(record, again)
    try:
        # tried first: with everything on disk there is nothing to make or to serve
        paths = fetch_record(record, root, names=wanted, again=damaged, offline=True)
    except FetchError:
        if offline:
            raise
        waiting = f"another process is making {dataset.name}; waiting for it"
        with locked(guard(record_dir(root, record.id), SERVED), waiting):
            paths = _make_and_fetch(dataset, root, wanted, damaged, reporter)
    return {f"{record.id}/{name}": path for name, path in paths.items()}


def _make_and_fetch(
    dataset: DatasetManifest, root: Place, wanted: list[str], damaged: Collection[str], reporter: Reporter
) -> dict[str, Place]:
    """Make the archives that are wanted and not there yet, or damaged; serve them, fetch them."""
    # imported where sound is made: scipy's transforms, which these need, take 0.1 s of a build with nothing to do
    from mimiidg_build.synthesis.archive import n_recordings, write_release
    from mimiidg_build.synthesis.local_zenodo import LocalZenodo

    (record,), spec = dataset.records, synthetic.parse_name(dataset.name)
    served = served_dir(root, record.id)
    known = archive_checksums(record, root)  # what is there and not pinned needs the server to vouch for it
    missing = [
        name
        for name in wanted
        if name in damaged or name not in known or not archive_path(root, record.id, name).is_file()
    ]
    if missing:  # else another process made them while this one waited
        prepare(served)
        on_progress = reporter.step("synthesize", n_recordings(spec, missing), "recordings")
        write_release(spec, served, names=missing, on_progress=on_progress)
    with LocalZenodo({record.id: served}) as server:
        paths = fetch_record(
            record, root, names=wanted, again=damaged, base_url=server.url, on_progress=reporter.transfer
        )
    remove_tree(served)
    return paths


def validate_dataset(
    dataset: DatasetManifest | str,
    root: str | Place,
    wants: Callable[[str], bool] = lambda machine: True,
    allow: Collection[str] = (),
    *,
    sections: Collection[str] = (),
    truth: Truth | str | Path | Iterable[str | Path] | None = None,
) -> Release:
    """Read and validate the fetched archives of a dataset; nothing is fetched, nothing unpacked.

    Parameters
    ----------
    dataset : DatasetManifest or str
        Or a dataset's name, or the path of a manifest.
    root : str or Place
        The data root.
    wants : callable
        Which machine types.
    allow : collection of str
        Kinds of findings that are warnings rather than errors.
    sections : collection of str
        Only archives that hold these machine types or sections, as ``"fan"`` or ``"fan/00"``; all by default.
    truth : Truth, path or paths, optional
        The organisers' lists of what clips are whose names hide it: files, or directories that are searched for them.
        By default those that the dataset's records hold.

    Returns
    -------
    Release

    Raises
    ------
    UsageError
        The dataset has a layout that no module reads, so it can be fetched only; or truth is none.
    FetchError
        An archive is missing or not verified.
    DataError
        An archive is damaged or its members' names are not safe; or a truth list cannot be read.
    """
    dataset, root = _loaded(dataset), place(root)
    truth = given_truth(truth)
    names = [name for _, name in clip_archives(dataset, wants, sections)]
    if truth is None and dataset.truth:
        truth = fetched_truth([list_.path for list_ in _verified_archives(dataset, root, dataset.truth).values()])
    release = read_release(dataset, _verified_archives(dataset, root, names), allow, truth)
    if dataset.recordings is None:
        return release
    found = findings_frame(cut_findings(dataset, root, names))
    return replace(release, findings=pd.concat([release.findings, found], ignore_index=True))


def _verified_archives(dataset: DatasetManifest, root: Place, names: Collection[str]) -> dict[str, VerifiedArchive]:
    """The named archives as they lie on disk, each with the md5 that it was verified by."""
    try:
        paths = fetch_dataset(dataset, root, names=names, offline=True)
    except FetchError as error:
        raise FetchError(f"{error}\nor let `mimiidg fetch {dataset.name}` do it.") from None
    checksums = {
        f"{record.id}/{name}": md5
        for record in dataset.records
        for name, md5 in archive_checksums(record, root).items()
    }
    return {key: VerifiedArchive(path, checksums[key]) for key, path in paths.items()}


def make_synthetic(variant: Variant, root: Place, reporter: Reporter | None = None) -> None:
    """Make sure that synthetic releases that a variant takes clips or noise from are on disk.

    Any other kind of release must have been fetched.

    Parameters
    ----------
    variant : Variant
    root : Place
    reporter : Reporter, optional
        Shows the making and the transfers.

    Raises
    ------
    FetchError, UsageError
        As :func:`fetch_dataset`.
    """
    for name in dict.fromkeys((variant.dataset, variant.noise_from)):
        if name is not None and synthetic.is_synthetic(name):
            fetch_dataset(load_dataset(name), root, reporter=reporter)


def cut_recordings(
    variant: Variant, root: Place, reporter: Reporter | None = None, allow: Collection[str] = ()
) -> None:
    """Make sure that the clips of own recordings that a variant needs are cut, and from the recordings as they are now.

    Parameters
    ----------
    variant : Variant
    root : Place
    reporter : Reporter, optional
        Shows the cutting.
    allow : collection of str
        Kinds of errors in the recordings that are warnings.

    Raises
    ------
    DataError, FetchError, UsageError
        As :func:`fetch_dataset`.
    """
    dataset = load_dataset(variant.dataset)
    if dataset.recordings is not None:
        names = [name for _, name in clip_archives(dataset, variant.wants_machine_type)]
        fetch_dataset(dataset, root, names=names, reporter=reporter, allow=allow)


def archives_are_there(variant: Variant, root: Place) -> bool:
    """Whether every archive that the variant needs has been fetched."""
    for dataset_name, files in needed_archives(variant).items():
        for record in load_dataset(dataset_name).records:
            wanted = {file.name for file in record.files} & set(files)
            # no lock entry: never fetched, or put there by hand and not verified yet
            if wanted - archive_checksums(record, root).keys():
                return False
            if not all(archive_path(root, record.id, name).is_file() for name in wanted):
                return False
    return True


def noise_archive(root: Place, dataset_name: str, file: str) -> Place:
    """Where a fetched archive that gives noise lies.

    Parameters
    ----------
    root : Place
    dataset_name : str
        The dataset whose record holds it.
    file : str
        The archive's name.

    Returns
    -------
    Place

    Raises
    ------
    DataError
        It is not there; the message says how to fetch it.
    UsageError
        The dataset has no such file.
    """
    for record in load_dataset(dataset_name).records:
        if any(entry.name == file for entry in record.files):
            path = archive_path(root, record.id, file)
            if path.is_file():
                return path
            raise DataError(f"{path} is not there. Fetch it: mimiidg fetch {dataset_name} --file {file}")
    raise UsageError(f"dataset {dataset_name} has no file {file}")
