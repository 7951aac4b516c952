"""Whether archives hold what their dataset's manifest states of them: machine types and sections."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from mimiidg_build.datasets.clip_table.clips import Clip
from mimiidg_build.datasets.findings import Finding
from mimiidg_build.datasets.layouts.archive_names import machine_type_of
from mimiidg_build.schemas.manifests import DatasetManifest
from mimiidg_build.schemas.sections import SectionId


def check_stated(dataset: DatasetManifest, archives: Collection[str], clips: Sequence[Clip]) -> list[Finding]:
    """What is not as the manifest states it.

    Parameters
    ----------
    dataset : DatasetManifest
    archives : collection of str
        ``<record id>/<file name>`` of the archives that were read.
    clips : sequence of Clip
        The clips in them.

    Returns
    -------
    list of Finding
        Errors: ``no_archive`` (a machine type that no archive is named after), ``wrong_machine`` (an archive with clips
        of other machine types alone), ``unknown_section``. Warnings: ``missing_section``.
    """
    return [
        *_machines_without_archive(dataset),
        *_other_machines(dataset, archives, clips),
        *_other_sections(dataset, clips),
    ]


def _machines_without_archive(dataset: DatasetManifest) -> Iterator[Finding]:
    files = [file.name for record in dataset.records for file in record.files]
    held = {machine_type_of(dataset, name) for name in files}
    for machine_type in dataset.machine_types:
        if machine_type not in held:
            message = (
                f"{dataset.name} states the machine type {machine_type}, but no archive of its records is named after "
                f"it: they are {', '.join(files)}"
            )
            yield Finding("error", "no_archive", dataset.name, message, 0, "machine_types", machine_type, "an archive")


def _other_machines(dataset: DatasetManifest, archives: Collection[str], clips: Sequence[Clip]) -> Iterator[Finding]:
    found: dict[str, dict[str, None]] = {}
    for clip in clips:
        found.setdefault(clip.file.archive, {}).setdefault(clip.file.machine_type)
    for archive in archives:
        stated, held = machine_type_of(dataset, archive.rpartition("/")[2]), list(found.get(archive, ()))
        if held and stated and stated not in held:
            value = ", ".join(held)
            message = f"the archive holds clips of {value}; by its name it has those of {stated}"
            yield Finding("error", "wrong_machine", archive, message, 0, "machine_type", value, stated)


def _other_sections(dataset: DatasetManifest, clips: Sequence[Clip]) -> Iterator[Finding]:
    found: dict[tuple[str, str], dict[str, Clip]] = {}
    for clip in clips:
        record_id = clip.file.archive.partition("/")[0]
        found.setdefault((record_id, clip.file.machine_type), {}).setdefault(clip.section_id.section, clip)
    records = {record.id: record for record in dataset.records}
    for (record_id, machine_type), sections in found.items():
        stated = records[record_id].sections_of(machine_type) if record_id in records else []
        if not stated:
            continue
        expected = ", ".join(stated)
        for section, clip in sections.items():
            if section not in stated:
                message = (
                    f"{clip.file.member} is of section {section}; {dataset.name} states sections {expected} of "
                    f"{machine_type} in record {record_id}"
                )
                yield Finding("error", "unknown_section", clip.file.archive, message, 0, "section", section, expected)
        for section in stated:
            if section not in sections:
                key = str(SectionId(machine_type, section))
                message = f"section {key}: no clips in the archives of record {record_id}"
                yield Finding("warning", "missing_section", key, message, 0, "section", "", key)
