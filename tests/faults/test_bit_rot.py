"""A byte that flips anywhere is found and named; a repair gives back the very bytes, and touches nothing else."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from mimiidg_build.cli import main
from mimiidg_build.errors import DataError
from mimiidg_build.fetch.transfer import Part
from mimiidg_build.store.damage import find_damage
from mimiidg_build.store.listing import list_stores
from mimiidg_build.store.metadata import METADATA, METADATA_COPY
from mimiidg_build.store.store import open_store
from mimiidg_build.synthesis.local_zenodo import LocalZenodo
from mimiidg_build.upkeep.prune import prune_stores
from tests.conftest import write_dataset
from tests.faults.injected import CRASHED, numbered
from tests.faults.place import Place, files
from tests.small_store import record_files


def flip(path: Path, offset: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ (1 << bit)]))


def flips(path: Path, rng: random.Random, count: int = 1) -> Iterator[None]:
    """Flip a bit somewhere in a file, and back."""
    for _ in range(count):
        place = rng.randrange(path.stat().st_size), rng.randrange(8)
        flip(path, *place)
        yield
        flip(path, *place)


@pytest.fixture
def built(place: Place) -> tuple[Place, Path]:
    """A place with the variant ``two`` built, and its store."""
    shutil.copytree(place.template / "root/variants/two", place.directory("two"))
    (store,) = place.directory("two").glob("*.zarr")
    return place, store


def named(store: Path) -> set[str]:
    """The files that are named as damaged when a store is opened and verified."""
    try:
        return set(find_damage(open_store(store, check=False)))
    except DataError as error:
        assert f"{store}/zarr.json" in str(error) and "--repair" in str(error)
        return {METADATA}


def test_any_flipped_byte_is_found_and_named(built: tuple[Place, Path], fault: Any) -> None:
    _, store = built
    rng = random.Random(0)
    paths = sorted(path for path in store.rglob("*") if path.is_file())
    cases = [path for path in paths for _ in range(3)]
    fault("a bit of a store's file flipped", cases=len(cases))
    for path in cases:
        for _ in flips(path, rng):
            found = named(store)
            name = path.relative_to(store).as_posix()
            # metadata and copy are held against each other: which of the two is wrong, the seal says
            assert found == {name}, name
    assert named(store) == set()


@pytest.mark.slow
def test_every_byte_of_the_metadata_is_sealed(built: tuple[Place, Path], fault: Any) -> None:
    _, store = built
    size_bytes = (store / METADATA).stat().st_size
    offsets = range(0, size_bytes, 3)
    fault("a bit of a store's metadata flipped", cases=len(offsets))
    rng = random.Random(1)
    for offset in offsets:
        bit = rng.randrange(8)
        flip(store / METADATA, offset, bit)
        assert METADATA in named(store), offset
        flip(store / METADATA, offset, bit)


def mtimes(store: Path) -> dict[str, int]:
    return {path.relative_to(store).as_posix(): path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}


KINDS = {
    "a shard of samples": ["fan/section_00/audio/c/1/0"],
    "a shard of features": ["valve/section_01/logmel/c/2/0/0"],
    "an array's metadata": ["fan/section_00/audio/zarr.json"],
    "a group's metadata": ["fan/zarr.json"],
    "the clip table": ["clips.parquet"],
    "the mix plan": ["mix_plan.parquet"],
    "the root's metadata": ["zarr.json"],
    "its copy": ["zarr.json.copy"],
    "several at once": [
        "zarr.json",
        "clips.parquet",
        "fan/section_00/audio/c/0/0",
        "fan/section_00/logmel/c/0/0/0",
        "valve/section_01/audio/c/0/0",
        "valve/section_01/zarr.json",
    ],
}


REPAIRED = [(kind, damage) for kind in KINDS for damage in ("flipped", "missing")]
REPAIRED += [("several at once", "truncated"), ("several at once", "empty")]
QUICK = [*REPAIRED[:16:4], *REPAIRED[3:16:4], *REPAIRED[16:19:2]]  # each kind once, by turns flipped and missing


@pytest.mark.parametrize(
    ("kind", "damage"), [pytest.param(*case, marks=[pytest.mark.slow] * (case not in QUICK)) for case in REPAIRED]
)
def test_repair_gives_back_what_was_lost(built: tuple[Place, Path], fault: Any, kind: str, damage: str) -> None:
    """Only what is damaged is written; all else keeps its time of change."""
    fault(f"a store's files {damage}: repaired", cases=len(KINDS[kind]))
    place, store = built
    before, times = files(store), mtimes(store)
    rng = random.Random(kind)
    for name in KINDS[kind]:
        path = store / name
        if damage == "flipped":
            flip(path, rng.randrange(path.stat().st_size), rng.randrange(8))
        elif damage == "missing":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[: -1 if damage == "truncated" else 0])
    ended = place.run("verify", "two")
    assert ended.code == 1 and "Traceback" not in ended.err
    assert KINDS[kind][0] in ended.out + ended.err
    ended = place.run("verify", "two", "--repair", "--json", "--quiet")
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    assert sorted(result["restored"]) == sorted(KINDS[kind]) and result["problems"] == []
    assert files(store) == before
    changed = {name for name, time_ns in mtimes(store).items() if time_ns != times[name]}
    assert changed == set(KINDS[kind])
    assert sorted(path.name for path in place.directory("two").iterdir()) == [".lock", store.name, "latest"]
    assert place.run("verify", "two").code == 0


@pytest.mark.parametrize(
    "every", [29, pytest.param(3, marks=pytest.mark.slow)], ids=["each 29th step", "each 3rd step"]
)
def test_repair_that_is_killed(built: tuple[Place, Path], fault: Any, every: int) -> None:
    """Killed anywhere, run again: whole; and never is there less of the store than before."""
    place, store = built
    before = files(store)
    names = ["fan/section_00/audio/c/1/0", "valve/section_01/logmel/c/2/0/0", "mix_plan.parquet", "zarr.json"]
    for name in names:
        flip(store / name, 7, 3)
    shutil.copytree(place.directory("two"), place.root / "damaged")
    ended = place.run("verify", "two", "--repair", list_steps=True)
    assert ended.code == 0, ended.err
    steps = numbered([(verb, name) for verb, name in json.loads(ended.out.splitlines()[-1])])[::every]
    fault("a repair crashed at a step", cases=len(steps))
    for step in steps:
        shutil.rmtree(place.directory("two"))
        shutil.copytree(place.root / "damaged", place.directory("two"))
        assert place.run("verify", "two", "--repair", crash_before=step).code == CRASHED
        there = files(store)
        assert all(there[name] == before[name] for name in before if name not in names), "what was whole is whole"
        ended = place.run("verify", "two", "--repair")
        assert ended.code == 0, ended.err
        assert files(store) == before
        prune_stores(place.root)
        assert sorted(path.name for path in place.directory("two").iterdir()) == [".lock", store.name, "latest"]


def test_what_cannot_be_repaired_is_said(built: tuple[Place, Path], fault: Any) -> None:
    fault("a store beyond repair", cases=4)
    place, store = built
    shard = store / "fan/section_00/audio/c/1/0"
    flip(shard, 7, 3)
    damaged = files(store)
    archive = place.root / "archives/short/fan.zip"

    archive.rename(archive.with_suffix(".away"))
    ended = place.run("verify", "two", "--repair", "--quiet")
    assert ended.code == 1 and "fan.zip" in ended.err and "Traceback" not in ended.err
    shutil.copyfile(archive.with_name("valve.zip"), archive)
    ended = place.run("verify", "two", "--repair", "--quiet")
    assert ended.code == 1 and "fan.zip" in ended.err and "Traceback" not in ended.err
    archive.with_suffix(".away").replace(archive)
    assert files(store) == damaged, "left as it is"

    (store / "note.txt").write_text("mine")
    ended = place.run("verify", "two", "--repair")
    assert ended.code == 1 and "note.txt: not part of the store" in ended.out
    assert "fan/section_00/audio/c/1/0: restored" in ended.out
    assert (store / "note.txt").read_text() == "mine", "a file that somebody put there is left alone"
    (store / "note.txt").unlink()

    for name in (METADATA, METADATA_COPY):
        flip(store / name, 40, 1)
    ended = place.run("verify", "two", "--repair")
    assert ended.code == 1 and "Remove the store and build its variant again" in ended.err


def test_a_repair_writes_through_no_link(built: tuple[Place, Path], fault: Any) -> None:
    """A folder of the store that leads elsewhere: what lies there is somebody's, damaged or not."""
    fault("a repair through a link out of the store", cases=1)
    place, store = built
    elsewhere = place.root / "elsewhere"
    (store / "fan").rename(elsewhere)
    (store / "fan").symlink_to(elsewhere)
    flip(elsewhere / "section_00/audio/c/1/0", 7, 3)
    before = files(elsewhere)
    ended = place.run("verify", "two", "--repair", "--quiet")
    assert ended.code == 1 and f"{store}/fan is a link to {elsewhere}" in ended.err
    assert files(elsewhere) == before and (store / "fan").is_symlink()
    (store / "fan").unlink()
    elsewhere.rename(store / "fan")
    assert place.run("verify", "two", "--repair").code == 0


