"""Noise banks: a noise kind, prepared for mixing as noise clips as long as the clips, at their rate, of one channel.

The noise clips of a kind, of one length and rate, lie in one bank, ROOT/noise/<fingerprint>.{int16,float32} (end to
end, little endian; int16 where every recording is 16-bit at that rate), beside a table of their levels. A bank is a
cache. Its name is the digest of the recordings, of how they are cut and of :data:`NOISE_VERSION`, so it is never stale;
its table holds the digest of its noise clips, so a damaged one is made again; and it can be deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimiidg_build.audio.level import FULL_SCALE, Float32, Int16, level
from mimiidg_build.audio.pieces import Channel, read_pieces, sound_info
from mimiidg_build.errors import DataError
from mimiidg_build.mixing.draws import uniform
from mimiidg_build.mixing.noise_quality import channel_hint, is_band_limited
from mimiidg_build.mixing.noise_recordings import NoiseRecording
from mimiidg_build.schemas.tables import NoiseTable
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.storage.backend import Write
from mimiidg_build.storage.cached_table import read_cached, write_cached
from mimiidg_build.storage.files import hash_object, whole_file
from mimiidg_build.storage.places import Place, cache_places, is_local, open_file, read_at

NOISE_VERSION = "noise-1"  # part of a bank's and a store's fingerprint: a change of one bit is a new version
TABLE_VERSION = "table-2"  # tables that another version wrote are made again, and their noise clips with them
SAMPLE_RATE = 16_000  # Hz, of nearly every dataset


class ReadNoise(Protocol):
    """Reads noise clips of a bank."""

    def __call__(self, row: int, layer: int = 0) -> Int16 | Float32:
        """A noise clip's samples, by its number and the layer that it is for.

        They lie there until this thread reads another noise clip for that layer, of whatever bank.
        """


@dataclass(frozen=True)
class Cutting:
    """What of a recording becomes noise clips: a channel, and the seed of random places, None for end to end."""

    channel: Channel = 0
    seed: int | None = None


FIXED = Cutting()


def cutting_of(variant: Variant, kind: str) -> Cutting:
    """How a variant cuts the recordings of a noise kind."""
    settings = variant.settings_of(kind)
    return Cutting(settings.channel, variant.seed if settings.offset == "random" else None)


@dataclass(frozen=True)
class NoiseBank:
    """The noise clips of one kind, on disk. Row ``k`` of ``table`` is noise clip ``k`` of the file."""

    kind: str
    fingerprint: str
    path: Place
    n_samples: int
    table: pd.DataFrame

    @cached_property
    def rows(self) -> dict[str, int]:
        """Its noise clips' rows, by name: looked up for every section that uses them."""
        return dict(zip(self.table["noise_clip"], self.table["row"], strict=True))

    def read(self, row: int) -> npt.NDArray[np.float32]:
        """One noise clip [shape=(n_samples,)], float32, full scale 1."""
        samples = read_noise_clip(self.path, row, self.n_samples)
        return _as_float(samples)


def read_noise_clip(path: Place, row: int, n_samples: int) -> Int16 | Float32:
    """A noise clip of a bank, in the type that it is stored in.

    Read rather than mapped: mapped pages would count as the process's memory.

    Parameters
    ----------
    path : Place
        The bank; its suffix says the type of its samples.
    row : int
        Which noise clip.
    n_samples : int
        Length of a noise clip.

    Returns
    -------
    np.ndarray [shape=(n_samples,)], int16, or float32 at full scale 1
    """
    dtype = _dtype(path)
    n_bytes = n_samples * dtype.itemsize
    return np.frombuffer(read_at(path, row * n_bytes, n_bytes), dtype)


