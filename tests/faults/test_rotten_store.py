"""A store that rotted is never used without a word: an error that names the file and the repair, or the right bytes."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch.utils.data import DataLoader

from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.cli import main
from mimiidg_build.errors import DataError
from mimiidg_build.report.page import write_report
from mimiidg_build.store.recorded import Recorded
from mimiidg_build.store.store import Store, open_store
from mimiidg_build.store.tables import COLUMNS, read_table
from mimiidg_build.training.clip_dataset import ClipDataset
from mimiidg_build.upkeep.export import export_store
from tests.faults.injected import CRASHED
from tests.faults.moments import MOMENTS, SOME
from tests.faults.place import Place, files
from tests.faults.summary import Tries
from tests.small_store import make_store, record_files

METADATA = ["zarr.json", "fan/zarr.json", "fan/section_00/audio/zarr.json"]
TABLES = ["clips.parquet", "mix_plan.parquet"]
AUDIO, LOGMEL = "fan/section_00/audio/c/3/0", "fan/section_00/logmel/c/3/0/0"
EVERY = [*METADATA, *TABLES, AUDIO, LOGMEL]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "gone": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "flipped": flip,
}


def export(path: Path) -> object:
    export_store(open_store(path), path.parents[3] / "out")
    return files(path.parents[3] / "out")


def report(path: Path) -> object:
    return write_report(open_store(path), path.parents[2]).is_file()


def benchmark(path: Path) -> object:
    store = open_store(path)
    benchmark_models(store, path.parents[2], ["nearest_neighbour"], profile="smoke", workers=1)
    return {name: data for name, data in files(path.parents[2] / "runs").items() if "anomaly_score" in name}


def read_mapped(path: Path) -> object:
    return [batch["features"].numpy() for batch in ClipDataset(open_store(path), memory_budget_bytes=0).loader(8)]


def read_in_memory(path: Path) -> object:
    return ClipDataset(open_store(path), features="audio").read(range(24)).numpy()


def read_audio(path: Path) -> object:
    return np.asarray(open_store(path).audio("fan", "00")[:])


def read_one_clip(path: Path) -> object:
    return np.asarray(open_store(path).logmel("fan", "00")[12])


def read_tables(path: Path) -> object:
    store = open_store(path)
    return store.clips.to_csv(), store.mix_plan.to_csv()


ALL_BUT = {  # which files it never reads, beyond those that every opened store has read
    export: [LOGMEL],
    report: [LOGMEL],  # it draws the sound that it plays
    benchmark: [AUDIO],
    read_mapped: [AUDIO],
    read_in_memory: [LOGMEL],
    read_audio: [LOGMEL],
    read_one_clip: [AUDIO],
    read_tables: [AUDIO, LOGMEL],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A sealed store of one machine type."""
    store = make_store(tmp_path_factory.mktemp("whole") / "root", sections=["fan/00", "fan/01"])
    record_files(store.path, seal=True)
    return open_store(store.path)


@pytest.mark.parametrize("moments", MOMENTS)
@pytest.mark.parametrize("use", ALL_BUT, ids=lambda use: use.__name__)
def test_a_rotten_store_is_named_or_right(
    whole: Store, tmp_path: Path, use: Callable[[Path], object], moments: str, fault: Tries
) -> None:
    """Some: every file once, with a damage that differs from file to file and from use to use."""

    def copied(name: str) -> Path:
        shutil.copytree(whole.root, tmp_path / name / "root")
        return tmp_path / name / "root" / whole.path.relative_to(whole.root)

    right, first = use(copied("right")), list(ALL_BUT).index(use)
    every = [(kind, name) for kind in DAMAGE for name in EVERY]
    some = {(list(DAMAGE)[(first + number) % len(DAMAGE)], name) for number, name in enumerate(EVERY)}
    cases = [case for case in every if (case in some) == (moments == SOME)]
    fault(f"a rotten store: {use.__name__.replace('_', ' ')}", cases=len(cases))
    for number, (kind, name) in enumerate(cases):
        path = copied(str(number))
        DAMAGE[kind](path / name)
        if name in ALL_BUT[use]:
            np.testing.assert_equal(use(path), right)
            continue
        with pytest.raises(DataError) as caught:
            use(path)
        assert str(path / name) in str(caught.value) and f"verify {path} --repair" in str(caught.value), kind


