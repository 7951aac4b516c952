"""Noise recordings: what a noise kind's sources hold, in a fixed order, each with a digest of its content.

Listing reads names and digests, and decodes no audio: it is what a store's fingerprint needs of its noise. A recording
that is opened later is read whole and compared with its digest, so what was hashed is what is used.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO, cast

from blake3 import blake3

from mimiidg_build.audio.archive import Archive, open_archive
from mimiidg_build.audio.sound_folders import SortedFiles, files_below, in_words, sort_files, suffix
from mimiidg_build.errors import DataError
from mimiidg_build.schemas.manifests import NoiseSource
from mimiidg_build.storage.places import Place, place

BLOCK_BYTES = 2**20
IN_MEMORY_BYTES = 32 * 2**20  # a longer recording is copied to a temporary file: it may be longer than memory


@dataclass(frozen=True)
class NoiseRecording:
    """One noise recording: its name within its source, a digest of its content, and how to open it."""

    name: str
    digest: str
    open: Callable[[], BinaryIO]


@dataclass(frozen=True)
class ListedNoise:
    """What the sources of a kind hold: recordings, and how much was passed over.

    ``sources`` are the sources in words, ``companions`` counts hidden and system files, ``others`` files that are no
    recordings, by suffix.
    """

    kind: str
    sources: list[str]
    recordings: list[NoiseRecording]
    companions: int
    others: Counter[str]


def list_noise(kind: str, sources: list[NoiseSource], archive_path: Callable[[str, str], Place]) -> ListedNoise:
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
    ListedNoise

    Raises
    ------
    DataError
        A source that is not there or has no recordings, or two recordings of one name.
    """
    listed = ListedNoise(kind, [source_in_words(source) for source in sources], [], 0, Counter())
    companions = 0
    for source in sources:
        if source.folder is not None:
            recordings, files = _in_folder(kind, source.folder, source.members)
        else:
            file = place(source.archive) if source.archive else archive_path(source.dataset or "", source.file or "")
            recordings, files = _in_archive(kind, file, source.members)
        listed.recordings.extend(recordings)
        if source.dataset is None:  # a fetched archive holds much else, and is nobody's mistake
            companions += files.companions
            listed.others.update(files.others)
    _check_names(kind, [recording.name for recording in listed.recordings])
    return ListedNoise(kind, listed.sources, listed.recordings, companions, listed.others)


def source_in_words(source: NoiseSource) -> str:
    """A source as tables show it.

    >>> source_in_words(NoiseSource(dataset="mimii_due", file="dev_data_pump.zip", members="pump/*.wav"))
    'mimii_due: dev_data_pump.zip (pump/*.wav)'
    """
    where = source.folder or source.archive or f"{source.dataset}: {source.file}"
    return where if source.members == NoiseSource.model_fields["members"].default else f"{where} ({source.members})"


def _check_names(kind: str, names: list[str]) -> None:
    """Refuse names that cannot stand in a table, or that do not tell noise clips apart there."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(f"noise kind {kind}: the name of the recording {name!a} is not UTF-8. Rename it.") from None
    # names must be unique in a kind: the plan and the bank's table name a noise clip after its recording
    if len(set(names)) < len(names):
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        raise DataError(f"noise kind {kind}: {', '.join(twice[:3])} comes from two sources; rename one of the two.")


def _in_folder(kind: str, folder: str, members: str) -> tuple[list[NoiseRecording], SortedFiles]:
    """Recordings in a folder and the folders within; or the one recording that the path itself is."""
    root = Path(folder)
    if root.is_file():
        files, base = SortedFiles([root.name], 0, Counter()), root.parent
    elif root.is_dir():
        names = files_below(root)
        files, base = sort_files(names, members), root
        _check_found(kind, root, members, files, names)
    else:
        hint = " A folder is read from this machine; on object storage, pack it into a zip." if "://" in folder else ""
        raise DataError(
            f"noise kind {kind}: there is no folder {folder}.{hint} If the noise was moved, say where it is now: "
            f"--noise {kind}=PATH."
        )
    recordings = []
    for name in files.recordings:
        digest = _digest(base / name)
        recordings.append(NoiseRecording(name, digest, partial(_open_file, kind, base / name, digest)))
    return recordings, files


def _in_archive(kind: str, file: Place, members: str) -> tuple[list[NoiseRecording], SortedFiles]:
    """Recordings in a zip archive."""
    if not file.is_file():
        raise DataError(f"noise kind {kind}: there is no archive {file}.")
    state = file.stat()
    archive = _archive(file, (state.st_size, state.st_mtime_ns))
    files = sort_files(archive.members, members)
    _check_found(kind, file, members, files, list(archive.members))
    recordings = []
    for name in files.recordings:
        member = archive.members[name]
        # size and CRC-32 stand in the zip's directory: contents are distinguished without reading them
        digest = f"{member.size_bytes}:{member.crc32:08x}"
        recordings.append(NoiseRecording(name, digest, partial(_open_member, archive, name)))
    return recordings, files


def _check_found(kind: str, where: Path | Place, members: str, files: SortedFiles, names: list[str]) -> None:
    """An error that says what was found if a source has no recordings."""
    if files.recordings:
        return
    counted = Counter(suffix(name) for name in names)
    found = f"{len(names)} files: {in_words(counted)}" if names else "nothing"
    passed_over = f", of which {files.companions} are hidden or a system's" if files.companions else ""
    raise DataError(
        f"noise kind {kind}: {where} has no recording that matches {members!r}. Found {found}{passed_over}."
    )


@lru_cache(maxsize=8)
def _archive(path: Place, state: tuple[int, int]) -> Archive:
    """An archive for all the kinds that come from it: its directory is read and checked once for each state of it."""
    return open_archive(path)


def _open_file(kind: str, path: Path, digest: str) -> BinaryIO:
    """A copy of the file, hashed while it was copied: decoding seeks about in it, and meanwhile it may change.

    Raises
    ------
    DataError
        Its bytes are not those that were listed, or the copy has no room.
    """
    with contextlib.ExitStack() as until_known:
        copy, hashed = until_known.enter_context(tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)), blake3()
        try:
            with path.open("rb") as file:
                while block := file.read(BLOCK_BYTES):
                    hashed.update(block)
                    copy.write(block)
        except OSError as error:
            raise DataError(
                f"noise kind {kind}, {path}: cannot be read, or copied to {tempfile.gettempdir()} ({error.strerror})."
            ) from None
        if (found := hashed.hexdigest()) != digest:
            raise DataError(
                f"noise kind {kind}, {path}: changed while the build was running (BLAKE3 {found[:16]}..., but "
                f"{digest[:16]}... when it was listed). Run the same command again once nothing writes to it."
            )
        until_known.pop_all()
    copy.seek(0)
    return cast(BinaryIO, copy)


def _open_member(archive: Archive, name: str) -> BinaryIO:
    return io.BytesIO(archive.read(name))


def _digest(path: Path) -> str:
    """Digest of a file, mapped rather than read: a recording may be longer than memory."""
    try:
        return str(blake3().update_mmap(path).hexdigest())
    except OSError as error:
        raise DataError(f"{path}: this noise recording cannot be read ({error.strerror}).") from None
