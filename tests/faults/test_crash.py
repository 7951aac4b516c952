"""Killed at any moment, then run again: the same bytes as undisturbed, nothing finished done twice, no litter."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from mimiidg_build.errors import DataError
from mimiidg_build.store.damage import find_damage
from mimiidg_build.store.store import open_store
from mimiidg_build.upkeep.prune import prune_stores
from tests.faults.injected import CRASHED, name_within, numbered
from tests.faults.moments import MOMENTS, chosen
from tests.faults.place import Place, files

EPOCHS = 8


def everything(path: Path) -> set[str]:
    """Every file and directory; locks stay for good."""
    return {p.relative_to(path).as_posix() for p in path.rglob("*") if not p.name.endswith(".lock")}


def journalled(directory: Path) -> dict[str, int]:
    """When each object was written that the journal of a build says is finished."""
    noted = [json.loads(entry.read_text()) for entry in directory.glob("*.journal/*.json")]
    objects = [entry["path"] for result in noted for entry in result["objects"]]
    stores = [*directory.glob("*.zarr"), *directory.glob("*.zarr.partial")]
    assert len(stores) == 1 or not objects
    return {path: (stores[0] / path).stat().st_mtime_ns for path in objects}


def check_nothing_half_published(directory: Path) -> None:
    """A store that has its name is whole; anything else is refused."""
    for path in directory.glob("*.zarr"):
        assert find_damage(open_store(path)) == {}
    if not list(directory.glob("*.zarr")):
        with pytest.raises(DataError, match="unfinished build only|is not a store"):
            open_store(directory)


def check_goes_on(place: Place, variant: str) -> None:
    """Run the same again: what was finished stays as it was, and what comes out is what an undisturbed build gives."""
    directory = place.directory(variant)
    check_nothing_half_published(directory)
    finished = journalled(directory)
    ended = place.build(variant)
    assert ended.code == 0, ended.err
    store = open_store(directory)
    assert {path: (store.path / path).stat().st_mtime_ns for path in finished} == finished, "written once"
    check_undisturbed(place, variant)


def check_undisturbed(place: Place, variant: str) -> None:
    """After ``mimiidg prune``, the variant's directory holds what an undisturbed build leaves, and nothing else."""
    prune_stores(place.root)
    assert files(place.directory(variant)) == place.undisturbed(variant)
    assert everything(place.directory(variant)) == everything(place.template / "root/variants" / variant)


def forget(place: Place, variant: str) -> None:
    shutil.rmtree(place.directory(variant))


def steps_of(place: Place) -> list[tuple[str, str]]:
    """All steps of an undisturbed build in their order: what is done, and to which name; see ``injected``."""
    place.directory("one").parent.mkdir(exist_ok=True)
    ended = place.build("one", list_steps=True)
    assert ended.code == 0, ended.err
    forget(place, "one")
    return [(verb, name) for verb, name in json.loads(ended.out.splitlines()[-1])]


def crashes(place: Place, **fault: Any) -> bool:
    """Let a build of ``one`` die; False if it ended without."""
    ended = place.build("one", **fault)
    assert (ended.code, ended.err) in ((CRASHED, ""), (0, "")), (fault, ended)
    return ended.code == CRASHED


# The files of ``one``: three shards of two arrays in any order, each noted once both are there; then these, in order.
SECTION = "zarr.partial/valve/section_01"
SHARDS = {k: {f"{SECTION}/audio/c/{k}/0", f"{SECTION}/logmel/c/{k}/0/0"} for k in range(3)}
ENTRIES = {k: f"journal/valve-section_01-000{k}.json" for k in range(3)}
RENDERED = {*ENTRIES.values()}.union(*SHARDS.values())
WRITTEN = [
    "zarr.partial/clips.parquet",
    "zarr.partial/mix_plan.parquet",
    f"{SECTION}/audio/zarr.json",
    f"{SECTION}/logmel/zarr.json",
    f"{SECTION}/zarr.json",
    "zarr.partial/valve/zarr.json",
    "zarr.partial/croissant.json",
    "zarr.partial/zarr.json.copy",
    "zarr.partial/zarr.json",  # has the digest of all the others, and is what makes it a store
]
STORE = {name.replace("zarr.partial", "zarr") for name in RENDERED.union(WRITTEN) - {*ENTRIES.values()}}


def left(directory: Path) -> tuple[set[str], list[Path]]:
    """What lies in a variant's directory: the names of files that have theirs, and the files that have not."""
    found = [path for path in directory.rglob("*") if path.is_file() and not path.name.endswith(".lock")]
    unnamed = [path for path in found if path.name.endswith(".partial")]
    return {name_within(path) for path in found if path not in unnamed}, unnamed


