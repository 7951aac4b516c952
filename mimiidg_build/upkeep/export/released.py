"""A store's clips in the layout of the dataset that they come from.

    DIR/<path of the clip in its release>      44 bytes of header and the samples
    DIR/<machine>/attributes_<NN>.csv          and other tables or lists of the layout (``datasets.layouts.writing``)
As zip: the archives of the release, of the same names, holding the same; md5sums.txt, and a manifest, so that the
export is a dataset of its own.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import pandas as pd

from mimiidg_build.datasets.layouts.writing import WRITING, written_clips
from mimiidg_build.errors import DataError
from mimiidg_build.store.croissant import Node, file_object, file_set
from mimiidg_build.store.store import Store
from mimiidg_build.upkeep.export.clips import clip_table, wav_files
from mimiidg_build.upkeep.export.target import Target

MD5_SUMS = "md5sums.txt"
ZIP_TIME = (2022, 5, 1, 0, 0, 0)  # one fixed time for every member: equal stores give equal archives


def table(store: Store) -> pd.DataFrame:
    """The clips, each with its ``path`` in the release.

    Raises
    ------
    DataError
        Two clips would have one path.
    """
    paths = written_clips(store.clips)["member"].tolist()
    if twice := [path for path, count in Counter(paths).items() if count > 1]:
        raise DataError(f"{store.path}/clips.parquet: {twice[0]!r} is more than one clip; nothing is written.")
    return clip_table(store, path=paths)


def write(store: Store, clips: pd.DataFrame, target: Target) -> None:
    """Write the tables, and the clips that are not there yet.

    Parameters
    ----------
    store : Store
    clips : pd.DataFrame
        From :func:`table`.
    target : Target
    """
    writing, written = WRITING[store.attributes.layout], written_clips(store.clips)
    target.write_all({**writing.tables(written), **writing.lists(written)}.items())
    write_wavs(store, clips["path"].tolist(), target)


def write_wavs(store: Store, paths: Sequence[str], target: Target) -> None:
    """Write every clip of a store under a path of its own, unless it is there.

    Parameters
    ----------
    store : Store
    paths : sequence of str
        In the order of its clip table.
    target : Target
    """
    is_missing = [not target.has(path, 1) for path in paths]
    for row, wav in wav_files(store, store.clips.assign(path=paths)[is_missing]):
        target.write(row["path"], wav, 1)


def write_zips(store: Store, target: Target) -> dict[str, str]:
    """Write lists, the archives that are not there yet, and their md5 sums; the sums by the archives' names."""
    written = written_clips(store.clips)
    target.write_all(WRITING[store.attributes.layout].lists(written).items())
    rows = written.assign(zip_name=[PurePosixPath(archive).name for archive in store.clips["archive"]])
    names = sorted(set(rows["zip_name"]))
    for name in names:
        own = rows[rows["zip_name"] == name]
        if not target.has(name, len(own)):
            _write_zip(store, name, own, target)
    sums = {name: digest(target, name, "md5") for name in names}
    target.write(MD5_SUMS, "".join(f"{md5}  {name}\n" for name, md5 in sums.items()).encode())
    return sums


def _write_zip(store: Store, name: str, clips: pd.DataFrame, target: Target) -> None:
    with target.new_file(name) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path, content in WRITING[store.attributes.layout].tables(clips).items():
            _add(archive, path, content)
        for row, wav in wav_files(store, clips):
            _add(archive, row["member"], wav)
            target.on_progress(1)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, ZIP_TIME)
    info.compress_type = zipfile.ZIP_DEFLATED  # given a ZipInfo, zipfile ignores the archive's own
    info.external_attr = 0o644 << 16  # by default only the owner may read what is unpacked
    archive.writestr(info, content, compresslevel=1)


def digest(target: Target, name: str, algorithm: str) -> str:
    """The digest of a file that was written.

    Parameters
    ----------
    target : Target
    name : str
    algorithm : str
        As :mod:`hashlib` calls it.

    Returns
    -------
    str
    """
    with (target.directory / name).open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def distribution(sums: dict[str, str]) -> list[Node]:
    """The files as Croissant names them; ``sums`` has the sha256 of every archive, none where these are folders."""
    clip_files = file_set("wav-files", ["*.wav"], "audio/x-wav", "A clip each, at its path in clips.parquet")
    if sums:
        clip_files["containedIn"] = [{"@id": name} for name in sums]
    return [*(file_object(name, sha256, "application/zip") for name, sha256 in sums.items()), clip_files]
