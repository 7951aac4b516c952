"""Forked commands are as commands that are started: what they inherit, how they are stopped, how they end."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_server import (
    OURS,
    READ_AT_START,
    STARTED_WITH,
    Command,
    folder_of_mimiidg,
    run,
    server,
    take_terminal,
)
from tests.parallel.test_cluster import wait_for

FORKED = [*OURS, "list", "--json"]
FETCH = ["fetch", "synthetic-5pct-seed7", "--root"]


def is_forked(process: int) -> bool:
    """Whether a process is one of the server's, not of a program that was started for it."""
    return b"tests.command_server" in Path(f"/proc/{process}/cmdline").read_bytes()


def test_it_is_as_one_that_is_started(tmp_path: Path) -> None:
    """The same result and messages, with an environment and a working directory of its own."""
    (tmp_path / "elsewhere").mkdir()
    environment = os.environ | {"MIMIIDG_ROOT": "here"}
    for arguments in (["list"], ["--version"], ["nosuch"]):
        command, folder = [*OURS, *arguments], tmp_path / "elsewhere"
        started = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
        found = run(command, env=environment, cwd=folder)
        assert (found.returncode, found.stdout, found.stderr) == (started.returncode, started.stdout, started.stderr)
        assert "\x1b" not in found.stdout + found.stderr


@pytest.mark.parametrize("own_session", [False, True])
def test_it_is_a_child_of_the_tests(tmp_path: Path, own_session: bool) -> None:
    options = {"cwd": tmp_path, "start_new_session": own_session, "stderr": subprocess.PIPE}
    with Command([*OURS, *FETCH, "root"], **options) as process:
        assert process.stderr is not None
        wait_for((tmp_path / "root").is_dir)
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
        assert is_forked(process.pid) and int(status["PPid"]) == os.getpid()
        assert os.getpgid(process.pid) == (process.pid if own_session else os.getpgrp())
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode()
    assert process.returncode == 130 and said.splitlines()[-1].startswith("stopped."), said


SAYS_HOW_IT_RUNS = """
import json, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
def twice(n):
    return 2 * n
if __name__ == "__main__":
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        print(json.dumps([sys.argv, sys.path[0], __file__, pool.submit(twice, 21).result()]))
    sys.exit(sys.argv[1] == "fail" and "it failed")
"""


@pytest.mark.parametrize("script", ["script.py", "folder/script.py"])
def test_a_script_is_as_one_that_is_started(tmp_path: Path, script: str) -> None:
    """Its arguments and path, processes that it starts, which import it again, and its end."""
    (tmp_path / "folder").mkdir()
    (tmp_path / script).write_text(SAYS_HOW_IT_RUNS)
    for words in (["one", "two"], ["fail"]):
        command = [sys.executable, script, *words]
        started = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        found = run(command, cwd=tmp_path)
        assert (found.returncode, found.stdout, found.stderr) == (started.returncode, started.stdout, started.stderr)
        assert json.loads(found.stdout)[-1] == 42 and found.returncode == (words == ["fail"])
    (tmp_path / script).write_text("import time; time.sleep(60)")
    with Command([sys.executable, tmp_path / script]) as process:
        assert is_forked(process.pid)
        process.kill()


def test_a_terminal_is_its_own(tmp_path: Path) -> None:
    """Ctrl-C is sent by the terminal that it has taken."""
    ours, its = pty.openpty()
    streams = {"stdin": its, "stdout": its, "stderr": its, "preexec_fn": take_terminal}
    with Command([*OURS, *FETCH, "root"], cwd=tmp_path, **streams) as process:
        os.close(its)
        wait_for((tmp_path / "root").is_dir)
        assert is_forked(process.pid) and os.getsid(process.pid) == process.pid
        os.write(ours, b"\x03")
        with contextlib.suppress(OSError):  # when all have left it
            while os.read(ours, 65536):
                pass
    os.close(ours)
    assert process.returncode == 130


def test_signals_that_are_ignored_stay_so(tmp_path: Path) -> None:
    """As a process inherits it."""
    (tmp_path / "script.py").write_text("import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)")
    for handler in (signal.SIG_IGN, signal.SIG_DFL):
        before = signal.signal(signal.SIGHUP, handler)
        try:
            said = run([sys.executable, str(tmp_path / "script.py")]).stdout
        finally:
            signal.signal(signal.SIGHUP, before)
        assert said == f"{handler == signal.SIG_IGN}\n"


def test_a_killed_one_says_so(tmp_path: Path) -> None:
    with Command([*OURS, *FETCH, tmp_path], stderr=subprocess.DEVNULL) as process:
        process.kill()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_signals_reach_it_through_the_program_for_shells(tmp_path: Path, number: int, code: int) -> None:
    command = [f"{folder_of_mimiidg()}/mimiidg", *FETCH, "root"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        wait_for((tmp_path / "root").is_dir)
        process.send_signal(number)
        said = process.communicate(timeout=300)[1]  # which ends as the command does, since that has it open, too
    assert process.returncode == code
    assert number == signal.SIGKILL or said.splitlines()[-1].startswith("stopped."), said


@pytest.mark.parametrize("name", ["PYTHONOPTIMIZE", "OMP_NUM_THREADS", "NUMBA_DISABLE_JIT", "LC_ALL"])
def test_what_is_read_at_the_start_needs_a_fresh_interpreter(name: str, tmp_path: Path) -> None:
    assert name.startswith(READ_AT_START)
    for environment, forks in ((os.environ | {name: "7" + STARTED_WITH.get(name, "")}, False), (os.environ, True)):
        with Command([*OURS, *FETCH, tmp_path], env=dict(environment), stderr=subprocess.DEVNULL) as process:
            assert is_forked(process.pid) is forks
            process.kill()


def test_what_libraries_put_into_the_environment_of_the_tests_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """scikit-learn does as it is imported, torch as its compiler is."""
    for name in ("KMP_INIT_AT_FORK", "TORCHINDUCTOR_CACHE_DIR"):
        monkeypatch.setenv(name, "another")
    with Command([*OURS, *FETCH, tmp_path], stderr=subprocess.DEVNULL) as process:
        assert is_forked(process.pid)
        process.kill()


def test_other_programs_are_started() -> None:
    assert run([sys.executable, "-c", "import sys; print('numpy' in sys.modules)"]).stdout == "False\n"


def test_it_knows_nothing_of_those_before(tmp_path: Path) -> None:
    """Each is forked from the server, which itself runs nothing."""
    assert json.loads(run([*FORKED, "--root", str(tmp_path)]).stdout) == []
    first, second = (run([*OURS, "list"], env=os.environ | {"MIMIIDG_ROOT": name}, cwd=tmp_path) for name in "ab")
    assert "under a;" in first.stdout and "under b;" in second.stdout
    assert server() is server(), "and there is one for all"