def check_left(names: set[str], target: str) -> None:
    """Before ``target`` got its name, everything that must be there by then was there, and nothing that must not."""
    if target == "latest":
        assert names == STORE | {*ENTRIES.values()}
    elif target in WRITTEN:
        assert names == RENDERED.union(WRITTEN[: WRITTEN.index(target)])
    else:
        (k,) = (k for k in ENTRIES if target in SHARDS[k] | {ENTRIES[k]})
        assert target not in names and ENTRIES[k] not in names and names < RENDERED
        assert target in SHARDS[k] or SHARDS[k] <= names
        assert all(SHARDS[other] <= names for other in ENTRIES if ENTRIES[other] in names), "noted when it is there"


def kind_of(target: str) -> str:
    """Shard, journal entry, table, metadata of an array or a group, copy of the root's, that itself; ``latest``."""
    if target in RENDERED:
        return "entry" if target in ENTRIES.values() else "shard"
    return target if target == WRITTEN[-1] else Path(target).suffix


@pytest.mark.parametrize("moments", MOMENTS)
def test_every_file_half_written(place: Place, fault: Any, moments: str) -> None:
    """A build dies while it writes a shard, a journal entry, a table, metadata or ``latest``: each in its turn."""
    every = [name for verb, name in steps_of(place) if verb == "replace"]
    assert sorted(every) == sorted([*RENDERED, *WRITTEN, "latest"])
    targets = chosen(moments, every, kind_of)
    fault("build crashed while it wrote a file", cases=len(targets))
    for target in targets:
        assert crashes(place, crash_writing=target), target
        names, unnamed = left(place.directory("one"))
        assert f"{target}.partial" in map(name_within, unnamed), "half of it is there"
        check_left(names, target)
        check_goes_on(place, "one")
        forget(place, "one")


@pytest.mark.parametrize("moments", MOMENTS)
def test_every_step_from_the_rename_on(place: Place, fault: Any, moments: str) -> None:
    """A build dies before each step that gives the store its name, moves ``latest`` and removes the journal."""
    steps = numbered(steps_of(place))
    (start,) = (index for index, (verb, *_) in enumerate(steps) if verb == "rename")
    last = steps[start:]
    verbs = [verb for verb, *_ in last]
    assert [step[:2] for step in last if step[0] in ("rename", "replace", "rmdir")] == [
        ("rename", "zarr"),
        ("replace", "latest"),
        ("rmdir", "journal"),
    ]
    assert [verb for verb in verbs if verb == "unlink"] == ["unlink"] * len(ENTRIES)
    tried = chosen(moments, list(enumerate(last)), lambda moment: moment[1][0])
    fault("build crashed at a step of publishing", cases=len(tried))
    for index, step in tried:
        assert crashes(place, crash_before=step), step
        names, _ = left(place.directory("one"))
        is_named, is_latest = index > 0, "replace" in verbs[:index]
        assert names >= (STORE if is_named else {*WRITTEN})
        assert ("latest" in names) == is_latest
        assert len(names & {*ENTRIES.values()}) == len(ENTRIES) - verbs[:index].count("unlink")
        check_goes_on(place, "one")
        forget(place, "one")


@pytest.mark.slow
def test_every_step_of_a_build(place: Place, fault: Any) -> None:
    steps = numbered(steps_of(place))
    fault("build crashed at any step", cases=len(steps))
    n_crashes = 0
    for step in steps:
        n_crashes += crashes(place, crash_before=step)
        check_goes_on(place, "one")
        forget(place, "one")
    assert n_crashes >= len(steps) - 10, "shards come in any order, so a folder is not always made for the same one"
    assert n_crashes > 100


def test_while_clips_wait(place: Place, fault: Any) -> None:
    """A first build dies while inflated clips wait to be mixed: in a file that has lost its name, or is about to."""
    steps = [("unlink", "inflated.partial", 0), ("replace", f"{SECTION}/logmel/c/1/0/0", 0)]
    fault("build crashed while clips waited to be mixed", cases=len(steps))
    for step, names in zip(steps, (["inflated.partial"], []), strict=True):
        for levels in place.root.rglob("*.levels.parquet"):
            levels.unlink()
        assert crashes(place, crash_before=step), step
        found = [name_within(path) for path in place.directory("one").glob("*.partial") if path.is_file()]
        assert found == names
        check_goes_on(place, "one")
        forget(place, "one")


def kill_at_random(place: Place, seed: int, number: int, code: int) -> int:
    """Kill builds at up to three moments, run on; how many moments came before the build's end."""
    rng, n_killed = random.Random(seed), 0
    for _ in range(rng.randint(1, 3)):
        process = place.start("build", place.template / "two.toml", "--quiet", "--workers", 2)
        time.sleep(rng.uniform(0, 0.5))
        os.kill(process, number)
        ended = place.processes.wait(process)
        assert ended.code in (code, 0), ended.err
        assert "Traceback" not in ended.err
        n_killed += ended.code == code
        check_nothing_half_published(place.directory("two"))
    check_goes_on(place, "two")
    forget(place, "two")
    return n_killed


