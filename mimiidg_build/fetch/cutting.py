"""One archive of clips cut from own recordings: read piece by piece, at the dataset's rate, 16 bits, and packed.

Recordings are only read. At any time one clip is in memory, however long they are (an MP3 file is decoded to a
temporary file first). The archive gets its name when it is whole, and has the same bytes for the same recordings.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

import numpy as np
from blake3 import blake3

from mimiidg_build.audio.level import Float32, Int16
from mimiidg_build.audio.pieces import read_pieces
from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.datasets.findings import Finding
from mimiidg_build.datasets.layouts.recordings import table_text
from mimiidg_build.datasets.recordings.cutting import TABLE, CutPlan, PlannedClip
from mimiidg_build.errors import DataError
from mimiidg_build.progress import OnProgress
from mimiidg_build.schemas.manifests import DatasetManifest
from mimiidg_build.schemas.recordings import CutSource, Recordings
from mimiidg_build.storage.places import Place
from mimiidg_build.synthesis.zip_file import Packed, pack_member, write_zip

FULL_SCALE = 32768
BLOCK_BYTES = 2**20


class _Stopped(Exception):
    """The main thread was stopped while clips were cut."""


def source_of(path: Path, known: CutSource | None = None) -> CutSource:
    """State and digest of a recording; it is not read where it has the state in which it was known.

    Raises
    ------
    DataError
        It cannot be read.
    """
    try:
        stat = path.stat()
        if known is not None and (known.size_bytes, known.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
            return known
        digest = blake3()
        with path.open("rb") as file:  # not mapped: pages of a mapped file count as this process's memory
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{path}: this recording cannot be read ({error.strerror}).") from None
    return CutSource(size_bytes=stat.st_size, mtime_ns=stat.st_mtime_ns, blake3=digest.hexdigest())


def cut_archive(
    dataset: DatasetManifest, settings: Recordings, plan: CutPlan, path: Place, on_progress: OnProgress
) -> tuple[dict[str, CutSource], list[Finding]]:
    """Cut the clips of one machine type and pack them.

    Parameters
    ----------
    dataset : DatasetManifest
        Its ``audio`` says how long clips are, and at which rate.
    settings : Recordings
    plan : CutPlan
    path : Place
        Of the archive; what is there is replaced once the new one is whole.
    on_progress : OnProgress
        Called with 1 for each clip.

    Returns
    -------
    sources : dict of path to CutSource
        The recordings as they were cut.
    findings : list of Finding
        Warnings: ``full_scale``, samples beyond full scale that were limited to it.

    Raises
    ------
    DataError
        A recording cannot be read, or changed meanwhile; or the archive cannot be written.
    """
    sources: dict[str, CutSource] = {}
    n_limited: dict[str, int] = {}
    stop = threading.Event()

    def members() -> Iterator[Packed]:
        rows = sorted((clip.row for clip in plan.clips), key=lambda row: (row[2] != "train", row[0]))
        yield pack_member(f"{plan.machine_type}/{TABLE}", table_text(rows), is_clip=False)
        for name, clips in groupby(plan.clips, key=lambda clip: clip.recording.path):
            source = Path(settings.folder) / name
            sources[name] = source_of(source)
            for member, samples in _samples(dataset, settings, source, list(clips)):
                if stop.is_set():
                    raise _Stopped
                clip, n = _to_int16(samples)
                n_limited[name] = n_limited.get(name, 0) + n
                yield pack_member(member, encode_wav(clip, dataset.audio.sample_rate), is_clip=True)
            if source_of(source, sources[name]) != sources[name]:
                raise DataError(f"{source} changed while clips were cut from it. Run the same command again.")

    # beside the main thread: Ctrl-C comes there, where libsndfile's callbacks would lose it
    with ThreadPoolExecutor(1) as beside:
        try:
            beside.submit(write_zip, path, members(), on_progress).result()
        except BaseException:
            stop.set()
            raise
    return sources, [_limited(path.name, name, n) for name, n in n_limited.items() if n]


def _samples(
    dataset: DatasetManifest, settings: Recordings, source: Path, clips: list[PlannedClip]
) -> Iterator[tuple[str, Int16 | Float32]]:
    """Member and samples of each clip of a recording."""
    rate = dataset.audio.sample_rate
    n_samples = dataset.audio.clip_samples(clips[0].recording.section_id.machine_type) or 0
    with source.open("rb") as file:
        pieces = read_pieces(file, os.fspath(source), rate, n_samples, channel=settings.channel)
        for clip, samples in zip(clips, pieces, strict=True):
            yield clip.member, samples


def _to_int16(samples: Int16 | Float32) -> tuple[Int16, int]:
    """Samples of 16 bits, and how many were beyond full scale and were limited to it.

    >>> _to_int16(np.array([0.5, -1.0, 1.5], np.float32))
    (array([ 16384, -32768,  32767], dtype=int16), 1)
    """
    if samples.dtype == np.int16:
        return samples.astype(np.int16, copy=False), 0
    scaled = np.rint(samples * np.float32(FULL_SCALE))
    n_limited = int(np.count_nonzero((scaled > FULL_SCALE) | (scaled < -FULL_SCALE)))
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16), n_limited


def _limited(archive: str, path: str, n: int) -> Finding:
    message = f"{path}: {n} samples beyond full scale were limited to it"
    return Finding("warning", "full_scale", archive, message, 0, "path", path)
