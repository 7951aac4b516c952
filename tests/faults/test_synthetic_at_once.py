"""Fetching a synthetic release: made once however many want it, made only as far as it is wanted, nothing left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mimiidg_build.datasets.synthetic import SyntheticSpec, archive_names
from mimiidg_build.fetch.dataset import fetch_dataset
from mimiidg_build.synthesis import archive
from mimiidg_build.upkeep.prune import prune_stores
from mimiidg_build.upkeep.survey import FETCHED
from tests.conftest import DATASET, RECORD
from tests.faults.place import Place
from tests.faults.summary import Tries

SERVED = f"archives/{RECORD}.served"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of archives that were made; they hold no sound, and take a moment."""
    names_made: list[str] = []

    def write_release(spec: SyntheticSpec, directory: Path, names: Collection[str], **options: Any) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        for name in archive_names(spec):
            if name in names and not (directory / name).exists():
                time.sleep(0.05)
                names_made.append(name)
                (directory / name).write_bytes(name.encode())

    monkeypatch.setattr(archive, "write_release", write_release)
    return names_made


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    start = threading.Barrier(len(calls))

    def call(function: Callable[[], Any]) -> Any:
        start.wait()
        return function()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def left(root: Path) -> set[str]:
    return {
        path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and ".locks" not in str(path)
    }


def test_one_makes_and_the_others_wait_and_say_so(
    tmp_path: Path, made: list[str], fault: Tries, caplog: pytest.LogCaptureFixture
) -> None:
    fault("several fetches of a synthetic release at once on an empty root", cases=4)
    everything, *others = at_once(*[lambda: fetch_dataset(DATASET, tmp_path)] * 4)
    assert others == [everything] * 3 and len(everything) == 6
    assert sorted(made) == sorted(archive_names(SyntheticSpec())), "each once"
    assert caplog.messages == [f"another process is making {DATASET}; waiting for it"] * 3
    assert left(tmp_path) == {f"archives/{RECORD}/{name}" for name in [*made, "archives.lock.json"]}


def test_archives_fetched_singly(tmp_path: Path, made: list[str], fault: Tries) -> None:
    """At once, too: each is made by who wants it, and nothing is left beside them."""
    fault("several fetches of a synthetic release at once on an empty root", cases=2)
    names = [["fan.zip"], ["valve.zip", "noise.zip"]]
    at_once(*[lambda names=names: fetch_dataset(DATASET, tmp_path, names=names) for names in names])
    assert sorted(made) == ["fan.zip", "noise.zip", "valve.zip"]
    assert not (tmp_path / SERVED).exists()
    fetch_dataset(DATASET, tmp_path, names=["fan.zip", "slider.zip"])
    assert made.count("fan.zip") == 1 and made[-1] == "slider.zip"


def test_prune_leaves_what_is_being_served(tmp_path: Path, made: list[str], fault: Tries) -> None:
    fault("prune while a synthetic release is fetched")
    verdicts = []

    def transfer(name: str, done: int, total: int | None) -> None:
        verdicts.extend(prune_stores(tmp_path, unfinished=True))

    reporter = type("Pruning", (), {"transfer": staticmethod(transfer), "step": lambda *_: lambda n: None})()
    fetch_dataset(DATASET, tmp_path, names=["fan.zip"], reporter=reporter)
    served = {v.why for v in verdicts if v.found.paths[0] == tmp_path / SERVED}
    assert served == {FETCHED}


def test_an_interrupted_fetch_goes_on(tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made is there for the next; half of a file is not."""
    write_release = archive.write_release

    def killed(spec: SyntheticSpec, directory: Path, names: Collection[str], **options: Any) -> None:
        write_release(spec, directory, names=["fan.zip"], **options)
        (directory / "noise.zip.0123456789abcdef.partial").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(archive, "write_release", killed)
        fetch_dataset(DATASET, tmp_path)
    assert (tmp_path / SERVED / "fan.zip").exists()
    fetch_dataset(DATASET, tmp_path)
    assert made.count("fan.zip") == 1 and len(made) == 6
    assert not (tmp_path / SERVED).exists()


def test_an_archive_that_is_there_but_not_known_is_made_again(tmp_path: Path, made: list[str]) -> None:
    """A kill between its name and its entry leaves one; the server must have it to vouch for it."""
    fetch_dataset(DATASET, tmp_path)
    (tmp_path / f"archives/{RECORD}/archives.lock.json").unlink()
    (tmp_path / f"archives/{RECORD}/valve.zip").unlink()
    made.clear()
    fetch_dataset(DATASET, tmp_path)
    assert "valve.zip" in made and len(made) == 6
    assert "first fetch" in (tmp_path / f"archives/{RECORD}/archives.lock.json").read_text()


@pytest.mark.slow
def test_processes_on_an_empty_root(place: Place, fault: Tries) -> None:
    fault("several fetches of a synthetic release at once on an empty root", cases=3)
    processes = [place.start("fetch", DATASET, "--file", "noise.zip", "--quiet") for _ in range(3)]
    ended = [place.processes.wait(process) for process in processes]
    assert [one.code for one in ended] == [0, 0, 0], [one.err for one in ended]
    assert sorted(one.err for one in ended) == ["", *[f"another process is making {DATASET}; waiting for it\n"] * 2]
    assert not (place.root / SERVED).exists()
