"""Full disks, read-only roots, roots on other file systems: one clear error, nothing half-done, and it goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mimiidg_build.errors import MimiidgError
from mimiidg_build.store.damage import find_damage
from mimiidg_build.store.store import open_store
from mimiidg_build.training.clip_dataset import ClipDataset
from mimiidg_build.upkeep.prune import prune_stores
from tests.faults.injected import CRASHED, NEED_ROOM
from tests.faults.misbehaving import BODY
from tests.faults.misbehaving import Place as Record
from tests.faults.place import Place, files
from tests.faults.processes import Ended, Processes

KIB = 1024
SIZES = (0, 8, 64, 400, 1000, 1150)  # KiB: no room at all, for some shards, for all but the metadata


def mount(*arguments: object) -> None:
    """Skip where this may not be done: in a container without the right to, or not as root."""
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, in memory."""
    path = tmp_path / "disk"
    path.mkdir()
    mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", path)
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.fixture
def place_on_disk(template: Path, processes: Processes, disk: Path) -> Place:
    """A root on the disk."""
    return Place(template, disk, processes)


def leave_free(disk: Path, size_bytes: int) -> None:
    """Shrink the disk to what it holds and a little."""
    status = os.statvfs(disk)
    used = (status.f_blocks - status.f_bfree) * status.f_bsize
    mount("-o", f"remount,size={used + size_bytes}", disk)


def check_fails(ended: Ended, directory: Path, words: str) -> None:
    """One message, no traceback, nothing published."""
    assert ended.code == 1, (ended.code, ended.err)
    assert ended.out == "" and "Traceback" not in ended.err
    lines = ended.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and words in lines[0], ended.err
    for path in directory.glob("*.zarr"):
        assert find_damage(open_store(path)) == {}, "only a whole store has its name"


def check_goes_on(place: Place, variant: str, *options: str) -> None:
    """With room again, the same command ends as if nothing had been; what was finished is not done again."""
    directory = place.directory(variant)
    noted = [json.loads(entry.read_text()) for entry in directory.glob("*.journal/*.json")]
    staging = [*directory.glob("*.zarr.partial"), *directory.glob("*.zarr")]
    finished = {o["path"]: (staging[0] / o["path"]).stat().st_mtime_ns for result in noted for o in result["objects"]}
    ended = place.build(variant, *options)
    assert ended.code == 0, ended.err
    store = open_store(directory)
    assert {path: (store.path / path).stat().st_mtime_ns for path in finished} == finished
    prune_stores(place.root)
    assert files(directory) == place.undisturbed(variant)


@pytest.mark.parametrize(
    "free", [pytest.param(n, marks=[pytest.mark.slow] * (n in (8, 64, 1000)), id=f"{n} KiB") for n in SIZES]
)
def test_disk_that_fills_up(place_on_disk: Place, disk: Path, fault: Any, free: int) -> None:
    """A build needs some 1200 KiB; it gets less."""
    fault("disk full (a small tmpfs)", cases=1)
    leave_free(disk, free * KIB)
    check_fails(place_on_disk.build("two"), place_on_disk.directory("two"), "No space left on device")
    mount("-o", "remount,size=64m", disk)
    check_goes_on(place_on_disk, "two")


@pytest.mark.parametrize("free", [pytest.param(8, marks=pytest.mark.slow), 100], ids="{} KiB".format)
def test_disk_that_fills_up_while_noise_is_prepared(place_on_disk: Place, disk: Path, fault: Any, free: int) -> None:
    """Noise banks and levels are caches beside the stores; the first build makes them."""
    fault("disk full (a small tmpfs)", cases=1)
    shutil.rmtree(place_on_disk.root / "noise")
    for levels in place_on_disk.root.rglob("*.levels.parquet"):
        levels.unlink()
    leave_free(disk, free * KIB)
    check_fails(place_on_disk.build("two"), place_on_disk.directory("two"), "No space left on device")
    mount("-o", "remount,size=64m", disk)
    check_goes_on(place_on_disk, "two")
    assert files(place_on_disk.root / "noise") == files(place_on_disk.template / "root/noise"), "no litter there"


