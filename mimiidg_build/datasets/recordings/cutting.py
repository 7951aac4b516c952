"""The plan of the clips: which recording gives which, how they are called and split. Only headers are read.

A recording gives as many clips as fit into it end to end; what is left over at its end is dropped and reported, and so
is a recording that is shorter than a clip.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mimiidg_build.audio.pieces import exact_info
from mimiidg_build.datasets.findings import Finding
from mimiidg_build.datasets.recordings.fields import OwnRecording
from mimiidg_build.datasets.recordings.split import Measured, with_split
from mimiidg_build.errors import DataError
from mimiidg_build.schemas.attributes import attributes_text
from mimiidg_build.schemas.manifests import MAX_NAME_BYTES, DatasetManifest
from mimiidg_build.schemas.recordings import Recordings

TABLE = "clips.csv"
COLUMNS = ("file", "section", "split", "domain", "condition", "index", "attributes")
_UNWRITTEN = re.compile(r"[^\w.+-]+")  # what a clip's name has a dash for: a name stands in many a table


@dataclass(frozen=True, slots=True)
class PlannedClip:
    """One clip: its member in the archive, its row of the archive's table, its recording and which piece of it."""

    member: str
    row: tuple[str, ...]
    recording: OwnRecording
    piece: int


@dataclass(frozen=True)
class CutPlan:
    """The clips of one machine type, recording by recording, and what is odd about them."""

    machine_type: str
    clips: list[PlannedClip]
    measured: list[Measured]
    findings: list[Finding]


def clip_stem(path: str) -> str:
    """What the clips of a recording are called, but for their number.

    >>> clip_stem("hall 3/fan/ok/0001.wav")
    'hall-3_fan_ok_0001'
    """
    stem = path.rpartition(".")[0].replace("/", "_")
    return _UNWRITTEN.sub("-", stem)


def clip_name(recording: OwnRecording, split: str, piece: int) -> str:
    """The name of a clip: what it is, as the names of releases say it, and which piece of which recording.

    It depends on nothing else, so that it stays where recordings are added: noise is drawn by it.

    Parameters
    ----------
    recording : OwnRecording
    split : str
    piece : int

    Returns
    -------
    str
        ``[<domain>_]<split>_<condition>_<recording>_p<piece>.wav``, which evaluation reads the truth from.
    """
    said = (recording.domain, split, recording.condition, clip_stem(recording.path), f"p{piece:04d}")
    return f"{'_'.join(filter(None, said))}.wav"


def measure(
    dataset: DatasetManifest, settings: Recordings, recordings: Sequence[OwnRecording]
) -> tuple[list[Measured], list[Finding]]:
    """Read the headers: how many clips each recording gives.

    Parameters
    ----------
    dataset : DatasetManifest
        Its ``audio`` says how long clips are, and at which rate.
    settings : Recordings
    recordings : sequence of OwnRecording

    Returns
    -------
    measured : list of Measured
        Those that are at least as long as a clip.
    findings : list of Finding
        Errors: ``unreadable``. Warnings: ``too_short``.
    """
    measured, findings = [], []
    for recording in recordings:
        archive, path = f"{recording.section_id.machine_type}.zip", Path(settings.folder) / recording.path
        n_samples, rate = dataset.audio.clip_samples(recording.section_id.machine_type), dataset.audio.sample_rate
        if n_samples is None:
            message = f"{recording.path}: audio.clip_seconds has no length for {recording.section_id.machine_type}"
            findings.append(Finding("error", "bad_field", archive, message, 0, "machine_type", recording.path))
            continue
        try:
            with path.open("rb") as file:
                info = exact_info(file, str(path))
            if settings.channel != "mean" and settings.channel >= info.channels:
                raise DataError(f"{path}: has {info.channels} channels, so there is no channel {settings.channel}")
        except (DataError, OSError) as error:
            findings.append(Finding("error", "unreadable", archive, str(error), 0, "path", recording.path))
            continue
        length = info.frames * rate // info.sample_rate
        if length < n_samples:
            message = f"{recording.path} has {info.seconds:.2f} s, less than a clip of {n_samples / rate:g} s: left out"
            findings.append(Finding("warning", "too_short", archive, message, 0, "seconds", f"{info.seconds:.2f}"))
            continue
        n_clips, left_over = divmod(length, n_samples)
        measured.append(Measured(recording, n_clips, info.seconds, left_over / rate))
    return measured, findings


def plan_clips(settings: Recordings, machine_type: str, measured: Sequence[Measured]) -> CutPlan:
    """Which clips the recordings of one machine type become.

    Parameters
    ----------
    settings : Recordings
    machine_type : str
    measured : sequence of Measured
        All of that machine type.

    Returns
    -------
    CutPlan
        Its errors: ``duplicate_clip``, ``bad_name``.
    """
    measured = sorted(measured, key=lambda one: one.recording.path.split("/"))
    splits, numbers = with_split(settings, measured), Counter[tuple[str, ...]]()
    clips = []
    for one in measured:
        recording, split = one.recording, splits[one.recording.path]
        cell = (recording.section_id.section, split, recording.domain, recording.condition)
        for piece in range(one.n_clips):
            member = f"{machine_type}/{split}/{clip_name(recording, split, piece)}"
            row = (member, *cell, str(numbers[cell]), attributes_text(recording.attributes))
            clips.append(PlannedClip(member, row, recording, piece))
            numbers[cell] += 1
    findings = [*_names(f"{machine_type}.zip", measured), *_left_over(f"{machine_type}.zip", measured)]
    return CutPlan(machine_type, clips, list(measured), findings)


def _names(archive: str, measured: Sequence[Measured]) -> Iterator[Finding]:
    """Recordings whose clips would have one name, or names that are too long for a disk."""
    first: dict[str, str] = {}
    for path in (one.recording.path for one in measured):
        stem = clip_stem(path)
        if (other := first.setdefault(stem, path)) != path:
            message = f"the clips of {path} would be called as those of {other}, {stem}_...; rename one of the two"
            yield Finding("error", "duplicate_clip", archive, message, 0, "path", path, "one recording of each name")
        if len(stem.encode()) > MAX_NAME_BYTES:
            message = f"{path}: its clips' names would have more than {MAX_NAME_BYTES} bytes; shorten it or its folders"
            yield Finding("error", "bad_name", archive, message, 0, "path", path)


def _left_over(archive: str, measured: Sequence[Measured]) -> Iterator[Finding]:
    """What is dropped at the ends of recordings, in all."""
    dropped = [one.left_over_s for one in measured if one.left_over_s > 0]
    if dropped:
        total = sum(one.seconds for one in measured)
        message = (
            f"{len(dropped)} of {len(measured)} recordings are no whole number of clips long: {sum(dropped):.1f} of "
            f"{total:.1f} s at their ends are left over and dropped"
        )
        yield Finding("warning", "left_over", archive, message, 0, "seconds", f"{sum(dropped):.1f}")
