"""The first manifest of a folder of recordings: what was seen, what was guessed, and what becomes of it, as TOML."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mimiidg_build.audio.pieces import SoundInfo, sound_info
from mimiidg_build.audio.sound_folders import ANY_FILE, files_below, in_words, sort_files, suffix
from mimiidg_build.datasets.recordings.cutting import measure, plan_clips
from mimiidg_build.datasets.recordings.guess import Guess, guess_pattern, slug
from mimiidg_build.datasets.recordings.listing import Listing, list_recordings
from mimiidg_build.errors import DataError, UsageError, printable
from mimiidg_build.schemas.manifests import AudioFormat, DatasetManifest, Record, RecordFile
from mimiidg_build.schemas.recordings import Recordings

SAMPLE_RATE = 16_000
MAX_MEASURED = 2_000  # recordings; of more, a part is looked at
CLIP_SECONDS = (10.0, 8.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0)
LONG_ENOUGH = 0.9  # the share of recordings that a clip's length is to leave in


@dataclass(frozen=True)
class FirstManifest:
    """The text of a manifest, and what it was made of."""

    name: str
    text: str
    n_files: int
    n_fit: int


def first_manifest(folder: Path, manifest: Path) -> FirstManifest:
    """Look at a folder of recordings and write down what its names most likely say.

    Parameters
    ----------
    folder : Path
    manifest : Path
        Where the text is going to lie: its folder is what paths in it count from.

    Returns
    -------
    FirstManifest

    Raises
    ------
    UsageError
        There is no such folder, or no sound file in it.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}. Give the folder that your recordings lie in.")
    files = sort_files(files_below(folder), ANY_FILE)
    paths = [path for path in files.recordings if path.isprintable()]
    if not paths:
        found = in_words(files.others) or "nothing"
        raise UsageError(f"{folder} holds no sound file that can be read (found: {found}).")
    guess = guess_pattern(paths, folder.resolve().name)
    words = {key: value for key in ("normal", "anomaly") if (value := getattr(guess, key))}
    said = {"folder": str(folder), "pattern": guess.pattern, **guess.fixed, **words}
    recordings = Recordings.model_validate(said)
    listing, infos = list_recordings(recordings), _infos(folder, paths)
    audio = _audio(infos)
    dataset = _dataset(slug(folder.resolve().name), recordings, audio, listing)
    lines = [
        *_seen(folder, paths, infos),
        *_head(dataset, manifest, infos),
        *_recordings(recordings, guess, listing, len(paths), Path(os.path.relpath(folder, manifest.parent))),
        *_outcome(dataset, recordings, listing),
    ]
    return FirstManifest(
        dataset.name, "".join(f"{printable(line)}\n" for line in lines), len(paths), len(listing.recordings)
    )


