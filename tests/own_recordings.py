"""Recordings of a user's: a folder of generated sounds, and a manifest that makes a dataset of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile as sf

PATTERN = "{machine_type}/{condition}/{session}_{index}.wav"


def sound(seconds: float, *, rate: int = 16_000, channels: int = 1, seed: int = 0, level: float = 0.1) -> np.ndarray:
    """Noise of a level, every channel half as loud as the one before: (sample, channel)."""
    noise = np.random.default_rng(seed).normal(0, level, round(seconds * rate))
    return np.clip(noise, -0.9, 0.9)[:, None] * 0.5 ** np.arange(channels)


def write_sound(
    path: Path, seconds: float = 2.0, *, rate: int = 16_000, channels: int = 1, seed: int = 0, subtype: str = "PCM_16"
) -> Path:
    """One recording; the suffix says the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = io.BytesIO()
    kind = None if path.suffix.lower() in (".mp3", ".ogg") else subtype
    sf.write(data, sound(seconds, rate=rate, channels=channels, seed=seed), rate, kind, format=path.suffix[1:].upper())
    path.write_bytes(data.getvalue())
    return path


def write_folder(
    folder: Path, machine_types: tuple[str, ...] = ("press",), *, n: int = 5, seconds: float = 2.5
) -> Path:
    """For each machine type, n normal recordings on n days and two broken ones; two clips of a second in each."""
    for number, machine_type in enumerate(machine_types):
        for day in range(n):
            path = folder / machine_type / "ok" / f"day{day}_{day:04d}.wav"
            write_sound(path, seconds, seed=100 * number + day)
        for index in range(2):
            write_sound(
                folder / machine_type / "broken" / f"day9_{index:04d}.wav", seconds, seed=100 * number + 50 + index
            )
    return folder


def write_manifest(path: Path, recordings: Mapping[str, str] | None = None, head: str = "") -> Path:
    """A manifest of ``recordings/`` beside it; values are TOML, and ``""`` takes a key away."""
    keys = {"folder": '"recordings"', "pattern": f'"{PATTERN}"', **(recordings or {})}
    lines = [f'name = "{path.stem}"', head or "audio = { clip_seconds = 1.0 }", "[recordings]"]
    path.write_text("\n".join([*lines, *(f"{key} = {value}" for key, value in keys.items() if value)]) + "\n")
    return path


def own_dataset(directory: Path, recordings: Mapping[str, str] | None = None, head: str = "") -> Path:
    """A folder of recordings of one machine type, and its manifest."""
    write_folder(directory / "recordings")
    return write_manifest(directory / "hall.toml", recordings, head)
