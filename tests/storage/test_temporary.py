"""Temporary names: nobody else has them, and they are held while their file is written."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mimiidg_build.storage.files import whole_file
from mimiidg_build.storage.holds import alone
from mimiidg_build.storage.temporary import is_temporary, open_temporary


def test_processes_of_one_number_write_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two containers that share a root both call their first process 1."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with whole_file(tmp_path / "a.zip") as first, whole_file(tmp_path / "a.zip") as second:
        assert len({*tmp_path.iterdir()}) == 2
        first(b"the same")
        second(b"the same")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    assert (tmp_path / "a.zip").read_bytes() == b"the same"


def test_it_is_held_until_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = []
    replace = os.replace

    def replaced(source: Path, target: Path) -> None:
        with alone(source) as nobody:
            held.append(not nobody)
        replace(source, target)

    monkeypatch.setattr(os, "replace", replaced)
    with whole_file(tmp_path / "a.zip"):
        (temporary,) = tmp_path.iterdir()
        assert is_temporary(temporary.name) and temporary.name.startswith("a.zip.")
        with alone(temporary) as nobody:
            assert not nobody
    assert held == [True], "to the last moment: in between it could be removed"


def test_nobody_holds_what_a_killed_process_left(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, time\n"
        "from mimiidg_build.storage.files import whole_file\n"
        "with whole_file(pathlib.Path(sys.argv[1])): print('open', flush=True); time.sleep(60)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, tmp_path / "a.zip"], stdout=subprocess.PIPE)
    assert writer.stdout and writer.stdout.readline() == b"open\n"
    (temporary,) = tmp_path.iterdir()
    with alone(temporary) as nobody:
        assert not nobody
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    with alone(temporary) as nobody:
        assert nobody


def test_a_file_removed_before_it_is_held_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`mimiidg prune` finds it between its creation and its lock, and takes it for a left one."""
    lock, removed = fcntl.flock, []

    def removed_before(file: Any, operation: int) -> None:
        if not removed:
            removed.extend(tmp_path.iterdir())
            removed[0].unlink()
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", removed_before)
    temporary, file = open_temporary(tmp_path / "a")
    with file:
        assert [*tmp_path.iterdir()] == [temporary] != removed
