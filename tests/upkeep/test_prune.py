"""Pruning: what goes and why, as a table; then on a root where everything of the kind lies about."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mimiidg_build.cli import main
from mimiidg_build.errors import UsageError
from mimiidg_build.fetch.lock import guard
from mimiidg_build.storage.locks import variant_lock
from mimiidg_build.store.store import open_store
from mimiidg_build.upkeep import prune
from mimiidg_build.upkeep.prune import STAYS, decide, prune_stores
from mimiidg_build.upkeep.survey import BUILDING, READ, Found, Kind
from tests.small_store import make_store


def found(kind: Kind, name: str, changed_s: float = 0.0, needed: str = "", replaced: bool = False) -> Found:
    return Found(kind, (Path(name),), "demo", changed_s, needed, replaced)


@pytest.mark.parametrize(
    ("one", "options", "goes", "why"),
    [
        (found("store", "a.zarr", needed="latest"), {}, False, "latest"),
        (found("store", "a.zarr"), {}, True, "superseded"),
        (found("store", "a.zarr", needed=READ), {}, False, "it is being read"),
        (found("store", "a.zarr"), {"keep": 1}, False, "kept by --keep"),
        (found("build", "a.zarr.partial"), {}, False, "can be resumed: run it again, or remove it with --unfinished"),
        (found("build", "a.zarr.partial"), {"unfinished": True}, True, "interrupted"),
        (found("build", "a.zarr.partial", replaced=True), {}, True, "interrupted, and replaced since"),
        (found("build", "a.zarr.partial", needed=BUILDING), {"unfinished": True}, False, BUILDING),
        (found("transfer", "fan.zip.part"), {}, False, "can be resumed: run it again, or remove it with --unfinished"),
        (found("transfer", "fan.zip.part", replaced=True), {}, True, "interrupted, and replaced since"),
        (found("journal", "a.journal"), {}, True, "left by a run that ended"),
        (found("temporary", "latest.17.partial"), {}, True, "left by a run that ended"),
        (found("runs", "a"), {}, False, "its store is gone; remove it with --runs"),
        (found("runs", "a"), {"runs": True}, True, "its store is gone"),
    ],
)
def test_verdicts(one: Found, options: dict[str, int], goes: bool, why: str) -> None:
    (verdict,) = decide([one], **options)
    assert (verdict.found, verdict.goes, verdict.why) == (one, goes, why)


@pytest.mark.parametrize(("keep", "kept"), [(0, ""), (1, "b"), (2, "bc"), (9, "abc")])
def test_the_newest_are_kept(keep: int, kept: str) -> None:
    """Besides what is needed anyway, whose age does not count."""
    ages = {"a": 1.0, "b": 3.0, "c": 2.0}
    stores = [found("store", f"{name}.zarr", changed_s) for name, changed_s in ages.items()]
    verdicts = decide([*stores, found("store", "d.zarr", 9.0, needed="latest")], keep=keep)
    assert {v.found.paths[0].stem for v in verdicts if not v.goes} == {"d", *kept}


@pytest.mark.parametrize("needed", ["latest", ""])
def test_runs_go_with_their_store(needed: str) -> None:
    everything = [found("store", "a.zarr", needed=needed), found("runs", "a"), found("runs", "b")]
    verdicts = decide(everything, runs=True)
    assert [v.goes for v in verdicts] == [not needed, not needed, True]
    assert verdicts[1].why == (STAYS if needed else "its store is gone")
    assert not any(v.goes for v in decide(everything, keep=1, runs=True)[:2])


def ended_process() -> int:
    """The number of a process that is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def write(path: Path, size_bytes: int = 100, changed_s: float | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size_bytes)
    if changed_s is not None:
        os.utime(path, (changed_s, changed_s))
        os.utime(path.parent, (changed_s, changed_s))
    return path


