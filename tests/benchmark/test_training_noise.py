"""Noise that a training adds: which noise clips of a store those are, at what level, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from mimiidg_build.benchmark import training_noise as module
from mimiidg_build.benchmark.planning import plan_runs
from mimiidg_build.benchmark.runs import Run
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.benchmark.suitability import refusal
from mimiidg_build.benchmark.train_network import choose_clips, train_and_score
from mimiidg_build.benchmark.training_noise import check_noise, training_noise, training_noise_clips
from mimiidg_build.cli.benchmark import benchmark
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.features import logmel
from mimiidg_build.models import augmentation, create, model_class
from mimiidg_build.models.augmentation import Noise
from mimiidg_build.store.metadata import METADATA
from mimiidg_build.store.store import Store, open_store
from mimiidg_build.training.train import train
from tests.small_store import N_FRAMES, make_store, mix_in_noise, record_files

pytestmark = pytest.mark.usefixtures("one_thread")

N_SAMPLES = 65 * 512  # of 66 frames
ATTENUATION, POWER = 0.5, 1e-3
AUGMENTED = {"noise": 0.5, "mixup": 0.5, "frequency_masks": 2, "time_masks": 1, "time_mask_width": 2}


def noisy_store(root: Path, **changes: Any) -> Store:
    return mix_in_noise(make_store(root, n_frames=N_FRAMES, n_samples=N_SAMPLES, **changes), root / "recordings")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return noisy_store(tmp_path_factory.mktemp("root"))


def run_of(store: Store, model: str = "autoencoder", **changes: Any) -> Run:
    return plan_runs(store, store.root, [model], "smoke", 1, 1, changes={"noise": 0.5} | changes)[0]


def noise_of(run: Run, number: int = 0) -> Noise:
    network = run.networks()[number]
    found = training_noise(run, network, choose_clips(run, network).pool)
    assert found is not None
    return found


def recording(store: Store, kind: str, number: int) -> np.ndarray:
    """The samples of a recording, which is one noise clip."""
    content = (store.root / "recordings" / kind / f"noise_{number}.wav").read_bytes()
    return np.frombuffer(content[-2 * N_SAMPLES :], "<i2")


def test_noise_clips_are_those_of_training_clips(store: Store) -> None:
    """Of kind B in section 01 alone, whose clips hold two layers; recordings 4 and 5 are in test clips."""
    of_training = [(kind, f"noise_{number}.wav#0") for kind in "AB" for number in range(4)]
    assert training_noise_clips(store, "fan/00") == training_noise_clips(store, "valve/00") == of_training[:4]
    assert training_noise_clips(store, "fan/01") == of_training
    noise = noise_of(run_of(store))
    assert noise.count.tolist() == [4, 8] and noise.first.tolist() == [0, 4]
    assert noise.clip_of.tolist() == [0, 1, 2, 3, *range(8)], "a clip of two sections is held once"


def test_noise_is_analysed_as_clips_are_and_brought_to_an_snr_of_0_db(store: Store) -> None:
    noise = noise_of(run_of(store))
    assert noise.clips.shape == (8, N_FRAMES, 128)
    for entry, (kind, number) in enumerate([("A", n) for n in range(4)] * 2 + [("B", n) for n in range(4)]):
        samples = recording(store, kind, number).astype(np.float64) / 32768
        gain = (POWER / np.square(samples).mean()) ** 0.5  # of the recording as it lies there
        expected = logmel(recording(store, kind, number)) + 20 * np.log10(gain)
        found = noise.clips[noise.clip_of[entry]] + noise.gain_db[entry]
        np.testing.assert_allclose(found, expected, atol=0.02)  # it is held at full scale, finer than the recording


def test_power_is_of_the_training_clips_as_stored(tmp_path: Path) -> None:
    """Attenuation included; what test clips have has no part in it."""
    store = noisy_store(tmp_path)
    before = noise_of(run_of(store)).gain_db
    clips, content = store.clips.copy(), json.loads((Path(store.path) / METADATA).read_text())
    clips["power"] *= np.where(clips["split"] == "test", 5.0, 4.0)
    for summary in content["attributes"]["sections"].values():
        summary["attenuation"] = ATTENUATION
    clips.to_parquet(Path(store.path) / "clips.parquet")
    (Path(store.path) / METADATA).write_text(json.dumps(content))
    record_files(Path(store.path))
    again = noise_of(run_of(open_store(store.path))).gain_db
    np.testing.assert_allclose(again, before, atol=1e-5)  # 4 times the power, attenuated to a quarter


def test_audio_is_given_audio_and_outliers_the_noise_of_their_own_sections(store: Store) -> None:
    noise = noise_of(run_of(store, "two_branch"))
    assert noise.clips.shape == (8, N_SAMPLES) and noise.clips.dtype == torch.int16
    assert noise.count.tolist() == [4, 8, 4]
    loudest = noise.clips.abs().amax(dim=1)
    assert loudest.tolist() == [32767] * 8
    powers = (noise.clips.double() / 32768).square().mean(dim=1)[noise.clip_of]
    np.testing.assert_allclose(noise.gain_db, 10 * np.log10(POWER / powers.numpy()), atol=1e-4)
    run = replace(run_of(store), model="bce")
    second = run.networks()[1]
    assert second.name == "fan_01"
    assert noise_of(run, 1).count.tolist() == [8, 4, 4], "the network's own section comes first"


def test_no_more_is_held_than_the_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each section keeps its share, which the seed draws."""
    monkeypatch.setattr(module, "NOISE_BYTES", 4 * N_FRAMES * 128 * 4)
    kept = [noise_of(replace(run_of(store), seed=seed)) for seed in (0, 0, 1)]
    assert [noise.count.tolist() for noise in kept] == [[2, 2]] * 3 and len(kept[0].clips) <= 4
    assert torch.equal(kept[0].clips, kept[1].clips) and not torch.equal(kept[0].clips, kept[2].clips)


