"""Real clips, laid out as their releases are: validated without a finding, built bit for bit, verified deep."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mimiidg_build import build_variant, fetch_dataset, validate_dataset, verify_store
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.variant import derive_variant, load_variant


def as_dcase2020(path: Path) -> str:
    """Where a clip of ``audio_dcase2020/<machine>/{train,clips}`` lies in the release."""
    machine, folder = path.parts[-3:-1]
    is_test = path.name.startswith("anomaly") or folder != "train"
    return f"{machine}/{'test' if is_test else 'train'}/{path.name}"


def as_mimii_due(path: Path) -> str:
    return f"{path.parts[-2]}/train/{path.name}"


def as_mimii(path: Path) -> str:
    return "/".join(path.parts[-4:])


def pack(real: Path, folder: str, place: Callable[[Path], str], dataset: str, root: Path) -> Path:
    """The clips as archives of a dataset, and its manifest without checksums: they are a few of the release's."""
    known = load_dataset(dataset)
    archives: dict[str, list[Path]] = {}
    for path in sorted((real / folder).rglob("*.wav")):
        archives.setdefault(place(path).partition("/")[0], []).append(path)
    for machine, paths in archives.items():
        (root / "archives/real").mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(root / f"archives/real/{machine}.zip", "w") as archive:
            for path in paths:
                archive.writestr(place(path), path.read_bytes())
    seconds = known.audio.clip_seconds
    if isinstance(seconds, dict):
        lengths = f"{{ {', '.join(f'{name} = {value}' for name, value in seconds.items())} }}"
    else:
        lengths = str(seconds)
    files = ", ".join(f'{{ name = "{machine}.zip" }}' for machine in archives)
    manifest = root / "real.toml"
    manifest.write_text(
        f'name = "real"\ntitle = "t"\nrecording = "mixed"\nlayout = "{known.layout}"\ncitation = "c"\n'
        f"audio = {{ channels = {known.audio.channels}, clip_seconds = {lengths} }}\n"
        f'[[records]]\nid = "real"\ntitle = "t"\nlicense = "l"\nfiles = [{files}]\n'
    )
    fetch_dataset(str(manifest), root, offline=True)
    return manifest


@pytest.mark.parametrize(
    ("folder", "place", "dataset", "machines", "n_sections"),
    [
        ("audio_dcase2020", as_dcase2020, "dcase2020", ["slider", "ToyCar"], 14),
        ("audio", as_mimii_due, "mimii_due", ["fan"], 3),
    ],
)
def test_real_clips_are_built_as_they_are(
    real: Path,
    folder: str,
    place: Callable[[Path], str],
    dataset: str,
    machines: list[str],
    n_sections: int,
    tmp_path: Path,
) -> None:
    manifest = pack(real, folder, place, dataset, tmp_path)
    release = validate_dataset(str(manifest), tmp_path)
    assert set(release.findings["kind"]) <= {"index_gap"}, "these are some of the clips"
    assert len(release.clips) == len(list((real / folder).rglob("*.wav")))
    assert len(release.sections) == n_sections
    variant = derive_variant(load_variant("released"), dataset=str(manifest), sections=machines, name="v")
    store = build_variant(variant, tmp_path).store
    assert verify_store(store, tmp_path, deep=True) == []
    for (machine, section), rows in store.clips.groupby(["machine_type", "section"]):
        audio = store.audio(machine, section)
        for member, row in zip(rows["member"], rows["row"], strict=True):
            with zipfile.ZipFile(tmp_path / f"archives/real/{machine}.zip") as archive:
                samples, _ = sf.read(io.BytesIO(archive.read(member)), dtype="int16")
            assert np.array_equal(np.asarray(audio[row]), samples)


def test_real_clips_of_mimii_are_validated(real: Path, tmp_path: Path) -> None:
    manifest = pack(real, "audio_mimii", as_mimii, "mimii_0_dB", tmp_path)
    release = validate_dataset(str(manifest), tmp_path)
    assert len(release.clips) == 12 and [str(key) for key in release.sections] == ["fan/id_00"]
    assert not (release.findings["severity"] == "error").any()
