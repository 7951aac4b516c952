"""Holds: shared among readers, gone with them, and no hold on what is gone."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from mimiidg_build.errors import DataError
from mimiidg_build.storage.holds import Hold, alone


def is_free(store: Path) -> bool:
    with alone(store) as nobody:
        return nobody


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "a.zarr"
    path.mkdir()
    return path


def test_as_many_hold_it_as_like(store: Path) -> None:
    assert is_free(store)
    holds = [Hold(store), Hold(store), pickle.loads(pickle.dumps(Hold(store)))]
    while holds:
        assert not is_free(store)
        holds.pop()
    assert is_free(store)


def test_a_hold_follows_the_store_to_its_new_name(store: Path) -> None:
    hold = Hold(store)
    moved = store.rename(store.with_name("b.zarr"))
    assert not is_free(moved)
    del hold
    assert is_free(moved)


def test_a_read_only_store_can_be_held(store: Path) -> None:
    store.chmod(0o500)
    hold = Hold(store)
    assert not is_free(store)
    del hold
    store.chmod(0o700)


@pytest.mark.parametrize("ending", ["pass", "import os; os._exit(3)", "import os; os.kill(os.getpid(), 9)"])
def test_a_hold_ends_with_its_process(store: Path, ending: str) -> None:
    code = "import sys; from pathlib import Path; "
    code += "from mimiidg_build.storage.holds import Hold; hold = Hold(Path(sys.argv[1])); "
    code += f"print('held', flush=True); sys.stdin.read(); {ending}"
    command = [sys.executable, "-c", code, str(store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdin and process.stdout.readline() == "held\n"
        assert not is_free(store)
        process.stdin.close()
    assert is_free(store)


def test_what_is_not_there_cannot_be_held(store: Path) -> None:
    with pytest.raises(DataError, match=r"b\.zarr is not a store"):
        Hold(store.with_name("b.zarr"))
    (store / "file").write_text("")
    with pytest.raises(DataError, match="file is not a store"):
        Hold(store / "file")


@pytest.mark.parametrize("is_replaced", [False, True])
def test_what_goes_while_it_is_taken_hold_of(store: Path, monkeypatch: pytest.MonkeyPatch, is_replaced: bool) -> None:
    """Found, then moved away, and maybe another of its name put there: the hold would be on the wrong one."""
    real = os.open

    def moved_meanwhile(path: Path, *arguments: int) -> int:
        descriptor = real(path, *arguments)
        store.rename(store.with_name("a.zarr.removed"))
        if is_replaced:
            store.mkdir()
        return descriptor

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", moved_meanwhile)
        with pytest.raises(DataError, match=r"a\.zarr was removed by `mimiidg prune` when it was opened"):
            Hold(store)


def test_file_systems_without_locks_are_read_and_left_alone(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*arguments: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    assert Hold(store).store == store
    assert not is_free(store), "nobody can tell, so it stays"
