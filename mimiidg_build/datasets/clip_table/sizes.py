"""Whether clips' files have the size of WAV files of as many samples as the dataset's clips have. No file is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mimiidg_build.datasets.clip_table.clips import Clip
from mimiidg_build.datasets.findings import Finding
from mimiidg_build.schemas.manifests import DatasetManifest

BYTES_PER_SAMPLE = 2  # of a 16-bit WAV file
PLAIN, EXTENSIBLE = 44, 80  # bytes of a WAV file's header; WAVE_FORMAT_EXTENSIBLE with a fact chunk, as MIMII's


def check_sizes(
    dataset: DatasetManifest, clips: Iterable[Clip], archives: Mapping[str, Mapping[str, int]]
) -> list[Finding]:
    """Clips whose files are longer or shorter than the dataset's manifest lets expect: warnings.

    A longer header is no fault, and the decoder counts the samples.

    Parameters
    ----------
    dataset : DatasetManifest
    clips : iterable of Clip
    archives : mapping
        Archive to {member: uncompressed size in bytes}.

    Returns
    -------
    list of Finding
        Of kind ``size``; none of clips that have no stated length or number of channels.
    """
    channels = dataset.audio.channels
    findings: list[Finding] = []
    for clip in clips:
        n_samples = dataset.audio.clip_samples(clip.section_id.machine_type)
        if n_samples is None or channels == "any" or not clip.file.member.lower().endswith(".wav"):
            continue
        found, clip_bytes = archives[clip.file.archive][clip.file.member], n_samples * channels * BYTES_PER_SAMPLE
        if found - clip_bytes not in (PLAIN, EXTENSIBLE):
            findings.append(_size(clip, found, clip_bytes + (EXTENSIBLE if channels > 1 else PLAIN)))
    return findings


def _size(clip: Clip, found: int, expected: int) -> Finding:
    message = f"{clip.file.member} has {found} bytes; expected {expected}, a WAV file of a clip's samples"
    return Finding("warning", "size", clip.file.archive, message, 0, "size_bytes", str(found), str(expected))