def test_a_store_of_the_version_before_is_repaired(built: tuple[Place, Path]) -> None:
    """Its arrays have no attributes, and its recorded digests are of metadata without."""
    place, store = built
    root = json.loads((store / METADATA).read_text())
    for path in store.glob("*/*/*/zarr.json"):
        metadata = json.loads(path.read_text())
        assert metadata["attributes"]["sample_rate_hz"] == 16_000
        path.write_text(json.dumps(metadata | {"attributes": {}}, indent=2))
        root["consolidated_metadata"]["metadata"][str(path.relative_to(store).parent)]["attributes"] = {}
    (store / METADATA).write_text(json.dumps(root))
    record_files(store, seal=True)
    old = files(store)
    assert place.run("verify", "two", "--deep").code == 0
    assert place.run("build", place.template / "two.toml", "--quiet").code == 0 and files(store) == old, "not rebuilt"
    for name in ("fan/section_00/audio/zarr.json", "valve/section_01/logmel/zarr.json"):
        flip(store / name, 40, 1)
    ended = place.run("verify", "two", "--repair")
    assert ended.code == 0, ended.out + ended.err
    assert files(store) == old


def test_readers_of_a_store_that_is_repaired(built: tuple[Place, Path]) -> None:
    """Whoever has it open reads on; plain zarr reads the repaired store as any other."""
    place, store = built
    opened = open_store(store)
    flip(store / "fan/section_00/audio/c/1/0", 7, 3)
    assert place.run("verify", "two", "--repair").code == 0
    ours = np.asarray(opened.audio("fan", "00")[:])
    np.testing.assert_array_equal(zarr.open_group(store, mode="r")["fan/section_00/audio"][:], ours)
    assert place.run("verify", "two", "--deep").code == 0


