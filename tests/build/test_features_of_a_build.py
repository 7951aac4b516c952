"""Stores of other features: their arrays, what these say of themselves, and statistics of the training clips."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from mimiidg_build.build import inputs, metadata, planning, render
from mimiidg_build.build.inputs import read_inputs
from mimiidg_build.build.metadata import array_metadata
from mimiidg_build.build.statistics import sums_of_shard
from mimiidg_build.build.variant import build_variant
from mimiidg_build.cli.printing import store_content
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.features import clip_features
from mimiidg_build.schemas.stores import BandSums, SectionAudio
from mimiidg_build.schemas.variants import FeatureSettings, Variant
from mimiidg_build.store.metadata import METADATA, METADATA_COPY, sealed
from mimiidg_build.store.store import Store, open_store
from mimiidg_build.upkeep.repair import repair_store
from mimiidg_build.upkeep.verify import verify_store
from tests.conftest import DATASET, content, link_archives, once

SETTINGS = {"n_fft": 2048, "n_mels": 64, "mel_scale": "htk", "f_max_hz": 7000.0, "stft": True, "dtype": "float16"}


def variant(name: str = "features", **settings: object) -> Variant:
    sections = ["valve/00"]
    return derive_variant(load_variant("demo"), dataset=DATASET, sections=sections, name=name, features=settings)


@pytest.fixture(scope="module")
def built(synthetic_archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One section with all features. Not to be changed."""

    def make(root: Path) -> None:
        link_archives(synthetic_archives, root)
        build_variant(variant(**SETTINGS), root)

    return open_store(once(tmp_path_factory, "features", make) / "variants/features")


def files(path: Path) -> dict[str, bytes]:
    return {f.relative_to(path).as_posix(): f.read_bytes() for f in sorted(path.rglob("*")) if f.is_file()}


def training(store: Store) -> np.ndarray:
    """[shape=(n_clips, n_frames, n_mels)], double precision."""
    clips = store.clips
    return np.asarray(store.logmel("valve", "00")[:])[clips.loc[clips["split"] == "train", "row"]].astype(np.float64)


def test_the_arrays_are_those_that_the_variant_asks_for(built: Store) -> None:
    settings = FeatureSettings(**SETTINGS)
    assert sorted(built.group["valve/section_00"]) == ["audio", "logmel", "stft"]
    audio, logmel, stft = built.audio("valve", "00"), built.logmel("valve", "00"), built.stft("valve", "00")
    assert (logmel.shape, stft.shape) == ((12, 313, 64), (12, 313, 1025))
    assert logmel.dtype == stft.dtype == np.float16
    for row in (0, 11):
        expected = clip_features(np.asarray(audio[row]), settings)
        np.testing.assert_array_equal(logmel[row], expected["logmel"].astype(np.float16))
        np.testing.assert_array_equal(stft[row], expected["stft"].astype(np.float16))


def test_arrays_say_their_settings(built: Store) -> None:
    transform = {"sample_rate_hz": 16_000, "n_fft": 2048, "hop_length": 512, "window": "hann"}
    logmel, stft = dict(built.logmel("valve", "00").attrs), dict(built.stft("valve", "00").attrs)
    assert stft == {
        "long_name": "magnitude of the STFT, at full scale 1",
        "units": "1",
        **transform,
        "version": "stft-1",
    }
    assert logmel.pop("long_name").startswith("log-mel power spectrogram, 10 log10")
    bands = {"n_mels": 64, "mel_scale": "htk", "f_min_hz": 0, "f_max_hz": 7000}
    assert logmel == {"units": "dB", **transform, **bands, "version": "logmel-general-1"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"power": 1}, {"long_name": "log-mel magnitude spectrogram, 20 log10, not normalised; 0 dB: magnitude 1"}),
        ({"window_length": 800, "window": "hamming"}, {"window_length": 800, "window": "hamming"}),
        ({"mel_norm": "none"}, {"mel_norm": "none"}),
        ({"n_fft": 4096}, {"sample_rate_hz": 44_100, "f_max_hz": 22_050}),
    ],
)
def test_what_arrays_of_other_settings_say(settings: dict[str, object], expected: dict[str, object]) -> None:
    shapes = {"fan/00": (3, SectionAudio(n_samples=44_100, sample_rate=44_100))}
    found = json.loads(array_metadata(shapes, FeatureSettings(**settings))["fan/section_00/logmel/zarr.json"])
    for name, value in expected.items():
        assert str(found["attributes"][name]).startswith(str(value)), name


