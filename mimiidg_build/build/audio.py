"""The shape of each section's clips: as the dataset's manifest states it, or as its first clip says."""

from __future__ import annotations

from mimiidg_build.datasets.release import Release
from mimiidg_build.errors import DataError
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.stores import SectionAudio
from mimiidg_build.schemas.variants import Variant


def section_audio(release: Release, section_id: SectionId, variant: Variant) -> SectionAudio:
    """The shape that a section's clips are stored in.

    Raises
    ------
    DataError
        Nobody states the length of its clips.
    """
    audio = release.dataset.audio
    n_samples = audio.clip_samples(section_id.machine_type)
    if n_samples is None:
        raise DataError(f"{release.dataset.name}: the length of the clips of {section_id} is not stated.")
    return SectionAudio(n_samples=n_samples, sample_rate=audio.sample_rate)
