"""Archives and stores on object storage: the same bytes as on this machine, on a real server that speaks S3."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from torch.utils.data import DataLoader

from mimiidg_build.build import sections
from mimiidg_build.build.publish import move_latest
from mimiidg_build.build.variant import build_variant
from mimiidg_build.cli import main
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.fetch.dataset import fetch_dataset
from mimiidg_build.parallel.runner import runner
from mimiidg_build.storage.places import ObjectPath, file_sizes, local
from mimiidg_build.store.listing import list_stores
from mimiidg_build.store.store import Store, open_store, variant_dir
from mimiidg_build.training.clip_dataset import ClipDataset
from tests.command_server import Command
from tests.conftest import DATASET, RECORD, content
from tests.parallel.test_cluster import Cluster, KillOne, start, wait_for

__all__ = ["start"]  # a fixture

VARIANT = derive_variant(load_variant("demo"), dataset=DATASET, sections=["fan", "valve/00"])
SMALL = derive_variant(VARIANT, name="small", sections=["fan/01", "fan/02"])  # where it does not matter of what


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The section of every shard that this process renders from now on."""
    shown, render = list[str](), sections.render_shard

    def told(task: Any) -> Any:
        shown.append(task.section)
        return render(task)

    monkeypatch.setattr("mimiidg_build.build.sections.render_shard", told)
    return shown


def names(root: ObjectPath) -> set[str]:
    """What lies there beside archives and noise, without stores' insides."""
    found = (name for name in file_sizes(root) if not name.startswith(("archives/", "noise/")))
    return {"/".join(name.split("/")[:3]) for name in found}


def test_a_synthetic_release_is_fetched_into_a_bucket(bucket: ObjectPath) -> None:
    dataset, root = load_dataset(DATASET), bucket / "data"
    fetched = fetch_dataset(dataset, root, names=["valve.zip", "noise.zip"])
    assert [str(path) for path in fetched.values()] == [
        f"{root}/archives/{RECORD}/valve.zip",
        f"{root}/archives/{RECORD}/noise.zip",
    ]
    times = {path: path.stat() for path in fetched.values()}
    assert fetch_dataset(dataset, root, names=["valve.zip"], offline=True).keys() == {f"{RECORD}/valve.zip"}
    assert {path: path.stat() for path in fetched.values()} == times, "what is there and verified is not sent again"
    assert not list(local(root).rglob("*.part*")), "nothing is left of the transfer on this machine"


def test_the_same_bytes_as_on_this_machine_whoever_reads_them(remote: ObjectPath, root: Path) -> None:
    built, here = build_variant(VARIANT, remote), build_variant(VARIANT, root).store
    assert not built.was_finished and str(built.store.path).startswith(f"{remote}/variants/{VARIANT.name}/")
    assert content(built.store) == content(here)
    directory = f"variants/{VARIANT.name}"
    assert names(remote) == {f"{directory}/latest", f"{directory}/{built.store.path.name}"}, "no journal is left"
    assert build_variant(VARIANT, remote).was_finished
    (listed,) = list_stores(remote)
    assert (listed.state, listed.n_clips, listed.path) == ("latest", 48, built.store.path)
    check_readers(remote, here)


def check_readers(remote: ObjectPath, here: Store) -> None:
    """The store's tables and arrays, clips of it in every way of access, a worker's, and plain zarr's."""
    store = open_store(f"{remote}/variants/{VARIANT.name}")
    assert store.clips.equals(here.clips) and store.mix_plan.equals(here.mix_plan)
    assert np.array_equal(store.audio("fan", "00")[3:5], here.audio("fan", "00")[3:5])
    wanted: dict[str, Any] = {"machine_types": "fan", "split": "train"}
    expected = ClipDataset(here, **wanted)[range(10)]["features"]
    kept, streamed = (ClipDataset(store, **wanted, memory_budget_bytes=n) for n in (10**9, 0))
    assert (kept.access, streamed.access) == ("memory", "zarr")
    for clips in (kept, streamed):
        assert torch.equal(clips[range(10)]["features"], expected)
    loader = DataLoader(streamed, batch_size=10, num_workers=1, multiprocessing_context="spawn")
    assert torch.equal(next(iter(loader))["features"], expected)
    unread = ClipDataset(store, **wanted, memory_budget_bytes=0)  # a reader keeps the shards that it read last
    with pytest.raises(UsageError, match="cannot be read in a process forked .*multiprocessing_context=.spawn"):
        next(iter(DataLoader(unread, batch_size=10, num_workers=1, multiprocessing_context="fork")))
    from obstore.store import S3Store  # without this package

    bare = zarr.storage.ObjectStore(
        S3Store(remote.bucket, prefix=store.path.key, client_options={"allow_http": True}), read_only=True
    )
    assert np.array_equal(zarr.open_group(bare, mode="r")["fan/section_00/audio"][0], here.audio("fan", "00")[0])


