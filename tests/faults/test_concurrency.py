"""Several at once: builders of one variant, readers of ``latest`` while it moves, and `prune` among them all."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimiidg_build.errors import DataError
from mimiidg_build.storage.holds import alone
from mimiidg_build.store.damage import verify_objects
from mimiidg_build.store.store import open_store
from mimiidg_build.upkeep import prune
from mimiidg_build.upkeep.prune import prune_stores
from tests.faults.place import Place, files
from tests.faults.processes import Processes
from tests.small_store import make_store


def until(is_so: Callable[[], object]) -> None:
    """Wait for something that other processes bring about."""
    end = time.monotonic() + 180  # of a busy machine
    while time.monotonic() < end:
        if is_so():
            return
        time.sleep(0.01)
    pytest.fail("it did not come about in 180 s")


def rebuild(place: Place, seed: int) -> Path:
    """Build the variant ``one`` anew with other noise, so that ``latest`` moves; the store's path."""
    ended = place.build("one", "--seed", seed, "--name", "one", "--replace", "--json")
    assert ended.code == 0, ended.err
    return Path(json.loads(ended.out)["path"])


@pytest.mark.parametrize("n_builders", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_builders_of_one_variant(place: Place, fault: Any, n_builders: int) -> None:
    """One does the work; the others wait, say so, and find it done."""
    fault("builds of one variant at once", cases=n_builders)
    command = ["build", place.template / "two.toml", "--workers", 1, "--quiet"]
    processes = [place.start(*command, slow=0.2)]
    until(lambda: list(place.directory("two").glob("*.journal/*.json")))
    processes += [place.start(*command) for _ in range(n_builders - 1)]
    ended = [place.processes.wait(process) for process in processes]
    assert [one.code for one in ended] == [0] * n_builders, [one.err for one in ended]
    assert ended[0].err == "" and "nothing to do" not in ended[0].out
    for one in ended[1:]:
        assert one.err == "another build of two is running; waiting for it\n"
        assert "nothing to do, it is built" in one.out
    assert files(place.directory("two")) == place.undisturbed("two")


def test_builders_in_containers_of_their_own(place: Place, fault: Any) -> None:
    """They share the root and the noise that both prepare, and a third one prunes."""
    fault("builds in containers that share a root", cases=2)
    shutil.rmtree(place.root / "noise")
    for levels in place.root.rglob("*.levels.parquet"):
        levels.unlink()
    builds = [
        place.start("build", place.template / f"{variant}.toml", "--workers", 1, "--quiet", another_container=True)
        for variant in ("one", "two")
    ]
    for _ in range(5):
        ended = place.run("prune", "--unfinished", another_container=True)
        assert ended.code == 0, ended.err
    for build in builds:
        ended = place.processes.wait(build)
        assert (ended.code, ended.err) == (0, ""), ended.err
    for variant in ("one", "two"):
        assert files(place.directory(variant)) == place.undisturbed(variant)
    assert files(place.root / "noise") == files(place.template / "root/noise"), "no litter there"


def test_builder_that_waits_for_one_that_is_killed(place: Place, fault: Any) -> None:
    fault("a waiting build takes over from one that is killed", cases=1)
    command = ["build", place.template / "two.toml", "--workers", 1, "--quiet"]
    first = place.start(*command, slow=0.5)
    until(lambda: list(place.directory("two").glob("*.journal/*.json")))
    (entry,) = place.directory("two").glob("*.journal/*.json")
    (staging,) = place.directory("two").glob("*.zarr.partial")
    path = json.loads(entry.read_text())["objects"][0]["path"]
    finished_ns = (staging / path).stat().st_mtime_ns
    second = place.start(*command)
    output = place.processes.outputs[second].with_suffix(".err")
    until(lambda: "waiting for it" in output.read_text())
    os.kill(first, signal.SIGKILL)
    assert place.processes.wait(first).code == -signal.SIGKILL
    ended = place.processes.wait(second)
    assert ended.code == 0 and "nothing to do" not in ended.out
    store = open_store(place.directory("two"))
    assert (store.path / path).stat().st_mtime_ns == finished_ns
    assert files(place.directory("two")) == place.undisturbed("two")


def test_reader_of_latest_while_it_moves(place: Place, fault: Any) -> None:
    """Stores come, ``latest`` moves, old stores go: whoever reads sees one whole store at any time, and keeps it."""
    n_rebuilds, done = 6, place.root / "done"
    fault("`latest` moved and old stores pruned under readers", cases=n_rebuilds)
    first = rebuild(place, 100)
    reader = place.start_action("read_latest", place.directory("one"), done)
    paths = [rebuild(place, 101)]
    until(lambda: (place.processes.outputs[reader].with_suffix(".out")).read_text())
    for seed in range(102, 101 + n_rebuilds):
        paths.append(rebuild(place, seed))
        assert place.run("prune").code == 0
    done.touch()
    ended = place.processes.wait(reader)
    assert ended.code == 0, ended.err
    seen = json.loads(ended.out.splitlines()[-1])
    assert len(seen["fingerprints"]) > 1, "it moved while it was read"
    assert first.is_dir(), "held all the while"
    assert paths[-1].is_dir()
    assert place.run("prune").code == 0
    assert [path for path in (first, *paths) if path.exists()] == paths[-1:]


HOLDERS = {
    "a store": "held = open_store(path)",
    "its clips": "held = ClipDataset(open_store(path), memory_budget_bytes=0)",
    "a loader's workers": "held = iter(ClipDataset(open_store(path), memory_budget_bytes=0).loader(4, num_workers=2))",
    "a copy sent to another process": "held = pickle.loads(pickle.dumps(open_store(path)))",
    "clips sent to another process": "held = pickle.loads(pickle.dumps(ClipDataset(open_store(path))))",
}


def superseded(root: Path) -> tuple[Path, Path]:
    """Two whole stores of a variant, and the older one's path first."""
    store = make_store(root, sections=["fan/00"])
    older = store.path.rename(store.path.with_name("older.zarr"))
    del store
    make_store(root, sections=["fan/00"])
    return older, older.with_name("small.zarr")


@pytest.mark.parametrize("what", HOLDERS)
def test_prune_leaves_what_is_held(tmp_path: Path, processes: Processes, fault: Any, what: str) -> None:
    """Held by a process, until that ends, even if it is killed."""
    fault("prune while another process reads the store", cases=1)
    older, latest = superseded(tmp_path)
    process = processes.start(HOLDERS[what], older, action="hold")
    until(processes.outputs[process].with_suffix(".out").read_text)
    (verdict,) = [v for v in prune_stores(tmp_path) if v.found.paths == (older,)]
    assert (verdict.goes, verdict.why) == (False, "it is being read")
    assert older.is_dir()
    os.kill(process, signal.SIGKILL)
    assert processes.wait(process).code == -signal.SIGKILL
    until(lambda: [v for v in prune_stores(tmp_path) if v.goes])  # a loader's workers end a moment after it
    assert not older.exists() and latest.is_dir()


def test_prune_leaves_what_is_opened_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any) -> None:
    """Between the survey, which finds a store that nobody reads, and its removal, somebody opens it."""
    fault("prune while another process reads the store", cases=1)
    older, _ = superseded(tmp_path)
    opened = []

    def decide(*arguments: Any, **options: Any) -> list[prune.Verdict]:
        verdicts = decide_as_it_is(*arguments, **options)
        opened.append(open_store(older))
        return verdicts

    decide_as_it_is = prune.decide
    monkeypatch.setattr(prune, "decide", decide)
    (verdict,) = [v for v in prune_stores(tmp_path) if v.found.paths == (older,)]
    assert (verdict.goes, verdict.why) == (False, "it is being read")
    assert older.is_dir()