def test_latest_that_is_damaged(built: tuple[Place, Path], fault: Any) -> None:
    """It is one line; a build writes it anew, and until then nothing is pruned."""
    place, store = built
    path = place.directory("two") / "latest"
    good = path.read_bytes()
    contents = [b"", b"\xff" + good[1:], b"../" + good, good[:-2] + b"x\n", b"\x00" * 33]
    fault("`latest` damaged", cases=len(contents))
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"latest is damaged|is not a store"):
            open_store(place.directory("two"))
        (listed,) = list_stores(place.root)
        assert listed.state == "kept"
        prune_stores(place.root)
        assert store.is_dir()
        ended = place.run("build", place.template / "two.toml", "--quiet")
        assert ended.code == 0, ended.err
        assert path.read_bytes() == good


def test_kept_levels_and_noise_that_are_damaged(place: Place, fault: Any) -> None:
    """Both are made again rather than believed: a store built over them is as any other."""
    rng = random.Random(2)
    paths = [*place.root.rglob("*.levels.parquet"), *(place.root / "noise").glob("*.int16")]
    paths += (place.root / "noise").glob("*.parquet")
    cases = paths[:3] + paths[-2:]
    fault("kept levels or noise damaged", cases=len(cases))
    for path in cases:
        flip(path, rng.randrange(path.stat().st_size // 2), rng.randrange(8))
    ended = place.build("two")
    assert ended.code == 0, ended.err
    assert files(place.directory("two")) == place.undisturbed("two")


@pytest.fixture
def released(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """A dataset on a server, fetched: its manifest, and where its archives lie."""
    served = tmp_path / "served"
    shutil.copytree(
        place.root / "archives/short", served, ignore=shutil.ignore_patterns("*.json", ".locks", "*.parquet")
    )
    manifest = write_dataset(tmp_path, "served", sorted(served.glob("*.zip")))
    with LocalZenodo({"served": served}) as server:
        monkeypatch.setenv("MIMIIDG_ZENODO_URL", server.url)
        monkeypatch.setenv("MIMIIDG_ROOT", str(tmp_path / "other"))
        assert main(["fetch", str(manifest), "--quiet"]) == 0
        yield manifest, tmp_path / "other/archives/served"


def test_flipped_byte_of_an_archive(
    released: tuple[Path, Path], capsys: pytest.CaptureFixture[str], fault: Any
) -> None:
    """Bit rot changes neither size nor time: reading every byte finds it. Only that archive is fetched again."""
    manifest, archives = released
    fan, valve, rng = archives / "fan.zip", archives / "valve.zip", random.Random(3)
    before, times = fan.read_bytes(), (fan.stat().st_mtime_ns, valve.stat().st_mtime_ns)
    fault("a bit of an archive flipped", cases=12)
    for _ in range(12):
        flip(fan, rng.randrange(fan.stat().st_size), rng.randrange(8))
        os.utime(fan, ns=(times[0], times[0]))
        capsys.readouterr()
        assert main(["verify", str(manifest), "--quiet"]) == 1
        out = capsys.readouterr().out
        assert "archives/served/fan.zip: md5" in out and "valve.zip" not in out
        assert main(["verify", str(manifest), "--repair", "--quiet"]) == 0
        assert "archives/served/fan.zip: restored" in capsys.readouterr().out
        assert fan.read_bytes() == before
        times = fan.stat().st_mtime_ns, times[1]
    assert valve.stat().st_mtime_ns == times[1], "not fetched again"
    assert sorted(path.name for path in archives.glob("*.zip*")) == ["fan.zip", "valve.zip"]


def test_damaged_archive_that_cannot_be_fetched(
    released: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    """Most of it is still good, so it stays until there is a better one."""
    manifest, archives = released
    fault("a damaged archive that cannot be fetched", cases=1)
    fan = archives / "fan.zip"
    flip(fan, 1000, 1)
    damaged = fan.read_bytes()
    with LocalZenodo({"other": archives}) as server:
        monkeypatch.setenv("MIMIIDG_ZENODO_URL", server.url)
        assert main(["verify", str(manifest), "--repair", "--quiet"]) == 1
    assert "record served is not there" in capsys.readouterr().err
    assert fan.read_bytes() == damaged
    assert sorted(path.name for path in archives.glob("*.zip*")) == ["fan.zip", "valve.zip"]


def test_an_archive_that_is_gone(released: tuple[Path, Path], capsys: pytest.CaptureFixture[str], fault: Any) -> None:
    """It was fetched, so it must be there: a repair brings it back."""
    manifest, archives = released
    fault("an archive that was fetched and is gone", cases=2)
    before = {path.name: path.read_bytes() for path in archives.glob("*.zip")}
    for names in (["fan.zip"], ["fan.zip", "valve.zip"]):
        for name in names:
            (archives / name).unlink()
        capsys.readouterr()
        assert main(["verify", str(manifest), "--quiet"]) == 1
        out = capsys.readouterr().out
        assert all(f"archives/served/{name}: missing" in out for name in names)
        assert main(["verify", str(manifest), "--repair", "--quiet"]) == 0
        assert {path.name: path.read_bytes() for path in archives.glob("*.zip")} == before


def test_a_damaged_archive_keeps_its_name_until_it_is_replaced(
    released: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: Any
) -> None:
    """Killed while the new one comes, or just before it gets its name: most of the old one is still good."""
    manifest, archives = released
    fault("a repair of an archive stopped", cases=2)
    fan = archives / "fan.zip"
    before = fan.read_bytes()
    flip(fan, 1000, 1)
    damaged, seen = fan.read_bytes(), []

    def stopped(*arguments: object) -> None:
        seen.append(fan.read_bytes())
        raise KeyboardInterrupt

    for name in ("write", "publish"):
        with monkeypatch.context() as patched:
            patched.setattr(Part, name, stopped)
            assert main(["verify", str(manifest), "--repair", "--quiet"]) == 130
        assert seen.pop() == damaged == fan.read_bytes()
        assert main(["verify", str(manifest), "--quiet"]) == 1
        assert "fan.zip: md5" in capsys.readouterr().out
    assert main(["verify", str(manifest), "--repair", "--quiet"]) == 0
    assert fan.read_bytes() == before


def test_the_only_copy_of_an_archive_is_not_pruned(released: tuple[Path, Path], fault: Any) -> None:
    """Version 0.1.0 set a damaged archive aside; killed there, it left the archive under that name alone."""
    fault("an archive that was set aside", cases=1)
    manifest, archives = released
    aside = (archives / "fan.zip").rename(archives / "fan.zip.damaged")
    prune_stores(archives.parents[1], unfinished=True)
    assert aside.is_file()
    assert main(["verify", str(manifest), "--repair", "--quiet"]) == 0
    prune_stores(archives.parents[1])
    assert sorted(path.name for path in archives.glob("*.zip*")) == ["fan.zip", "valve.zip"]
