"""A finished store as of releases with machine IDs: no domains, no attributes, several lengths, truth not told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr

from mimiidg_build.features import HOP, N_MELS
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.store.store import Store, open_store, variant_dir
from tests.small_store import SUMMARY, attributes, plan_rows, record_files, write_array

TRAIN, NORMAL, ANOMALY, UNKNOWN = "train normal", "test normal", "test anomaly", "test "
CELLS = {TRAIN: 6, NORMAL: 4, ANOMALY: 4}
Cells = Mapping[str, int]


def make_plain_store(
    root: Path,
    sections: Mapping[str, float | tuple[float, Cells]],
    name: str = "plain",
    audio: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Store:
    """Write ROOT/variants/<name>/plain.zarr.

    Parameters
    ----------
    root : Path
    sections : mapping of section to seconds, or to seconds and numbers of clips
        ``{"fan/id_00": 10.0, "ToyCar/id_01": (11.0, {TRAIN: 6})}``
    name : str
        Of the variant.
    audio : mapping, optional
        Further fields of every section's ``SectionAudio``.
    **changes
        What the store says of itself.
    """
    path = variant_dir(root, name) / "plain.zarr"
    group, tables, summaries = zarr.create_group(path), [], {}
    for number, (text, said) in enumerate(sections.items()):
        seconds, cells = said if isinstance(said, tuple) else (said, CELLS)
        section, n_samples = SectionId.parse(text), round(16_000 * seconds)
        clips, rng = clip_rows(section, cells), np.random.default_rng([7, number])
        logmel = rng.normal(-40 + 4 * number, 3, (len(clips), 1 + n_samples // HOP, N_MELS)).astype(np.float32)
        logmel[:, :, ::2] -= 25 * (clips["condition"] == "anomaly").to_numpy()[:, None, None]
        one = (n_samples,) if audio is None or "channels" not in audio else (audio["channels"], n_samples)
        samples = rng.integers(-999, 999, (len(clips), *one), dtype=np.int16)
        for kind, values in (("logmel", logmel), ("audio", samples)):
            write_array(path, group, f"{section.group}/{kind}", values, False)
        tables.append(clips)
        shape = {"n_samples": n_samples, **(audio or {})}
        summaries[text] = {**SUMMARY, "n_clips": len(clips), "counts": counts(clips), "audio": shape}
    clips = pd.concat(tables, ignore_index=True)
    clips.to_parquet(path / "clips.parquet")
    plan_rows(clips).to_parquet(path / "mix_plan.parquet")
    metadata = json.loads((path / "zarr.json").read_text())
    said = {"fingerprint": "plain", "layout": "dcase2020", "protocol": "2020", "recipe": "", "sections": summaries}
    metadata["attributes"] = attributes(name, **(said | changes))
    (path / "zarr.json").write_text(json.dumps(metadata))
    record_files(path)
    (path.parent / "latest").write_text("plain\n")
    return open_store(path)


def counts(clips: pd.DataFrame) -> dict[str, int]:
    """Clips by split and condition."""
    names = (clips["split"] + "_" + clips["condition"]).str.removesuffix("_")
    return {str(name): int(count) for name, count in names.value_counts(sort=False).items()}


def clip_rows(section: SectionId, cells: Cells) -> pd.DataFrame:
    """The clip table of one section, named as in DCASE 2020."""
    rows: list[dict[str, Any]] = []
    for cell, count in cells.items():
        split, _, condition = cell.partition(" ")
        for index in range(count):
            clip = f"{condition}_{section.section}_{index:08d}" if condition else f"{section.section}_{index:08d}"
            rows.append(
                {
                    "machine_type": section.machine_type,
                    "section": section.section,
                    "split": split,
                    "domain": "",
                    "condition": condition,
                    "index": index,
                    "attributes": "{}",
                    "full_name": f"{clip}.wav",
                    "clip": clip if split == "test" else f"{clip}_train",
                    "archive": f"short/{section.machine_type}.zip",
                    "member": f"{section.machine_type}/{split}/{clip}.wav",
                    "row": len(rows),
                    "power": 1e-3,
                    "peak": 0.1,
                    "measured_added_noise_snr_db": float("nan"),
                    "n_saturated": 0,
                }
            )
    return pd.DataFrame(rows)
