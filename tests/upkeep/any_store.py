"""A finished store of any clips, in any layout: what exports are tried on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr

from mimiidg_build.schemas.attributes import attributes_text
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.store.store import Store, open_store, variant_dir
from tests.small_store import attributes, plan_rows, record_files

N_SAMPLES = 320


def clip(machine_type: str, section: str, member: str, full_name: str = "", **given: Any) -> dict[str, Any]:
    """A row of the clip table; what is not given is as for a training clip of the source domain."""
    path = Path(member)
    pairs = given.pop("pairs", ())
    return {
        "machine_type": machine_type,
        "section": section,
        "split": given.get("split", "train"),
        "domain": given.get("domain", "source"),
        "condition": given.get("condition", "normal"),
        "index": given.get("index", 0),
        "attributes": attributes_text(pairs),
        "full_name": full_name or path.name,
        "clip": given.get("clip", path.stem),
        "archive": given.get("archive", f"1/{machine_type}.zip"),
        "member": member,
    }


def any_store(
    root: Path,
    clips: list[dict[str, Any]],
    layout: str = "dcase2022",
    shapes: Mapping[str, Mapping[str, Any]] | None = None,
    **changes: Any,
) -> Store:
    """Write ROOT/variants/any/small.zarr of noise; ``shapes`` gives a section's SectionAudio."""
    path = variant_dir(root, "any") / "small.zarr"
    group = zarr.create_group(path)
    table = pd.DataFrame(clips)
    table["row"] = table.groupby(["machine_type", "section"]).cumcount()
    table = table.assign(power=1e-3, peak=0.1, measured_added_noise_snr_db=float("nan"), n_saturated=0)
    summaries = {}
    for number, ((machine_type, section), rows) in enumerate(table.groupby(["machine_type", "section"], sort=False)):
        section_id = SectionId(str(machine_type), str(section))
        audio = {"n_samples": N_SAMPLES} | dict((shapes or {}).get(str(section_id), {}))
        summaries[str(section_id)] = _summary(rows, audio)
        shape = (*([audio["channels"]] if "channels" in audio else []), audio["n_samples"])
        samples = np.random.default_rng(number).integers(-999, 999, (len(rows), *shape), dtype=np.int16)
        array = group.create_array(
            f"{section_id.group}/audio",
            shape=samples.shape,
            dtype="int16",
            chunks=(1, *shape),
            shards=(2, *shape),
            compressors=None,
        )
        array[:] = samples
    table.to_parquet(path / "clips.parquet")
    plan_rows(table).to_parquet(path / "mix_plan.parquet")
    metadata = json.loads((path / "zarr.json").read_text())
    metadata["attributes"] = attributes("any", **{"sections": summaries, "layout": layout, **changes})
    (path / "zarr.json").write_text(json.dumps(metadata))
    record_files(path)
    (path.parent / "latest").write_text("small\n")
    return open_store(path)


def _summary(rows: pd.DataFrame, audio: dict[str, Any]) -> dict[str, Any]:
    counts = (rows["domain"] + "_" + rows["split"] + "_" + rows["condition"]).value_counts().to_dict()
    return {
        "fingerprint": "none",
        "n_clips": len(rows),
        "counts": counts,
        "a": 1e-3,
        "attenuation": 1.0,
        "n_saturated_clips": 0,
        "audio": audio,
    }


def two_parts(machine_type: str = "fan") -> list[dict[str, Any]]:
    """A development section, 00, whose names say everything; an evaluation section, 03, whose test clips hide it."""
    rows = []
    for section in ("00", "03"):
        for index, domain in enumerate(("source", "target")):
            name = f"section_{section}_{domain}_train_normal_{index:04d}_m-n_W_vel_{index}.wav"
            given = {"domain": domain, "index": index, "pairs": [("m-n", "W"), ("vel", str(index))]}
            rows.append(clip(machine_type, section, f"{machine_type}/train/{name}", **given))
        for index in range(8):
            domain, condition = ("source", "target")[index % 2], ("normal", "anomaly")[index // 2 % 2]
            name = f"section_{section}_{domain}_test_{condition}_{index:04d}_m-n_W_vel_{index}.wav"
            own = f"section_{section}_{index:04d}.wav" if section == "03" else name
            given |= {"domain": domain, "condition": condition, "index": index, "split": "test"}
            given["pairs"] = [("m-n", "W"), ("vel", str(index))]
            rows.append(clip(machine_type, section, f"{machine_type}/test/{own}", name, **given))
    return rows
