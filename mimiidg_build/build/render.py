"""Rendering one shard of a section: inflate, decode, mix, features, write all arrays' rows, note it in the journal.

One task, one shard, one writer. A task is plain data and needs nothing but the archives and noise banks it names, so it
runs in any thread, process or machine, and gives the same bytes.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mimiidg_build.audio.archive import Archive, open_archive
from mimiidg_build.audio.inflated import InflatedMembers
from mimiidg_build.audio.level import level
from mimiidg_build.audio.wav import ClipFormat
from mimiidg_build.build.statistics import BandTotals
from mimiidg_build.errors import DataError
from mimiidg_build.features import features_of, sample_memory, samples_mistake
from mimiidg_build.mixing.mix import added_noise_snr_db, mix
from mimiidg_build.mixing.noise_bank import ReadNoise, open_noise
from mimiidg_build.parallel.memory import keep_freed_memory
from mimiidg_build.schemas.stores import RenderedShard, SectionAudio
from mimiidg_build.schemas.variants import FeatureSettings
from mimiidg_build.storage.backend import Identity
from mimiidg_build.storage.files import hash_object, write_file
from mimiidg_build.storage.places import Place, identity, is_local
from mimiidg_build.store.metadata import UNSEALED, is_sealed, seal
from mimiidg_build.store.shards import Shard, open_shard

# 20 MB of samples and 10 MB of log-mel: few enough files (570 of a whole release), and small enough that a section of
# 1,200 clips keeps 16 cores busy and a kill costs a worker a fifth of a second of work.
SHARD_CLIPS = 64
SAMPLES = np.dtype("<i2")  # of samples as stored


def feature_shape(settings: FeatureSettings, name: str, audio: SectionAudio) -> tuple[int, ...]:
    """The shape of a clip's feature: (frame, band or bin), with an axis of channels in front where they are kept.

    >>> feature_shape(FeatureSettings(), "logmel", SectionAudio(channels=8))
    (8, 313, 128)
    >>> feature_shape(FeatureSettings(reference="subtract"), "logmel", SectionAudio(channels=2))
    (313, 128)
    """
    channels = audio.shape[:-1] if settings.keeps_channels(name) else ()
    return (*channels, *settings.clip_shape(name, audio.n_samples))


@dataclass(frozen=True, slots=True)
class ClipTask:
    """One clip: where its recording is, its noise layers as (noise bank, row, gain), power and peak if known, and
    whether it is one to train on."""

    archive: Place
    member: str
    layers: tuple[tuple[Place, int, float], ...]
    level: tuple[float, float] | None = None
    is_training: bool = False


@dataclass(frozen=True)
class ShardTask:
    """The clips of one shard: rows ``start`` .. of a section of ``n_clips``."""

    staging: Place
    journal: Place
    section: str  # path of the section's group, fan/section_00
    start: int
    n_clips: int
    audio: SectionAudio
    form: ClipFormat  # what the clips are held to, and what is kept of them
    a: float  # mean power of the section's recordings; NaN where no noise is added: no level is measured then
    attenuation: float
    features: FeatureSettings
    clips: tuple[ClipTask, ...]
    inflated: InflatedMembers = field(default_factory=InflatedMembers, compare=False)  # clips may wait there

    @property
    def entry(self) -> Place:
        """The shard's file in the journal."""
        return self.journal / f"{self.section.replace('/', '-')}-{self.start // SHARD_CLIPS:04d}.json"

    @property
    def objects(self) -> tuple[str, ...]:
        """Paths within the store of the shard's files, that of the samples first."""
        return tuple(self._object(name) for name in ("audio", *self.features.arrays))

    def _object(self, name: str) -> str:
        return f"{self.section}/{name}/c/{self.start // SHARD_CLIPS}" + "/0" * (self.n_axes(name) - 1)

    def n_axes(self, name: str) -> int:
        """Axes of an array of the store, that of clips included."""
        return 1 + len(self._shape(name))

    def chunk_bytes(self, name: str) -> int:
        """Size of a clip in an array of the store."""
        return math.prod(self._shape(name)) * np.dtype(np.int16 if name == "audio" else self.features.dtype).itemsize

    def _shape(self, name: str) -> tuple[int, ...]:
        """Of a clip in an array of the store."""
        return self.audio.shape if name == "audio" else feature_shape(self.features, name, self.audio)


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
    features: dict[str, npt.NDArray[np.float32]]
    power: float
    peak: float
    measured_snr_db: float
    n_saturated: int


