"""The shape of each section's clips, as the dataset's manifest states it or the section's first clip has it.

Every clip of a section has the same length, rate and channels; sections may differ in length. Only a file's header is
decoded here, and no file at all where the manifest says enough: each clip is held to the shape where it is read.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache

from mimiidg_build.audio.archive import Archive, open_archive
from mimiidg_build.audio.pieces import SoundInfo, sound_info
from mimiidg_build.audio.resampling import resampled_length
from mimiidg_build.audio.wav import ClipFormat
from mimiidg_build.datasets.release import Release
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.features import channels_mistake
from mimiidg_build.schemas.manifests import AudioFormat, DatasetManifest
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.stores import SectionAudio
from mimiidg_build.schemas.variants import FeatureSettings, Variant
from mimiidg_build.storage.places import Place


def check_channels(variant: Variant, dataset: DatasetManifest) -> None:
    """Refuse channels that the dataset's recordings do not have.

    Raises
    ------
    UsageError
        The message says which they have.
    """
    held = dataset.audio.channels
    if held != "any" and (mistake := channels_mistake(held, variant.features)):
        raise UsageError(f"variant {variant.name}: a recording of {dataset.name} {mistake}.")
    if held != "any" and variant.channels != "all" and variant.channels >= held:
        has = "one channel, 0" if held == 1 else f"{held} channels, 0 to {held - 1}"
        raise UsageError(
            f"variant {variant.name}: channels = {variant.channels}, but the recordings of {dataset.name} have {has}."
        )


def section_shapes(release: Release, variant: Variant) -> dict[SectionId, SectionAudio]:
    """The shape of every section of a release; each archive is opened once at most."""
    opened = cache(open_archive)
    return {section_id: section_audio(release, section_id, variant, opened) for section_id in release.sections}


def section_audio(
    release: Release, section_id: SectionId, variant: Variant, opened: Callable[[Place], Archive] = open_archive
) -> SectionAudio:
    """The shape that a section's clips are stored in.

    Parameters
    ----------
    release : Release
    section_id : SectionId
    variant : Variant
        Says the sample rate and the channels that are kept.
    opened : callable
        Opens an archive.

    Returns
    -------
    SectionAudio

    Raises
    ------
    DataError
        The manifest does not say how long the section's clips are, and its first clip cannot be read, or is empty.
    """
    stated = release.dataset.audio
    sample_rate = variant.sample_rate or stated.sample_rate
    n_samples = stated.clip_samples(section_id.machine_type, sample_rate)
    channels = stated.channels if variant.channels == "all" else None
    if n_samples is None or channels == "any":
        first = _first_clip(release, section_id, opened, variant.features)
        n_samples = n_samples or resampled_length(first.frames, first.sample_rate, sample_rate)
        channels = first.channels if channels == "any" else channels
    return SectionAudio(n_samples=n_samples, sample_rate=sample_rate, channels=channels)


def _first_clip(
    release: Release, section_id: SectionId, opened: Callable[[Place], Archive], features: FeatureSettings
) -> SoundInfo:
    """What the header of a section's first clip says; it must have the channels that the features take."""
    first = release.clips.iloc[release.rows_by_section[section_id][0]]
    key, member = first["archive"], first["member"]
    path = release.archives[key]
    name = f"{path.name}: {member}"
    info = sound_info(io.BytesIO(opened(path).read(member)), name)
    if info.frames == 0:
        raise DataError(
            f"{name}: holds no samples. It is the first clip of {section_id}, whose length all others have."
        )
    if mistake := channels_mistake(info.channels, features):
        raise DataError(f"{name}: {mistake}. It is the first clip of {section_id}.")
    return info


def clip_format(stated: AudioFormat, variant: Variant, audio: SectionAudio) -> ClipFormat:
    """What a section's clips are held to, and what is kept of them.

    >>> clip_format(AudioFormat(channels=8), Variant(name="v", channels="all"), SectionAudio(n_samples=9, channels=8))
    ClipFormat(sample_rate=16000, n_samples=9, channel='all', channels=8)
    """
    # where files may differ, those of one section have to be alike if all their channels are kept
    channels = audio.channels if stated.channels == "any" else stated.channels
    return ClipFormat(audio.sample_rate, audio.n_samples, variant.channels, channels)
