"""From members to clips, for DCASE Task 2 of 2021 and MIMII DUE."""

from __future__ import annotations

from collections.abc import Mapping

from mimiidg_build.datasets.clip_table.clips import Clip, ClipFile, ClipReading, Reading
from mimiidg_build.datasets.layouts.dcase2021.names import ClipName
from mimiidg_build.datasets.layouts.hidden import HiddenClips
from mimiidg_build.datasets.layouts.members import Places, sort_members
from mimiidg_build.datasets.layouts.tails import free_text
from mimiidg_build.datasets.truth import Truth
from mimiidg_build.errors import DataError
from mimiidg_build.schemas.manifests import DatasetManifest
from mimiidg_build.schemas.sections import SectionId

PLACES = Places("train|source_test|target_test", "{machine}/{train,source_test,target_test}/*.wav")


def read_clips(
    dataset: DatasetManifest,
    archives: Mapping[str, Mapping[str, int]],
    tables: Mapping[tuple[str, str], bytes],
    truth: Truth,
) -> Reading:
    """The clips of a release; see :class:`mimiidg_build.datasets.layouts.Layout`."""
    members = sort_members(dataset, archives, PLACES)
    hidden = HiddenClips(truth, free_text, hides="condition")
    clips = [_read_clip(file, hidden) for file in members.clips]
    return Reading(clips, members.findings, hidden.findings(dataset))


def _read_clip(file: ClipFile, hidden: HiddenClips) -> ClipReading:
    try:
        name = ClipName.parse(file.path)
    except DataError as error:
        return ClipReading(None, [file.error(None, "bad_name", str(error))])
    expected = "train" if name.split == "train" else f"{name.domain}_test"
    if file.folder != expected:
        message = f"{file.member} lies in {file.folder}, by its name it belongs in {expected}"
        return ClipReading(None, [file.error(None, "misplaced", message, expected)])
    section_id = SectionId(file.machine_type, name.section)
    clip = Clip(
        *(file, section_id, name.split, name.domain, name.condition, name.index),
        *(free_text(name.text or ""), name.file_name),
        is_hidden=not name.condition,
    )
    return hidden.complete(clip)
