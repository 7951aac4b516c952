"""Rendering one shard of a section: inflate, decode, mix, log-mel, write both arrays' rows, note it in the journal.

One task, one shard, one writer. A task is plain data and needs nothing but the archives and noise banks it names, so it
runs in any thread, process or machine, and gives the same bytes.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mimiidg_build.archive import Archive, open_archive
from mimiidg_build.audio import decode_clip
from mimiidg_build.features import N_MELS, logmel, n_frames
from mimiidg_build.mix import added_noise_snr_db, mix
from mimiidg_build.noise import read_noise_clip
from mimiidg_build.shards import StoredObject, encode_shard, hash_object, write_file, write_shard

SHARD_CLIPS = 64  # 20 MB of samples, 10 MB of log-mel: few files, and two threads' work stays small in memory


@dataclass(frozen=True)
class ClipTask:
    """One clip: where its recording is, and its noise layers as (noise bank, row, gain)."""

    archive: Path
    member: str
    layers: tuple[tuple[Path, int, float], ...]


@dataclass(frozen=True)
class ShardTask:
    """The clips of one shard: rows ``start`` .. of a section of ``n_clips``."""

    staging: Path
    journal: Path
    section: str  # path of the section's group, fan/section_00
    start: int
    n_clips: int
    n_samples: int
    a: float  # mean power of the section's recordings
    attenuation: float
    feature_dtype: str
    clips: tuple[ClipTask, ...]

    @property
    def entry(self) -> Path:
        """The shard's file in the journal."""
        return self.journal / f"{self.section.replace('/', '-')}-{self.start // SHARD_CLIPS:04d}.json"


@dataclass(frozen=True)
class ShardResult:
    """What a shard's journal entry says: the objects written, and per clip the SNR measured (NaN: no noise was added)
    and the samples clipped."""

    section: str
    start: int
    objects: tuple[StoredObject, ...]
    measured_snr_db: tuple[float, ...]
    n_saturated: tuple[int, ...]


@lru_cache(maxsize=32)
def _archive(path: Path) -> Archive:
    """Archives stay open between the tasks of a worker; their members are read independently of each other."""
    return open_archive(path)


class Blocks(NamedTuple):
    """A shard's rows of both arrays, and what was measured of each clip."""

    audio: npt.NDArray[np.int16]
    logmel: npt.NDArray[np.floating]
    measured_snr_db: tuple[float, ...]
    n_saturated: tuple[int, ...]


def render_blocks(task: ShardTask) -> Blocks:
    """Render the clips of a shard. Nothing is written.

    Returns
    -------
    Blocks
        ``audio`` [shape=(n, n_samples)], int16; ``logmel`` [shape=(n, n_frames, 128)], dB.
    """
    audio = np.empty((len(task.clips), task.n_samples), "<i2")
    shape = (len(task.clips), n_frames(task.n_samples), N_MELS)
    features = np.empty(shape, np.dtype(task.feature_dtype).newbyteorder("<"))
    measured_snr_db, n_saturated = [], []
    for row, clip in enumerate(task.clips):
        data = _archive(clip.archive).read(clip.member)
        recording = decode_clip(data, f"{clip.archive.name}: {clip.member}", n_samples=task.n_samples)
        layers = [(read_noise_clip(path, k, task.n_samples), gain) for path, k, gain in clip.layers]
        mixed = mix(recording, layers, task.attenuation)
        audio[row] = mixed.samples
        features[row] = logmel(mixed.samples)
        measured_snr_db.append(added_noise_snr_db(task.a, mixed.added_power) if layers else math.nan)
        n_saturated.append(mixed.n_saturated)
    return Blocks(audio, features, tuple(measured_snr_db), tuple(n_saturated))


def render_shard(task: ShardTask) -> ShardResult:
    """Render, write and journal a shard. Idempotent: run twice, the same bytes under the same names."""
    blocks = render_blocks(task)
    objects = tuple(
        write_shard(task.staging, f"{task.section}/{name}", block, task.start, task.n_clips, SHARD_CLIPS)
        for name, block in (("audio", blocks.audio), ("logmel", blocks.logmel))
    )
    result = ShardResult(task.section, task.start, objects, blocks.measured_snr_db, blocks.n_saturated)
    write_entry(task.entry, result)
    return result


def render_unwritten(task: ShardTask) -> ShardResult:
    """What :func:`render_shard` would write and note, without writing it."""
    blocks = render_blocks(task)
    objects = tuple(
        encode_shard(f"{task.section}/{name}", block, task.start, task.n_clips, SHARD_CLIPS)[0]
        for name, block in (("audio", blocks.audio), ("logmel", blocks.logmel))
    )
    return ShardResult(task.section, task.start, objects, blocks.measured_snr_db, blocks.n_saturated)


def write_entry(path: Path, result: ShardResult) -> None:
    """Note a finished shard, whole or not at all."""
    write_file(path, [json.dumps(asdict(result)).encode()])


def read_entry(task: ShardTask) -> ShardResult | None:
    """What an earlier run finished, if its objects still have the bytes that it noted; else None."""
    try:
        noted = json.loads(task.entry.read_text())
        objects = tuple(StoredObject(**entry) for entry in noted["objects"])
        if any(hash_object(task.staging, entry.path) != entry for entry in objects):
            return None
        return ShardResult(
            noted["section"], noted["start"], objects, tuple(noted["measured_snr_db"]), tuple(noted["n_saturated"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
