"""Whether clips are as their dataset's manifest states, as far as sizes and one clip a section tell."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from mimiidg_build.audio.archive import open_archive
from mimiidg_build.audio.pieces import SoundInfo, sound_info
from mimiidg_build.audio.wav import ClipFormat
from mimiidg_build.datasets.clip_table.clips import Clip
from mimiidg_build.datasets.clip_table.sizes import check_sizes
from mimiidg_build.datasets.findings import Finding
from mimiidg_build.errors import DataError
from mimiidg_build.schemas.manifests import DatasetManifest
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.storage.places import Place


def check_audio(
    dataset: DatasetManifest,
    clips: Sequence[Clip],
    members: Mapping[str, Mapping[str, int]],
    paths: Mapping[str, Place],
) -> list[Finding]:
    """Clips that are longer or shorter than stated, and channels that hold the same.

    Parameters
    ----------
    dataset : DatasetManifest
    clips : sequence of Clip
    members : mapping
        Archive to {member: uncompressed size in bytes}.
    paths : mapping
        Archive to its file.

    Returns
    -------
    list of Finding
        The error ``clip_length`` of a section none of whose clips has the size that is stated, where the header of its
        first clip says another length, too. Else ``size`` warnings, of single clips: the decoder counts samples.
        The warning ``same_channels`` of a section whose first clip has two channels or more, all alike.
    """
    sections: dict[SectionId, list[Clip]] = {}
    for clip in clips:
        sections.setdefault(clip.section_id, []).append(clip)
    findings: list[Finding] = []
    for section_id, own in sections.items():
        odd = check_sizes(dataset, own, members)
        n_samples = dataset.audio.clip_samples(section_id.machine_type)
        info = _first_header(own[0], paths) if n_samples and len(odd) == len(own) > 1 else None
        stated_s = (n_samples or 0) / dataset.audio.sample_rate
        findings += [_length(dataset, own, info, stated_s)] if info and info.seconds != stated_s else odd
        if dataset.audio.channels != 1:
            findings += _same_channels(own[0], paths)
    return findings


def _same_channels(clip: Clip, paths: Mapping[str, Place]) -> list[Finding]:
    """A clip whose channels are copies of one; nothing where it cannot be read, which a build tells."""
    try:
        with open_archive(paths[clip.file.archive]) as archive:
            data = archive.read(clip.file.member)
        info = sound_info(io.BytesIO(data), clip.file.member)
        form = ClipFormat(info.sample_rate, info.frames, "all", info.channels)
        channels = form.decode(data, clip.file.member)
    except DataError:
        return []
    if len(channels) == 1 or (channels != channels[0]).any():
        return []
    message = (
        f"{clip.file.member}: its {len(channels)} channels hold the same samples; expected as many microphones. Likely "
        "cause: a recording of one channel was written several times. No channel can be a reference for another"
    )
    return [Finding("warning", "same_channels", clip.file.archive, message)]


def _first_header(clip: Clip, paths: Mapping[str, Place]) -> SoundInfo | None:
    """What the header of a clip says; None where it cannot be read, which a build tells."""
    try:
        with open_archive(paths[clip.file.archive]) as archive:
            return sound_info(io.BytesIO(archive.read(clip.file.member)), clip.file.member)
    except DataError:
        return None


def _length(dataset: DatasetManifest, clips: Sequence[Clip], info: SoundInfo, stated_s: float) -> Finding:
    first, section_id = clips[0], clips[0].section_id
    found, expected = f"{info.seconds:g} s", f"{stated_s:g} s"
    message = (
        f"{first.file.member} has {found}, and not one of the {len(clips)} clips of {section_id} has the {expected} "
        f"that {dataset.name} states of {section_id.machine_type} (audio.clip_seconds)"
    )
    return Finding("error", "clip_length", first.file.archive, message, 0, "clip_seconds", found, expected)