@pytest.mark.slow
def test_a_killed_build_is_no_store_and_goes_on(whole_remote: ObjectPath, rendered: list[str]) -> None:
    remote = whole_remote
    variant = derive_variant(load_variant("demo"), dataset=DATASET)  # of 15 shards
    directory = variant_dir(remote, variant.name)
    arguments = ["build", "demo", "--dataset", DATASET, "--workers", "1"]
    command = [sys.executable, "-m", "mimiidg_build", *arguments, "--root", str(remote), "--quiet"]
    process = Command(command)
    wait_for(lambda: any(".journal/" in name for name in file_sizes(directory)))
    process.kill()
    process.wait()
    with pytest.raises(DataError, match="holds an unfinished build only .*Run its `mimiidg build` again"):
        open_store(directory)
    (listed,) = list_stores(remote)
    assert listed.state == "partial"
    with pytest.raises(DataError, match="is not finished. Run the `mimiidg build` that began it again"):
        open_store(listed.path)
    done = sum(".journal/" in name for name in file_sizes(directory))
    store = build_variant(variant, remote).store
    assert 1 <= done < 15 and len(rendered) == 15 - done, "what was finished is not rendered again"
    assert len(store.sections) == 15
    assert names(remote) == {f"variants/{variant.name}/{name}" for name in ("latest", store.path.name)}


def test_ctrl_c(remote: ObjectPath) -> None:
    command = [sys.executable, "-m", "mimiidg_build", "build", "demo", "--dataset", DATASET, "--root", str(remote)]
    process = Command([*command, "--section", "fan", "valve", "--workers", "1"], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: any(".journal/" in name for name in file_sizes(remote / "variants")))
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 130
    assert said.splitlines()[-1] == "stopped. What is finished is kept: run the same command again to go on."


def test_new_noise_renders_what_changed_and_keeps_the_store_before(remote: ObjectPath, rendered: list[str]) -> None:
    first = build_variant(SMALL, remote).store
    rendered.clear()
    offset = SMALL.model_copy(update={"snr_db": {"fan/01": 3.0}})
    second = build_variant(offset, remote, replace=True).store
    assert rendered == ["fan/section_01"], "the other section is copied within the bucket"
    assert open_store(second.path.parent).fingerprint == second.fingerprint != first.fingerprint
    assert content(open_store(first.path)), "who reads the store before reads on"
    assert [listed.state for listed in list_stores(remote)].count("kept") == 1
    assert main(["verify", str(first.path), "--root", str(remote), "--quiet"]) == 0