@pytest.fixture
def untidy(tmp_path: Path) -> Path:
    """A root with a latest store, an older one that shares a shard with it, and something of everything else."""
    store = make_store(tmp_path, sections=["fan/00"])
    older = store.path.rename(store.path.with_name("older.zarr"))
    latest = make_store(tmp_path, sections=["fan/00"]).path
    shard = "fan/section_00/audio/c/0/0"
    (older / shard).unlink()
    (older / shard).hardlink_to(latest / shard)
    variant, dead, alive = older.parent, ended_process(), os.getpid()
    (variant / ".lock").touch()
    write(variant / "replaced.zarr.partial/zarr.json", changed_s=1e9)
    write(variant / "replaced.journal/fan-0000.json", changed_s=1e9)
    write(variant / "going.zarr.partial/zarr.json", changed_s=9e9)
    write(variant / "going.journal/fan-0000.json", changed_s=9e9)
    write(variant / "small.journal/fan-0000.json")
    write(variant / f"latest.{dead}.partial")
    write(variant / "half.zarr.removed/zarr.json")
    record = tmp_path / "archives/123"
    write(record / "fan.zip"), write(record / "fan.zip.part"), write(record / "fan.zip.part.json")
    write(record / "valve.zip.part"), write(record / "valve.zip.part.json")
    write(record / f"fan.zip.levels.parquet.{dead}.partial")
    write(record / f"archives.lock.json.{alive}.tmp")
    write(record.with_name("123.served") / "fan.zip")
    write(tmp_path / "noise" / f"a.{dead}.partial"), write(tmp_path / "noise/a.int16")
    for name in ("small", "older", "gone"):
        write(tmp_path / "runs/small" / name / "autoencoder-paper-0/weights_fan.pt")
    write(tmp_path / f"runs/small/small/autoencoder-paper-0/checkpoint_fan.pt.{dead}.partial")
    write(tmp_path / "reports/small/index.html")
    return tmp_path


def listing(root: Path) -> set[str]:
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file() and not p.name.endswith(".lock")}


def size_on_disk(root: Path) -> int:
    return sum({s.st_ino: s.st_size for s in (p.stat() for p in root.rglob("*") if p.is_file())}.values())


GOES = {
    "variants/small/older.zarr",
    "variants/small/replaced.zarr.partial",
    "variants/small/small.journal",
    "variants/small/latest.DEAD.partial",
    "variants/small/half.zarr.removed",
    "archives/123/fan.zip.part",
    "archives/123.served",
    "archives/123/fan.zip.levels.parquet.DEAD.partial",
    "noise/a.DEAD.partial",
    "runs/small/small/autoencoder-paper-0/checkpoint_fan.pt.DEAD.partial",
}
ASKED = {
    "unfinished": {"variants/small/going.zarr.partial", "archives/123/valve.zip.part"},
    "runs": {"runs/small/older", "runs/small/gone"},
}


@pytest.mark.parametrize("asked", [(), ("unfinished",), ("runs",), ("unfinished", "runs")], ids="+".join)
def test_a_root_is_tidied(untidy: Path, asked: tuple[str, ...]) -> None:
    before = listing(untidy)
    planned = prune_stores(untidy, dry_run=True, **dict.fromkeys(asked, True))
    assert listing(untidy) == before
    used_bytes = size_on_disk(untidy)
    done = prune_stores(untidy, **dict.fromkeys(asked, True))
    assert done == planned
    went = {v.found.paths[0].relative_to(untidy).as_posix() for v in done if v.goes}
    wanted = GOES.union(*(ASKED[name] for name in asked))
    assert {re.sub(r"\.[0-9]+\.partial$", ".DEAD.partial", path) for path in went} == wanted
    gone = [path.relative_to(untidy).as_posix() for v in done if v.goes for path in v.found.paths]
    assert before - listing(untidy) == {file for file in before if file.startswith(tuple(gone))}
    assert sum(v.freed_bytes for v in done) == used_bytes - size_on_disk(untidy), "a shared shard is not freed"
    assert [v for v in prune_stores(untidy, **dict.fromkeys(asked, True)) if v.goes] == []
    assert open_store(untidy / "variants/small").path.name == "small.zarr"


