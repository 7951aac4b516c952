"""A small dataset of WAV files, stores of it, and a finished run of every kind of model; of one also back ends."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.manifest import load_dataset, load_recipe
from mimiidg_build.datasets.synthetic import parse_name
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.fetch.dataset import fetch_dataset
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.synthesis.contents import section_clips
from tests.conftest import once, pack_release, write_dataset

KINDS = (
    *("nearest_neighbour", "autoencoder", "autoencoder_mahalanobis", "mobilenetv2", "bce_ddcsad", "attention"),
    *("conformer", "two_branch"),
)
ON_BOTH = ("nearest_neighbour", "autoencoder", "conformer")  # run on two machine types, which a conformer needs
N_SAMPLES = 65_600  # 4.1 s: what the network of bce_ddcsad needs at least
RELEASE, TABLE_1 = parse_name("synthetic-1pct-seed0"), load_recipe("table1")  # for names that fit the sections
FAN_00 = "fan/test/section_00_source_test_normal_0000_m-n_W.wav"


def sound(rng: np.random.Generator, machine_type: str, section: int, anomalous: bool) -> np.ndarray:
    """Noise around a tone that tells machine type and section; louder where it is anomalous."""
    time = np.arange(N_SAMPLES) / 16_000
    tone_hz = {"fan": 200, "valve": 900}[machine_type] * (1 + section)
    values = rng.normal(0, 400, N_SAMPLES) + (3000 if anomalous else 800) * np.sin(2 * np.pi * tone_hz * time)
    return values.astype(np.int16)


def make_place(directory: Path) -> None:
    """``root`` with the archives, the stores of the variants ``short`` and ``fan``, its part, and their runs; ``clips``
    with the WAV files."""
    rng = np.random.default_rng(0)
    archives = [directory / f"root/archives/short/{machine_type}.zip" for machine_type in ("fan", "valve")]
    for path in archives:
        clips = {
            f"{clip.name}.wav": sound(rng, path.stem, number, "anomaly" in clip.name)
            for number in range(2)
            for clip in section_clips(RELEASE, TABLE_1.row(SectionId(path.stem, f"{number:02}")))
            if clip.name.split("_")[5] < "0003"  # three training clips of the source, one of the target
        }
        pack_release(path, clips, path.stem)
        with zipfile.ZipFile(path) as archive:
            archive.extractall(directory / "clips")
    manifest = write_dataset(directory, "short", archives, clip_seconds=N_SAMPLES / 16_000)
    fetch_dataset(load_dataset(str(manifest)), directory / "root", offline=True)
    root, options = directory / "root", dict[str, Any](profile="smoke", device="cpu")
    fan = variant(manifest, sections=["fan/00", "fan/01"]).model_copy(update={"name": "fan"})
    benchmark_models(build_variant(fan, root).store, root, [kind for kind in KINDS if kind not in ON_BOTH], **options)
    store = build_variant(variant(manifest), root).store
    benchmark_models(store, root, ON_BOTH, **options)
    benchmark_models(store, root, ["autoencoder"], backends=["cosine_knn", "mahalanobis", "fusion"], **options)


def variant(manifest: Path, **changes: Any) -> Variant:
    """The dataset as it is, no noise added."""
    return derive_variant(load_variant("released"), name="short", dataset=str(manifest), **changes)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``make_place`` makes. Not to be changed."""
    return once(tmp_path_factory, "detect", make_place)


def name_of_variant(model: str) -> str:
    """The variant that a model was run on."""
    return "short" if model in ON_BOTH else "fan"


def run_of(place: Path, model: str) -> Path:
    """The run of a model."""
    (found,) = (place / "root/runs" / name_of_variant(model)).glob(f"*/{model}-smoke-0")
    return found


@pytest.fixture
def clips(place: Path) -> Path:
    """The WAV files, ``fan/test/section_00_....wav``."""
    return place / "clips"
