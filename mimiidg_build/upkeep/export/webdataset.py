"""WebDataset: tar archives that training reads from end to end, each clip as ``<key>.wav`` and ``<key>.json``.

    DIR/train-000000.tar, train-000001.tar, ..., test-000000.tar, ...
    DIR/clips.parquet     every clip, with its archive (``shard``) and ``key``

A key is the clip's number in that table: names hold dots, at which the format cuts a name in two. ``<key>.json`` is the
clip's row; ``label`` is 0 for normal, 1 for anomalous, -1 where nobody says.
"""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pandas as pd

from mimiidg_build.datasets.rows import parts
from mimiidg_build.schemas.attributes import row_attributes
from mimiidg_build.schemas.manifests import CONDITIONS, SPLITS
from mimiidg_build.store.croissant import Node, file_object, file_set
from mimiidg_build.store.store import Store
from mimiidg_build.upkeep.export.clips import SHARD_BYTES, clip_table, wav_files, wav_sizes
from mimiidg_build.upkeep.export.target import Target

TAR = "application/x-tar"
JSON_COLUMNS = (
    "machine_type section split domain condition index clip full_name sample_rate channels n_samples "
    "measured_added_noise_snr_db"
)


def table(store: Store) -> pd.DataFrame:
    """The clips, each with its ``key`` and ``shard``."""
    clips = clip_table(store)
    clips["key"] = [f"{number:08d}" for number in range(len(clips))]
    clips["shard"] = ""
    for split in SPLITS:
        rows = clips.index[clips["split"] == split]
        for number, part in enumerate(parts(wav_sizes(clips.loc[rows]), SHARD_BYTES)):
            clips.loc[rows[part], "shard"] = f"{split}-{number:06d}.tar"
    return clips


def write(store: Store, clips: pd.DataFrame, target: Target) -> None:
    """Write the archives that are not there yet.

    Parameters
    ----------
    store : Store
    clips : pd.DataFrame
        From :func:`table`.
    target : Target
    """
    clips = clips.assign(row=store.clips["row"])
    for name, rows in clips.groupby("shard"):
        if target.has(str(name), len(rows)):
            continue
        with (
            target.new_file(str(name)) as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for row, wav in wav_files(store, rows):
                _add(tar, f"{row['key']}.json", json.dumps(_described(row), ensure_ascii=False).encode())
                _add(tar, f"{row['key']}.wav", wav)
                target.on_progress(1)


def distribution(sums: dict[str, str]) -> list[Node]:
    """The archives, whose sha256 ``sums`` has by name, and the clips in them, as Croissant names them."""
    clip_files = file_set("wav-files", ["*.wav"], "audio/x-wav", "A clip each, named by its key in clips.parquet")
    clip_files["containedIn"] = [{"@id": name} for name in sums]
    return [*(file_object(name, sha256, TAR) for name, sha256 in sums.items()), clip_files]


def label(condition: str) -> int:
    """0 for normal, 1 for an anomaly, -1 where nobody says.

    >>> label("anomaly"), label("")
    (1, -1)
    """
    return CONDITIONS.index(condition) if condition in CONDITIONS else -1


def _described(row: dict[str, Any]) -> dict[str, Any]:
    """What ``<key>.json`` says of a clip; an SNR that does not apply is null."""
    said = {name: row[name] for name in JSON_COLUMNS.split()}
    snr = said.pop("measured_added_noise_snr_db")
    known = {"measured_added_noise_snr_db": None if pd.isna(snr) else snr}
    return said | known | {"label": label(row["condition"]), "attributes": row_attributes(row)}


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """A member without owner and time: equal stores give equal archives."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    tar.addfile(info, io.BytesIO(content))
