"""Noise through a whole build: recorded kind by kind, split, placed at random, limited, and found again where moved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from mimiidg_build.build.inputs import read_inputs
from mimiidg_build.build.variant import build_variant
from mimiidg_build.cli import main
from mimiidg_build.datasets.variant import parse_variant
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.schemas.stores import StoreAttributes
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.store.store import Store, open_store
from mimiidg_build.upkeep.repair import repair_store
from mimiidg_build.upkeep.verify import verify_store
from tests.conftest import DATASET


@pytest.fixture
def hall(tmp_path: Path) -> Path:
    """Four recordings of 25 s: two pieces each."""
    path = tmp_path / "hall"
    path.mkdir()
    for number in range(4):
        samples = np.random.default_rng(number).normal(0, 0.05, 400_000)
        sf.write(path / f"{number}.wav", samples, 16_000)
    return path


def variant(hall: Path, **content: Any) -> Variant:
    noise = {"A": str(hall), "B": str(hall)}
    return parse_variant(
        {"name": "test", "dataset": DATASET, "sections": ["gearbox/00"], "noise": noise, **content}, "test"
    )


def recordings_by_split(store: Store) -> dict[str, set[str]]:
    """The recordings that the clips of a split got, each with its kind."""
    plan = store.mix_plan.assign(split=store.clips["split"])
    names = plan["noise_1_kind"] + "/" + plan["noise_1_clip"].str.split("#").str[0]
    return {split: set(names[plan["split"] == split]) for split in ("train", "test")}


def test_a_store_says_what_noise_it_holds_and_finds_what_is_odd(root: Path, hall: Path) -> None:
    (hall / "notes.txt").write_text("microphone 3")
    built = build_variant(variant(hall), root)
    noise = built.store.attributes.noise
    assert noise is not None and list(noise) == ["A", "B"]
    assert (noise["A"].sources, noise["A"].files, noise["A"].pieces, noise["A"].seconds) == ([str(hall)], 4, 8, 100.0)
    of_noise = built.findings[built.findings["table"].str.startswith("noise")]
    assert of_noise["message"].tolist() == ["not used: 1 .txt."] * 2
    again = build_variant(variant(hall), root)
    assert again.was_finished and again.findings.equals(built.findings), "known without reading the noise anew"


def test_a_store_of_an_early_version_opens_without(root: Path, hall: Path) -> None:
    store = build_variant(variant(hall), root).store
    content = json.loads(store.attributes.model_dump_json())
    del content["noise"]
    assert StoreAttributes.model_validate(content).noise is None


def test_default_settings_are_no_settings(root: Path, hall: Path) -> None:
    plain = read_inputs(variant(hall), root).fingerprint
    limits = {"A": {"channel": 0, "split": False, "offset": "fixed", "min_level_db": -90.0, "max_gain_db": 90.0}}
    assert read_inputs(variant(hall, noise_settings=limits), root).fingerprint == plain
    others = [
        read_inputs(variant(hall, noise_settings={"A": settings}), root).fingerprint
        for settings in ({"channel": "mean"}, {"split": True}, {"offset": "random"})
    ]
    assert len({plain, *others}) == 4, "whatever decides bytes is in the fingerprint"


def test_a_split_kind_gives_no_recording_to_both_sides(root: Path, hall: Path) -> None:
    shared = recordings_by_split(build_variant(variant(hall, name="shared"), root).store)
    assert shared["train"] & shared["test"], "by default they share them, or this test shows nothing"
    settings = {"A": {"split": True}, "B": {"split": True}}
    split = recordings_by_split(build_variant(variant(hall, name="split", noise_settings=settings), root).store)
    assert split["train"] and split["test"] and not split["train"] & split["test"]


def test_one_recording_cannot_be_split(root: Path, hall: Path) -> None:
    noise = {"A": str(hall / "0.wav"), "B": str(hall)}
    with pytest.raises(DataError, match=r"noise kind A: split = true .* but 0.wav is the only one. Give more"):
        build_variant(variant(hall, noise=noise, noise_settings={"A": {"split": True}}), root)


def test_random_pieces_keep_the_draws_and_the_snr(root: Path, hall: Path) -> None:
    fixed = build_variant(variant(hall, name="fixed"), root).store
    settings = {kind: {"offset": "random"} for kind in "AB"}
    moved = build_variant(variant(hall, name="random", noise_settings=settings), root).store
    assert (fixed.mix_plan["noise_1_clip"] == moved.mix_plan["noise_1_clip"]).all()
    assert (fixed.audio("gearbox", "00")[:] != moved.audio("gearbox", "00")[:]).any(axis=1).all(), "other samples"
    error = moved.clips["measured_added_noise_snr_db"] - moved.mix_plan["added_noise_snr_db"]
    assert error.abs().max() < 0.05
    assert verify_store(moved, root, deep=True) == []


def test_noise_that_needs_too_much_gain_is_refused(root: Path, hall: Path) -> None:
    for path in hall.iterdir():  # 60 dB below
        samples, rate = sf.read(path)
        sf.write(path, samples / 1000, rate, subtype="FLOAT")
    lowered = {kind: {"min_level_db": -100.0} for kind in "AB"}
    with pytest.raises(DataError, match=r"gearbox/00, section_00_.*clip \d.wav#\d of kind [AB] would need a gain of 6"):
        build_variant(variant(hall, noise_settings=lowered), root)
    with pytest.raises(DataError, match=r"noise kind [AB], \d.wav#\d: its level is -86.. dB re full scale"):
        build_variant(variant(hall), root)
    raised = {kind: settings | {"max_gain_db": 80.0} for kind, settings in lowered.items()}
    assert build_variant(variant(hall, noise_settings=raised), root).store.sections


def test_moved_noise_is_verified_and_repaired_where_it_is_now(
    root: Path, hall: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = build_variant(variant(hall), root).store
    moved = hall.rename(tmp_path / "elsewhere")
    given = {"A": str(moved), "B": str(moved)}
    verify = ["verify", str(store.path), "--quiet", "--root", str(root)]
    options = [f"--noise={kind}={path}" for kind, path in given.items()]

    assert main([*verify, "--deep"]) == 1
    assert "noise kind A: there is no folder" in (error := capsys.readouterr().err) and "--noise A=PATH" in error
    assert main([*verify, "--deep", *options]) == 0
    assert "all as recorded" in capsys.readouterr().out
    for wrong, message in (
        (options, "--deep or --repair"),
        (["--deep", f"--noise=C={moved}"], "kinds wanted are A, B"),
    ):
        assert main([*verify, *wrong]) == 2
        assert message in capsys.readouterr().err

    shard = store.path / "gearbox/section_00/audio/c/0/0"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    assert repair_store(store.path, root, noise=given) == ["gearbox/section_00/audio/c/0/0"]
    assert shard.read_bytes() == whole

    shutil.copy(moved / "1.wav", moved / "0.wav")
    (line,) = verify_store(store, root, deep=True, noise=given)
    assert "noise kind A: 1 of 4 recordings differ, first 0.wav: has other content" in line


def test_a_partly_given_store_of_an_early_version_verifies(root: Path, hall: Path) -> None:
    """It took kind B from its dataset without saying so; today a build must say it."""
    stated = variant(hall, noise={"A": str(hall)}, noise_from=DATASET)
    store = build_variant(stated, root).store
    early = variant(hall, noise={"A": str(hall)})
    with pytest.raises(UsageError, match="no noise is given for B"):
        build_variant(early, root)
    path = store.path
    object.__setattr__(store, "attributes", store.attributes.model_copy(update={"variant": early}))
    assert verify_store(store, root, deep=True) == []
    assert open_store(path).attributes.variant.noise_from == DATASET
