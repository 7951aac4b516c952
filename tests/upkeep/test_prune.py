"""Pruning: what goes and why, as a table; then on a root where everything of the kind lies about."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mimiidg_build.cli import main
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.fetch.lock import SERVED, guard
from mimiidg_build.storage.files import whole_file
from mimiidg_build.storage.locks import variant_lock
from mimiidg_build.storage.temporary import open_temporary
from mimiidg_build.store.store import open_store
from mimiidg_build.upkeep import prune
from mimiidg_build.upkeep.prune import STAYS, decide, prune_stores
from mimiidg_build.upkeep.survey import BUILDING, FETCHED, READ, WRITTEN, Found, Kind
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
        (found("embeddings", "a"), {}, True, "its store is gone"),
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
    embeddings = [found("embeddings", "a"), found("embeddings", "b")]
    assert [v.goes for v in decide([everything[0], *embeddings])] == [not needed, not needed, True]
    verdicts = decide(everything, runs=True)
    assert [v.goes for v in verdicts] == [not needed, not needed, True]
    assert verdicts[1].why == (STAYS if needed else "its store is gone")
    assert not any(v.goes for v in decide(everything, keep=1, runs=True)[:2])


def write(path: Path, size_bytes: int = 100, changed_s: float | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size_bytes)
    if changed_s is not None:
        os.utime(path, (changed_s, changed_s))
        os.utime(path.parent, (changed_s, changed_s))
    return path


@pytest.fixture
def untidy(tmp_path: Path) -> Iterator[Path]:
    """A root with a latest store, an older one that shares a shard with it, and something of everything else."""
    store = make_store(tmp_path, sections=["fan/00"])
    older = store.path.rename(store.path.with_name("older.zarr"))
    del store  # it would be held
    latest = make_store(tmp_path, sections=["fan/00"]).path
    shard = "fan/section_00/audio/c/0/0"
    (older / shard).unlink()
    (older / shard).hardlink_to(latest / shard)
    variant, dead, older_dead = older.parent, "0123456789abcdef", os.getpid()  # a number says nothing of who is alive
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
    write(record / "notes.partial"), write(variant / "half.zarr.copy.partial/zarr.json")
    write(record.with_name("123.served") / "fan.zip")
    write(tmp_path / "noise" / f"a.{older_dead}.partial"), write(tmp_path / "noise/a.int16")
    for name in ("small", "older", "gone"):
        write(tmp_path / "runs/small" / name / "autoencoder-paper-0/weights_fan.pt")
    write(tmp_path / f"runs/small/small/autoencoder-paper-0/checkpoint_fan.pt.{dead}.partial")
    write(tmp_path / "reports/small/index.html")
    with open_temporary(record / "archives.lock.json")[1]:  # somebody is writing it
        yield tmp_path


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
    "variants/small/half.zarr.copy.partial",
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
    assert {re.sub(r"\.[0-9a-f]+\.partial$", ".DEAD.partial", path) for path in went} == wanted
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


def test_nothing_that_somebody_begins_to_use_meanwhile(untidy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the removal: a fetch goes on, a synthetic release is served, a file written."""
    record, begun = untidy / "archives/123", contextlib.ExitStack()
    decide_as_it_is = prune.decide

    def then_begun(*arguments: Any, **options: Any) -> list[prune.Verdict]:
        verdicts = decide_as_it_is(*arguments, **options)
        for name in ("fan.zip", SERVED):
            begun.enter_context(guard(record, name))
        file = begun.enter_context((untidy / "noise" / f"a.{os.getpid()}.partial").open())
        fcntl.flock(file, fcntl.LOCK_EX)
        return verdicts

    monkeypatch.setattr(prune, "decide", then_begun)
    with begun:
        kept = {v.found.paths[0].name: v.why for v in prune_stores(untidy) if not v.goes}
    assert {name: kept.get(name) for name in ("fan.zip.part", "123.served", f"a.{os.getpid()}.partial")} == {
        "fan.zip.part": FETCHED,
        "123.served": FETCHED,
        f"a.{os.getpid()}.partial": WRITTEN,
    }
    assert (record / "fan.zip.part").exists() and (record.with_name("123.served") / "fan.zip").exists()


def test_a_release_that_is_being_served_stays(untidy: Path) -> None:
    with guard(untidy / "archives/123", SERVED):
        kept = {v.found.paths[0].name: v.why for v in prune_stores(untidy, unfinished=True) if not v.goes}
    assert kept["123.served"] == FETCHED


def test_what_is_being_written_stays(tmp_path: Path) -> None:
    """Wherever its writer runs: a process of another container has a number that is nobody's here."""
    (tmp_path / "noise").mkdir()
    with whole_file(tmp_path / "noise/a.int16") as write_more:
        write_more(b"half")
        assert prune_stores(tmp_path) == []
    assert (tmp_path / "noise/a.int16").read_bytes() == b"half"


def test_what_cannot_be_removed_keeps_nothing_else(untidy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that fails is named; all else goes."""
    remove, unlink = shutil.rmtree, Path.unlink

    def refused(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(prune.shutil, "rmtree", lambda p: refused(p) if p.name == "replaced.journal" else remove(p))
        patch.setattr(Path, "unlink", lambda p, **o: refused(p) if p.name == "fan.zip.part" else unlink(p, **o))
        with pytest.raises(DataError) as failure:
            prune_stores(untidy)
    first, *lines = str(failure.value).splitlines()
    assert first == "2 things could not be removed; all else that should go is gone:"
    assert lines == [
        f"{untidy}/variants/small/replaced.journal cannot be removed: Permission denied.",
        f"{untidy}/archives/123/fan.zip.part cannot be removed: Permission denied.",
    ]
    left = {v.found.paths[0].name for v in prune_stores(untidy, dry_run=True) if v.goes}
    assert left == {"fan.zip.part", "replaced.journal"}


def test_a_store_in_a_lower_layer_is_removed(untidy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An overlay cannot rename its folder; what makes it a store goes first then."""

    def refused(path: Path, target: Path) -> Path:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "rename", refused)
    assert "older.zarr" in {v.found.paths[0].name for v in prune_stores(untidy) if v.goes}
    assert not (untidy / "variants/small/older.zarr").exists()


def test_dry_run_of_a_root_that_is_read_only(
    untidy: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = prune_stores(untidy, dry_run=True)
    monkeypatch.setenv("MIMIIDG_WORK", str(tmp_path_factory.mktemp("work")))
    monkeypatch.setattr(os, "access", lambda path, mode: not Path(path).is_relative_to(untidy))
    for lock in [*untidy.rglob("*.lock"), *untidy.rglob(".locks")]:
        lock.unlink() if lock.is_file() else lock.rmdir()
    assert prune_stores(untidy, dry_run=True) == planned
    assert not [*untidy.rglob("*.lock")], "nothing is written there"


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
