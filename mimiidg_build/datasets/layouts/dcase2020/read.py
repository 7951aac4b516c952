"""From members to clips, for DCASE Task 2 of 2020."""

from __future__ import annotations

from collections.abc import Mapping

from mimiidg_build.datasets.clip_table.clips import Clip, ClipFile, ClipReading, Reading
from mimiidg_build.datasets.layouts.dcase2020.names import ClipName
from mimiidg_build.datasets.layouts.hidden import HiddenClips
from mimiidg_build.datasets.layouts.members import Places, sort_members
from mimiidg_build.datasets.layouts.tails import free_text
from mimiidg_build.datasets.truth import Truth
from mimiidg_build.errors import DataError
from mimiidg_build.schemas.manifests import DatasetManifest
from mimiidg_build.schemas.sections import SectionId

PLACES = Places("train|test", "{machine}/{train,test}/*.wav")


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
    if file.folder == "train" and not name.condition:
        message = f"{file.member} lies in train, its name is that of a test clip"
        return ClipReading(None, [file.error(None, "misplaced", message, "test")])
    section_id, base = SectionId(file.machine_type, name.section), name.file_name
    clip = Clip(
        *(file, section_id, file.folder, "", name.condition, name.index, (), base),
        is_hidden=not name.condition,
        # a test clip may have the same name, and is the one that scores and lists know by it
        clip=f"train_{base.removesuffix('.wav')}" if file.folder == "train" else "",
    )
    return hidden.complete(clip)
