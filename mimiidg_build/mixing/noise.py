"""Noise kinds, prepared for mixing: every recording cut into clip-long pieces, resampled to 16 kHz, first channel.

The pieces of a kind lie in one noise bank, ROOT/noise/<fingerprint>.{int16,float32} (pieces end to end, little
endian; int16 where every recording is 16-bit at 16 kHz) beside its table of levels. A bank is a cache: its name is the
digest of the recordings and of this module's version, so it is never stale; its table has the digest of its pieces, so
a damaged one is made anew; and it can be deleted.
"""

from __future__ import annotations

import fnmatch
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pandas as pd
from blake3 import blake3

from mimiidg_build.audio.archive import Archive, open_archive
from mimiidg_build.audio.wav import Float32, Int16, level, noise_pieces
from mimiidg_build.errors import DataError
from mimiidg_build.storage.cached_table import read_cached, write_cached
from mimiidg_build.storage.files import hash_object, whole_file
from mimiidg_build.storage.places import Place, place, read_at
from schemas.manifests import NoiseSource
from schemas.tables import NoiseTable

VERSION = "noise-1"


@dataclass(frozen=True)
class Recording:
    """One noise recording: its name, a digest of its content, and how to open it."""

    name: str
    digest: str
    open: Callable[[], BinaryIO]


@dataclass(frozen=True)
class NoiseBank:
    """The noise clips of one kind, on disk. Row ``k`` of ``table`` is piece ``k`` of the file."""

    kind: str
    fingerprint: str
    path: Place
    n_samples: int
    table: pd.DataFrame

    def read(self, row: int) -> npt.NDArray[np.float32]:
        """One noise clip [shape=(n_samples,)], float32, full scale 1."""
        samples = read_noise_clip(self.path, row, self.n_samples)
        return samples * np.float32(1 / 32768) if samples.dtype == np.int16 else samples.astype(np.float32, copy=False)


def read_noise_clip(path: Place, row: int, n_samples: int) -> Int16 | Float32:
    """A noise clip of a bank, as it lies there.

    Read rather than mapped: mapped pages would count as the process's memory.

    Returns
    -------
    np.ndarray [shape=(n_samples,)], int16, or float32 at full scale 1
    """
    dtype = np.dtype(path.suffix.removeprefix(".")).newbyteorder("<")
    n_bytes = n_samples * dtype.itemsize
    return np.frombuffer(read_at(path, row * n_bytes, n_bytes), dtype)


def list_recordings(
    kind: str, sources: list[NoiseSource], archive_path: Callable[[str, str], Place]
) -> list[Recording]:
    """Every recording of a kind, in a fixed order: by source, then by name.

    Parameters
    ----------
    kind : str
    sources : list of NoiseSource
    archive_path : callable
        Where a (dataset, file) that a source names has been fetched to.

    Raises
    ------
    DataError
        A source without recordings, or two recordings of one name.
    """
    recordings = [recording for source in sources for recording in _recordings_of(kind, source, archive_path)]
    names = [recording.name for recording in recordings]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"noise kind {kind}: {', '.join(twice[:3])} comes from two sources; rename one of the two.")
    return recordings


def _recordings_of(kind: str, source: NoiseSource, archive_path: Callable[[str, str], Place]) -> Iterator[Recording]:
    if source.folder is not None:
        where: Place = Path(source.folder)
        folder = Path(source.folder)
        if not folder.is_dir():
            hint = (
                " A folder is read from this machine; on object storage, pack it into a zip."
                if "://" in source.folder
                else ""
            )
            raise DataError(f"noise kind {kind}: there is no folder {source.folder}.{hint}")
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".wav" and p.is_file())
        found = [
            Recording(p.relative_to(folder).as_posix(), _digest(p), partial(_opened_file, p))
            for p in paths
            if fnmatch.fnmatch(p.relative_to(folder).as_posix(), source.members) or source.members == "*.wav"
        ]
    else:
        file = place(source.archive) if source.archive else archive_path(source.dataset or "", source.file or "")
        if not file.is_file():
            raise DataError(f"noise kind {kind}: there is no archive {file}.")
        archive = _opened_archive(file)
        found = [
            # size and CRC stand in the zip's directory: the content is told apart without reading it
            Recording(name, f"{info.size_bytes}:{info.crc32:08x}", partial(_opened_member, archive, name))
            for name, info in sorted(archive.members.items())
            if fnmatch.fnmatch(name, source.members)
        ]
        where = file
    if not found:
        raise DataError(f"noise kind {kind}: {where} has no recording that matches {source.members!r}.")
    yield from found


