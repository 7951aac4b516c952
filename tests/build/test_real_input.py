"""Real recordings through the whole pipeline: fan and valve clips as a release, pump clips as noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.manifest import load_dataset, load_recipe
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.fetch.dataset import fetch_dataset
from mimiidg_build.parallel.runner import runner
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.store.croissant import CROISSANT
from mimiidg_build.store.store import Store
from mimiidg_build.upkeep.verify import render_again
from tests.conftest import pack_release, write_dataset

MACHINES = ("fan", "valve")
NAMED = [("source", "train", "normal"), ("target", "train", "normal"), ("source", "test", "normal")]
NAMED += [("source", "test", "anomaly"), ("target", "test", "normal"), ("target", "test", "anomaly")]


def named_clips(folder: Path, machine_type: str) -> dict[str, np.ndarray]:
    """Real clips under the release's names: every section and attribute value, the recordings in turn."""
    recordings = [sf.read(path, dtype="int16")[0] for path in sorted(folder.glob("*.wav"))]
    clips: dict[str, np.ndarray] = {}
    for section in (s for s in load_recipe("table1").sections if s.machine_type == machine_type and s.in_paper):
        for domain, split, condition in NAMED:
            for index, values in enumerate(section.values(domain)):
                attributes = "_".join(f"{key}_{value}" for key, value in values.items())
                name = f"section_{section.section}_{domain}_{split}_{condition}_{index:04d}_{attributes}.wav"
                clips[name] = recordings[len(clips) % len(recordings)]
    return clips


@pytest.fixture(scope="module")
def variant(real: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Variant]:
    """A root with the real release in it, dropped in by hand, and the paper's variant of it."""
    root = tmp_path_factory.mktemp("real")
    archives = [
        pack_release(root / "archives/real/" / f"{m}.zip", named_clips(real / "audio" / m, m), m) for m in MACHINES
    ]
    manifest = write_dataset(root, "real", archives)
    fetch_dataset(load_dataset(str(manifest)), root, offline=True)
    noise = {kind: [{"folder": str(real / "audio/pump")}] for kind in "ABCWXYZ"}
    return root, derive_variant(load_variant("paper"), dataset=str(manifest), noise=noise)


@pytest.fixture(scope="module")
def store(variant: tuple[Path, Variant]) -> Store:
    return build_variant(variant[1], variant[0], workers=1).store


def test_every_clip_is_at_its_snr(store: Store) -> None:
    assert list(store.sections) == [f"{m}/0{n}" for m in MACHINES for n in range(3)]
    error = store.clips["measured_added_noise_snr_db"] - store.mix_plan["added_noise_snr_db"]
    assert error.abs().max() < 0.05
    assert store.clips["n_saturated"].sum() == 0


def test_level_relations_survive_attenuation(variant: tuple[Path, Variant], store: Store) -> None:
    """42 dB more noise passes full scale: the whole section is attenuated by one gain, SNR and levels hold exactly."""
    root, wanted = variant
    loud = build_variant(derive_variant(wanted, snr_offset_db=-42.0, sections=["fan/02"]), root).store
    attenuation = loud.sections["fan/02"].attenuation
    assert attenuation < 0.5
    assert (loud.mix_plan["attenuation"] == attenuation).all()
    error = loud.clips["measured_added_noise_snr_db"] - loud.mix_plan["added_noise_snr_db"]
    assert error.abs().max() < 0.05
    assert loud.clips["n_saturated"].sum() == 0
    assert np.abs(np.asarray(loud.audio("fan", "02")[:]).astype(int)).max() > 16_000, "no more than full scale asks for"
    quiet = store.mix_plan.query("machine_type == 'fan' and section == '02'").reset_index(drop=True)
    assert (loud.mix_plan["noise_1_clip"] == quiet["noise_1_clip"]).all()


# processes by default in tests/build/test_build.py
@pytest.mark.parametrize(
    ("scheduler", "workers"), [("threads", 2), pytest.param("processes", 2, marks=pytest.mark.slow)]
)
def test_bit_identical_however_it_runs(
    variant: tuple[Path, Variant], store: Store, scheduler: str, workers: int
) -> None:
    root, wanted = variant
    other = wanted.model_copy(update={"name": f"{scheduler}{workers}"})
    again = build_variant(other, root, scheduler=scheduler, workers=workers).store
    ours, theirs = (
        {name: record for name, record in each.attributes.objects.items() if name != CROISSANT}
        for each in (store, again)
    )
    assert ours == theirs
    text = (store.path / CROISSANT).read_text().replace(wanted.name, other.name)
    fingerprints = store.attributes.fingerprint, again.attributes.fingerprint
    assert text.replace(*fingerprints) == (again.path / CROISSANT).read_text()


def test_renders_again_from_the_archives(variant: tuple[Path, Variant], store: Store) -> None:
    assert render_again(store, variant[0], runner()) == []
