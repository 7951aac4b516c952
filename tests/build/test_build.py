"""Building a variant on a small synthetic release: what is in a store, and that nothing changes its bytes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray
import zarr

from mimiidg_build.audio.archive import open_archive
from mimiidg_build.audio.wav import decode_clip
from mimiidg_build.build import inputs, metadata, planning, render, sections, variant
from mimiidg_build.build.inputs import read_inputs, read_plan
from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.variant import derive_variant, load_variant, parse_variant
from mimiidg_build.errors import DataError, FetchError, UsageError
from mimiidg_build.features import logmel
from mimiidg_build.parallel.runner import runner
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.store.damage import verify_objects
from mimiidg_build.store.store import Store, open_store
from mimiidg_build.upkeep.verify import render_again, verify_store
from tests.command_server import run
from tests.conftest import DATASET, link_archives

DEMO = derive_variant(load_variant("demo"), dataset=DATASET).model_copy(update={"name": "demo"})


def files(path: Path) -> dict[str, bytes]:
    return {f.relative_to(path).as_posix(): f.read_bytes() for f in sorted(path.rglob("*")) if f.is_file()}


@pytest.fixture(scope="session")
def built(synthetic_archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The demo variant, all 15 sections. Not to be changed."""
    root = tmp_path_factory.mktemp("built")
    link_archives(synthetic_archives, root)
    return build_variant(DEMO, root).store


def small(root: Path, *sections: str, **changes: object) -> Variant:
    return derive_variant(DEMO, sections=list(sections), **changes).model_copy(update={"name": "small"})


def two_sections(root: Path) -> Variant:
    """Of two machine types."""
    return small(root, "fan/00", "valve/00").model_copy(update={"name": "two"})


@pytest.fixture(scope="session")
def undisturbed(built: Store) -> dict[str, bytes]:
    """Files of an undisturbed build of ``two_sections``."""
    root = built.path.parents[2]
    return files(build_variant(two_sections(root), root).store.path)


def test_a_clip_off_its_snr_is_named_and_nothing_is_published(root: Path) -> None:
    """Noise 60 dB below a quiet machine is of the size of 16-bit rounding."""
    with pytest.raises(DataError, match=r"valve/00: \d+ clips are off their planned SNR by more than 0.05 dB, worst "):
        build_variant(small(root, "valve/00", snr_offset_db=60.0), root)
    assert not list((root / "variants/small").glob("*.zarr"))


def test_all_sections_at_their_snr(built: Store) -> None:
    assert len(built.sections) == 15
    clips, plan = built.clips, built.mix_plan
    assert len(clips) == len(plan) == 180
    assert (clips["clip"] == plan["clip"]).all(), "row for row"
    error = (clips["measured_added_noise_snr_db"] - plan["added_noise_snr_db"]).abs()
    assert error.max() < 0.05
    of_fan_02 = plan[(plan["machine_type"] == "fan") & (plan["section"] == "02")].merge(clips, on="clip")
    levels = of_fan_02.groupby("attributes")["added_noise_snr_db"].unique().map(list).to_dict()
    assert levels == {f'{{"n-lv":"L{n}"}}': [snr] for n, snr in ((1, 3.0), (2, -9.0), (3, -3.0), (4, -15.0))}
    fan_00 = plan[(plan["machine_type"] == "fan") & (plan["section"] == "00")]
    assert fan_00["noise_1_kind"].isin(["A", "B"]).all() and fan_00["noise_2_kind"].isin(["W", "X", "Y", "Z"]).all()


def test_snr_is_in_the_stored_samples(built: Store) -> None:
    """Measured here from the archives and the arrays, with none of the renderer's code."""
    root = built.path.parents[2]
    for machine_type, section in (("fan", "00"), ("valve", "02"), ("bearing", "01")):
        plan = built.mix_plan[(built.mix_plan["machine_type"] == machine_type) & (built.mix_plan["section"] == section)]
        audio = np.asarray(built.audio(machine_type, section)[:]).astype(np.float64)
        members = zip(plan["archive"], plan["member"], strict=True)
        clean = np.stack(
            [decode_clip(open_archive(root / "archives" / a).read(m), m).astype(np.float64) for a, m in members]
        )
        a = (clean**2).mean()
        attenuation = plan["attenuation"].iloc[0]
        added = ((audio / attenuation - clean) ** 2).mean(axis=1)
        assert np.abs(10 * np.log10(a / added) - plan["added_noise_snr_db"]).max() < 0.05