def test_a_bank_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    store = noisy_store(tmp_path)
    first = noise_of(run_of(store))
    banks = {path: path.read_bytes() for path in (store.root / "noise").iterdir()}  # type: ignore[union-attr]
    shutil.rmtree(tmp_path / "noise")
    assert torch.equal(noise_of(run_of(store)).clips, first.clips)
    assert {path: path.read_bytes() for path in (store.root / "noise").iterdir()} == banks  # type: ignore[union-attr]
    shutil.rmtree(tmp_path / "recordings")
    assert torch.equal(noise_of(run_of(store)).clips, first.clips), "a bank that is there is enough"


# ---- Refusals --------------------------------------------------------------------------------------------------------


def refused(store: Store, error: type[Exception], message: str, **options: Any) -> None:
    """By the benchmark, which leaves nothing behind."""
    with pytest.raises(error, match=message):
        benchmark_models(store, store.root, ["autoencoder"], profile="smoke", changes={"noise": 0.5}, **options)
    assert not (Path(store.root) / "runs").exists()


def test_a_store_without_noise(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    refused(
        store, UsageError, r"banks, and fan/00 of .*small.zarr was mixed with none. Build a variant that adds noise"
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "again: noise kind A: there is no folder .*recordings/A"),
        (lambda folder: (folder / "noise_1.wav").unlink(), "again: the recording noise_1.wav is gone since the store"),
        (lambda folder: (folder / "noise_1.wav").write_bytes(b""), "again: the recording noise_1.wav is another since"),
    ],
)
def test_noise_that_is_gone(tmp_path: Path, spoil: Any, message: str) -> None:
    store = noisy_store(tmp_path)
    spoil(tmp_path / "recordings/A")
    refused(store, DataError, f"small.zarr: its noise of kind A is not at hand. No .* lies in .*noise, .*{message}")
    assert not list((tmp_path / "noise").glob("*")), "nothing is left half-made"


def test_noise_that_the_bank_does_not_hold(tmp_path: Path) -> None:
    store = noisy_store(tmp_path)
    plan = store.mix_plan.copy()
    plan.loc[0, "noise_1_clip"] = "other.wav#3"
    plan.to_parquet(Path(store.path) / "mix_plan.parquet")
    record_files(Path(store.path))
    refused(open_store(store.path), DataError, r"training clips of fan/00 hold the noise clip other.wav#3 of kind A")


def test_magnitudes_do_not_add_up(tmp_path: Path) -> None:
    store = noisy_store(tmp_path, variant={"name": "small", "features": {"power": 1}})
    check_noise([run_of(store, "two_branch")])  # it takes audio
    (run,) = plan_runs(store, tmp_path, ["nearest_neighbour"], "smoke", 1)
    with pytest.raises(UsageError, match=r"log-mels of .*small.zarr are of magnitudes \(features.power = 1\)"):
        check_noise([replace(run, model="autoencoder", changes={"noise": 0.5})])


def test_noise_of_one_channel_is_not_added_to_several(store: Store) -> None:
    sections = dict(store.sections)
    stereo = sections["fan/01"].audio.model_copy(update={"channels": 2})
    sections["fan/01"] = sections["fan/01"].model_copy(update={"audio": stereo})
    attributes = store.attributes.model_copy(update={"sections": sections})
    run = replace(run_of(store), store=replace(store, attributes=attributes))
    with pytest.raises(UsageError, match="clips of one channel, and fan/01 of .*small.zarr has 2"):
        check_noise([run])


def test_silent_training_clips(tmp_path: Path) -> None:
    store = noisy_store(tmp_path)
    store.clips["power"] = 0.0
    with pytest.raises(DataError, match="all training clips of fan/00 are silent"):
        noise_of(run_of(store))


# ---- Trainings -------------------------------------------------------------------------------------------------------


class Stop(Exception):
    pass