def _infos(folder: Path, paths: Sequence[str]) -> list[SoundInfo]:
    """What headers say; of very many recordings, those of every so many. Those that cannot be read are left out."""
    infos = []
    for path in paths[:: -(-len(paths) // MAX_MEASURED)]:
        try:
            with (folder / path).open("rb") as file:
                infos.append(sound_info(file, path))
        except (DataError, OSError):
            continue
    return infos


def _audio(infos: Sequence[SoundInfo]) -> AudioFormat:
    """Rate and length of clips: the recordings' own where all have one, else what nearly all are long enough for."""
    rate = min([SAMPLE_RATE, *(info.sample_rate for info in infos)])
    lengths = sorted(info.seconds for info in infos) or [CLIP_SECONDS[0]]
    if lengths[0] == lengths[-1]:
        return AudioFormat(sample_rate=rate, clip_seconds=float(f"{lengths[0]:.6g}"))
    n_needed = LONG_ENOUGH * len(lengths)
    fitting = [clip for clip in CLIP_SECONDS if sum(length >= clip for length in lengths) >= n_needed]
    return AudioFormat(sample_rate=rate, clip_seconds=next(iter(fitting), CLIP_SECONDS[-1]))


def _dataset(name: str, recordings: Recordings, audio: AudioFormat, listing: Listing) -> DatasetManifest:
    machine_types = listing.machine_types
    files = [RecordFile(name=f"{machine_type}.zip") for machine_type in machine_types or ["clips"]]
    return DatasetManifest(
        name=name,
        title=f"{name}: say in a line what it is",
        recording="mixed",
        layout="recordings",
        machine_types=machine_types,
        audio=audio,
        citation=f"{name}, own recordings",
        records=[Record(id=name, title=name, license=recordings.license, files=files)],
        recordings=recordings,
    )


# ---- The text --------------------------------------------------------------------------------------------------------


def _line(key: str, value: object, comment: str = "") -> str:
    """A line of TOML; a JSON string, number or list of them is one of TOML.

    >>> _line("share", 0.2, "of all")
    'share = 0.2  # of all'
    """
    return f"{key} = {json.dumps(value, ensure_ascii=False)}" + (f"  # {comment}" if comment else "")


def _seen(folder: Path, paths: Sequence[str], infos: Sequence[SoundInfo]) -> Iterator[str]:
    kinds = in_words(Counter(map(suffix, paths)))
    yield f"# A first guess of what {folder.name or folder} holds. Read it, correct it, then `mimiidg validate` it."
    yield f"# Seen: {len(paths)} sound files ({kinds})" + (f", {len(infos)} looked at:" if infos else ", none readable")
    if infos:
        rates = ", ".join(f"{rate:,} Hz ({n})" for rate, n in Counter(i.sample_rate for i in infos).most_common())
        channels = ", ".join(f"{c} ({n})" for c, n in Counter(i.channels for i in infos).most_common())
        seconds = [info.seconds for info in infos]
        yield f"# sample rates {rates}; channels {channels};"
        yield f"# lengths {min(seconds):.1f} to {max(seconds):.1f} s, {sum(seconds):,.0f} s in all."


def _head(dataset: DatasetManifest, manifest: Path, infos: Sequence[SoundInfo]) -> Iterator[str]:
    yield _line("name", dataset.name)
    yield _line("title", dataset.title)
    yield _line("recording", dataset.recording, 'they hold the noise of the place; "clean": hardly any')
    if dataset.machine_types:
        yield _line("machine_types", dataset.machine_types)
    seconds = dataset.audio.clip_seconds
    n_short = sum(info.seconds < (seconds or 0) for info in infos if isinstance(seconds, float))
    short = f"; {n_short} recordings are shorter, and left out" if n_short else ""
    yield f"audio = {{ sample_rate = {dataset.audio.sample_rate}, clip_seconds = {seconds} }}  # of every clip{short}"


def _recordings(recordings: Recordings, guess: Guess, listing: Listing, n_files: int, folder: Path) -> Iterator[str]:
    yield ""
    yield "[recordings]"
    yield _line("folder", folder.as_posix(), "relative to this file")
    yield _line("pattern", recordings.pattern, f"{len(listing.recordings)} of {n_files} files fit")
    for field, value in guess.fixed.items():
        why = "no word seen that says which are not: say it here if some are" if field == "condition" else "of all"
        yield _line(field, value, why)
    said = Counter(recording.condition for recording in listing.recordings)
    for kind in ("normal", "anomaly"):
        if words := getattr(guess, kind):
            yield _line(kind, words, f"{said[kind]} recordings")
    has_sessions = any(recording.session for recording in listing.recordings)
    if not any(recording.split for recording in listing.recordings):
        yield _line("hold_out", "session" if has_sessions else "recording", "what is held out for testing as a whole")
        yield _line("share", recordings.share, "of a section's normal clips, about; anomalies are always for testing")
        yield _line("seed", recordings.seed, "draws which")
    yield _line("channel", recordings.channel, 'of recordings with several, from 0; or "mean"')
    for finding in listing.findings:
        yield f"# {finding.severity}: {finding.message}"


def _outcome(dataset: DatasetManifest, recordings: Recordings, listing: Listing) -> Iterator[str]:
    """How many clips of each section this gives."""
    if not listing.recordings or len(listing.recordings) > MAX_MEASURED:
        return
    measured, _ = measure(dataset, recordings, listing.recordings)
    yield "# This gives, in clips:"
    cells: dict[str, Counter[str]] = {}
    for machine_type in dataset.machine_types:
        own = [one for one in measured if one.recording.section_id.machine_type == machine_type]
        for clip in plan_clips(recordings, machine_type, own).clips:
            _, section, split, domain, condition, *_ = clip.row
            cell = " ".join(filter(None, (split, domain, condition)))
            cells.setdefault(f"{machine_type}/{section}", Counter())[cell] += 1
    for section, counts in sorted(cells.items()):
        yield f"# {section}: " + ", ".join(f"{n} {cell}" for cell, n in sorted(counts.items(), reverse=True))
