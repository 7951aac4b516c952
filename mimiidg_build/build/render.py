"""Rendering one shard of a section: inflate, decode, mix, log-mel, write both arrays' rows, note it in the journal.

One task, one shard, one writer. A task is plain data and needs nothing but the archives and noise banks it names, so it
runs in any thread, process or machine, and gives the same bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mimiidg_build.audio.archive import Archive, open_archive
from mimiidg_build.audio.level import level
from mimiidg_build.audio.wav import decode_clip
from mimiidg_build.features import logmel
from mimiidg_build.mixing.mix import added_noise_snr_db, mix
from mimiidg_build.mixing.noise_bank import read_noise_clip
from mimiidg_build.parallel.memory import keep_freed_memory
from mimiidg_build.schemas.stores import RenderedShard, SectionAudio
from mimiidg_build.storage.files import hash_object, write_file
from mimiidg_build.storage.places import Place, is_local
from mimiidg_build.store.metadata import UNSEALED, is_sealed, seal
from mimiidg_build.store.shards import open_shard

# 20 MB of samples and 10 MB of log-mel: few enough files (570 of a whole release), and small enough that a section of
# 1,200 clips keeps 16 cores busy and a kill costs a worker a fifth of a second of work.
SHARD_CLIPS = 64


@dataclass(frozen=True)
class ClipTask:
    """One clip: where its recording is, its noise layers as (noise bank, row, gain), and power and peak if known."""

    archive: Place
    member: str
    layers: tuple[tuple[Place, int, float], ...]
    level: tuple[float, float] | None = None


@dataclass(frozen=True)
class ShardTask:
    """The clips of one shard: rows ``start`` .. of a section of ``n_clips``."""

    staging: Place
    journal: Place
    section: str  # path of the section's group, fan/section_00
    start: int
    n_clips: int
    audio: SectionAudio
    a: float  # mean power of the section's recordings; NaN where no noise is added: no level is measured then
    attenuation: float
    feature_dtype: str
    clips: tuple[ClipTask, ...]

    @property
    def entry(self) -> Place:
        """The shard's file in the journal."""
        return self.journal / f"{self.section.replace('/', '-')}-{self.start // SHARD_CLIPS:04d}.json"

    @property
    def objects(self) -> tuple[str, str]:
        """Paths within the store of the shard's two files."""
        number = self.start // SHARD_CLIPS
        return f"{self.section}/audio/c/{number}/0", f"{self.section}/logmel/c/{number}/0/0"


@lru_cache(maxsize=32)
def _archive(path: Place) -> Archive:
    """Archives stay open between the tasks of a worker; their members are read independently of each other."""
    return open_archive(path)


def _use_current_archives(task: ShardTask) -> None:
    """Open archives anew that were replaced since this worker opened them, as own recordings are that were cut again.

    On object storage, where asking is a request, the members' checksums tell.
    """
    archives = {clip.archive for clip in task.clips if is_local(clip.archive)}
    if not all(_archive(path).is_current() for path in archives):
        _archive.cache_clear()


class Rendered(NamedTuple):
    """A clip as stored, and what was measured of it: the recording's power and peak, the SNR, the samples clipped."""

    samples: npt.NDArray[np.int16]
    logmel: npt.NDArray[np.float32]
    power: float
    peak: float
    measured_snr_db: float
    n_saturated: int


def render_clip(task: ShardTask, clip: ClipTask) -> Rendered:
    """Inflate, decode, mix and transform one clip of the shard."""
    data = _archive(clip.archive).read(clip.member)
    recording = decode_clip(data, f"{clip.archive.name}: {clip.member}", n_samples=task.audio.n_samples)
    power, peak = clip.level or level(recording)
    layers = [(read_noise_clip(path, k, task.audio.n_samples), gain) for path, k, gain in clip.layers]
    mixed = mix(recording, layers, task.attenuation)
    snr_db = added_noise_snr_db(task.a, mixed.added_power) if layers else math.nan
    # The log-mel is of the rounded samples, so that it can be computed again from the stored audio.
    return Rendered(mixed.samples, logmel(mixed.samples), power, peak, snr_db, mixed.n_saturated)


def render_shard(task: ShardTask) -> RenderedShard:
    """Render, write and journal a shard. Idempotent: run twice, the same bytes under the same names."""
    result = _render(task, task.staging)
    # Last: the entry promises that both files are whole.
    write_entry(task.entry, result)
    return result


def render_unwritten(task: ShardTask) -> RenderedShard:
    """What :func:`render_shard` would write and note, without writing it."""
    return _render(task, None)


def _render(task: ShardTask, store: Place | None) -> RenderedShard:
    """Clip by clip, so that memory holds one clip a worker and every byte is hashed and written while it is cached.

    No call here reaches BLAS, and all else runs on the thread that calls it: the workers alone decide how many threads
    there are, whatever the numeric libraries' settings.
    """
    keep_freed_memory()
    _use_current_archives(task)
    feature_dtype = np.dtype(task.feature_dtype).newbyteorder("<")
    rows = (task.start, len(task.clips), task.n_clips, SHARD_CLIPS)
    measured = []
    with (
        open_shard(store, f"{task.section}/logmel", *rows, n_axes=3) as logmels,
        open_shard(store, f"{task.section}/audio", *rows, n_axes=2) as audio,
    ):
        for clip in task.clips:
            rendered = render_clip(task, clip)
            audio.append(rendered.samples.astype("<i2", copy=False))
            logmels.append(rendered.logmel.astype(feature_dtype, copy=False))
            measured.append(rendered[2:])  # without the arrays
    power, peak, measured_snr_db, n_saturated = zip(*measured, strict=True)
    return RenderedShard(
        section=task.section,
        start=task.start,
        objects=(audio.object, logmels.object),
        power=power,
        peak=peak,
        measured_snr_db=measured_snr_db,
        n_saturated=n_saturated,
    )


def write_entry(path: Place, result: RenderedShard) -> None:
    """Note a finished shard, sealed, whole or not at all."""
    write_file(path, [seal(result.model_copy(update={"seal": UNSEALED}).model_dump_json().encode())])


def read_entry(task: ShardTask) -> RenderedShard | None:
    """What an earlier run finished, if the entry and the objects still have the bytes that it wrote; else None."""
    try:
        content = task.entry.read_bytes()
        if not is_sealed(content):  # what was measured stands in the entry alone, and goes into the clip table
            return None
        noted = RenderedShard.model_validate_json(content)
        if any(hash_object(task.staging, entry.path) != entry for entry in noted.objects):
            return None
    except (OSError, ValueError):  # pydantic's errors are ValueErrors
        return None
    return noted.model_copy(update={"seal": None})