def test_a_hold_ends_with_what_has_it(tmp_path: Path) -> None:
    older, _ = superseded(tmp_path)
    store = open_store(older)
    copy = pickle.loads(pickle.dumps(store))
    del store
    with alone(older) as nobody:
        assert not nobody, "its copy has it still"
    del copy
    with alone(older) as nobody:
        assert nobody


def test_prune_leaves_a_variant_that_is_being_built(place: Place, fault: Any) -> None:
    fault("prune while a build runs", cases=1)
    old = rebuild(place, 100)
    process = place.start(
        "build",
        place.template / "one.toml",
        "--name",
        "one",
        "--replace",
        "--seed",
        1,
        "--workers",
        1,
        "--quiet",
        slow=0.3,
    )
    until(lambda: list(place.directory("one").glob("*.journal/*.json")))
    ended = place.run("prune", "--unfinished", "--json")
    assert ended.code == 0, ended.err
    found = {entry["what"]: (entry["verdict"], entry["why"]) for entry in json.loads(ended.out)["found"]}
    assert found["build"] == ("kept", "a build of the variant is running")
    assert old.is_dir()
    assert place.processes.wait(process).code == 0
    rebuilt = open_store(place.directory("one"))
    assert verify_objects(rebuilt) == [] and rebuilt.path != old


def test_opening_what_is_being_removed(tmp_path: Path, fault: Any) -> None:
    """Between a reader's finding a store and its holding it, the store can go: it says so, or takes the new latest."""
    fault("a store removed while it is being opened", cases=2)
    older, latest = superseded(tmp_path)
    (older.parent / "latest").write_text("older\n")
    real = Path.is_file

    def removed_meanwhile(path: Path) -> bool:
        found = real(path)
        if path == older.parent / "latest" and older.exists():
            (older.parent / "latest").write_text("small\n")
            older.rename(older.with_name("gone"))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "is_file", removed_meanwhile)
        assert open_store(older.parent).path == latest
    with pytest.raises(DataError, match="older.zarr is not a store"):
        open_store(older)


def test_what_is_mapped_stays_readable(tmp_path: Path) -> None:
    """Repaired or removed, a file that is mapped keeps its bytes for whoever has it."""
    from mimiidg_build.training.clip_dataset import ClipDataset

    older, _ = superseded(tmp_path)
    clips = ClipDataset(open_store(older), memory_budget_bytes=0)
    before = clips.read(np.arange(len(clips))).numpy().copy()
    for shard in older.rglob("c/*/0/0"):
        replacement = shard.with_name("new")
        replacement.write_bytes(b"")
        os.replace(replacement, shard)
    np.testing.assert_array_equal(clips.read(np.arange(len(clips))).numpy(), before)
