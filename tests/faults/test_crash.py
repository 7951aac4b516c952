"""Killed at any moment, then run again: the same bytes as undisturbed, nothing finished done twice, no litter."""

from __future__ import annotations

import itertools
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
from mimiidg_build.store.store import find_damage, open_store
from mimiidg_build.upkeep.prune import prune
from tests.faults.processes import CRASHED, Place, files

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
        with pytest.raises(DataError, match="unfinished build only|is no store"):
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
    """After ``prune``, the variant's directory holds what an undisturbed build leaves, and nothing else."""
    prune(place.root)
    assert files(place.directory(variant)) == place.undisturbed(variant)
    assert everything(place.directory(variant)) == everything(place.template / "root/variants" / variant)


def forget(place: Place, variant: str) -> None:
    shutil.rmtree(place.directory(variant))


def steps_of(place: Place, fault: str) -> list[str]:
    """The names of all steps that an undisturbed build takes."""
    ended = place.build("one", **{fault: 0})
    assert ended.code == 0, ended.err
    forget(place, "one")
    steps: list[str] = json.loads(ended.out.splitlines()[-1])
    return steps


def crashes(place: Place, step: int, fault: str) -> bool:
    """Let a build die before a step, and another go on; False if it ended before it came there."""
    ended = place.build("one", **{fault: step})
    if ended.code != 0:
        assert (ended.code, ended.err) == (CRASHED, ""), step
        check_goes_on(place, "one")
    forget(place, "one")
    return ended.code != 0


def test_every_step_from_the_rename_on(place: Place, fault: Any) -> None:
    """A build dies before each step that gives the store its name, moves ``latest`` and removes the journal."""
    steps = steps_of(place, "crash_publishing_at")
    chosen = range(steps.index("rename") + 1, len(steps) + 1)
    assert steps.count("rename") == 1 and len(chosen) > 9
    fault("build crashed at a step of publishing", cases=len(chosen))
    for step in chosen:
        assert crashes(place, step, "crash_publishing_at")


def test_steps_up_to_the_rename(place: Place, fault: Any) -> None:
    """A build dies while it writes tables and metadata and flushes everything: at each sixth step."""
    steps = steps_of(place, "crash_publishing_at")
    chosen = range(1, steps.index("rename") + 1, 6)
    fault("build crashed at a step of publishing", cases=len(chosen))
    for step in chosen:
        assert crashes(place, step, "crash_publishing_at")


@pytest.mark.slow
def test_every_step_of_a_build(place: Place, fault: Any) -> None:
    n_steps = len(steps_of(place, "crash_at"))
    fault("build crashed at any step", cases=n_steps)
    # zarr writes metadata from threads, so two runs differ by a step or two
    n_crashes = next(step for step in itertools.count(1) if not crashes(place, step, "crash_at")) - 1
    assert n_crashes == pytest.approx(n_steps, abs=10) and n_crashes > 100


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


def test_emptied_by_a_power_cut(place: Place, fault: Any) -> None:
    """Whatever was not flushed when the power went is there and empty: nothing of it is taken for finished."""
    fault("power cut: files of an unfinished build are empty", cases=len(PARTS))
    whole = steps_of(place, "crash_publishing_at").index("rename") + 1  # dies when all is written but the name
    place.build("one", crash_publishing_at=whole)
    shutil.copytree(place.directory("one"), place.root / "killed")
    for part in PARTS:
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
    ended = place.build("one")
    assert ended.code == 0, ended.err
    runs = place.root / "runs"

    def start(**faults: Any) -> int:
        return place.processes.start(place.directory("one"), place.root, EPOCHS, action="train", **faults)

    def finish(process: int) -> tuple[list[int], dict[str, bytes]]:
        """The epochs that were trained, and what lies in the run's directory, but for durations."""
        ended = place.processes.wait(process)
        assert ended.code == 0, ended.err
        prune(place.root)
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
