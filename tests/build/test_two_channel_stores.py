"""Stores whose log-mel has a reference channel: what they hold, and that every command takes or refuses them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.build.variant import build_variant
from mimiidg_build.cli import main
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.features import clip_features
from mimiidg_build.fetch.dataset import fetch_dataset, validate_dataset
from mimiidg_build.report.gallery import make_gallery
from mimiidg_build.schemas.variants import FeatureSettings, Variant
from mimiidg_build.store.store import Store, open_store
from mimiidg_build.upkeep.export import export_store
from mimiidg_build.upkeep.repair import repair_store
from mimiidg_build.upkeep.verify import verify_store
from tests.build.any_release import make_release, members, noise
from tests.conftest import content, once

N = 12_000  # samples a channel of a clip
TWO = "audio = { channels = 2 }"
SUBTRACT = {"reference": "subtract", "over_subtraction": 1.5}


def build(root: Path, dataset: str, name: str = "v", **features: object) -> Store:
    variant = Variant(name=name, dataset=dataset, mixing="none", channels="all", features=features)
    return build_variant(variant, root).store


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a store, ``v``, of one section of two channels. Not to be changed."""

    def make(root: Path) -> None:
        files = {"fan": members("fan", "00", [encode_wav(noise((2, N), seed)) for seed in range(6)])}
        build(root, make_release(root, files, TWO), **SUBTRACT, stft=True)

    return once(tmp_path_factory, "two-channels", make)


def test_audio_keeps_both_channels_and_log_mel_is_of_both(built: Path) -> None:
    store = open_store(built / "variants/v")
    audio, image, stft = (getattr(store, name)("fan", "00") for name in ("audio", "logmel", "stft"))
    assert (audio.shape, image.shape, stft.shape) == ((6, 2, N), (6, 24, 128), (6, 2, 24, 513))
    assert image.metadata.dimension_names == ("clip", "frame", "mel")
    assert stft.metadata.dimension_names == ("clip", "channel", "frame", "bin")
    for row in range(6):
        expected = clip_features(np.asarray(audio[row]), FeatureSettings(**SUBTRACT, stft=True))
        np.testing.assert_array_equal(image[row], expected["logmel"])
        np.testing.assert_array_equal(stft[row], expected["stft"])
    mean, std = store.logmel_statistics("fan", "00")
    training = np.asarray(image[:])[(store.clips["split"] == "train").to_numpy()].astype(np.float64)
    np.testing.assert_allclose(mean, training.mean(axis=(0, 1)), atol=2e-6)
    np.testing.assert_allclose(std, training.std(axis=(0, 1)), atol=2e-6)
    said = "log-mel power spectrogram of channel 0 less 1.5 times channel 1, at least 0.1 times that, 10 log10"
    assert str(image.attrs["long_name"]).startswith(said)
    assert image.attrs["version"] == "logmel-3-reference-1"


def test_it_is_verified_deep_and_repaired(built: Path, tmp_path: Path) -> None:
    root = shutil.copytree(built, tmp_path / "root")
    store = open_store(root / "variants/v")
    assert verify_store(store, root, deep=True) == []
    whole = content(store)
    for name in ("fan/section_00/logmel/c/0/0/0", "fan/section_00/stft/c/0/0/0/0", "fan/section_00/logmel/zarr.json"):
        (store.path / name).write_bytes(b"rot")
    repair_store(store.path, root)
    assert content(open_store(store.path)) == whole


def test_settings_and_channels_that_differ_are_other_stores(built: Path, tmp_path: Path) -> None:
    root = shutil.copytree(built, tmp_path / "root")
    dataset = str(built / "any.toml")
    stores = [
        build(root, dataset, "ratio", reference="log_ratio"),
        build(root, dataset, "swapped", reference="log_ratio", primary_channel=1, reference_channel=0),
        build(root, dataset, "each"),
    ]
    assert len({store.fingerprint for store in stores}) == 3
    first, swapped, each = (np.asarray(store.logmel("fan", "00")[:]) for store in stores)
    np.testing.assert_array_equal(first, -swapped)
    np.testing.assert_array_equal(first, each[:, 0] - each[:, 1])
    assert first.shape == (6, 24, 128) and each.shape == (6, 2, 24, 128)