@pytest.mark.parametrize("seeds", [range(6), pytest.param(range(6, 50), marks=pytest.mark.slow)], ids=["6", "50"])
def test_killed_at_random_moments(place: Place, fault: Any, seeds: range) -> None:
    fault("build killed (SIGKILL) at a random moment", cases=len(seeds))
    assert sum(kill_at_random(place, seed, signal.SIGKILL, -signal.SIGKILL) for seed in seeds) >= len(seeds) / 2


def test_stopped_by_hand(place: Place, fault: Any) -> None:
    """Ctrl-C while it renders: it says that what is finished is kept, and it is."""
    fault("build stopped with Ctrl-C", cases=1)
    process = place.start("build", place.template / "two.toml", "--quiet", "--workers", 1, slow=0.5)
    while not list(place.directory("two").glob("*.journal/*.json")):
        time.sleep(0.01)
    os.kill(process, signal.SIGINT)
    ended = place.processes.wait(process)
    assert (ended.code, ended.out) == (130, "")
    assert ended.err.strip() == "stopped. What is finished is kept: run the same command again to go on."
    assert journalled(place.directory("two"))
    check_goes_on(place, "two")


def test_everything_is_on_the_disk_before_it_has_its_name(place: Place, fault: Any) -> None:
    """After a power cut what was not flushed may be empty: at the rename, everything was since it last changed."""
    ended = place.build("two", list_unflushed_at_rename=True)
    assert ended.code == 0, ended.err
    found = json.loads(ended.out.splitlines()[-1])
    fault("power cut: a file or directory not flushed when the store got its name", cases=found["n_checked"])
    assert found["unflushed"] == [] and found["n_checked"] > 40


PARTS = ["zarr.json", "valve/zarr.json", "valve/section_01/*/zarr.json", "*.parquet", "*/*/*/c/**/*", "../*.journal/*"]


@pytest.mark.parametrize("moments", MOMENTS)
def test_emptied_by_a_power_cut(place: Place, fault: Any, moments: str) -> None:
    """Whatever was not flushed when the power went is there and empty: nothing of it is taken for finished."""
    parts = chosen(moments, PARTS, lambda part: Path(part).name)
    fault("power cut: files of an unfinished build are empty", cases=len(parts))
    assert crashes(place, crash_before=("rename", "zarr", 0)), "all is written but the name"
    names, unnamed = left(place.directory("one"))
    assert (names, unnamed) == (RENDERED.union(WRITTEN), [])
    shutil.copytree(place.directory("one"), place.root / "killed")
    for part in parts:
        forget(place, "one")
        shutil.copytree(place.root / "killed", place.directory("one"))
        emptied = [path for path in place.directory("one").glob(f"*.zarr.partial/{part}") if path.is_file()]
        assert emptied
        for path in emptied:
            path.write_bytes(b"")
        ended = place.build("one")
        assert ended.code == 0, ended.err
        check_undisturbed(place, "one")


@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 9), marks=pytest.mark.slow)], ids=["1", "9"])
def test_killed_training_goes_on(place: Place, fault: Any, seeds: range) -> None:
    """Killed, and run again: weights and scores to the last bit, epochs that were finished not trained again."""
    fault("training killed (SIGKILL) at a random moment", cases=len(seeds))
    place.processes.load("torch._dynamo")  # 1.5 s of every process that makes its first optimizer
    ended = place.build("one")
    assert ended.code == 0, ended.err
    runs = place.root / "runs"

    def start(**faults: Any) -> int:
        return place.processes.start(place.directory("one"), place.root, EPOCHS, action="train", **faults)

    def finish(process: int) -> tuple[list[int], dict[str, bytes]]:
        """The epochs that were trained, and what lies in the run's directory, but for durations."""
        ended = place.processes.wait(process)
        assert ended.code == 0, ended.err
        prune_stores(place.root)
        content = {Path(name).name: data for name, data in files(runs).items()}
        shutil.rmtree(runs)
        losses = content["loss_valve.csv"].decode().splitlines()
        assert [int(line.split(",")[0]) for line in losses[1:]] == list(range(1, EPOCHS + 1))
        content["loss_valve.csv"] = "\n".join(",".join(line.split(",")[:3]) for line in losses).encode()
        del content["summary_valve.json"]
        return json.loads(ended.out), content

    epochs, undisturbed = finish(start())
    assert epochs == list(range(1, EPOCHS + 1))
    for seed in seeds:
        process = start(slow_epochs=0.05)
        while not list(runs.rglob("checkpoint_*.pt")):
            time.sleep(0.005)
        time.sleep(random.Random(seed).uniform(0, 0.05 * EPOCHS))
        os.kill(process, signal.SIGKILL)
        assert place.processes.wait(process).code == -signal.SIGKILL
        epochs, content = finish(start())
        assert epochs == list(range(EPOCHS - len(epochs) + 1, EPOCHS + 1)) and len(epochs) < EPOCHS
        assert content == undisturbed
