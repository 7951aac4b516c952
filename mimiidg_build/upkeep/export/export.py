"""A store's variant back as WAV files and attribute tables, in the released layout and naming.

    DIR/<machine>/{train,test}/section_..wav     44 bytes of header, 160,000 samples, as the released files
    DIR/<machine>/attributes_<NN>.csv
With ``as_zip``: DIR/<machine>.zip holding the same, and md5sums.txt. Beside them stand README.md and its kin
(:mod:`mimiidg_build.upkeep.export_about`); as zip with a manifest, so that the export is a dataset of its own.

One process at a time exports into DIR. All is written to DIR/.partial, which becomes DIR/.whole by one rename once
nothing is missing; from there everything moves to its place, README.md last. An export that was interrupted before that
rename starts over, one that was interrupted after it goes on.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
import zipfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.audio.zip_directory import name_problem
from mimiidg_build.build.render import SHARD_CLIPS
from mimiidg_build.datasets.rows import records, row_attributes
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.progress import OnProgress, no_progress
from mimiidg_build.storage.backend import write_errors
from mimiidg_build.storage.files import write_file
from mimiidg_build.storage.locks import locked_directory
from mimiidg_build.store.store import Store
from mimiidg_build.upkeep.export_about import MANIFEST, README, about_files, manifest

PARTIAL, WHOLE = ".partial", ".whole"
ZIP_TIME = (2022, 5, 1, 0, 0, 0)  # one fixed time for every member: equal stores give equal archives


def attribute_table(clips: pd.DataFrame) -> bytes:
    """``attributes_NN.csv`` of one section; the full name as last column where the file names hide the truth."""
    rows = records(clips)
    pairs = [[cell for pair in row_attributes(row).items() for cell in pair] for row in rows]
    columns = [f"d{number // 2 + 1}{'pv'[number % 2]}" for number in range(max(map(len, pairs)))]
    hidden = [row for row in rows if row["full_name"] != Path(row["member"]).name]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file_name", *columns, *(["file_name_with_full_attributes"] if hidden else [])])
    for row, cells in zip(rows, pairs, strict=True):
        if hidden and row not in hidden:
            continue  # the evaluation set's tables list the clips whose names hide the truth
        last = [str(Path(row["member"]).with_name(row["full_name"]))] if hidden else []
        writer.writerow([row["member"], *cells, *[""] * (len(columns) - len(cells)), *last])
    return text.getvalue().encode()


def members(store: Store, machine_type: str) -> Iterator[tuple[str, bytes]]:
    """(path, content) of every file of a machine type: tables, then clips, a shard's worth of audio at a time."""
    clips = store.clips[store.clips["machine_type"] == machine_type]
    for section, rows in clips.groupby("section"):
        yield f"{machine_type}/attributes_{section}.csv", attribute_table(rows)
    for section, rows in clips.groupby("section"):
        audio = store.audio(machine_type, str(section))
        names = rows.sort_values("row")["member"].tolist()
        for start in range(0, len(names), SHARD_CLIPS):
            block = np.asarray(audio[start : start + SHARD_CLIPS])
            for name, samples in zip(names[start : start + SHARD_CLIPS], block, strict=True):
                yield name, encode_wav(samples)


def export_store(
    store: Store, directory: str | Path, *, as_zip: bool = False, on_progress: OnProgress = no_progress
) -> list[Path]:
    """Write a store's variant in the released layout.

    Parameters
    ----------
    store : Store
    directory : str or Path
        Made if it is not there; it must not hold an export already.
    as_zip : bool
        One archive per machine type, with md5 sums and a dataset manifest.
    on_progress : callable
        Called with how many more clips are written.

    Returns
    -------
    list of Path
        What stands in ``directory`` now.

    Raises
    ------
    UsageError
        The directory is not empty.
    DataError
        The store is damaged, its clip table holds a name that would be written outside the directory, or the directory
        cannot be written.
    """
    directory = Path(directory)
    if directory.is_file():
        raise UsageError(f"{directory} is a file; give a new directory.")
    about = about_files(store, as_zip=as_zip)
    _check_names(store, directory, about)
    with write_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    waiting = f"another export into {directory} is running; waiting for it"
    with locked_directory(directory, waiting) as waited:
        there = {path.name for path in directory.iterdir()}
        if WHOLE in there:
            _check_resumable(directory, about[README])
        elif waited and _is_same(directory / README, about[README]):
            return sorted(directory.iterdir())
        elif there - {PARTIAL}:
            raise UsageError(f"{directory} is there already and not empty; give a new directory.")
        else:
            _write_whole(store, directory, about, as_zip, on_progress)
        with write_errors(directory):
            _publish(directory)
        return sorted(directory.iterdir())


