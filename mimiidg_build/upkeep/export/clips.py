"""The clips of a store as WAV files, read a shard at a time, and the table that says which is which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.datasets.rows import records
from mimiidg_build.schemas.sections import section_names
from mimiidg_build.store.store import Store

CLIPS = "clips.parquet"
SHARD_BYTES = 200_000_000  # of WAV files in a tar archive or a parquet file, roughly


def wav_files(store: Store, clips: pd.DataFrame) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The row and the WAV file of every clip, section by section in the order of the store's rows.

    Parameters
    ----------
    store : Store
    clips : pd.DataFrame
        Rows of its clip table, with whatever columns more.

    Yields
    ------
    tuple of dict and bytes
    """
    for (machine_type, section), rows in clips.groupby(["machine_type", "section"], sort=False):
        array = store.audio(str(machine_type), str(section))
        rate = store.sections[f"{machine_type}/{section}"].audio.sample_rate
        n_clips = array.shards[0] if array.shards else array.chunks[0]
        rows = rows.sort_values("row")
        for _, block in rows.groupby(rows["row"] // n_clips):
            start, stop = int(block["row"].iloc[0]), int(block["row"].iloc[-1]) + 1
            samples = np.asarray(array[start:stop])
            for row in records(block):
                yield row, encode_wav(samples[row["row"] - start], rate)


def clip_table(store: Store, **columns: Sequence[Any]) -> pd.DataFrame:
    """The store's clip table, less where it was read from, with the shape of every clip and columns of an export's.

    Parameters
    ----------
    store : Store
    **columns : sequence
        What the export adds, a value a clip.

    Returns
    -------
    pd.DataFrame
    """
    clips = store.clips
    shapes = [store.sections[section_id].audio for section_id in section_names(clips)]
    return clips.drop(columns=["archive", "member", "row"]).assign(
        n_samples=[shape.n_samples for shape in shapes],
        channels=[shape.channels or 1 for shape in shapes],
        sample_rate=[shape.sample_rate for shape in shapes],
        **columns,
    )


def as_parquet(table: pd.DataFrame) -> bytes:
    """A table as a file."""
    return bytes(table.to_parquet(index=False))


def wav_sizes(table: pd.DataFrame) -> list[int]:
    """Bytes of every clip's samples, from :func:`clip_table`."""
    return [int(size) for size in 2 * table["n_samples"] * table["channels"]]