def test_only_the_variants_that_are_named(untidy: Path) -> None:
    make_store(untidy, "other", sections=["fan/00"])
    write(untidy / "variants/other/old.zarr/zarr.json")
    assert {v.found.paths[0].name for v in prune_stores(untidy, ["other"]) if v.goes} == {"old.zarr"}
    assert (untidy / "variants/small/older.zarr").is_dir() and (untidy / "archives/123/fan.zip.part").exists()
    with pytest.raises(UsageError, match="has no variant nothing; it has other, small"):
        prune_stores(untidy, ["nothing"])


def test_nothing_of_what_is_in_use(untidy: Path) -> None:
    held = open_store(untidy / "variants/small/older.zarr")
    with guard(untidy / "archives/123", "fan.zip"):
        kept = {v.found.paths[0].name: v.why for v in prune_stores(untidy, unfinished=True) if not v.goes}
    assert kept["older.zarr"] == READ and kept["fan.zip.part"] == "it is being fetched"
    assert held.path.is_dir()
    del held
    with variant_lock(untidy / "variants/small"):
        kept = {v.found.paths[0].name: v.why for v in prune_stores(untidy, unfinished=True) if not v.goes}
    assert kept["older.zarr"] == BUILDING
    assert [v.found.paths[0].name for v in prune_stores(untidy) if v.goes] == ["older.zarr"], "all else went before"


@pytest.mark.parametrize("content", [None, "nothing\n", "..\n", "\xff"])
def test_without_a_latest_every_store_stays(untidy: Path, content: str | None) -> None:
    latest = untidy / "variants/small/latest"
    latest.unlink() if content is None else latest.write_text(content)
    kept = {v.found.paths[0].name: v.why for v in prune_stores(untidy) if not v.goes}
    assert kept["older.zarr"] == kept["replaced.zarr.partial"].replace(
        kept["replaced.zarr.partial"], kept["small.zarr"]
    )
    assert "build the variant again" in kept["older.zarr"]


def test_a_store_whose_build_was_killed_at_its_last_step_stays(untidy: Path) -> None:
    write(untidy / "variants/small/older.journal/fan-0000.json")
    (verdict,) = [v for v in prune_stores(untidy, unfinished=True) if v.found.paths[0].name == "older.zarr"]
    assert (verdict.goes, verdict.why) == (False, "its build was killed at its last step; run it again")
    assert (untidy / "variants/small/older.journal").is_dir()


def test_command(untidy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", "--dry-run", "--json", "--root", str(untidy)]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert {"path", "what", "verdict", "why", "freed_bytes"} == set(planned["found"][0])
    assert {entry["verdict"] for entry in planned["found"]} == {"would go", "kept"}
    assert main(["prune", "--root", str(untidy)]) == 0
    out = capsys.readouterr().out
    assert "variants/small/older.zarr" in out and "superseded" in out
    assert out.splitlines()[-1] == f"{planned['freed_bytes'] / 1e6:,.1f} MB freed under {untidy}"
    assert main(["prune", "nothing", "--root", str(untidy)]) == 2
    assert "has no variant nothing" in capsys.readouterr().err
    assert main(["prune", "--root", str(untidy / "empty")]) == 0


def test_a_removal_that_is_stopped_leaves_no_part_of_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store loses its name before its first file, so that nobody opens what is left; the next prune removes that."""
    latest = make_store(tmp_path, sections=["fan/00"]).path
    older = latest.rename(latest.with_name("older.zarr"))
    make_store(tmp_path, sections=["fan/00"])

    def stopped(path: Path) -> None:
        (path / "clips.parquet").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(prune.shutil, "rmtree", stopped)
        prune_stores(tmp_path)
    assert not older.exists() and [path.name for path in older.parent.glob("older*")] == ["older.zarr.removed"]
    prune_stores(tmp_path)
    assert not list(older.parent.glob("older*")) and latest.is_dir()
