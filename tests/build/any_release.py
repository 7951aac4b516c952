"""Small releases of any recordings: an archive of the given files in a root, and a manifest beside it."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.fetch.dataset import fetch_dataset

CELLS = (
    ("source", "train", "normal"),
    ("target", "train", "normal"),
    ("source", "test", "normal"),
    ("source", "test", "anomaly"),
    ("target", "test", "normal"),
    ("target", "test", "anomaly"),
)


def members(machine_type: str, section: str, clips: list[bytes], tail: str = "vel_6") -> dict[str, bytes]:
    """Files under names of DCASE 2022 on, one of each domain, split and condition in turn."""
    named = {}
    for index, data in enumerate(clips):
        domain, split, condition = CELLS[index % len(CELLS)]
        name = f"section_{section}_{domain}_{split}_{condition}_{index:04d}_{tail}.wav"
        named[f"{machine_type}/{split}/{name}"] = data
    return named


def noise(shape: tuple[int, ...], seed: int, rms: float = 2000.0) -> np.ndarray:
    """White noise, int16."""
    return np.random.default_rng(seed).normal(0, rms, shape).round().astype(np.int16)


def tables(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The attribute tables of files, a section each."""
    found: dict[str, str] = {}
    for member in files:
        machine_type, _, name = member.split("/")
        _, section, *_, pairs = name.removesuffix(".wav").split("_", 6)
        found.setdefault(f"{machine_type}/attributes_{section}.csv", "file_name,d1p,d1v\n")
        found[f"{machine_type}/attributes_{section}.csv"] += f"{member},{pairs.replace('_', ',')}\n"
    return {name: text.encode() for name, text in found.items()}


def make_release(root: Path, files: Mapping[str, Mapping[str, bytes]], audio: str = "", name: str = "any") -> str:
    """Archives {machine type: {member: bytes}} in a root, with a manifest of them, whose path comes back.

    ``audio`` is TOML text.
    """
    folder = root / "archives" / name
    folder.mkdir(parents=True, exist_ok=True)
    for machine_type, content in files.items():
        with zipfile.ZipFile(folder / f"{machine_type}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for member, data in (dict(content) | tables(content)).items():
                archive.writestr(member, data)
    lines = [f'name = "{name}"', 'title = "any recordings"', 'recording = "clean"', 'layout = "dcase2022"']
    lines += [f"machine_types = {sorted(files)}".replace("'", '"'), audio, 'citation = "test"', "[[records]]"]
    lines += [f'id = "{name}"', f'title = "{name}"', 'license = "test"']
    for machine_type in files:
        lines += ["[[records.files]]", f'name = "{machine_type}.zip"']
    manifest = root / f"{name}.toml"
    manifest.write_text("\n".join(lines) + "\n")
    fetch_dataset(load_dataset(str(manifest)), root, offline=True)
    return str(manifest)


def noise_folder(path: Path, n_samples: int, rate: int = 16_000, seed: int = 100) -> str:
    """A folder of two recordings of noise."""
    path.mkdir(parents=True)
    for number in range(2):
        (path / f"{number}.wav").write_bytes(encode_wav(noise((n_samples,), seed + number, 300), rate))
    return str(path)
