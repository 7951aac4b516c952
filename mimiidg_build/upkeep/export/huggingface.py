"""Parquet files that the library ``datasets`` reads: WAV files as bytes, typed columns, a configuration a machine type.

    DIR/data/<machine type>/<split>-00000-of-00002.parquet
    DIR/README.md     front matter that names the configurations: ``default`` is all, the others a machine type each

``load_dataset(DIR)`` finds them. Types stand in the files' schema, where the library looks for them.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mimiidg_build.datasets.rows import parts
from mimiidg_build.schemas.attributes import row_attributes
from mimiidg_build.schemas.manifests import CONDITIONS, SPLITS
from mimiidg_build.store.croissant import PARQUET, Node, file_set, record_set
from mimiidg_build.store.store import Store
from mimiidg_build.upkeep.export.clips import SHARD_BYTES, clip_table, wav_files, wav_sizes
from mimiidg_build.upkeep.export.target import Target
from mimiidg_build.upkeep.export.webdataset import label

GROUP_BYTES = 32_000_000  # of samples in a row group: what a reader takes at once, and what is in memory here

_PAIRS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))
_COLUMNS = {
    "audio": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    "machine_type": pa.string(),
    "section": pa.string(),
    "domain": pa.string(),
    "label": pa.int64(),
    "attributes": _PAIRS,
    "index": pa.int64(),
    "clip": pa.string(),
    "full_name": pa.string(),
    "sample_rate": pa.int32(),
    "channels": pa.int32(),
    "n_samples": pa.int32(),
    "measured_added_noise_snr_db": pa.float64(),
}


def table(store: Store) -> pd.DataFrame:
    """The clips, each with the parquet ``file`` that holds it."""
    clips = clip_table(store)
    names = [PurePosixPath(member).name for member in store.clips["member"]]
    clips["file_name"], clips["file"] = names, ""
    for (machine_type, split), rows in clips.groupby(["machine_type", "split"]):
        shards = parts(wav_sizes(rows), SHARD_BYTES)
        for number, part in enumerate(shards):
            name = f"data/{machine_type}/{split}-{number:05d}-of-{len(shards):05d}.parquet"
            clips.loc[rows.index[part], "file"] = name
    return clips


def write(store: Store, clips: pd.DataFrame, target: Target) -> None:
    """Write the files that are not there yet.

    Parameters
    ----------
    store : Store
    clips : pd.DataFrame
        From :func:`table`.
    target : Target
    """
    schema = _schema(clips)
    clips = clips.assign(row=store.clips["row"])
    for name, rows in clips.groupby("file"):
        if target.has(str(name), len(rows)):
            continue
        with target.new_file(str(name)) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for part in parts(wav_sizes(rows), GROUP_BYTES):
                group = [_row(*clip) for clip in wav_files(store, rows.iloc[part])]
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                target.on_progress(len(group))


def front_matter(clips: pd.DataFrame) -> str:
    """What stands at the top of ``README.md``: which files are which configuration and split. JSON is YAML, too."""
    splits = {name: set(rows["split"]) for name, rows in clips.groupby("machine_type")}
    every = {"default": ("*", set(clips["split"]))} | {str(name): (str(name), found) for name, found in splits.items()}
    lines = ["---", "configs:"]
    for config, (folder, found) in every.items():
        files = [{"split": s, "path": f"data/{folder}/{s}-*.parquet"} for s in SPLITS if s in found]
        lines.append(f"- {json.dumps({'config_name': config, 'data_files': files}, ensure_ascii=False)}")
    return "\n".join([*lines, "task_categories: [audio-classification]", "---", "", ""])


def distribution(clips: pd.DataFrame) -> list[Node]:
    """The files as Croissant names them."""
    return [file_set("parquet-files", ["data/*.parquet"], PARQUET, f"{len(clips):,} clips, a row each")]


def records(clips: pd.DataFrame) -> Node:
    """The rows as Croissant names them, the audio of each included."""
    found = record_set("clips", "parquet-files", _schema(clips), from_set=True)
    source = {"fileSet": {"@id": "parquet-files"}, "extract": {"column": "audio"}, "transform": {"jsonPath": "bytes"}}
    audio = {"@type": "cr:Field", "@id": "clips/audio", "name": "audio", "dataType": "sc:AudioObject", "source": source}
    return found | {"field": [audio, *found["field"]]}


def _row(row: dict[str, Any], wav: bytes) -> dict[str, Any]:
    """A clip as a row of a file."""
    given = {name: row[name] for name in _COLUMNS if name in row}
    pairs = [{"key": key, "value": value} for key, value in row_attributes(row).items()]
    audio = {"bytes": wav, "path": row["file_name"]}
    return given | {"audio": audio, "label": label(row["condition"]), "attributes": pairs}


def _schema(clips: pd.DataFrame) -> pa.Schema:
    """The columns, with the library's own words for their types."""
    rates = set(clips["sample_rate"])
    features: dict[str, Any] = {
        name: {"dtype": _DTYPES[kind], "_type": "Value"} for name, kind in _COLUMNS.items() if kind in _DTYPES
    }
    features["audio"] = {"_type": "Audio"} | ({"sampling_rate": int(rates.pop())} if len(rates) == 1 else {})
    features["label"] = {"names": list(CONDITIONS), "_type": "ClassLabel"}
    text = {"dtype": "string", "_type": "Value"}
    pairs: list[dict[str, Any]] = [{"key": text, "value": text}]
    said = {"info": {"features": features | {"attributes": pairs}}}
    return pa.schema(list(_COLUMNS.items()), metadata={"huggingface": json.dumps(said)})


_DTYPES = {pa.string(): "string", pa.int32(): "int32", pa.int64(): "int64", pa.float64(): "float64"}