@contextlib.contextmanager
def open_noise(path: Place, n_samples: int) -> Iterator[ReadNoise]:
    """A bank to read many noise clips of, as :func:`read_noise_clip` does, within the block.

    Opened once, which saves a clip 0.02 ms. On object storage nothing is opened: it would be a request.

    Parameters
    ----------
    path : Place
    n_samples : int
        Length of a noise clip.

    Yields
    ------
    ReadNoise
    """
    if not is_local(path):
        yield lambda row, layer=0: read_noise_clip(path, row, n_samples)
        return
    dtype = _dtype(path)
    n_bytes = n_samples * dtype.itemsize
    with contextlib.closing(open_file(path)) as opened:

        def read(row: int, layer: int = 0) -> Int16 | Float32:
            memory = _memory.of(layer, n_samples, dtype)
            if opened.read_into(row * n_bytes, memory.data.cast("B")) < n_bytes:
                raise DataError(f"{path} ends before its noise clip {row}. Delete it: the next build makes it again.")
            return memory

        yield read


class _Memory(threading.local):
    """Where a thread's noise clips lie, one for each layer: in the same place, they are mixed quicker."""

    def __init__(self) -> None:
        self._layers: dict[tuple[int, np.dtype[Any]], npt.NDArray[Any]] = {}

    def of(self, layer: int, n_samples: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """That of a layer."""
        found = self._layers.get((layer, dtype))
        if found is None or len(found) != n_samples:
            found = self._layers[layer, dtype] = np.empty(n_samples, dtype)
        return found


_memory = _Memory()


def _dtype(path: Place) -> np.dtype[Any]:
    """Of a bank's samples, as its suffix says."""
    return np.dtype(path.suffix.removeprefix(".")).newbyteorder("<")


def _as_float(samples: Int16 | Float32) -> Float32:
    """Samples as float32 at full scale 1: exact, since full scale is a power of two."""
    scale = np.float32(1 / FULL_SCALE)
    return samples * scale if samples.dtype == np.int16 else samples.astype(np.float32, copy=False)


def kind_fingerprint(
    kind: str,
    recordings: list[NoiseRecording],
    n_samples: int,
    cutting: Cutting = FIXED,
    sample_rate: int = SAMPLE_RATE,
) -> str:
    """Digest of everything that decides a bank's bytes.

    Parameters
    ----------
    kind : str
    recordings : list of NoiseRecording
        In the order in which the bank holds them.
    n_samples : int
        Length of a noise clip.
    cutting : Cutting
    sample_rate : int, Hz
        Of the noise clips.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    content: list[object] = [NOISE_VERSION, kind, n_samples, [(r.name, r.digest) for r in recordings]]
    # only then, so that banks of early versions keep their fingerprints
    if cutting != FIXED:
        content.append([cutting.channel, cutting.seed])
    if sample_rate != SAMPLE_RATE:
        content.append(sample_rate)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def load_noise_bank(
    kind: str,
    recordings: list[NoiseRecording],
    root: Place,
    n_samples: int,
    cutting: Cutting = FIXED,
    sample_rate: int = SAMPLE_RATE,
) -> NoiseBank:
    """The noise bank of a kind, made where it does not exist yet or is damaged.

    Parameters
    ----------
    kind : str
    recordings : list of NoiseRecording
    root : Place
        The bank is ROOT/noise/<fingerprint>, or in the work folder where ROOT is read-only.
    n_samples : int
        Length of a noise clip.
    cutting : Cutting
    sample_rate : int, Hz
        Of the noise clips.

    Returns
    -------
    NoiseBank

    Raises
    ------
    DataError
        A recording that is unreadable, empty, silent, or another than was listed; or the bank cannot be written.
        Nothing is left then.
    """
    fingerprint, shape = kind_fingerprint(kind, recordings, n_samples, cutting, sample_rate), (sample_rate, n_samples)
    for table_path in cache_places(root / "noise" / f"{fingerprint}.parquet"):  # to be made, it is made at the last
        paths = {dtype: table_path.with_suffix(f".{dtype}") for dtype in ("int16", "float32")}
        # which of the two types a bank has is known only once all its recordings have been read
        for path in paths.values():
            if path.is_file() and (table := read_cached(table_path, _identity(path))) is not None:
                return NoiseBank(kind, fingerprint, path, n_samples, table)
    try:
        path, rows = paths["int16"], _write_noise_clips(kind, recordings, paths["int16"], shape, cutting)
    except _NotInt16:
        path, rows = paths["float32"], _write_noise_clips(kind, recordings, paths["float32"], shape, cutting)
    table = NoiseTable.validate(pd.DataFrame(rows), lazy=True)
    # The table comes last and holds the digest of the rest: a run that is killed in between leaves no bank.
    write_cached(table_path, table, _identity(path))
    return NoiseBank(kind, fingerprint, path, n_samples, table)


def _identity(path: Place) -> str:
    """What a bank's table is of: its noise clips' digest, and the version of the table."""
    return f"{TABLE_VERSION} {hash_object(path.parent, path.name).blake3}"


class _NotInt16(Exception):
    """A noise clip is not 16-bit, so the bank cannot be."""


def _write_noise_clips(
    kind: str, recordings: list[NoiseRecording], path: Place, shape: tuple[int, int], cutting: Cutting
) -> list[dict[str, object]]:
    """Write every noise clip, of (rate, samples), to the bank at ``path``, and return the table's rows.

    Raises
    ------
    _NotInt16
        The bank is int16 and a noise clip is not. Whether all are is known only when all were read: so the first
        attempt is int16, and is thrown away at the first one that is not.
    """
    dtype = _dtype(path)
    rows: list[dict[str, object]] = []
    with whole_file(path) as write:
        for recording in recordings:
            rows += _write_recording(kind, recording, write, shape, dtype, cutting)
    columns = list(NoiseTable.columns)
    return [{name: (row | {"row": number})[name] for name in columns} for number, row in enumerate(rows)]


def _write_recording(
    kind: str, recording: NoiseRecording, write: Write, shape: tuple[int, int], dtype: np.dtype, cutting: Cutting
) -> list[dict[str, object]]:
    """Write a recording's noise clips in the bank's type, and return their rows of the table.

    Silent pieces are left out; a recording of nothing else is an error. A piece keeps its number, so the names of the
    others do not depend on it.
    """
    where = f"noise kind {kind}, {recording.name}"
    rows: list[dict[str, object]] = []
    n_silent = 0
    with recording.open() as file:
        info = sound_info(file, where)
        starts = None if cutting.seed is None else partial(_random_starts, f"{cutting.seed}/{kind}/{recording.name}")
        pieces = read_pieces(file, where, *shape, channel=cutting.channel, starts=starts)
        for index, piece in enumerate(pieces):
            if dtype == np.int16 and piece.dtype != np.int16:
                # it leaves whole_file's block, which removes what was written
                raise _NotInt16
            samples = piece if dtype == np.int16 else _as_float(piece)
            power, peak = level(samples)
            if power == 0:
                n_silent += 1
                continue
            write(samples.astype(dtype, copy=False).tobytes())
            band_limited = info.sample_rate < shape[0] or is_band_limited(samples)
            measured = {"power": power, "peak": peak, "band_limited": band_limited}
            rows.append({"kind": kind, "noise_clip": f"{recording.name}#{index}", **measured})
    if not rows:
        raise DataError(
            f"{where}: silent from beginning to end. Silence cannot be brought to any SNR; remove the recording."
            + channel_hint(kind, info.channels)
        )
    whole = {"recording": recording.name, "recording_s": info.seconds, "silent_pieces": n_silent}
    return [row | whole | {"sample_rate": info.sample_rate, "channels": info.channels} for row in rows]


def _random_starts(key: str, n_places: int, n_pieces: int) -> list[int]:
    """Where the pieces of a recording begin: drawn for each, so they may overlap."""
    return [uniform(f"{key}/piece {index}", n_places) for index in range(n_pieces)]
