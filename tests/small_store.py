"""A finished store in a second: clips of noise whose level tells their section, anomalies that stand out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from blake3 import blake3

from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.features import N_MELS
from mimiidg_build.schemas.attributes import attributes_text
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.stores import FORMAT_VERSION, StoreAttributes
from mimiidg_build.storage.files import hash_object
from mimiidg_build.storage.places import file_sizes
from mimiidg_build.store.metadata import METADATA, METADATA_COPY, sealed
from mimiidg_build.store.shards import write_shard
from mimiidg_build.store.store import Store, open_store, variant_dir

SECTIONS = ("fan/00", "fan/01", "valve/00")
CELLS = (  # split, domain, condition, clips
    ("train", "source", "normal", 6),
    ("train", "target", "normal", 3),
    ("test", "source", "anomaly", 3),
    ("test", "source", "normal", 3),
    ("test", "target", "anomaly", 3),
    ("test", "target", "normal", 3),
)
N_CLIPS = sum(count for *_, count in CELLS)
SHARD_CLIPS = 4  # several shards a section, the last one not full
N_FRAMES, N_SAMPLES = 66, 660
SUMMARY = {
    "fingerprint": "none",
    "n_clips": N_CLIPS,
    "counts": {f"{domain}_{split}_{condition}": count for split, domain, condition, count in CELLS},
    "a": 1e-3,
    "attenuation": 1.0,
    "n_saturated_clips": 0,
}


def make_store(
    root: Path,
    name: str = "small",
    *,
    sections: Sequence[str] = SECTIONS,
    compressed: bool = False,
    n_frames: int = N_FRAMES,
    n_samples: int = N_SAMPLES,
    **changes: Any,
) -> Store:
    """Write ROOT/variants/<name>/small.zarr. Features are made up: they do not come from the audio."""
    path = variant_dir(root, name) / "small.zarr"
    group, tables = zarr.create_group(path), []
    for number, section_id in enumerate(sections):
        section = SectionId.parse(section_id).group
        clips = clip_rows(section_id)
        rng = np.random.default_rng([7, number])
        logmel = rng.normal(-40 + 4 * number, 3, (N_CLIPS, n_frames, N_MELS)).astype(np.float32)
        logmel += 2 * (clips["domain"] == "target").to_numpy()[:, None, None]
        logmel[:, :, ::2] -= 25 * (clips["condition"] == "anomaly").to_numpy()[:, None, None]
        audio = rng.integers(-999, 999, (N_CLIPS, n_samples), dtype=np.int16)
        for kind, values in (("logmel", logmel), ("audio", audio)):
            write_array(path, group, f"{section}/{kind}", values, compressed)
        tables.append(clips)
    clips = pd.concat(tables, ignore_index=True)
    clips.to_parquet(path / "clips.parquet")
    plan_rows(clips).to_parquet(path / "mix_plan.parquet")
    metadata = json.loads((path / "zarr.json").read_text())
    metadata["attributes"] = attributes(name, **{"sections": dict.fromkeys(sections, SUMMARY), **changes})
    (path / "zarr.json").write_text(json.dumps(metadata))
    record_files(path)
    (path.parent / "latest").write_text("small\n")
    return open_store(path)


def record_files(path: Path, *, seal: bool = False) -> None:
    """Have a store record its files as they lie there now; with ``seal`` its metadata is sealed and copied, too."""
    metadata = json.loads((path / METADATA).read_text())
    names = sorted(set(file_sizes(path)) - {METADATA, METADATA_COPY})
    found = [hash_object(path, name) for name in names]
    metadata["attributes"]["objects"] = {f.path: {"size_bytes": f.size_bytes, "blake3": f.blake3} for f in found}
    content = json.dumps(metadata).encode()
    if seal:
        content = sealed(metadata, StoreAttributes.model_validate(metadata["attributes"]))
        (path / METADATA_COPY).write_bytes(content)
    (path / METADATA).write_bytes(content)


def attributes(name: str, **changes: Any) -> dict[str, Any]:
    """What a store says of itself, some of it changed."""
    return {
        "format_version": FORMAT_VERSION,
        "fingerprint": "small",
        "dataset": "synthetic-1pct-seed0",
        "dataset_title": "a small store",
        "synthetic": True,
        "recording": "clean",
        "license": "MIT",
        "citation": "none",
        "variant": {"name": name},
        "provenance": {"archives": {}, "noise": {}, "versions": {}},
        "sections": {},
        "objects": {},
        **changes,
    }


def write_array(path: Path, group: zarr.Group, name: str, values: np.ndarray, compressed: bool) -> None:
    """One array, as builds write it; or compressed, as somebody might store it elsewhere."""
    inner, shard = (1, *values.shape[1:]), (SHARD_CLIPS, *values.shape[1:])
    compressors: Any = "auto" if compressed else None
    array = group.create_array(
        name, shape=values.shape, dtype=values.dtype, chunks=inner, shards=shard, compressors=compressors, filters=None
    )
    if compressed:
        array[:] = values
        return
    for start in range(0, len(values), SHARD_CLIPS):
        write_shard(path, name, values[start : start + SHARD_CLIPS], start, len(values), SHARD_CLIPS)


def clip_rows(section_id: str) -> pd.DataFrame:
    """The clip table of one section; clips of the two domains carry values of their own."""
    machine_type, section = section_id.split("/")
    rows = []
    for split, domain, condition, count in CELLS:
        for index in range(count):
            value = ("W", "X")[index % 2] if domain == "source" else "Y"
            clip = f"section_{section}_{domain}_{split}_{condition}_{index:04d}_m-n_{value}"
            rows.append(
                {
                    "machine_type": machine_type,
                    "section": section,
                    "split": split,
                    "domain": domain,
                    "condition": condition,
                    "index": index,
                    "attributes": attributes_text([("m-n", value)]),
                    "full_name": f"{clip}.wav",
                    "clip": clip,
                    "archive": f"short/{machine_type}.zip",
                    "member": f"{machine_type}/{split}/{clip}.wav",
                    "row": len(rows),
                    "power": 1e-3,
                    "peak": 0.1,
                    "measured_added_noise_snr_db": float("nan"),
                    "n_saturated": 0,
                }
            )
    return pd.DataFrame(rows)


def mix_in_noise(store: Store, folder: Path, *, n_train: int = 4, n_test: int = 2) -> Store:
    """The store as if noise had been added to it: recordings in a folder, a plan that names them, digests, a bank.

    Kind A is in every clip, kind B in those of section 01, too. Test clips hold recordings that no training clip holds.
    """
    audio = {"n_samples": store.audio(*store.attributes.section_ids[0]).shape[1]}
    plan, is_test = store.mix_plan.copy(), (store.clips["split"] == "test").to_numpy()
    recordings: dict[str, dict[str, str]] = {}
    for layer, kind in ((1, "A"), (2, "B")):
        write_noise(folder / kind, n_train + n_test, audio["n_samples"], seed=layer)
        recordings[kind] = {
            path.name: blake3(path.read_bytes()).hexdigest() for path in sorted((folder / kind).iterdir())
        }
        number = np.where(is_test, n_train + np.arange(len(plan)) % n_test, np.arange(len(plan)) % n_train)
        holds = np.full(len(plan), True) if kind == "A" else (plan["section"] == "01").to_numpy()
        plan[f"noise_{layer}_kind"] = np.where(holds, kind, "")
        plan[f"noise_{layer}_clip"] = np.where(holds, [f"noise_{n}.wav#0" for n in number], "")
    plan.to_parquet(Path(store.path) / "mix_plan.parquet")
    metadata = json.loads((Path(store.path) / METADATA).read_text())
    found = metadata["attributes"]
    found["variant"] |= {"dataset": found["dataset"], "noise_from": found["dataset"]}
    found["variant"]["noise"] = {kind: [str(folder / kind)] for kind in recordings}
    found["provenance"]["noise"] = recordings
    found["sections"] = {name: summary | {"audio": audio} for name, summary in found["sections"].items()}
    (Path(store.path) / METADATA).write_text(json.dumps(metadata))
    record_files(Path(store.path))
    return open_store(store.path)


def write_noise(folder: Path, n: int, n_samples: int, seed: int = 0) -> None:
    """Recordings of noise, a clip long, each of a level of its own."""
    rng = np.random.default_rng([11, seed])
    folder.mkdir(parents=True)
    for number in range(n):
        samples = rng.normal(0, 500 * (1 + number), n_samples).astype(np.int16)
        (folder / f"noise_{number}.wav").write_bytes(encode_wav(samples))


def plan_rows(clips: pd.DataFrame) -> pd.DataFrame:
    """The mix plan of clips to which no noise is added."""
    plan = clips[["machine_type", "section", "clip", "archive", "member"]].assign(
        added_noise_snr_db=float("nan"), attenuation=1.0
    )
    for layer in (1, 2):
        plan = plan.assign(**{f"noise_{layer}_kind": "", f"noise_{layer}_clip": "", f"noise_{layer}_gain": 0.0})
    return plan