@pytest.mark.parametrize("described", [True, False])
def test_metadata_of_sections_that_are_alike_is_what_zarr_writes_of_each(described: bool) -> None:
    """zarr is asked for one section of each form."""
    usual, two_channels = SectionAudio(), SectionAudio(channels=2)
    shapes = {"valve/01": (9, usual), "fan/02": (9, usual), "fan/00": (9, two_channels), "fan/01": (8, usual)}
    some = FeatureSettings(stft=True)
    made = array_metadata(shapes, some, described=described)
    by_zarr = dict(sorted(metadata._as_zarr_writes(shapes, some, described).items()))
    assert list(made) == list(by_zarr)
    root, root_by_zarr = (json.loads(of.pop(METADATA)) for of in (made, by_zarr))
    assert made == by_zarr
    assert json.dumps(root) == json.dumps(root_by_zarr), "in the same order, too"


def test_channels_have_an_axis() -> None:
    shapes = {"fan/00": (3, SectionAudio(n_samples=176_000, channels=8))}
    found_at = array_metadata(shapes, FeatureSettings(stft=True))
    forms = {"audio": (8, 176_000), "logmel": (8, 344, 128), "stft": (8, 344, 513)}
    for name, shape in forms.items():
        found = json.loads(found_at[f"fan/section_00/{name}/zarr.json"])
        assert found["shape"] == [3, *shape]
        assert found["dimension_names"][:2] == ["clip", "channel"]


def test_statistics_are_of_the_stored_training_clips(built: Store) -> None:
    mean, std = built.logmel_statistics("valve", "00")
    values = training(built)
    assert mean.shape == std.shape == (64,)
    np.testing.assert_allclose(mean, values.mean(axis=(0, 1)), rtol=0, atol=2e-6)
    np.testing.assert_allclose(std, values.std(axis=(0, 1)), rtol=0, atol=2e-6)
    assert built.sections["valve/00"].logmel.n_clips == len(values)
    normalised = (values - mean) / std
    np.testing.assert_allclose(normalised.std(axis=(0, 1)), 1, atol=1e-5)
    with pytest.raises(UsageError, match=r"has no section valve/07"):
        built.logmel_statistics("valve", "07")


def test_the_json_of_a_store_has_no_hundreds_of_numbers(built: Store) -> None:
    (section,) = store_content(built)["sections"].values()
    assert section["n_clips"] == 12
    assert "logmel" not in section


def test_stores_without_statistics_say_so(built: Store) -> None:
    summary = built.sections["valve/00"].model_copy(update={"logmel": None})
    for counts, error, match in (
        (summary.counts, DataError, "built by an early version, without statistics"),
        ({"source_test_normal": 12}, UsageError, "valve/00 of .* has no training clips"),
    ):
        sections = {"valve/00": summary.model_copy(update={"counts": counts})}
        old = Store(built.path, built.attributes.model_copy(update={"sections": sections}))
        with pytest.raises(error, match=match):
            old.logmel_statistics("valve", "00")