def test_the_same_bits_however_often_it_was_stopped(store: Store, tmp_path: Path) -> None:
    """All augmentations at once; another seed, and a training without them, give others."""
    run = run_of(store, **AUGMENTED)
    network, weights = run.networks()[0], []
    pool = choose_clips(run, network).pool
    noise = training_noise(run, network, pool)

    def trained(directory: str, seed: int = 0, stop: int = 0, **changes: Any) -> Any:
        def on_epoch(loss: Any) -> None:
            if loss.epoch == stop:
                raise Stop

        model = create("autoencoder", "smoke", 2, seed, changes={"train_hop": 4} | AUGMENTED | changes)
        torch.manual_seed(len(weights))  # torch's own state has no part in it
        train(model, pool, tmp_path / directory, "fan", epochs=2, noise=noise, on_epoch=on_epoch)
        weights.append(model.network[0].weight.detach())

    trained("whole")
    with pytest.raises(Stop):
        trained("part", stop=1)
    trained("part")
    trained("other", seed=1)
    for number, off in enumerate(("noise", "mixup", "frequency_masks")):
        needless = {"time_masks": 0, "time_mask_width": 40} if off == "frequency_masks" else {}
        trained(f"off {number}", **{off: 0, **needless})
    assert torch.equal(weights[0], weights[1])
    assert all(not torch.equal(weights[0], other) for other in weights[2:])


@pytest.mark.parametrize(("model", "shape"), [("mobilenetv2", (64, 128)), ("two_branch", (N_SAMPLES,))])
def test_networks_of_windows_and_of_audio_are_given_noise(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, shape: tuple[int, ...]
) -> None:
    """From the settings of a run to the loss: every batch, of windows too."""
    added, losses = list[torch.Tensor](), list[torch.Tensor]()
    loss_of = "loss" if model == "two_branch" else "mixed_loss"  # which mixes itself
    cls, with_noise = model_class(model), augmentation.with_noise
    loss = getattr(cls, loss_of)

    def spied(batch: torch.Tensor, *rest: Any) -> torch.Tensor:
        added.append(with_noise(batch, *rest) - batch)
        return added[-1] + batch

    def heard(self: Any, batch: torch.Tensor, *rest: Any) -> Any:
        losses.append(batch)
        return loss(self, batch, *rest)

    monkeypatch.setattr(augmentation, "with_noise", spied)
    monkeypatch.setattr(cls, loss_of, heard)
    (run,) = plan_runs(store, tmp_path, [model], "smoke", 1, 1, changes={"noise": 1.0, "mixup": 0.9})
    train_and_score(run, run.networks()[0], "cpu")
    assert len(losses) == len(added) > 1 and {batch.shape[1:] for batch in added} == {shape}
    assert all(bool((batch != 0).any(dim=1).all()) for batch in (each.flatten(1) for each in added))


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        (
            "autoencoder",
            {"time_masks": 1, "time_mask_width": 5},
            "time_mask_width = 5, .* has 5 frames: .* less than 5",
        ),
        ("autoencoder", {"time_masks": 1, "time_mask_width": 4}, None),
        (
            "autoencoder",
            {"frequency_masks": 2, "frequency_mask_width": 128},
            "frequency_mask_width = 128, .* 128 mel b",
        ),
        ("mobilenetv2", {"time_masks": 1, "time_mask_width": 64}, "has 64 frames"),  # a window of a clip of 66
        ("bce", {"time_masks": 1, "time_mask_width": 66}, "has 66 frames"),
        ("attention", {"time_masks": 1, "time_mask_width": 66}, "has 66 frames"),  # of its own
        ("attention", {"time_masks": 1, "time_mask_width": 65}, None),
        ("attention_wavegram", {"time_masks": 1}, "attention_wavegram has no spectrogram to mask"),
        ("attention", {"time_masks": 1, "logmel": False}, "attention has no spectrogram to mask"),
    ],
)
def test_masks_that_could_hide_everything(
    store: Store, model: str, changes: dict[str, Any], message: str | None
) -> None:
    found = refusal(store, model, "smoke", {"frames_averaged": 1} | changes)
    assert found is None if message is None else isinstance(found, UsageError) and re.search(message, str(found))


def test_by_command_in_the_runs_name_and_configuration(store: Store, tmp_path: Path) -> None:
    shutil.copytree(store.root, tmp_path / "root")  # type: ignore[arg-type]
    given = ["--set", "mixup=0.5", "--set", "noise=0.25", "--set", "noise_snr_low=-5", "--quiet", "--workers", "1"]
    arguments = ["small", "--model", "autoencoder", "--profile", "smoke", "--epochs", "1", "--device", "cpu", *given]
    done = CliRunner().invoke(benchmark, [*arguments, "--root", str(tmp_path / "root")], catch_exceptions=False)
    label = "smoke-1epochs-mixup=0.5-noise=0.25-noise_snr_low=-5.0"
    assert done.exit_code == 0 and f"{label} profile" in done.stdout
    (path,) = (tmp_path / "root/runs").rglob("config.json")
    content = json.loads(path.read_text())
    assert path.parent.name == f"autoencoder-{label}-0"
    assert content["changes"] == {"mixup": 0.5, "noise": 0.25, "noise_snr_low": -5.0}
    assert content["settings"]["mixup_alpha"] == 1.0 and content["settings"]["noise_snr_high"] == 20.0
