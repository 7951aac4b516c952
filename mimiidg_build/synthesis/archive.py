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

from mimiidg_build.datasets.synthetic import TRUTH_LIST, SyntheticSpec, archive_names
from mimiidg_build.datasets.synthetic_families import FAMILIES
from mimiidg_build.parallel.processes import process_pool
from mimiidg_build.storage.files import write_file
from mimiidg_build.synthesis.contents import ClipEntry, Entry, NoiseEntry, entries
from mimiidg_build.synthesis.dsp import SAMPLE_RATE, stream
from mimiidg_build.synthesis.factory import synthesize_noise
from mimiidg_build.synthesis.hall import near_and_far
from mimiidg_build.synthesis.machines import synthesize_clip
from mimiidg_build.synthesis.zip_file import Packed, pack_member, write_zip

PCM = bytes.fromhex("0100000000001000800000aa00389b71")  # the sub-format of WAVE_FORMAT_EXTENSIBLE
ROOM_LEVEL = 0.02  # RMS of what the farthest microphone hears of the room, at full scale 1
FARTHEST_M, SPEED_OF_SOUND = 2.0, 343.0  # m, m/s

BATCH = 16  # entries a worker packs at once: 4 MB on their way back, a fifth of a second of work

Batch = tuple[str, list[Packed]]


def encode_wav(samples: np.ndarray) -> bytes:
    """A 16-bit WAV file: of one channel 44 header bytes and the samples, of more in WAVE_FORMAT_EXTENSIBLE as MIMII's.

    Parameters
    ----------
    samples : np.ndarray [shape=(n_samples,) or (n_channels, n_samples)], float32 in [-1, 1]
        Values beyond full scale saturate.

    >>> encode_wav(np.zeros(160000, np.float32))[:4], len(encode_wav(np.zeros(160000, np.float32)))
    (b'RIFF', 320044)
    """
    # times 32768 as it is read back; +1 itself is one step too much and saturates
    data: bytes = np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").T.tobytes()
    n_channels = 1 if samples.ndim == 1 else len(samples)
    frame = 2 * n_channels
    code = 1 if n_channels == 1 else 0xFFFE  # PCM, or WAVE_FORMAT_EXTENSIBLE
    form = struct.pack("<HHIIHH", code, n_channels, SAMPLE_RATE, frame * SAMPLE_RATE, frame, 16)
    if n_channels > 1:
        form += struct.pack("<HHI", 22, 16, 0) + PCM
    chunk = struct.pack("<4sI", b"fmt ", len(form)) + form
    if n_channels > 1:
        chunk += struct.pack("<4sII", b"fact", 4, len(data) // frame)
    head = struct.pack("<4sI4s", b"RIFF", 4 + len(chunk) + 8 + len(data), b"WAVE")
    return head + chunk + struct.pack("<4sI", b"data", len(data)) + data


def in_channels(samples: np.ndarray, n_channels: int, spec: SyntheticSpec, name: str) -> np.ndarray:
    """A recording by several microphones: the first near the machine, the last far from it.

    A microphone hears the machine later and more quietly than the one before it, and more of the room.

    Parameters
    ----------
    samples : np.ndarray [shape=(n_samples,)]
        What the first one hears.
    n_channels : int
    spec : SyntheticSpec
    name : str
        What the room's noise depends on.

    Returns
    -------
    np.ndarray [shape=(n_channels, n_samples)], float32
    """
    room = stream(spec.seed, "room", name).normal(0, ROOM_LEVEL, samples.shape).astype(np.float32)
    channels = [samples]
    for number in range(1, n_channels):
        distance = number / (n_channels - 1)
        late = np.roll(samples, round(SAMPLE_RATE * FARTHEST_M * distance / SPEED_OF_SOUND))
        channels.append((1 - 0.8 * distance) * late + distance * np.roll(room, 37 * number))
    return np.stack(channels).astype(np.float32)


def content(spec: SyntheticSpec, entry: Entry) -> bytes:
    """The bytes of one member."""
    if isinstance(entry, ClipEntry):
        attributes = dict(entry.attributes)
        samples = synthesize_clip(entry.machine_type, entry.section, entry.condition, attributes, spec.seed, entry.name)
        if FAMILIES[spec.family].in_hall:
            place = entry.machine_type, entry.section, entry.domain, attributes
            return encode_wav(near_and_far(samples, *place, (spec.seed, entry.name)))
        samples = samples[: round(entry.seconds * SAMPLE_RATE)]
        return encode_wav(samples if entry.channels == 1 else in_channels(samples, entry.channels, spec, entry.name))
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
    if name == TRUTH_LIST:
        return write_list(spec, directory)
    write_zip(directory / name, (member for _, batch in batches for member in batch), on_progress)
    return directory / name


def write_list(spec: SyntheticSpec, directory: Path) -> Path:
    """Write what evaluation clips are whose names hide it: a file of the record, beside its archives."""
    write_file(directory / TRUTH_LIST, [content(spec, entry) for entry in entries(spec, TRUTH_LIST)])
    return directory / TRUTH_LIST


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
    if TRUTH_LIST in missing:
        write_list(spec, directory)
        missing.remove(TRUTH_LIST)
    jobs = [(spec, name, start) for name in missing for start in range(0, len(entries(spec, name)), BATCH)]
    with process_pool(workers) as pool:
        # write_zip uses up a group before the next is asked for, as groupby requires
        for name, batches in groupby(_in_order(pool, jobs, 4 * workers), key=itemgetter(0)):
            write_zip(directory / name, (member for _, batch in batches for member in batch), on_progress)
    return paths
