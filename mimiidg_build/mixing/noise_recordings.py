"""Noise recordings: what a noise kind's sources hold, in a fixed order, each with a digest of its content.

Listing reads names and digests, and decodes no audio: it is what a store's fingerprint needs of its noise.
"""

from __future__ import annotations

import fnmatch
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from mimiidg_build.audio.archive import Archive, open_archive
from mimiidg_build.errors import DataError
from mimiidg_build.schemas.manifests import NoiseSource
from mimiidg_build.storage.places import Place, place


@dataclass(frozen=True)
class NoiseRecording:
    """One noise recording: its name within its source, a digest of its content, and how to open it."""

    name: str
    digest: str
    open: Callable[[], BinaryIO]


def list_recordings(
    kind: str, sources: list[NoiseSource], archive_path: Callable[[str, str], Place]
) -> list[NoiseRecording]:
    """Every recording of a kind, in a fixed order: by source, then by name.

    Parameters
    ----------
    kind : str
        For messages.
    sources : list of NoiseSource
    archive_path : callable
        Where a (dataset, file) that a source names has been fetched to.

    Returns
    -------
    list of NoiseRecording

    Raises
    ------
    DataError
        A source that is not there or has no recordings, or two recordings of one name.
    """
    recordings: list[NoiseRecording] = []
    for source in sources:
        if source.folder is not None:
            recordings += _in_folder(kind, source.folder, source.members)
        else:
            file = place(source.archive) if source.archive else archive_path(source.dataset or "", source.file or "")
            recordings += _in_archive(kind, file, source.members)
    # names must be unique in a kind: the plan and the bank's table name a noise clip after its recording
    names = [recording.name for recording in recordings]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"noise kind {kind}: {', '.join(twice[:3])} comes from two sources; rename one of the two.")
    return recordings


def _in_folder(kind: str, folder: str, members: str) -> list[NoiseRecording]:
    """Recordings in a folder and the folders within, by name."""
    root = Path(folder)
    if not root.is_dir():
        hint = " A folder is read from this machine; on object storage, pack it into a zip." if "://" in folder else ""
        raise DataError(f"noise kind {kind}: there is no folder {folder}.{hint}")
    recordings = []
    for path in sorted(p for p in root.rglob("*") if p.suffix.lower() == ".wav" and p.is_file()):
        name = path.relative_to(root).as_posix()
        # "*.wav" is every recording, written .WAV or not
        if members == "*.wav" or fnmatch.fnmatch(name, members):
            recordings.append(NoiseRecording(name, _digest(path), partial(_open_file, path)))
    return _found(kind, root, members, recordings)


def _in_archive(kind: str, file: Place, members: str) -> list[NoiseRecording]:
    """Recordings in a zip archive, by name."""
    if not file.is_file():
        raise DataError(f"noise kind {kind}: there is no archive {file}.")
    state = file.stat()
    archive = _archive(file, (state.st_size, state.st_mtime_ns))
    recordings = [
        # size and CRC-32 stand in the zip's directory: contents are distinguished without reading them
        NoiseRecording(name, f"{member.size_bytes}:{member.crc32:08x}", partial(_open_member, archive, name))
        for name, member in sorted(archive.members.items())
        if fnmatch.fnmatch(name, members)
    ]
    return _found(kind, file, members, recordings)


def _found(kind: str, where: Path | Place, members: str, recordings: list[NoiseRecording]) -> list[NoiseRecording]:
    """The recordings, or an error if a source has none."""
    if not recordings:
        raise DataError(f"noise kind {kind}: {where} has no recording that matches {members!r}.")
    return recordings


@lru_cache(maxsize=8)
def _archive(path: Place, state: tuple[int, int]) -> Archive:
    """An archive for all the kinds that come from it: its directory is read and checked once for each state of it."""
    return open_archive(path)


def _open_file(path: Path) -> BinaryIO:
    return path.open("rb")


def _open_member(archive: Archive, name: str) -> BinaryIO:
    return io.BytesIO(archive.read(name))


def _digest(path: Path) -> str:
    """Digest of a file, mapped rather than read: a recording may be longer than memory."""
    return str(blake3().update_mmap(path).hexdigest())