def test_an_export_is_a_release_that_gives_the_same_features(built: Path, tmp_path: Path) -> None:
    store = open_store(built / "variants/v")
    export_store(store, tmp_path / "out", as_zip=True)
    manifest = load_dataset(str(tmp_path / "out/dataset.toml"))
    assert manifest.audio.channels == 2
    (tmp_path / "again/archives").mkdir(parents=True)
    shutil.copytree(tmp_path / "out", tmp_path / "again/archives" / manifest.records[0].id)
    fetch_dataset(manifest, tmp_path / "again", offline=True)
    again = build(tmp_path / "again", str(tmp_path / "out/dataset.toml"), **SUBTRACT, stft=True)
    path = "fan/section_00/logmel/c/0/0/0"
    assert again.attributes.objects[path] == store.attributes.objects[path]


def test_the_gallery_shows_both_channels(built: Path) -> None:
    pytest.importorskip("matplotlib", reason="stores are built without it, and the report draws with it")
    (section,) = make_gallery(open_store(built / "variants/v"), built, 10**7).sections
    assert [(one.kind, one.title) for one in section.examples[0].signals] == [
        ("recording", "recording"),
        ("reference", "reference channel"),
    ]
    near, far = (one.sound for one in section.examples[0].signals)
    assert near != far


def test_models_that_take_samples_refuse_it(built: Path) -> None:
    pytest.importorskip("torch", reason="stores are built without torch, and models are trained with it")
    store = open_store(built / "variants/v")
    message = r'takes one channel, .* has 2\. .*`channels = 0`.* without features.reference = "subtract"'
    with pytest.raises(UsageError, match=f"two_branch {message}"):
        benchmark_models(store, built, ["two_branch"], profile="smoke")
    with pytest.raises(UsageError, match='conformer is made for features.reference = "none", and fan/00 .*"subtract"'):
        benchmark_models(store, built, ["conformer"], profile="smoke")


# ---- Recordings without a reference ----------------------------------------------------------------------------------


def test_recordings_of_one_channel_are_refused_before_any_work(tmp_path: Path) -> None:
    files = members("fan", "00", [encode_wav(noise((N,), seed)) for seed in range(6)])
    mono = make_release(tmp_path, {"fan": files}, name="mono")
    with pytest.raises(
        UsageError, match='a recording of mono has 1 channel, and features.reference = "log_ratio" take'
    ):
        build(tmp_path, mono, reference="log_ratio")
    either = make_release(tmp_path, {"fan": files}, 'audio = { channels = "any" }', "either")
    with pytest.raises(DataError, match=r"^fan.zip: fan/train/section_00_.* has 1 channel, and .* channels 0 and 1"):
        build(tmp_path, either, reference="log_ratio")
    assert not (tmp_path / "variants").exists() or not list((tmp_path / "variants").rglob("latest"))


def test_a_recording_of_one_channel_among_others_is_named(tmp_path: Path) -> None:
    data = [encode_wav(noise((2, N), seed)) for seed in range(5)] + [encode_wav(noise((N,), 5))]
    files = members("fan", "00", data)
    dataset = make_release(tmp_path, {"fan": files}, TWO)
    with pytest.raises(DataError, match=f"^fan.zip: {list(files)[5]}: expected 16000 Hz, 2 channels, .* 1 channel"):
        build(tmp_path, dataset, reference="log_ratio")


def test_copied_channels_are_a_finding_and_no_reference(tmp_path: Path) -> None:
    copied = [encode_wav(np.stack([noise((N,), seed)] * 2)) for seed in range(6)]
    files = {"fan": members("fan", "00", copied)}
    files |= {"pump": members("pump", "00", [encode_wav(noise((2, N), seed)) for seed in range(6)])}
    dataset = make_release(tmp_path, files, TWO)
    findings = validate_dataset(load_dataset(dataset), tmp_path).findings
    (found,) = findings[findings["kind"] == "same_channels"].itertuples()
    assert found.severity == "warning"
    assert "fan/train/section_00_source_train" in found.message and "2 channels hold the same" in found.message
    assert build(tmp_path, dataset, "each").logmel("fan", "00").shape == (6, 2, 24, 128), "nothing depends on it"
    with pytest.raises(DataError, match=r"^fan.zip: fan/t.*wav: channels 0 and 1 hold the same samples; expected two"):
        build(tmp_path, dataset, **SUBTRACT)
    assert not (tmp_path / "variants/v/latest").exists()


# ---- From the command line -------------------------------------------------------------------------------------------


def test_a_variant_file_that_mixes_is_a_mistake_of_its_writer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = 'name = "v"\ndataset = "synthetic-1pct"\nchannels = "all"\n[features]\nreference = "subtract"\n'
    (tmp_path / "v.toml").write_text(text)
    assert main(["build", str(tmp_path / "v.toml"), "--root", str(tmp_path)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert 'v.toml: 1 mistake features: reference = "subtract": expected mixing = "none"' in said
    assert [path.name for path in tmp_path.iterdir()] == ["v.toml"]