@pytest.mark.parametrize(
    "every", [34, pytest.param(3, marks=pytest.mark.slow)], ids=["each 34th step", "each 3rd step"]
)
def test_disk_full_from_any_step_on(place: Place, fault: Any, every: int) -> None:
    """Where nothing may be mounted too: the calls that need room are refused from some step on."""
    place.build("one")  # which makes folders that the builds below find
    shutil.rmtree(place.directory("one"))
    ended = place.build("one", list_steps=True)
    verbs = [verb for verb, _ in json.loads(ended.out.splitlines()[-1])]
    steps = [number for number, verb in enumerate(verbs) if verb in NEED_ROOM][::every]
    assert len(steps) > 2
    fault("disk full from a step on (refused calls)", cases=len(steps))
    for step in steps:
        shutil.rmtree(place.directory("one"))
        check_fails(place.build("one", no_space_at=step), place.directory("one"), "No space left on device")
        check_goes_on(place, "one")


@pytest.mark.parametrize("largest", [1, 100], ids="{} KiB".format)
def test_file_size_limit(place: Place, fault: Any, largest: int) -> None:
    fault("a write refused by the kernel (rlimit)", cases=1)
    check_fails(place.build("one", largest_file=largest * KIB), place.directory("one"), "File too large")
    check_goes_on(place, "one")


@pytest.fixture
def writable(place: Place) -> Path:
    """The root of ``read_only``, before it is that."""
    return place.root


@pytest.fixture
def read_only(place: Place, writable: Path, tmp_path: Path) -> Iterator[Place]:
    """A root with ``one`` built, on which nobody can write, whoever he is."""
    assert place.build("one").code == 0
    path = tmp_path / "read_only"
    path.mkdir()
    mount("--bind", place.root, path)
    mount("-o", "remount,ro,bind", path)
    place.root = path
    yield place
    subprocess.run(["umount", path], check=True)
    place.root = writable


def test_read_only_root_can_be_read(read_only: Place, tmp_path: Path, fault: Any) -> None:
    commands = [
        ["list"],
        ["verify", "one"],
        ["verify", "one", "--deep"],
        ["validate", read_only.template / "short.toml"],
        ["verify", read_only.template / "short.toml"],
        ["fetch", read_only.template / "short.toml", "--offline"],
        ["build", read_only.template / "one.toml"],
        ["export", "one", tmp_path / "exported"],
    ]
    fault("read-only root: read", cases=len(commands) + 1)
    for command in commands:
        ended = read_only.run(*command)
        assert ended.code == 0, (command, ended.err)
    store = open_store(read_only.directory("one"))
    clips = ClipDataset(store, memory_budget_bytes=0)
    np.testing.assert_array_equal(clips.read([0])[0], np.asarray(store.logmel("valve", "01")[0]))
    assert len(list((tmp_path / "exported").rglob("*.wav"))) == len(store.clips)