@lru_cache(maxsize=8)
def _archive_of(path: Place, state: tuple[int, int]) -> Archive:
    """An archive for all the kinds that come from it: its directory is read and checked once."""
    return open_archive(path)


def _opened_archive(path: Place) -> Archive:
    found = path.stat()
    return _archive_of(path, (found.st_size, found.st_mtime_ns))


def _digest(path: Path) -> str:
    """Mapped rather than read: a recording may be longer than memory."""
    return str(blake3().update_mmap(path).hexdigest())


def _bank_digest(path: Place) -> str:
    return hash_object(path.parent, path.name).blake3


def _opened_file(path: Path) -> BinaryIO:
    return path.open("rb")


def _opened_member(archive: Archive, name: str) -> BinaryIO:
    return io.BytesIO(archive.read(name))


def kind_fingerprint(kind: str, recordings: list[Recording], n_samples: int) -> str:
    """Digest of everything that decides a bank's bytes."""
    content = [VERSION, kind, n_samples, [(recording.name, recording.digest) for recording in recordings]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def bank(kind: str, recordings: list[Recording], root: Place, n_samples: int) -> NoiseBank:
    """The noise bank of a kind, made where it is not there yet: pieces first, table last.

    Raises
    ------
    DataError
        An unreadable, empty or silent recording.
    """
    fingerprint = kind_fingerprint(kind, recordings, n_samples)
    table_path = root / "noise" / f"{fingerprint}.parquet"
    paths = {dtype: table_path.with_suffix(f".{dtype}") for dtype in ("int16", "float32")}
    for path in paths.values():
        if path.is_file() and (table := read_cached(table_path, _bank_digest(path))) is not None:
            return NoiseBank(kind, fingerprint, path, n_samples, table)
    try:
        dtype, rows = "int16", _write_pieces(kind, recordings, paths["int16"], "int16", n_samples)
    except _NotInt16:
        dtype, rows = "float32", _write_pieces(kind, recordings, paths["float32"], "float32", n_samples)
    table = NoiseTable.validate(pd.DataFrame(rows), lazy=True)
    write_cached(table_path, table, _bank_digest(paths[dtype]))
    return NoiseBank(kind, fingerprint, paths[dtype], n_samples, table)


class _NotInt16(Exception):
    """A piece is not 16-bit."""


def _write_pieces(
    kind: str, recordings: list[Recording], path: Place, dtype: str, n_samples: int
) -> list[dict[str, object]]:
    """Write every piece and return the table's rows.

    Raises
    ------
    _NotInt16
        ``dtype`` is int16 and a piece is not.
    """
    rows: list[dict[str, object]] = []
    with whole_file(path) as write:
        for recording in recordings:
            where = f"noise kind {kind}, {recording.name}"
            with recording.open() as file:
                for index, piece in enumerate(noise_pieces(file, where, n_samples=n_samples)):
                    if dtype == "int16" and piece.dtype != np.int16:
                        raise _NotInt16
                    if piece.dtype != dtype:
                        piece = piece.astype(np.float32) / np.float32(32768)
                    power, peak = level(piece)
                    if power == 0:
                        seconds = f"{index * n_samples // 16_000}-{(index + 1) * n_samples // 16_000} s"
                        raise DataError(
                            f"{where}: silent from {seconds}. Silence cannot be brought to any SNR; cut it out or "
                            "remove the recording."
                        )
                    name = f"{recording.name}#{index}"
                    rows.append({"kind": kind, "noise_clip": name, "row": len(rows), "power": power, "peak": peak})
                    write(piece.astype(np.dtype(dtype).newbyteorder("<"), copy=False).tobytes())
    return rows