def test_features_are_of_the_stored_samples(built: Store) -> None:
    audio, features = built.audio("slider", "01"), built.logmel("slider", "01")
    assert features.shape == (12, 313, 128)
    for row in (0, 5, 11):
        np.testing.assert_array_equal(features[row], logmel(np.asarray(audio[row])))


def test_rows_are_sorted_for_training(built: Store) -> None:
    order = ["train", "test"]
    clips = built.clips
    for _, rows in clips.groupby(["machine_type", "section"]):
        assert rows["row"].tolist() == list(range(len(rows)))
        assert rows["split"].map(order.index).is_monotonic_increasing
        assert rows[rows["split"] == "train"]["domain"].is_monotonic_increasing


def test_plain_zarr_and_a_table_reader_are_enough(built: Store) -> None:
    group = zarr.open_group(built.path, mode="r")
    assert sorted(group) == ["bearing", "fan", "gearbox", "slider", "valve"]
    assert sorted(group["fan"]) == ["section_00", "section_01", "section_02"]
    assert sorted(group["fan/section_00"]) == ["audio", "logmel"]
    assert group["fan/section_00/audio"].dtype == np.int16
    assert sorted(zarr.open_group(built.path / "fan" / "section_00", mode="r")) == ["audio", "logmel"]
    table = pd.read_parquet(built.path / "clips.parquet")
    assert len(table.query("machine_type == 'fan' and section == '00'")) == group["fan/section_00/audio"].shape[0]
    assert group.attrs["fingerprint"] == built.fingerprint


def test_second_build_is_a_no_op(built: Store) -> None:
    before = {f: f.stat().st_mtime_ns for f in built.path.rglob("*")}
    again = build_variant(DEMO, built.path.parents[2])
    assert again.was_finished and again.store.path == built.path
    assert {f: f.stat().st_mtime_ns for f in built.path.rglob("*")} == before


WORKERS = [("threads", 1), ("threads", 2), ("processes", 2)]


@pytest.mark.parametrize(("scheduler", "workers"), WORKERS)
def test_bytes_do_not_depend_on_workers(
    root: Path, undisturbed: dict[str, bytes], scheduler: str, workers: int
) -> None:
    store = build_variant(two_sections(root), root, scheduler=scheduler, workers=workers).store
    assert files(store.path) == undisturbed


@pytest.mark.slow  # fifteen sections three times
@pytest.mark.parametrize(("scheduler", "workers"), WORKERS)
def test_bytes_of_all_sections_do_not_depend_on_workers(built: Store, root: Path, scheduler: str, workers: int) -> None:
    store = build_variant(DEMO, root, scheduler=scheduler, workers=workers).store
    assert files(store.path) == files(built.path)