@pytest.mark.slow
def test_read_only_root_without_caches(read_only: Place, writable: Path, tmp_path: Path, fault: Any) -> None:
    """Archives that somebody else put there, never verified, no levels, no noise: what is found out lies elsewhere."""
    caches = [*writable.rglob("*.levels.parquet"), *writable.rglob(".locks"), *writable.rglob("archives.lock.json")]
    for path in [*caches, writable / "noise", *writable.rglob(".lock")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = files(writable)
    dataset, page = read_only.template / "short.toml", tmp_path / "one.html"
    commands: list[list[Any]] = [
        ["fetch", dataset, "--offline"],
        ["validate", dataset],
        ["verify", dataset],
        ["build", read_only.template / "one.toml"],
        ["verify", "one", "--deep"],
        ["report", "one", "--output", page],
        ["prune", "--dry-run"],
        ["export", "one", tmp_path / "exported"],
    ]
    fault("read-only root: read", cases=len(commands))
    for command in commands:
        ended = read_only.run(*command, work=str(tmp_path / "work"))
        assert ended.code == 0, (command, ended.err)
    assert files(writable) == before
    cached = {path.name for path in (tmp_path / "work").rglob("*") if path.is_file()}
    assert {"archives.lock.json", "valve.zip.levels.parquet"} <= cached
    ended = read_only.run("fetch", dataset, "--offline", work=str(tmp_path / "work"))
    assert ended.code == 0 and "taken as found" not in ended.err, "it is known now"


def test_read_only_archives_are_built_from(place: Place, tmp_path: Path, fault: Any) -> None:
    """The archives alone lie on a share that cannot be written, behind a link."""
    fault("read-only archives: built from", cases=2)
    share, archives = tmp_path / "share", place.root / "archives"
    archives.rename(share)
    for path in [*share.rglob("*.levels.parquet"), *share.rglob(".locks"), *share.rglob("archives.lock.json")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    mounted, before = tmp_path / "mounted", files(share)
    mounted.mkdir()
    mount("--bind", share, mounted)
    try:
        mount("-o", "remount,ro,bind", mounted)
        archives.symlink_to(mounted)
        for variant in ("one", "two"):
            ended = place.build(variant, work=str(tmp_path / "work"))
            assert ended.code == 0, ended.err
            assert files(place.directory(variant)) == place.undisturbed(variant)
    finally:
        subprocess.run(["umount", mounted], check=True)
    assert files(share) == before


def test_read_only_root_is_named(read_only: Place, fault: Any) -> None:
    commands = [
        ["build", read_only.template / "two.toml"],
        ["build", read_only.template / "one.toml", "--seed", 7],
        ["prune"],
        ["verify", "one", "--repair"],
        ["export", "one", read_only.root / "exported"],
    ]
    fault("read-only root: written to", cases=len(commands))
    for command in commands:
        ended = read_only.run(*command, "--quiet")
        check_fails(ended, read_only.directory("two"), "Read-only file system")
        assert str(read_only.root) in ended.err


def on_shared_memory(tmp_path: Path) -> Path:
    """A directory on another file system than temporary files."""
    path = Path("/dev/shm")
    if not os.access(path, os.W_OK) or path.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system to write to")
    return path / f"mimiidg-{os.getpid()}-{tmp_path.name}"


@pytest.mark.parametrize("part", ["root", "root/variants", pytest.param("root/archives/short", marks=pytest.mark.slow)])
def test_parts_on_another_file_system(
    template: Path, processes: Processes, tmp_path: Path, fault: Any, part: str
) -> None:
    """The root, or a part of it behind a link, elsewhere than temporary files: nothing is moved from one to another."""
    fault("root or a part of it on another file system", cases=1)
    elsewhere = on_shared_memory(tmp_path)
    try:
        if part == "root":
            place = Place(template, elsewhere, processes)
        else:
            place = Place(template, tmp_path, processes)
            elsewhere.mkdir()
            (tmp_path / part).mkdir(exist_ok=True, parents=True)
            shutil.copytree(tmp_path / part, elsewhere, dirs_exist_ok=True)
            shutil.rmtree(tmp_path / part)
            (tmp_path / part).symlink_to(elsewhere)
        assert place.build("two").code == 0
        # and a store that takes a section from the first
        ended = place.build("two", "--seed", 1, "--name", "two", "--replace")
        assert ended.code == 0, ended.err
        prune_stores(place.root)
        check_goes_on(place, "two", "--replace")
    finally:
        shutil.rmtree(elsewhere, ignore_errors=True)


def overlay(directory: Path, lower: Path) -> Path:
    """An overlay, as a container has one, on a directory that it cannot change."""
    for name in ("upper", "working", "merged"):
        (directory / name).mkdir()
    layers = f"lowerdir={lower},upperdir={directory}/upper,workdir={directory}/working"
    mount("-t", "overlay", "-o", layers, "overlay", directory / "merged")
    return directory / "merged"


@pytest.fixture
def layers(disk: Path) -> Iterator[Path]:
    """Where an overlay's directories can lie."""
    yield disk
    for merged in disk.rglob("merged"):
        subprocess.run(["umount", merged], check=True)


def test_a_build_killed_in_a_lower_layer_goes_on(place: Place, layers: Path, fault: Any) -> None:
    """A container's image was made of the killed build's root; no folder of that layer can be renamed."""
    fault("a build killed in a lower layer of an overlay")
    ended = place.build("one", crash_before=("rename", "zarr", 0))
    assert ended.code == CRASHED
    lower, place.root = place.root, overlay(layers, place.root)
    ended = place.build("one")
    assert ended.code == 0, ended.err
    prune_stores(place.root)
    assert files(place.directory("one")) == place.undisturbed("one")
    assert list((lower / "variants/one").glob("*.zarr.partial")), "the lower layer is as it was"


def test_stores_in_a_lower_layer_are_pruned(place: Place, layers: Path, fault: Any) -> None:
    fault("a store removed from a lower layer of an overlay")
    for options in ([], ["--seed", 1, "--name", "one", "--replace"]):
        assert place.build("one", *options).code == 0
    place.root = overlay(layers, place.root)
    ended = place.run("prune", "--json")
    assert ended.code == 0, ended.err
    assert [entry["why"] for entry in json.loads(ended.out)["found"] if entry["what"] == "store"] == ["superseded"]
    assert len(list(place.directory("one").glob("*.zarr*"))) == 1


@pytest.fixture
def record_on_disk(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """A record's archive to be fetched to the disk, on which nobody asked beforehand how much room there is."""
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10**12))
    place = Record.of(tmp_path)
    place.root = disk / "root"
    (disk / "something").write_text("a disk of size 0 would be one without a limit")
    return place


@pytest.mark.parametrize("free", [0, 8, 1000], ids="{} KiB".format)
def test_disk_that_fills_up_while_an_archive_comes(record_on_disk: Record, disk: Path, fault: Any, free: int) -> None:
    fault("disk full (a small tmpfs)", cases=1)
    leave_free(disk, free * KIB)
    with pytest.raises(MimiidgError) as failure:
        record_on_disk.fetch()
    assert str(failure.value).startswith(str(disk)) and "No space left on device" in str(failure.value)
    assert "free some space or correct the permissions, then run the same command again" in str(failure.value)
    assert not record_on_disk.archive.exists()
    mount("-o", "remount,size=64m", disk)
    record_on_disk.fetch()
    assert record_on_disk.archive.read_bytes() == BODY
    if free > 100:
        assert any(asked.range for asked in record_on_disk.asked), "what had arrived was kept"


@pytest.mark.slow
def test_a_root_whose_name_is_no_text(template: Path, processes: Processes, tmp_path: Path, fault: Any) -> None:
    """A folder named on a system with another encoding, with brackets and spaces: no command minds."""
    place, page = Place(template, tmp_path / os.fsdecode(b"L\xfcfter [1] *"), processes), tmp_path / "page.html"
    commands: list[list[Any]] = [
        ["fetch", template / "short.toml", "--offline", "--json"],
        ["build", template / "one.toml", "--json"],
        ["verify", "one", "--json"],
        ["report", "one", "--output", page],
        ["list", "--json"],
        ["prune", "--json"],
        ["export", "one", tmp_path / "exported"],
    ]
    fault("a root whose name is not UTF-8", cases=len(commands))
    for command in commands:
        ended = place.run(*command)
        assert ended.code == 0, (command, ended.err)
    assert files(place.directory("one")) == place.undisturbed("one")
    assert r"L\udcfcfter [1] *" in page.read_text()
