"""A release of any size whose tables are real and whose audio is not: for timing what depends on the tables alone.

Every archive has the members, names, sizes, checksums and attribute tables of the synthetic release of that size; each
clip holds one of a few square waves, which deflate to a hundredth of a real clip. A store of it has every shard as a
sparse file: right size, no bytes. So 18,000 clips take 100 MB and seconds, and a build of them can be decided upon.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.build.decision import decide
from mimiidg_build.build.inputs import read_inputs
from mimiidg_build.build.planning import PlannedSection, plan_sections
from mimiidg_build.build.publish import open_staging, publish
from mimiidg_build.build.render import SHARD_CLIPS, ShardTask, identities, write_entry
from mimiidg_build.build.sections import render_sections
from mimiidg_build.build.statistics import BandTotals
from mimiidg_build.datasets.synthetic import SyntheticSpec, archive_names
from mimiidg_build.features import N_MELS, n_frames
from mimiidg_build.parallel.runner import Runner, runner
from mimiidg_build.schemas.stores import RenderedShard, StoredObject
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.storage.files import hash_object
from mimiidg_build.store.store import Store
from mimiidg_build.synthesis.contents import TableEntry, entries
from mimiidg_build.synthesis.zip_file import Packed, write_zip

N_WAVES = 17


def simulate_archives(spec: SyntheticSpec, root: Path) -> None:
    """Write the archives of the release under ROOT/archives, as if somebody had put them there by hand."""
    directory = root / "archives" / spec.record_id
    directory.mkdir(parents=True)
    levels = range(500, 500 + 29 * N_WAVES, 29)  # not one: what is fitted to scores that are all alike has no width
    waves = [encode_wav(np.tile(np.repeat(np.array([n, -n], np.int16), 20), 4000)) for n in levels]
    packed = [_packed("", True, wave) for wave in waves]
    for name in archive_names(spec):
        write_zip(directory / name, _members(spec, name, packed), None)


def _members(spec: SyntheticSpec, name: str, waves: Sequence[Packed]) -> Iterator[Packed]:
    for number, entry in enumerate(entries(spec, name)):
        packed_wave = waves[number % len(waves)]
        if isinstance(entry, TableEntry):
            yield _packed(entry.member, False, entry.text.encode())
        else:
            yield Packed(entry.member, True, packed_wave.data, packed_wave.crc, packed_wave.size_bytes)


def _packed(member: str, is_clip: bool, data: bytes) -> Packed:
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return Packed(member, is_clip, deflate.compress(data) + deflate.flush(), zlib.crc32(data), len(data))


def simulate_store(variant: Variant, root: Path) -> Store:
    """Build the variant, everything but its shards' bytes."""
    inputs = read_inputs(variant, root)
    decision = decide(inputs, root)
    planned = plan_sections(inputs, decision, root, runner())
    open_staging(decision)
    return publish(inputs, decision, render_sections(inputs, decision, planned, sparse_runner(planned)), runner())


def sparse_runner(planned: Sequence[PlannedSection]) -> Runner:
    """A runner that lays out shards, and notes them in the journal, instead of rendering them; at the planned SNRs."""
    snrs_db = {section.section.section_id.group: section.plan["added_noise_snr_db"].to_numpy() for section in planned}

    def run(
        function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], on_result: Callable[[Any], None]
    ) -> list[Any]:
        return [
            _sparse_shard(task, snrs_db[task.section][task.start :][: len(task.clips)].tolist()) for (task,) in tasks
        ]

    return run


_digests: dict[int, str] = {}


def digest_of_zeros(file: Path, size_bytes: int) -> str:
    """Of a file of zeros: they have few sizes, and reading each would take longer than what is measured."""
    if size_bytes not in _digests:
        _digests[size_bytes] = hash_object(file.parent, file.name).blake3
    return _digests[size_bytes]


def _sparse_shard(task: ShardTask, snrs_db: Sequence[float]) -> RenderedShard:
    n, number = len(task.clips), task.start // SHARD_CLIPS
    index_bytes = 16 * SHARD_CLIPS + 4
    objects = []
    for path, clip_bytes in (
        (f"{task.section}/audio/c/{number}/0", 2 * task.audio.n_samples),
        (f"{task.section}/logmel/c/{number}/0/0", 4 * N_MELS * n_frames(task.audio.n_samples)),
    ):
        target, size_bytes = task.staging / path, n * clip_bytes + index_bytes
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
        os.truncate(target, size_bytes)
        objects.append(StoredObject(path, size_bytes, digest_of_zeros(target, size_bytes)))
    result = RenderedShard(
        section=task.section,
        start=task.start,
        objects=tuple(objects),
        power=(1e-3,) * n,
        peak=(0.1,) * n,
        measured_snr_db=tuple(snrs_db),
        n_saturated=(0,) * n,
        bands=BandTotals((1, 1)).sums,
        identities=identities(task),
    )
    write_entry(task.entry, result)
    return result