class _Renderer:
    """Renders the clips of a shard in one thread. What is the same for all of them is looked up once: between two clips
    nearly all of the cache is lost to their samples, and a look-up takes four times as long then."""

    def __init__(self, task: ShardTask, banks: dict[Place, ReadNoise]) -> None:
        self._task, self._banks = task, banks
        self._archives = {path: _archive(path) for path in {clip.archive for clip in task.clips}}
        audio = task.audio
        # mixed where the transform reads it: the copy would take 0.03 ms
        self._out = sample_memory(audio.n_samples, audio.sample_rate) if audio.channels is None else None
        self._features = features_of(task.features, audio.sample_rate, audio.shape)

    def render(self, clip: ClipTask) -> Rendered:
        """Inflate, decode, mix and transform one clip. Its samples may lie where the next clip's will."""
        task, archive = self._task, self._archives[clip.archive]
        name = f"{archive.name}: {clip.member}"
        recording = task.form.decode(task.inflated.read(archive, clip.member), name)
        if task.features.has_reference and (mistake := samples_mistake(recording, task.features)):
            raise DataError(f"{name}: {mistake}")
        power, peak = clip.level or level(recording)
        layers = [(self._banks[path](row, layer), gain) for layer, (path, row, gain) in enumerate(clip.layers)]
        mixed = mix(recording, layers, task.attenuation, self._out)
        snr_db = added_noise_snr_db(task.a, mixed.added_power) if layers else math.nan
        # Features are of the rounded samples, so that they can be computed again from the stored audio.
        features = self._features(mixed.samples)
        return Rendered(mixed.samples, features, power, peak, snr_db, mixed.n_saturated)


def render_shard(task: ShardTask) -> RenderedShard:
    """Render, write and journal a shard. Idempotent: run twice, the same bytes under the same names."""
    result = _render(task, task.staging)
    result = result.model_copy(update={"identities": identities(task)})
    # Last: the entry promises that all files are whole.
    write_entry(task.entry, result)
    return result


def identities(task: ShardTask) -> dict[str, Identity]:
    """Of the shard's files, by path, where the storage tells; a file that keeps its own need not be read again."""
    found = {path: identity(task.staging / path) for path in task.objects}
    return {path: value for path, value in found.items() if value is not None}


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
    feature_dtype = np.dtype(task.features.dtype).newbyteorder("<")
    measured, bands = [], BandTotals(feature_shape(task.features, "logmel", task.audio))
    with ExitStack() as opened:
        shards = {name: opened.enter_context(_open_shard(task, store, name)) for name in task.features.arrays}
        audio = opened.enter_context(_open_shard(task, store, "audio"))
        paths = {path for clip in task.clips for path, _, _ in clip.layers}
        banks = {path: opened.enter_context(open_noise(path, task.audio.n_samples)) for path in paths}
        renderer = _Renderer(task, banks)
        for clip in task.clips:
            rendered = renderer.render(clip)
            stored = {name: rendered.features[name].astype(feature_dtype, copy=False) for name in shards}
            if clip.is_training:  # now, while they are in the processor's cache
                bands.add(stored["logmel"])
            for name, shard in shards.items():
                shard.append(stored[name])
            audio.append(rendered.samples.astype(SAMPLES, copy=False))
            measured.append(rendered[2:])  # without the arrays
    power, peak, measured_snr_db, n_saturated = zip(*measured, strict=True)
    return RenderedShard(
        section=task.section,
        start=task.start,
        objects=(audio.object, *(shard.object for shard in shards.values())),
        power=power,
        peak=peak,
        measured_snr_db=measured_snr_db,
        n_saturated=n_saturated,
        bands=bands.sums,
    )


def _open_shard(task: ShardTask, store: Place | None, name: str) -> AbstractContextManager[Shard]:
    """The task's shard of one of the section's arrays."""
    rows = (task.start, len(task.clips), task.n_clips, SHARD_CLIPS)
    return open_shard(store, f"{task.section}/{name}", *rows, task.n_axes(name), task.chunk_bytes(name))


def write_entry(path: Place, result: RenderedShard) -> None:
    """Note a finished shard, sealed, whole or not at all."""
    write_file(path, [seal(result.model_copy(update={"seal": UNSEALED}).model_dump_json().encode())])


def read_entry(task: ShardTask) -> RenderedShard | None:
    """What an earlier run finished, if the entry and the objects still have the bytes that it wrote; else None."""
    try:
        content = task.entry.read_bytes()
        if not is_sealed(content):  # what was measured stands in the entry alone, and goes into the clip table
            return None
        noted, found = RenderedShard.model_validate_json(content), identities(task)  # before the files are read
        if any(hash_object(task.staging, entry.path) != entry for entry in noted.objects):
            return None
    except (OSError, ValueError):  # pydantic's errors are ValueErrors
        return None
    return noted.model_copy(update={"seal": None, "identities": found})