def test_neither_workers_nor_shards_decide_the_statistics(
    built: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (inputs, metadata, planning, render):
        monkeypatch.setattr(module, "SHARD_CLIPS", 3)  # four shards, of which three hold training clips
    stores = []
    for number in (1, 2):
        stores.append(build_variant(variant(**SETTINGS), root, workers=number, replace=True).store)
        shutil.move(stores[-1].path, root / f"built by {number}")
    assert files(root / "built by 1") == files(root / "built by 2")
    assert len(list((root / "built by 1/valve/section_00/logmel/c").iterdir())) == 4
    ours, theirs = (store.sections["valve/00"].logmel for store in (stores[0], built))
    np.testing.assert_allclose(ours.mean_db, theirs.mean_db, rtol=0, atol=2e-6)
    np.testing.assert_allclose(ours.std_db, theirs.std_db, rtol=0, atol=2e-6)


def test_an_earlier_stores_shards_give_the_same_statistics(built: Store, root: Path) -> None:
    first = build_variant(variant(**SETTINGS), root).store
    second = build_variant(variant(**SETTINGS).model_copy(update={"sections": ["valve"]}), root, replace=True).store
    shards = [(store.path / "valve/section_00/stft/c/0/0/0").stat() for store in (first, second)]
    assert os.path.samestat(*shards), "linked, not rendered"
    assert second.sections["valve/00"] == first.sections["valve/00"] == built.sections["valve/00"]


def test_sums_of_a_stored_shard_are_those_of_rendering(built: Store) -> None:
    clips = built.clips
    is_training = (clips["split"] == "train").tolist()
    sums = sums_of_shard(built.path / "valve/section_00/logmel/c/0/0/0", (313, 64), "float16", is_training)
    values = training(built)
    assert (sums.n_clips, sums.n_frames) == (len(values), values.shape[0] * values.shape[1])
    np.testing.assert_allclose(sums.totals, values.sum(axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(sums.squares, (values**2).sum(axis=(0, 1)), rtol=1e-12)
    assert sums_of_shard(built.path / "valve/section_00/logmel/c/0/0/0", (313, 64), "float16", []) == BandSums(
        n_clips=0, n_frames=0, totals=(), squares=()
    )


def test_deep_verification_finds_wrong_statistics_and_repair_makes_features_anew(root: Path) -> None:
    store = build_variant(variant(**SETTINGS), root).store
    whole = content(store)
    shard = store.path / "valve/section_00/stft/c/0/0/0"
    shard.write_bytes(shard.read_bytes()[:-1])
    (store.path / "valve/section_00/stft/zarr.json").unlink()
    repair_store(store.path, root)
    assert content(open_store(store.path)) == whole
    assert verify_store(store, root, deep=True) == []
    section = store.sections["valve/00"]
    wrong = section.logmel.model_copy(update={"mean_db": [-1.0, *section.logmel.mean_db[1:]]})
    sections = {"valve/00": section.model_copy(update={"logmel": wrong})}
    forged = sealed(
        json.loads((store.path / METADATA).read_text()), store.attributes.model_copy(update={"sections": sections})
    )
    for name in (METADATA, METADATA_COPY):
        (store.path / name).write_bytes(forged)
    assert verify_store(open_store(store.path), root, deep=True) == [
        "zarr.json: its summary of valve/00 does not come out"
    ]


def test_the_settings_decide_the_fingerprint(root: Path) -> None:
    fingerprints = [
        read_inputs(variant(**settings), root).fingerprint
        for settings in ({}, {"dtype": "float32"}, {"n_fft": 1024, "window_length": 1024}, {"stft": True}, {"power": 1})
    ]
    assert len(set(fingerprints[:3])) == 1, "defaults, said or not"
    assert len(set(fingerprints)) == 3


def test_features_for_torch(built: Store, root: Path) -> None:
    pytest.importorskip("torch", reason="stores are built without torch, and read by this class with it")
    from mimiidg_build.training.clip_dataset import ClipDataset

    plain = build_variant(variant("plain"), root).store
    with pytest.raises(UsageError, match="has no array stft, but audio, logmel"):
        ClipDataset(plain, split="train", features="stft")
    clips = ClipDataset(built, split="train", features="stft")
    assert tuple(clips[0]["features"].shape) == (313, 1025)
    assert tuple(ClipDataset(built, split="train")[0]["features"].shape) == (313, 64)


def test_what_a_store_does_not_hold_is_named(root: Path) -> None:
    store = build_variant(variant("plain"), root).store
    message = r"has no array stft, but audio, logmel. Build a variant with `stft = true` under \[features\]"
    with pytest.raises(UsageError, match=message):
        store.stft("valve", "00")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"f_max_hz": 8001.0}, "variant features: features.f_max_hz = 8001: expected at most 8000 Hz"),
        ({"n_mels": 512}, "variant features: features.n_mels = 512: 47 of the mel bands hold no bin of the FFT"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_made(
    tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        build_variant(variant(**settings), tmp_path)
    assert list(tmp_path.iterdir()) == []
