"""What differs between two stores: each kind of difference is found, counted and named, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mimiidg_build import diff_stores, open_store
from mimiidg_build.cli import main
from mimiidg_build.errors import DataError
from mimiidg_build.store.shards import write_shard
from mimiidg_build.store.store import Store
from tests.small_store import N_CLIPS, SECTIONS, SHARD_CLIPS, make_store, record_files

N_ALL = N_CLIPS * len(SECTIONS)
FIRST = "fan/00 section_00_source_train_normal_0000_m-n_W"


def lines(first: Store, second: Store) -> list[str]:
    return [str(found) for found in diff_stores(first, second).differences]


def changed(root: Path, name: str, change: Callable[[Path], None], **attributes: Any) -> Store:
    """A small store of which something on disk was changed before its digests were taken."""
    path = make_store(root, name, **attributes).path
    change(Path(path))
    record_files(Path(path))
    return open_store(path)


def in_table(table: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        file = path / f"{table}.parquet"
        change(pd.read_parquet(file)).to_parquet(file)

    return apply


def in_row(column: str, row: int, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def apply(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[row, column] = value
        return table

    return apply


def in_array(array: str, section: str, clip: int, change: float) -> Callable[[Path], None]:
    """Add to one value of one clip."""

    def apply(path: Path) -> None:
        store = open_store(path, check=False)
        values = np.asarray(store.group[f"{section}/{array}"][:])
        values[(clip, *[3] * (values.ndim - 1))] += values.dtype.type(change)
        start = clip // SHARD_CLIPS * SHARD_CLIPS
        block = values[start : start + SHARD_CLIPS]
        write_shard(path, f"{section}/{array}", block, start, len(values), SHARD_CLIPS)

    return apply


@pytest.fixture
def plain(tmp_path: Path) -> Store:
    return make_store(tmp_path, "plain")


def test_stores_of_one_content_do_not_differ(plain: Store, tmp_path: Path) -> None:
    """Whatever their names, titles and fingerprints."""
    other = make_store(tmp_path, "other", fingerprint="another", variant={"name": "other", "title": "another"})
    assert diff_stores(plain, other).content == {
        "first": str(plain.path),
        "second": str(other.path),
        "differences": (),
        "equal": True,
    }


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"variant": {"name": "b", "seed": 3}}, ["settings: seed: 0 | 3"]),
        (
            {"variant": {"name": "b", "features": {"dtype": "float16", "hop_length": 256}}},
            ["settings: features.hop_length: 512 | 256", "settings: features.dtype: float32 | float16"],
        ),
        (
            {"variant": {"name": "b", "noise": {"A": [{"folder": "hall"}]}}},
            ["settings: noise.A: absent | [{'folder': 'hall', 'members': '*.wav'}]"],
        ),
        ({"variant": {"name": "b", "snr_db": -6.0}}, ["settings: snr_db.all: absent | -6.0"]),
        (
            {"dataset": "mine", "license": "MPL"},
            ["dataset: dataset: synthetic-1pct-seed0 | mine", "dataset: license: MIT | MPL"],
        ),
        (
            {
                "provenance": {
                    "archives": {"a.zip": "1" * 32, "b.zip": "2" * 32},
                    "noise": {},
                    "versions": {"numpy": "2.0"},
                }
            },
            ["versions: numpy: absent | 2.0", f"archives: md5: 2 of 2 differ, first a.zip: absent | {'1' * 32}"],
        ),
        (
            {"provenance": {"archives": {}, "noise": {"A": {"x.wav": "12"}}, "versions": {}}},
            ["noise recordings: digest in kind A: 1 of 1 differs, first x.wav: absent | 12"],
        ),
    ],
)
def test_what_stores_say_of_themselves(
    plain: Store, tmp_path: Path, attributes: dict[str, Any], expected: list[str]
) -> None:
    assert lines(plain, make_store(tmp_path, "b", **attributes)) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            in_table("clips", in_row("condition", 0, "anomaly")),
            f"clips: condition: 1 of {N_ALL} differs, first {FIRST}: normal | anomaly",
        ),
        (
            in_table("clips", in_row("attributes", 0, '{"m-n":"X"}')),
            f"clips: attributes: 1 of {N_ALL} differs, first {FIRST}: ",
        ),
        (
            in_table("clips", in_row("power", 0, 0.5)),
            f"levels: power: 1 of {N_ALL} differs, first {FIRST}: 0.001 | 0.5",
        ),
        (
            in_table("mix_plan", in_row("noise_1_clip", 0, "hall.wav")),
            f"noise: noise_1_clip: 1 of {N_ALL} differs, first {FIRST}: ",
        ),
        (
            in_table("mix_plan", lambda plan: plan.assign(added_noise_snr_db=-6.0)),
            f"gains: added_noise_snr_db: {N_ALL} of {N_ALL} differ, first {FIRST}: nan | -6.0",
        ),
        (
            in_array("audio", "fan/section_00", 0, 1),
            f"audio: values: 1 of {N_ALL} differs, first {FIRST}; by 1 steps of 16 bits at most",
        ),
        (
            in_array("logmel", "fan/section_00", 0, 8.0),
            f"logmel: values: 1 of {N_ALL} differs, first {FIRST}; by 8 dB at most",
        ),
    ],
)
def test_what_clips_differ_in(plain: Store, tmp_path: Path, change: Callable[[Path], None], expected: str) -> None:
    (line,) = lines(plain, changed(tmp_path, "b", change))
    assert line.startswith(expected)
    assert line == expected or expected.endswith(": ")


def test_statistics_of_the_mel_bands(plain: Store, tmp_path: Path) -> None:
    def with_statistics(path: Path) -> None:
        metadata = json.loads((path / "zarr.json").read_text())
        metadata["attributes"]["sections"]["fan/01"]["logmel"] = {"n_clips": 9, "mean_db": [-40.0], "std_db": [1.0]}
        (path / "zarr.json").write_text(json.dumps(metadata))

    assert lines(plain, changed(tmp_path, "b", with_statistics)) == [
        "statistics: mean log-mel of the training clips: 1 of 3 differs, first fan/01: absent | -40.000 dB"
    ]


def test_the_last_clip_of_the_last_shard_is_compared(plain: Store, tmp_path: Path) -> None:
    other = changed(tmp_path, "b", in_array("audio", "valve/section_00", N_CLIPS - 1, -2))
    (line,) = lines(plain, other)
    assert line.startswith(f"audio: values: 1 of {N_ALL} differs, first valve/00 section_00_target_test_normal_0002_")


def test_clips_are_matched_by_name_not_by_row(plain: Store, tmp_path: Path) -> None:
    """A store of other sections, in whose table and arrays two clips have changed places."""

    def swap(path: Path) -> None:
        clips, store = pd.read_parquet(path / "clips.parquet"), open_store(path, check=False)
        own = np.flatnonzero((clips["machine_type"] == "fan") & (clips["section"] == "01"))
        clips.loc[own[[0, 5]], "row"] = [5, 0]
        clips.to_parquet(path / "clips.parquet")
        for array in ("audio", "logmel"):
            values = np.asarray(store.group[f"fan/section_01/{array}"][:])
            values[[0, 5]] = values[[5, 0]]
            for start in range(0, N_CLIPS, SHARD_CLIPS):
                block = values[start : start + SHARD_CLIPS]
                write_shard(path, f"fan/section_01/{array}", block, start, N_CLIPS, SHARD_CLIPS)

    other = changed(tmp_path, "b", swap, sections=SECTIONS[:2])
    assert lines(plain, other) == [
        "sections: presence: 1 of 3 differs, first valve/00: there | absent",
        f"clips: presence: {N_CLIPS} of {N_ALL} differ, first "
        "valve/00 section_00_source_train_normal_0000_m-n_W: there | absent",
    ]
    (line,) = lines(make_store(tmp_path, "c", sections=SECTIONS[:2]), other)
    assert line.startswith("clips: row: 2 of 42 differ, first fan/01 section_01_source_train_normal_0000_m-n_W: 0 | 5")


def test_other_shapes_are_not_compared_value_by_value(plain: Store, tmp_path: Path) -> None:
    other = make_store(tmp_path, "b", n_frames=40, variant={"name": "b", "features": {"stft": True}})
    found = lines(plain, other)
    assert found.pop(2).startswith("audio: values: ")  # made up from the same draws
    assert found == [
        "settings: features.stft: False | True",
        "stft: array: absent | there",
        f"logmel: type and shape: {N_ALL} of {N_ALL} differ, first fan/00: float32 (66, 128) | float32 (40, 128)",
    ]


def test_a_store_of_format_1(plain: Store, tmp_path: Path) -> None:
    """Its attributes are four columns: read, they are the same."""

    def as_it_was(clips: pd.DataFrame) -> pd.DataFrame:
        at = clips.columns.get_loc("attributes")
        values = [json.loads(text)["m-n"] for text in clips["attributes"]]
        for column, value in (("d2v", ""), ("d2p", ""), ("d1v", values), ("d1p", "m-n")):
            clips.insert(at, column, value)
        return clips.drop(columns=["attributes", "full_name"])

    other = changed(tmp_path, "b", in_table("clips", as_it_was), format_version=1)
    assert lines(plain, other) == ["format: format_version: 2 | 1"]


def test_a_damaged_shard_is_an_error(plain: Store, tmp_path: Path) -> None:
    other = changed(tmp_path, "b", in_array("audio", "fan/section_00", 0, 1))
    shard = Path(other.path) / "fan/section_00/audio/c/0/0"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(DataError, match="fan/section_00/audio/c/0/0"):
        diff_stores(plain, open_store(other.path, check=False))


# ---- The command -----------------------------------------------------------------------------------------------------


def test_exit_codes_are_those_of_diff(plain: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_store(tmp_path, "same")
    make_store(tmp_path, "other", variant={"name": "other", "seed": 3})
    root = ["--root", str(tmp_path), "--quiet"]
    assert main(["diff", "plain", "same", *root]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["nothing differs"]
    assert main(["diff", "plain", str(tmp_path / "variants/other/small.zarr"), *root]) == 1
    assert capsys.readouterr().out.splitlines()[1:] == ["settings: seed: 0 | 3"]
    assert main(["diff", "plain", "plian", *root]) == 2
    assert "there is no store 'plian', neither as a variant under" in capsys.readouterr().err


def test_as_json(plain: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = changed(tmp_path, "b", in_array("logmel", "fan/section_00", 0, 8.0))
    assert main(["diff", "plain", "b", "--json", "--quiet", "--root", str(tmp_path)]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "first": str(plain.path),
        "second": str(other.path),
        "equal": False,
        "differences": [
            {
                "topic": "logmel",
                "what": "values",
                "values": [],
                "n": 1,
                "of": N_ALL,
                "example": FIRST,
                "largest": pytest.approx(8),
                "unit": "dB",
            }
        ],
    }
