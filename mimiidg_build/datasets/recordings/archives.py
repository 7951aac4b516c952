"""A dataset of own recordings as a dataset with archives: one for each machine type, which fetching makes."""

from __future__ import annotations

from pathlib import Path

from mimiidg_build.datasets.findings import findings_frame, raise_on_errors
from mimiidg_build.datasets.recordings.listing import list_recordings, table_columns
from mimiidg_build.schemas.manifests import DatasetManifest, RecordFile
from mimiidg_build.schemas.recordings import FIELD, Recordings
from mimiidg_build.storage.places import expanded


def with_archives(dataset: DatasetManifest, manifest: Path) -> DatasetManifest:
    """The dataset with its paths counted from the manifest's folder, its machine types, archives and protocol.

    Where neither ``machine_types`` nor one machine type for all is given, the names of the recordings say them.

    Parameters
    ----------
    dataset : DatasetManifest
        With ``recordings``.
    manifest : Path
        The file that it was read from.

    Returns
    -------
    DatasetManifest

    Raises
    ------
    DataError
        The folder or the table is not there, or nothing in it is a recording.
    """
    if dataset.recordings is None:
        return dataset
    recordings = _located(dataset.recordings, manifest.parent)
    machine_types = dataset.machine_types or [recordings.machine_type or ""]
    if not machine_types[0]:
        listing = list_recordings(recordings)
        machine_types = listing.machine_types
        if not machine_types:
            raise_on_errors(findings_frame(listing.findings))
    (record,) = dataset.records
    files = [RecordFile(name=f"{machine_type}.zip") for machine_type in sorted(machine_types)]
    known = {
        "recordings": recordings,
        "machine_types": sorted(machine_types),
        "records": [record.model_copy(update={"files": files})],
    }
    if "protocol" not in dataset.model_fields_set:
        known["protocol"] = "2022" if _has_domains(recordings) else "2020"
    return dataset.model_copy(update=known)


def _located(recordings: Recordings, base: Path) -> Recordings:
    """With paths that can be opened from the current folder."""
    table = None if recordings.table is None else str(base / expanded(recordings.table))
    return recordings.model_copy(update={"folder": str(base / expanded(recordings.folder)), "table": table})


def _has_domains(recordings: Recordings) -> bool:
    if recordings.table is not None:
        fields = table_columns(recordings)
    else:
        fields = [field for pattern in recordings.patterns for field in FIELD.findall(pattern)]
    return "domain" in (*recordings.fixed, *fields)
