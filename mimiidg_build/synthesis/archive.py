"""Archives of a synthetic release: clips rendered, coded as WAV, packed into zips. Deterministic to the byte.

Packing goes in batches of entries, in this process or in worker processes; one process alone writes, in order, to a
temporary name that is replaced at the end. So the bytes depend on neither the workers nor their timing, a broken run
leaves no archive that looks whole, and the next one resumes at the first archive that is missing.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from mimiidg_build.datasets.synthetic import SyntheticSpec, archive_names
from mimiidg_build.parallel.processes import process_pool
from mimiidg_build.synthesis.contents import ClipEntry, Entry, NoiseEntry, entries
from mimiidg_build.synthesis.dsp import SAMPLE_RATE
from mimiidg_build.synthesis.factory import synthesize_noise
from mimiidg_build.synthesis.machines import synthesize_clip
from mimiidg_build.synthesis.zip_file import Packed, pack_member, write_zip

BATCH = 16  # entries a worker packs at once: 4 MB on their way back, a fifth of a second of work

Batch = tuple[str, list[Packed]]


def encode_wav(samples: np.ndarray) -> bytes:
    """A 16-bit mono WAV file of 44 header bytes and the samples.

    Parameters
    ----------
    samples : np.ndarray [shape=(n_samples,)], float32 in [-1, 1]; values beyond full scale saturate

    >>> encode_wav(np.zeros(160000, np.float32))[:4], len(encode_wav(np.zeros(160000, np.float32)))
    (b'RIFF', 320044)
    """
    # times 32768 as it is read back; +1 itself is one step too much and saturates
    data: bytes = np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()
    chunk = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
    head = struct.pack("<4sI4s", b"RIFF", 36 + len(data), b"WAVE")
    return head + chunk + struct.pack("<4sI", b"data", len(data)) + data


def content(spec: SyntheticSpec, entry: Entry) -> bytes:
    """The bytes of one member."""
    if isinstance(entry, ClipEntry):
        attributes = dict(entry.attributes)
        return encode_wav(
            synthesize_clip(entry.machine_type, entry.section, entry.condition, attributes, spec.seed, entry.name)
        )
    if isinstance(entry, NoiseEntry):
        return encode_wav(synthesize_noise(entry.kind, entry.index, spec.seed))
    return entry.text.encode()


def pack(spec: SyntheticSpec, name: str, start: int) -> Batch:
    """Make and deflate one batch of the archive's entries.

    Parameters
    ----------
    spec : SyntheticSpec
    name : str
        The archive.
    start : int
        Number of the batch's first entry.

    Returns
    -------
    name : str
    packed : list of Packed
        Up to ``BATCH`` members, in order.
    """
    packed = [
        pack_member(entry.member, content(spec, entry), is_clip=isinstance(entry, ClipEntry | NoiseEntry))
        for entry in entries(spec, name)[start : start + BATCH]
    ]
    return name, packed


def write_archive(
    spec: SyntheticSpec, name: str, directory: Path, on_progress: Callable[[int], None] | None = None
) -> Path:
    """Write one archive of the release, in this process. An archive that is there already is replaced.

    Parameters
    ----------
    spec : SyntheticSpec
    name : str
        One of ``archive_names(spec)``.
    directory : Path
        Made if missing.
    on_progress : OnProgress, optional
        Called with the number of clips finished since the last call.

    Returns
    -------
    Path
        The archive.

    Raises
    ------
    UsageError
        The release has no archive of that name.
    """
    batches = (pack(spec, name, start) for start in range(0, len(entries(spec, name)), BATCH))
    directory.mkdir(parents=True, exist_ok=True)
    return write_zip(directory / name, (member for _, batch in batches for member in batch), on_progress)


def _in_order(pool: ProcessPoolExecutor, jobs: list[tuple[SyntheticSpec, str, int]], window: int) -> Iterator[Batch]:
    """Results of the jobs in their order, at most ``window`` of them under way or waiting."""
    pending: deque[Future[Batch]] = deque()
    for job in jobs:
        pending.append(pool.submit(pack, *job))
        if len(pending) >= window:  # bounded: one slow batch must not let all later ones pile up in memory
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def n_recordings(spec: SyntheticSpec, names: Collection[str]) -> int:
    """Clips and noise recordings of some archives of a release.

    >>> n_recordings(SyntheticSpec(percent=5), ["fan.zip", "noise.zip"])
    228
    """
    return sum(isinstance(entry, ClipEntry | NoiseEntry) for name in names for entry in entries(spec, name))


def write_release(
    spec: SyntheticSpec,
    directory: Path,
    workers: int = 2,
    on_progress: Callable[[int], None] | None = None,
    names: Collection[str] | None = None,
) -> list[Path]:
    """Write archives of the release that are not there yet.

    A script that calls this with more than one worker needs an ``if __name__ == "__main__":`` guard.

    Parameters
    ----------
    spec : SyntheticSpec
    directory : Path
        Made if missing. One process at a time may write there.
    workers : int
        Processes that make clips; with 1, this process makes them.
    on_progress : OnProgress, optional
        Called, in this process, with the number of clips finished since the last call.
    names : collection of str, optional
        Only these archives; all by default.

    Returns
    -------
    list of Path
        The archives, in the order of ``archive_names(spec)``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / name for name in archive_names(spec) if names is None or name in names]
    missing = []
    for path in paths:
        if not path.exists():  # whole if it is there, for write_zip gives the name last
            missing.append(path.name)
        elif on_progress is not None:
            on_progress(n_recordings(spec, [path.name]))
    if workers == 1 or not missing:
        for name in missing:
            write_archive(spec, name, directory, on_progress)
        return paths
    jobs = [(spec, name, start) for name in missing for start in range(0, len(entries(spec, name)), BATCH)]
    with process_pool(workers) as pool:
        # write_zip uses up a group before the next is asked for, as groupby requires
        for name, batches in groupby(_in_order(pool, jobs, 4 * workers), key=itemgetter(0)):
            write_zip(directory / name, (member for _, batch in batches for member in batch), on_progress)
    return paths