def test_very_many_clips_are_worked_on_in_parts(
    root: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks, levels and members of a million clips would take gigabytes; and nothing else is another."""
    monkeypatch.setattr(planning, "AT_ONCE", 10)  # each section has 12
    measured, rendered, verified = list[int](), list[list[str]](), list[set[str]]()
    load_levels, render_sections = planning.levels.load_levels, variant.render_sections

    def load(archives: Sequence[Any], *arguments: Any) -> Any:
        measured.append(len(archives))
        return load_levels(archives, *arguments)

    def render_some(inputs: Any, decision: Any, batch: Sequence[Any], *arguments: Any) -> Any:
        rendered.append([section.section.id for section in batch])
        return render_sections(inputs, decision, batch, *arguments)

    def verify(function: Any, tasks: Sequence[tuple[Any]], on_result: Any) -> Any:
        verified.append({task.section for (task,) in tasks})
        return runner("threads", 1)(function, tasks, on_result)

    monkeypatch.setattr(planning.levels, "load_levels", load)
    monkeypatch.setattr(variant, "render_sections", render_some)
    built = build_variant(two_sections(root), root)
    assert (measured, rendered) == ([1, 1], [["fan/00"], ["valve/00"]])
    assert files(built.store.path) == undisturbed
    assert render_again(built.store, root, verify) == []
    assert verified == [{"fan/section_00"}, {"valve/section_00"}]


def test_deep_verify_renders_the_same(built: Store) -> None:
    assert verify_objects(built) == []
    assert render_again(built, built.path.parents[2], runner()) == []


def test_deep_verify_names_what_does_not_render(root: Path) -> None:
    store = build_variant(small(root, "fan/00"), root).store
    shard = store.path / "fan/section_00/audio/c/0/0"
    data = bytearray(shard.read_bytes())
    data[1000] ^= 1
    shard.write_bytes(data)
    assert verify_objects(store) == [
        "fan/section_00/audio/c/0/0: content differs from its recorded digest: bit rot, or it was changed"
    ]
    shard.write_bytes(data[:-1])
    assert "bytes, expected" in verify_objects(store)[0]
    shard.unlink()
    assert verify_objects(store) == ["fan/section_00/audio/c/0/0: missing"]
    (store.path / "fan/other").write_text("x")
    assert "fan/other: not part of the store" in verify_objects(store)


def test_snr_sweep_shares_its_noise(root: Path, built: Store) -> None:
    louder = build_variant(small(root, "gearbox/01", snr_offset_db=-6.0), root).store.mix_plan
    plan = built.mix_plan[(built.mix_plan["machine_type"] == "gearbox") & (built.mix_plan["section"] == "01")]
    plan = plan.reset_index(drop=True)
    assert (louder["noise_1_clip"] == plan["noise_1_clip"]).all()
    np.testing.assert_allclose(louder["noise_1_gain"], plan["noise_1_gain"] * 10 ** (6 / 20))
    other = build_variant(small(root, "gearbox/01", seed=1), root, replace=True).store.mix_plan
    assert (other["noise_1_clip"] != plan["noise_1_clip"]).any()


def test_released_is_the_recordings_themselves(root: Path) -> None:
    variant = derive_variant(load_variant("released"), dataset=DATASET, sections=["valve/00"])
    store = build_variant(variant, root).store
    audio = store.audio("valve", "00")
    for row, clip in store.clips.iterrows():
        data = open_archive(root / "archives" / clip["archive"]).read(clip["member"])
        np.testing.assert_array_equal(audio[row], decode_clip(data, ""))
    assert store.mix_plan["added_noise_snr_db"].isna().all()


def test_arrays_say_what_they_hold(built: Store) -> None:
    """For whoever reads them with zarr or xarray alone; no name that xarray takes for an instruction."""
    audio, logmel = built.audio("fan", "00").attrs, built.logmel("fan", "00").attrs
    assert (audio["units"], audio["full_scale"], audio["sample_rate_hz"]) == ("1", 32768, 16_000)
    settings = {"units": "dB", "sample_rate_hz": 16_000, "n_fft": 1024, "hop_length": 512, "n_mels": 128}
    assert {name: logmel[name] for name in settings} == settings
    decoded = xarray.open_zarr(built.path, group="fan/section_00", consolidated=False)
    assert decoded.audio.dtype == np.int16 and decoded.audio.attrs["full_scale"] == 32768


def test_sections_are_reused_from_an_earlier_store(root: Path) -> None:
    first = build_variant(small(root, "fan/00"), root).store
    second = build_variant(small(root, "fan/00", "valve/01"), root, replace=True).store
    path = "fan/section_00/audio/c/0/0"
    assert os.path.samestat((first.path / path).stat(), (second.path / path).stat()), "linked, not rendered"
    alone = build_variant(small(root, "fan/00", "valve/01").model_copy(update={"name": "small"}), root)
    assert alone.was_finished
    assert verify_objects(second) == []
    assert open_store(second.path.parent).fingerprint == second.fingerprint, "latest moved"
    fresh = build_variant(parse_variant(DEMO.model_dump() | {"name": "fresh"}), root).store
    for table in ("clips", "mix_plan"):
        ours, theirs = getattr(second, table), getattr(fresh, table)
        chosen = theirs[theirs["clip"].isin(ours["clip"]) & theirs["machine_type"].isin(ours["machine_type"])]
        merged = chosen[(chosen["machine_type"] + chosen["section"]).isin(["fan00", "valve01"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(ours, merged)


def test_damaged_earlier_store_is_not_reused(root: Path) -> None:
    first = build_variant(small(root, "fan/00"), root).store
    shard = first.path / "fan/section_00/audio/c/0/0"
    good = shard.read_bytes()
    shard.write_bytes(good[:100] + b"\x00\x01" + good[102:])
    second = build_variant(small(root, "fan/00", "valve/01"), root, replace=True).store
    assert (second.path / "fan/section_00/audio/c/0/0").read_bytes() == good


def test_a_plan_as_csv_is_the_plan_to_the_last_bit(built: Store, tmp_path: Path) -> None:
    plan = pd.concat([built.mix_plan] * 20, ignore_index=True)
    plan["noise_1_gain"] = np.random.default_rng(0).random(len(plan))  # pandas 2 reads some of these a bit off
    plan["clip"] += np.arange(len(plan)).astype(str)
    plan.to_csv(tmp_path / "plan.csv", index=False)
    plan.to_parquet(tmp_path / "plan.parquet")
    pd.testing.assert_frame_equal(
        read_plan(tmp_path / "plan.csv"), read_plan(tmp_path / "plan.parquet"), check_exact=True
    )


def test_plan_can_be_given(root: Path, built: Store, tmp_path: Path) -> None:
    plan = built.mix_plan[built.mix_plan["machine_type"] == "valve"].reset_index(drop=True)
    plan["noise_1_gain"] = 0.0
    plan["added_noise_snr_db"] = np.nan
    plan.to_csv(tmp_path / "plan.csv", index=False)
    store = build_variant(small(root, "valve/00"), root, plan=tmp_path / "plan.csv").store
    data = open_archive(root / "archives" / store.clips["archive"][0]).read(store.clips["member"][0])
    np.testing.assert_array_equal(store.audio("valve", "00")[0], decode_clip(data, ""))
    plan["noise_1_clip"] = "nothing.wav#0"
    plan.to_parquet(tmp_path / "plan.parquet")
    with pytest.raises(
        DataError, match=r"names noise clip nothing.wav#0 of kind . in valve/00, which the given noise does not have"
    ):
        build_variant(small(root, "valve/00"), root, plan=tmp_path / "plan.parquet")
    with pytest.raises(DataError, match="differ in .* clips of fan/00"):
        build_variant(small(root, "fan/00"), root, plan=tmp_path / "plan.parquet", replace=True)


KILLED = """
import json, os, sys
from pathlib import Path
from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.variant import parse_variant
real, left = os.replace, int(sys.argv[4])
def die_before(source, target):
    global left
    left -= str(target).endswith(sys.argv[3])
    if not left:
        os._exit(9)
    real(source, target)
os.replace = die_before
build_variant(parse_variant(json.loads(sys.argv[1])), Path(sys.argv[2]), workers=1)
"""


KILLED_BEFORE = {  # the file, which time it appears, shards that are finished then, what is there then
    "first shard": ("/audio/c/0/0", 1, 0, {}),
    "its journal entry": ("-section_00-0000.json", 1, 0, {"*/*/logmel/c/0/0/0": 1, "*/*/audio/c/0/0": 1}),
    "second shard": ("/audio/c/0/0", 2, 1, {"*/*/logmel/c/0/0/0": 1, "*/*/audio/c/0/0": 1}),
    "tables": ("clips.parquet", 1, 2, {"*/*/logmel/c/0/0/0": 2, "*/*/audio/c/0/0": 2}),
    "array": ("fan/section_00/audio/zarr.json", 1, 2, {"*.parquet": 2}),
    "group": ("valve/zarr.json", 1, 2, {"*/section_00/zarr.json": 2, "valve/section_00/logmel/zarr.json": 1}),
    "copy of the root": ("zarr.json.copy", 1, 2, {"valve/zarr.json": 1}),
    "root": (".partial/zarr.json", 1, 2, {"zarr.json.copy": 1}),
}
QUICK = ("second shard", "root")  # every file of a smaller build is tried in tests/faults/test_crash.py


@pytest.mark.parametrize(
    ("name", "time", "n_finished", "before"),
    [pytest.param(*KILLED_BEFORE[k], id=k, marks=[pytest.mark.slow] * (k not in QUICK)) for k in KILLED_BEFORE],
)
def test_killed_build_goes_on_where_it_stopped(
    root: Path, undisturbed: dict[str, bytes], name: str, time: int, n_finished: int, before: dict[str, int]
) -> None:
    """Killed when the named file is about to appear, for the first or second time; ``before``: what is there then."""
    variant = two_sections(root)
    (script := root.parent / "killed.py").write_text(KILLED)
    done = run([sys.executable, str(script), variant.model_dump_json(), str(root), name, str(time)])
    assert done.returncode == 9, done.stderr
    directory = root / "variants" / "two"
    assert not list(directory.glob("*.zarr")), "nothing is published before it is whole"
    (staging,) = directory.glob("*.zarr.partial")
    appeared = [path for path in directory.rglob("*") if path.as_posix().endswith(name)]
    assert len(appeared) == time - 1, "killed before it appeared"
    assert {pattern: len(list(staging.glob(pattern))) for pattern in before} == before, "killed after what comes before"
    entries = [json.loads(f.read_text()) for f in directory.glob("*.journal/*.json")]
    assert len(entries) == n_finished
    finished = {obj["path"]: (staging / obj["path"]).stat().st_mtime_ns for e in entries for obj in e["objects"]}
    store = build_variant(variant, root).store
    for path, mtime in finished.items():
        assert (store.path / path).stat().st_mtime_ns == mtime, "a finished shard is not written again"
    assert files(store.path) == undisturbed
    assert not list(directory.glob("*.journal")) and not list(directory.glob("*.partial"))


def test_a_resumed_build_keeps_what_it_rendered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of an earlier store are damaged, so they are rendered; the next run must not link the damaged ones."""
    for module in (inputs, metadata, planning, render):
        monkeypatch.setattr(module, "SHARD_CLIPS", 4)
    earlier = build_variant(small(root, "fan/00"), root).store
    for number in (0, 1):
        shard = earlier.path / f"fan/section_00/audio/c/{number}/0"
        content = bytearray(shard.read_bytes())
        content[7] ^= 1
        shard.write_bytes(content)
    rendered = []

    def one_of_fan(task: render.ShardTask) -> object:
        if task.section == "fan/section_00":
            if rendered:
                raise DataError("stopped")
            rendered.append(task.start)
        return render.render_shard(task)

    wider = small(root, "fan/00", "valve/00")
    with monkeypatch.context() as patched, pytest.raises(DataError, match="stopped"):
        patched.setattr(sections, "render_shard", one_of_fan)
        build_variant(wider, root, workers=1, replace=True)
    assert len(rendered) == 1
    store = build_variant(wider, root, replace=True).store
    assert store.path != earlier.path and verify_store(store, deep=True) == []


def test_unfinished_store_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise DataError("no")

    monkeypatch.setattr("mimiidg_build.build.variant.publish", fails)
    with pytest.raises(DataError, match="no"):
        build_variant(small(root, "fan/00"), root)
    with pytest.raises(DataError, match="holds an unfinished build only"):
        open_store(root / "variants" / "small")
    (partial,) = (root / "variants" / "small").glob("*.partial")
    with pytest.raises(DataError, match="is not finished"):
        open_store(partial)


def test_fingerprint_follows_what_decides_the_bytes(root: Path) -> None:
    def fingerprint(**changes: object) -> str:
        return read_inputs(small(root, "fan/00", **changes), root).fingerprint

    base = fingerprint()
    assert base == fingerprint(title="another title"), "a title decides no byte"
    changed = [fingerprint(snr_offset_db=1.0), fingerprint(seed=1), fingerprint(full_scale="saturate")]
    assert len({base, *changed}) == 4


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ({"sections": ["fan/03"]}, UsageError, "asks for fan/03, but synthetic-1pct-seed0 has fan/00"),
        ({"dataset": "synthetic-2pct-seed5", "sections": []}, FetchError, "mimiidg fetch synthetic"),
        (
            {"noise": {"A": [{"folder": "/nowhere"}]}, "noise_from": DATASET},
            DataError,
            "noise kind A: there is no folder /nowhere",
        ),
        ({"noise": {"A": [{"folder": "/nowhere"}]}}, UsageError, r"no noise is given for B \(.* and 12 more\); C \("),
    ],
)
def test_mistakes_are_named(root: Path, content: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_inputs(parse_variant(DEMO.model_dump() | content), root)
