"""What clips were cut from: the index beside their archives, and what of it has changed since.

Recordings are known by path within their folder; each has its state and digest, and what its name or row said of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mimiidg_build.datasets.findings import Finding
from mimiidg_build.datasets.recordings.fields import OwnRecording
from mimiidg_build.datasets.recordings.listing import Listing, list_recordings
from mimiidg_build.errors import DataError, counted, first_mistake
from mimiidg_build.fetch.cutting import source_of
from mimiidg_build.schemas.attributes import attributes_text
from mimiidg_build.schemas.manifests import DatasetManifest
from mimiidg_build.schemas.recordings import CutIndex, CutSource, Recordings
from mimiidg_build.storage.places import Place

INDEX = "recordings.json"
CUT_VERSION = 1  # raised by hand where the same recordings and settings become other clips
MAX_NAMED = 3


def own_recordings(dataset: DatasetManifest) -> Recordings:
    """The ``[recordings]`` of a dataset that has them."""
    if dataset.recordings is None:
        raise ValueError(f"{dataset.name} is no dataset of own recordings")
    return dataset.recordings


def listed(dataset: DatasetManifest) -> Listing:
    """The recordings of a dataset, and what is wrong with them: also those of a machine type that it does not list.

    Raises
    ------
    DataError
        As :func:`~mimiidg_build.datasets.recordings.listing.list_recordings`.
    """
    settings, known = own_recordings(dataset), dataset.machine_types
    listing = list_recordings(settings)
    for machine_type in set(listing.machine_types) - set(known):
        message = (
            f"there are recordings of machine type {machine_type}, which the manifest's machine_types "
            f"({', '.join(known)}) leaves out. Add it, or take the key away"
        )
        finding = Finding("error", "unfit", settings.folder, message, 0, "machine_type", machine_type, ", ".join(known))
        listing.findings.append(finding)
    return listing


def archive_of(recording: OwnRecording) -> str:
    """The archive that a recording's clips go to."""
    return f"{recording.section_id.machine_type}.zip"


def readings_of(listing: Listing, name: str) -> dict[str, str]:
    """What is said of each recording of an archive, by path."""
    return {one.path: reading_text(one) for one in listing.recordings if archive_of(one) == name}


def read_index(directory: Place) -> CutIndex:
    """What was cut; empty where nothing was.

    Raises
    ------
    DataError
        The file is none that this version wrote.
    """
    path = directory / INDEX
    try:
        return CutIndex.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return CutIndex()
    except ValidationError as error:
        raise DataError(
            f"{path} cannot be read ({first_mistake(error)}). It says which recordings the clips beside it were cut "
            "from: restore it, or delete it to have them cut anew."
        ) from None


def reading_text(recording: OwnRecording) -> str:
    """What names and tables say of a recording, as the index notes it."""
    words = (str(recording.section_id), recording.domain, recording.split, recording.condition)
    return " ".join([*filter(None, words), attributes_text(recording.attributes)])


def settings_of(dataset: DatasetManifest, archive: str) -> dict[str, Any]:
    """All that decides an archive's bytes beside its recordings and what is said of them."""
    settings = own_recordings(dataset)
    seconds = (dataset.audio.clip_samples(archive.removesuffix(".zip")) or 0) / dataset.audio.sample_rate
    named = {"sample_rate": dataset.audio.sample_rate, "clip_seconds": seconds, "version": CUT_VERSION}
    return {**named, **settings.model_dump(include={"channel", "hold_out", "share", "seed"})}


# ---- What has changed ------------------------------------------------------------------------------------------------


def changed_since(dataset: DatasetManifest, index: CutIndex, names: Sequence[str]) -> list[str]:
    """What differs from when archives were cut: one line for each setting, recording and new error.

    Parameters
    ----------
    dataset : DatasetManifest
    index : CutIndex
    names : sequence of str
        Archives; those that are not in it are passed over.

    Returns
    -------
    list of str
        Empty where nothing does.
    """
    known = [name for name in names if name in index.archives]
    if not index.archives:
        return []
    try:
        listing = listed(dataset)
    except DataError as error:
        return [str(error).rstrip(".")]
    said = {finding["message"] for finding in index.findings}
    changes = [f.message for f in listing.findings if f.severity == "error" and f.message not in said]
    changes += [f"no recording of {name.removesuffix('.zip')} is there any more" for name in gone(dataset, index)]
    for name in known:
        changes += changed_archive(dataset, index, name, listing)
    return [*dict.fromkeys(changes)]


def gone(dataset: DatasetManifest, index: CutIndex) -> list[str]:
    """Archives that were cut, of machine types that the dataset no longer has."""
    listed_files = {file.name for file in dataset.records[0].files}
    return [name for name in index.archives if name not in listed_files]


def changed_archive(dataset: DatasetManifest, index: CutIndex, name: str, listing: Listing) -> list[str]:
    """What differs from when one archive was cut.

    Parameters
    ----------
    dataset : DatasetManifest
    index : CutIndex
        It holds the archive.
    name : str
        The archive's.
    listing : Listing
        The recordings as they are now.

    Returns
    -------
    list of str
        One line for each setting and recording.
    """
    cut, settings, now = index.archives[name], settings_of(dataset, name), readings_of(listing, name)
    folder = Path(own_recordings(dataset).folder)
    changes = [
        f"{key} was {cut.settings.get(key)}, is {settings[key]}"
        for key in settings
        if cut.settings.get(key) != settings[key]
    ]
    for path in sorted(cut.sources.keys() | now.keys()):
        if path not in cut.sources:
            changes.append(f"{path} is new")
        elif path not in now:
            changes.append(f"{path} is gone, or no longer read as a recording")
        elif now[path] != cut.readings[path]:
            changes.append(f"{path} was read as {cut.readings[path]}, is read as {now[path]}")
        elif _has_changed(folder / path, cut.sources[path]):
            changes.append(f"{path} has other content")
    return changes


def _has_changed(path: Path, known: CutSource) -> bool:
    try:
        return source_of(path, known).blake3 != known.blake3
    except DataError:
        return True


def change_in_words(changes: Sequence[str]) -> str:
    """The first changes, and how many there are.

    >>> change_in_words(["a.wav is new"])
    'the recordings changed since clips were cut from them (1 change): a.wav is new'
    """
    more = f"; and {len(changes) - MAX_NAMED} more" if len(changes) > MAX_NAMED else ""
    count = counted(len(changes), "change")
    return f"the recordings changed since clips were cut from them ({count}): {'; '.join(changes[:MAX_NAMED])}{more}"