def test_two_machines_that_publish_at_once(remote: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a store of the variant; the other moves ``latest`` between this one's look and its put."""
    mine, other = (
        build_variant(VARIANT.model_copy(update={"sections": [name]}), remote, replace=True).store
        for name in ("fan/00", "fan/01")
    )
    latest, write, puts = mine.path.parent / "latest", ObjectPath.write, []

    def meanwhile(path: ObjectPath, data: bytes, *, replaces: str | None = None) -> None:
        puts.append((path.name, replaces))
        if len(puts) == 1:
            write(path, b"0123\n")
        write(path, data, replaces=replaces)

    monkeypatch.setattr(ObjectPath, "write", meanwhile)
    assert latest.read_bytes().decode().strip() == other.fingerprint
    move_latest(mine)
    assert latest.read_bytes().decode() == f"{mine.fingerprint}\n"
    assert [name for name, _ in puts] == ["latest", "latest"] and puts[0][1] != puts[1][1], "it looked again"


def test_looked_after_from_the_command_line(
    whole_remote: ObjectPath, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remote = whole_remote
    store = build_variant(SMALL, remote).store
    arguments = ["--root", str(remote), "--quiet"]
    assert main(["verify", SMALL.name, "--deep", *arguments]) == 0
    shard, metadata, table = (
        store.path / name for name in ("fan/section_02/logmel/c/0/0/0", "fan/zarr.json", "clips.parquet")
    )
    before = content(store)
    shard.write(shard.read_bytes()[:-1] + b"x")
    metadata.unlink()
    table.write(b"rotten")
    (store.path / "zarr.json").write(b"{}")
    capsys.readouterr()
    assert main(["verify", SMALL.name, *arguments]) == 1
    assert "zarr.json is not a store of this program, or it is damaged" in capsys.readouterr().err
    assert main(["verify", SMALL.name, "--repair", *arguments]) == 0
    assert content(open_store(store.path)) == before
    assert names(remote) == {f"variants/{SMALL.name}/{name}" for name in ("latest", store.path.name)}
    capsys.readouterr()
    assert main(["list", "--root", str(remote), "--json"]) == 0
    assert [one["path"] for one in json.loads(capsys.readouterr().out)] == [str(store.path)]
    assert main(["export", SMALL.name, str(tmp_path / "out"), *arguments]) == 0
    assert len(list((tmp_path / "out").rglob("*.wav"))) == 24
    (archive := remote / "archives" / RECORD / "valve.zip").write(archive.read_bytes()[:-7] + b"rotten!")
    assert main(["verify", DATASET, *arguments]) == 1
    assert f"{archive}: md5" in capsys.readouterr().out
    assert main(["verify", DATASET, "--repair", *arguments]) == 0
    capsys.readouterr()
    assert main(["prune", *arguments]) == 2
    assert f"{remote} is on object storage, where it cannot be known whether anybody reads" in capsys.readouterr().err


@pytest.mark.slow  # trains, and draws a report
def test_runs_and_reports_stay_on_this_machine(
    remote: ObjectPath, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build_variant(VARIANT, remote)
    monkeypatch.setenv("MIMIIDG_ROOT", str(remote))
    assert main(["benchmark", VARIANT.name, "--model", "nearest_neighbour", "--profile", "smoke", "--quiet"]) == 0
    assert main(["report", VARIANT.name, "--quiet"]) == 0
    assert {path.name for path in local(remote).iterdir()} >= {"runs", "reports"}
    assert names(remote) == {f"variants/{VARIANT.name}/{name}" for name in names_in(variant_dir(remote, VARIANT.name))}
    (page,) = (local(remote) / "reports").rglob("*.html")
    assert "nearest_neighbour" in page.read_text()


def names_in(directory: ObjectPath) -> list[str]:
    return [path.name for path in directory.iterdir()]


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("s3://no-such-bucket/data", "s3://no-such-bucket/data: there is no such bucket"),
        ("gs://bucket/data", "'gs://bucket/data' is neither a path nor a URL like s3://bucket/prefix"),
    ],
)
def test_a_root_that_is_none(bucket: ObjectPath, capsys: pytest.CaptureFixture[str], root: str, message: str) -> None:
    assert main(["build", "demo", "--dataset", DATASET, "--root", root]) in (1, 2)
    captured = capsys.readouterr()
    assert captured.err == f"error: {message}\n" and captured.out == ""


@pytest.mark.slow  # three processes of dask
def test_a_cluster_without_a_shared_file_system(remote: ObjectPath, root: Path, start: Callable[[], Cluster]) -> None:
    """Its workers know nothing but the bucket; one of them is killed in the middle."""
    cluster = start()
    cluster.worker(MIMIIDG_WORK="/proc/nothing-can-be-written-here")
    victim = cluster.worker(MIMIIDG_WORK="/proc/nothing-can-be-written-here")
    cluster.wait_for_workers(2)
    killer = KillOne(victim)
    store = build_variant(VARIANT, remote, scheduler=cluster.address, reporter=killer).store
    assert 0 < killer.clips_then < len(store.clips), "it was killed in the middle"
    assert content(store) == content(build_variant(VARIANT, root).store)
    cluster.worker(AWS_ENDPOINT_URL="http://127.0.0.1:1")
    cluster.wait_for_workers(2)
    with pytest.raises(UsageError, match=r"1 of the cluster's workers, first tcp://.*, cannot read s3://.*same AWS_"):
        runner(cluster.address, root=remote)(abs, [(1,)], print)


@pytest.mark.slow  # a Prefect server, twice
def test_the_flows(remote: ObjectPath, prefect_home: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from mimiidg_build.flows.build_variant import build_variant\n"
        "from mimiidg_build.datasets.variant import *\n"
        "v = derive_variant(load_variant('demo'), dataset=sys.argv[2], sections=['fan/00']).model_dump(mode='json')\n"
        "print(build_variant(v, sys.argv[1]))"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
    environment |= {
        "PREFECT_HOME": str(shutil.copytree(prefect_home, tmp_path / "prefect")),
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, str(remote), DATASET], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert open_store(done.stdout.strip()).sections.keys() == {"fan/00"}