def test_a_rotten_shard_is_named_by_a_worker(whole: Store, tmp_path: Path) -> None:
    """The message comes through torch, which puts the worker's traceback before it."""
    path = Path(shutil.copytree(whole.path, tmp_path / "small.zarr"))
    flip(path / LOGMEL)
    clips = ClipDataset(open_store(path), memory_budget_bytes=0)
    batches = iter(DataLoader(clips, batch_size=None, sampler=[[0], [12]], num_workers=1))
    next(batches)
    with pytest.raises(DataError, match=rf"{LOGMEL}: content differs.*--repair"):
        next(batches)
    del batches  # which ends its worker; the error's traceback would keep it for long
    gc.collect()


def test_what_one_worker_has_checked_the_next_need_not(
    whole: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A DataLoader forks its workers anew for every epoch: hashing every shard in each would halve the rate."""
    path = Path(shutil.copytree(whole.path, tmp_path / "small.zarr"))
    clips = ClipDataset(open_store(path), memory_budget_bytes=0)
    loader = DataLoader(clips, batch_size=None, sampler=[[0, 12]], num_workers=1)
    (first,) = loader

    def refuse(self: Recorded, name: str) -> None:
        raise DataError(f"{name} is checked again")

    monkeypatch.setattr(Recorded, "check", refuse)
    (again,) = loader
    assert np.array_equal(first["features"], again["features"])
    with pytest.raises(DataError, match="is checked again"):
        clips.read([4])


@pytest.mark.parametrize("kind", DAMAGE)
def test_verify_names_what_is_rotten(
    whole: Store, tmp_path: Path, kind: str, fault: Tries, capsys: pytest.CaptureFixture[str]
) -> None:
    fault("a rotten store: verify", cases=len(EVERY))
    for number, name in enumerate(EVERY):
        path = shutil.copytree(whole.path, tmp_path / str(number) / whole.path.name)
        DAMAGE[kind](path / name)
        assert main(["verify", str(path), "--quiet"]) == 1
        printed = capsys.readouterr()
        assert f"{path}/{name}" in printed.out + printed.err and "Traceback" not in printed.err


WIDER = [
    "zarr.json",
    "valve/section_01/zarr.json",
    "clips.parquet",
    "mix_plan.parquet",
    "valve/section_01/audio/c/1/0",
    "valve/section_01/logmel/c/1/0/0",
]


ALL = [(kind, name) for name in WIDER for kind in DAMAGE] + [("wrong", "clips.parquet")]


def make_wrong(table: Path) -> None:
    """A power of 1e-80, under the right digest."""
    clips = pd.read_parquet(table)
    clips.loc[2, "power"] = 1e-80
    clips.to_parquet(table, index=False)
    record_files(table.parent, seal=True)


@pytest.mark.parametrize(
    "cases", [[*ALL[3::5], ALL[-1]], pytest.param(ALL, marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_a_wider_variant_takes_nothing_rotten_over(place: Place, fault: Tries, cases: list[tuple[str, str]]) -> None:
    """Whatever is damaged in the store before, its sections' bytes are those that an undisturbed build gives."""
    fault("a rotten store: build of a wider variant", cases=len(cases))
    narrow, wide = (place.template / name for name in ("one.toml", "two.toml"))
    wider = place.root / "wider.toml"
    text = wide.read_text().replace('name = "two"', 'name = "one"')
    wider.write_text(text.replace('"noise"', f'"{place.template / "noise"}"'))
    directory = place.directory("one")
    assert place.run("build", wider, "--quiet").code == 0
    (undisturbed,) = directory.glob("*.zarr")
    expected = files(undisturbed)
    shutil.rmtree(directory)
    assert place.run("build", narrow, "--quiet").code == 0
    (earlier,) = directory.glob("*.zarr")
    shutil.copytree(directory, place.root / "narrow")
    for kind, name in cases:
        shutil.rmtree(directory)
        shutil.copytree(place.root / "narrow", directory)
        (DAMAGE | {"wrong": make_wrong})[kind](earlier / name)
        ended = place.run("build", wider, "--replace", "--quiet")
        assert ended.code == 0, ended.err
        assert files(undisturbed) == expected, (kind, name)


SHARD = "valve/section_01/audio/c/1/0"


def test_a_journal_entry_that_rotted(place: Place, fault: Tries) -> None:
    """What was measured of its clips goes into the clip table: a changed digit must not."""
    fault("a digit of a journal entry changed", cases=4)
    crash = ("replace", "zarr.partial/clips.parquet", 0)
    assert place.build("one", crash_before=crash).code == CRASHED
    (entry, *_) = sorted(place.directory("one").glob("*.journal/*.json"))
    noted = json.loads(entry.read_text())
    shutil.copytree(place.directory("one"), place.root / "killed")
    for field in ("power", "peak", "measured_snr_db", "n_saturated"):
        shutil.rmtree(place.directory("one"))
        shutil.copytree(place.root / "killed", place.directory("one"))
        first, *rest = noted[field]
        changed = json.dumps(noted | {field: [first + 1 if field == "n_saturated" else first * 1.001, *rest]})
        entry.write_text(changed)
        ended = place.build("one")
        assert ended.code == 0, ended.err
        assert files(place.directory("one")) == place.undisturbed("one"), field


def test_a_staged_shard_that_rotted(place: Place, fault: Tries) -> None:
    """Nothing gets a store's name that is not what was rendered; the next run makes the shard anew."""
    fault("a bit of a staged shard flipped before the store got its name")
    ended = place.build("one", flip_staged=SHARD)
    assert ended.code == 1 and f"{SHARD}: its content is not what was written" in ended.err
    assert "Run the same command again" in ended.err and not list(place.directory("one").glob("*.zarr"))
    ended = place.build("one")
    assert ended.code == 0, ended.err
    assert files(place.directory("one")) == place.undisturbed("one")


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("clips.parquet", "power", 1e-80),
        ("clips.parquet", "attributes", '{"m-n":"X"}'),
        ("mix_plan.parquet", "noise_1_gain", 0.5),
    ],
)
def test_a_table_that_was_wrong_before_it_was_recorded(
    place: Place, table: str, column: str, value: object, fault: Tries
) -> None:
    """Every digest is right, so only making it anew tells."""
    fault("a wrong table under a right digest")
    shutil.copytree(place.template / "root/variants/one", place.directory("one"))
    (store,) = place.directory("one").glob("*.zarr")
    rows = pd.read_parquet(store / table)
    rows.loc[2, column] = value
    rows.to_parquet(store / table, index=False)
    record_files(store, seal=True)
    assert place.run("verify", "one").code == 0
    ended = place.run("verify", "one", "--deep")
    assert ended.code == 1
    assert f"{table}: comes out otherwise in 1 row, first clip {rows['clip'][2]}: {column} is {value}" in ended.out


@pytest.mark.parametrize("name", COLUMNS)
def test_a_foreign_table(whole: Store, tmp_path: Path, name: str) -> None:
    """Its digest is right, so it is as its program wrote it: what is no table of a store is named."""
    path = Path(shutil.copytree(whole.path, tmp_path / "small.zarr"))
    table = read_table(whole.recorded, name)
    for content, message in (
        (table.drop(columns=["clip", "member"]), "lacks clip, member; it has machine_type"),
        (table.iloc[:0], "has no rows"),
        (None, "is not a table in parquet"),
    ):
        if content is None:
            (path / name).write_bytes(b"PAR1")
        else:
            content.to_parquet(path / name)
        record_files(path, seal=True)
        with pytest.raises(DataError, match=rf"{name} {message}.*Build its variant again"):
            read_table(open_store(path).recorded, name)


def test_the_columns_of_tables_are_those_of_their_models() -> None:
    from mimiidg_build.schemas.tables import MixPlan, StoredClips

    for name, model in (("clips.parquet", StoredClips), ("mix_plan.parquet", MixPlan)):
        assert sorted(COLUMNS[name].split()) == sorted(model.to_schema().columns)
