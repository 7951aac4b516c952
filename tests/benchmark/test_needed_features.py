"""Models that are made for certain features, or need several clips, refuse other stores before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimiidg_build.benchmark.planning import plan_runs
from mimiidg_build.benchmark.suitability import check_suited
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.models import MODELS
from mimiidg_build.store.store import Store
from tests.plain_store import TRAIN, make_plain_store
from tests.small_store import make_store


def store_of(root: Path, features: dict[str, object], **audio: object) -> Store:
    """A small store that says of itself to have other features."""
    store = make_store(root, variant={"name": "small", "features": features})
    sections = {
        name: section.model_copy(update={"audio": section.audio.model_copy(update=audio)})
        for name, section in store.sections.items()
    }
    return Store(store.path, store.attributes.model_copy(update={"sections": sections}))


@pytest.mark.parametrize(
    ("model", "features", "audio", "message"),
    [
        (
            "autoencoder",
            {"n_mels": 64},
            {},
            "autoencoder is made for features.n_mels = 128, and fan/00 of .*features.n_mels = 64",
        ),
        ("mobilenetv2", {"n_mels": 64}, {}, "mobilenetv2 is made for features.n_mels = 128"),
        ("bce_ddcsad", {"power": 1}, {}, "bce_ddcsad is made for features.power = 2, and .* features.power = 1"),
        ("dsad", {}, {"sample_rate": 48_000}, "dsad is made for sample_rate = 16000, and .* has sample_rate = 48000"),
        ("conformer", {"mel_scale": "htk"}, {}, 'is made for features.mel_scale = "slaney", and .*mel_scale = "htk"'),
        ("conformer", {"f_max_hz": 7000.0}, {}, "features.f_max_hz not set, and .* features.f_max_hz = 7000.0"),
        ("attention", {}, {"sample_rate": 44_100}, "attention is made for sample_rate = 16000"),
        ("two_branch", {}, {"sample_rate": 48_000}, "two_branch is made for sample_rate = 16000"),
        ("nearest_neighbour", {}, {"channels": 8}, "nearest_neighbour takes one channel, and fan/00 of .* has 8"),
    ],
)
def test_other_features_are_refused(
    tmp_path: Path, model: str, features: dict[str, object], audio: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check_suited(store_of(tmp_path, features, **audio), [model], "smoke")


@pytest.mark.parametrize("model", MODELS)
def test_every_model_takes_the_default_features(tmp_path: Path, model: str) -> None:
    """Also as 16-bit numbers, with the STFT beside, or with a default said in words."""
    store = store_of(tmp_path, {"dtype": "float16", "stft": True, "f_max_hz": 8000.0})
    assert len(plan_runs(store, tmp_path, [model], "smoke", 1)) == 1


@pytest.mark.parametrize("model", ["two_branch", "two_branch_multiresolution", "conformer"])
def test_a_single_clip_is_refused_where_the_score_itself_compares_clips(tmp_path: Path, model: str) -> None:
    sections = {"fan/00": 0.5, "fan/01": 0.5, "pump/00": 0.5, "pump/01": (0.5, {TRAIN: 1})}
    store = make_plain_store(tmp_path, sections, variant={"name": "plain"})
    with pytest.raises(DataError, match=f"{model} compares .* of a section .*, and pump/01 of .* has one. Choose"):
        check_suited(store, [model], "smoke")


def test_a_single_clip_suffices_where_it_is_compared_with_other_sections(tmp_path: Path) -> None:
    changes = {"bank": "machine_type"}
    sections = {"fan/00": 0.5, "pump/00": 0.5, "pump/01": (0.5, {TRAIN: 1})}
    store = make_plain_store(tmp_path / "suits", sections, variant={"name": "plain"})
    check_suited(store, ["two_branch"], "smoke", changes)
    sections = {"fan/00": 0.5, "pump/01": (0.5, {TRAIN: 1})}
    store = make_plain_store(tmp_path / "does_not", sections, variant={"name": "plain"})
    with pytest.raises(DataError, match="of a machine type .*, and pump of .* has one. Choose"):
        check_suited(store, ["two_branch"], "smoke", changes)


def test_some_take_others(tmp_path: Path) -> None:
    for model, features in (
        ("nearest_neighbour", {"n_mels": 64, "n_fft": 2048, "power": 1}),
        ("autoencoder", {"n_fft": 2048}),
        ("attention", {"n_mels": 64}),
    ):
        assert plan_runs(store_of(tmp_path / model, features), tmp_path, [model], "smoke", 1)