def _check_names(store: Store, directory: Path, ours: Collection[str]) -> None:
    """Refuse names that would leave the directory, or collide there with files of the export's own (``ours``)."""
    for name in {*store.clips["machine_type"], *store.clips["section"], *store.clips["member"]}:
        if problem := name_problem(name):
            raise DataError(
                f"{store.path}/clips.parquet: {name!r} has {problem}; nothing is written outside {directory}."
            )
    for machine_type in {*store.clips["machine_type"]}:
        if machine_type.startswith(".") or machine_type in ours:
            raise DataError(
                f"{store.path}/clips.parquet: a machine type is called {machine_type!r}, as files of the export itself "
                "or hidden ones are; nothing is written."
            )


def _is_same(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _check_resumable(directory: Path, about: bytes) -> None:
    """Refuse to finish what another command began, and to replace what somebody put there since."""
    whole = directory / WHOLE
    if not _is_same(whole / README, about) and not _is_same(directory / README, about):
        raise UsageError(
            f"{directory} holds another export, which was interrupted when it was moved to its place. Run that one "
            "again to finish it, or give a new directory."
        )
    if foreign := [path.name for path in whole.iterdir() if (directory / path.name).exists()]:
        raise UsageError(f"{directory} holds {foreign[0]}, which this export did not write; move it away.")


def _write_whole(store: Store, directory: Path, about: dict[str, bytes], as_zip: bool, on_progress: OnProgress) -> None:
    """All of the export under :data:`WHOLE`, which appears at once."""
    partial = directory / PARTIAL
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir()
    _write(store, partial, as_zip, on_progress)
    for name, content in about.items():
        write_file(partial / name, [content])
    with write_errors(directory):
        os.rename(partial, directory / WHOLE)


def _publish(directory: Path) -> None:
    """Move everything to its place: a manifest after its archives, and last what says that the export is whole."""
    whole = directory / WHOLE
    for path in sorted(whole.iterdir(), key=lambda path: (path.name == README, path.name == MANIFEST)):
        os.rename(path, directory / path.name)
    whole.rmdir()


def _write(store: Store, directory: Path, as_zip: bool, on_progress: Callable[[int], None]) -> None:
    archives = []
    for machine_type in sorted(set(store.clips["machine_type"])):
        content = members(store, machine_type)
        if as_zip:
            archives.append(_write_zip(directory / f"{machine_type}.zip", content, on_progress))
            continue
        for name, data in content:
            write_file(directory / name, [data])
            on_progress(name.endswith(".wav"))  # clips are counted, tables are not
    if as_zip:
        sums = {path.name: _md5(path) for path in archives}
        write_file(directory / "md5sums.txt", ["".join(f"{md5}  {name}\n" for name, md5 in sums.items()).encode()])
        write_file(directory / MANIFEST, [manifest(store, archives, sums)])


def _write_zip(path: Path, content: Iterator[tuple[str, bytes]], on_progress: Callable[[int], None]) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, data in content:
                info = zipfile.ZipInfo(name, ZIP_TIME)
                info.compress_type = zipfile.ZIP_DEFLATED  # given a ZipInfo, zipfile ignores the archive's own
                info.external_attr = 0o644 << 16  # by default only the owner may read what is unpacked
                archive.writestr(info, data, compresslevel=1)
                on_progress(name.endswith(".wav"))
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}. Free some space, then export again.") from error
    return path


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
