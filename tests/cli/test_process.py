"""A command as a process: exit codes, closed streams, a folder that is gone, Python without assertions."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mimiidg_build.cli import cli, main
from mimiidg_build.cli.process import EXIT_CODES, StopSignals
from tests.command_server import folder_of_mimiidg

ROOT = Path(__file__).resolve().parents[2]


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a shell says of a command in which ``mimiidg`` is ours."""
    path = f"{folder_of_mimiidg()}:{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, **environment}
    command = f"set -o pipefail; {command}"
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=folder, env=environment)


def test_exit_codes_are_said_where_people_look(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    for code, meaning in EXIT_CODES.items():
        assert re.search(rf"^ +{code} +{re.escape(meaning)}$", said, re.MULTILINE), code
    text = " ".join((ROOT / "README.md").read_text().split())
    (listed,) = re.findall(r"Exit codes: (.*?)\. ", text)
    assert {int(code) for code in re.findall(r"\d+", listed)} == EXIT_CODES.keys()


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_wrong_use_of_every_command_is_2(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--nonsense"]) == 2
    assert "No such option" in capsys.readouterr().err


def test_a_reader_that_has_gone(tmp_path: Path) -> None:
    done = shell("mimiidg list --json | true", tmp_path)
    assert (done.returncode, done.stderr) in [(141, ""), (0, "")]
    done = shell("mimiidg --help | (exec <&-; sleep 2)", tmp_path)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [
        ("list >&-", 0),
        ("list 2>&-", 0),
        ("list <&- >&- 2>&-", 0),
        ("--help >&-", 0),
        ("build nosuch >&-", 2),
        ("build nosuch 2>&-", 2),
        ("build nosuch >&- 2>&-", 2),
    ],
)
def test_closed_streams(command: str, exit_code: int, tmp_path: Path) -> None:
    done = shell(f"mimiidg {command}", tmp_path)
    assert done.returncode == exit_code and "Traceback" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_result_that_cannot_be_written(tmp_path: Path) -> None:
    done = shell("mimiidg list --json > /dev/full", tmp_path)
    assert (done.returncode, done.stderr) == (1, "error: the system: No space left on device\n")


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    """What a library prints would stand in it."""
    code = "from mimiidg_build.cli import main; main(['--version']); f = open('number', 'w'); print(f.fileno(), file=f)"
    done = shell(f"'{sys.executable}' -c \"{code}\" <&- >&- 2>&-", tmp_path)
    assert done.returncode == 0 and int((tmp_path / "number").read_text()) > 2


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    done = shell("rmdir ../gone; mimiidg list", tmp_path / "gone")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: the folder that this command was started in is gone")


def test_python_without_assertions_is_refused(tmp_path: Path) -> None:
    done = shell("mimiidg list", tmp_path, PYTHONOPTIMIZE="1")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: Python runs without assertions (python -O")
    done = shell(f"'{sys.executable}' -O -c 'from mimiidg_build import open_store'", tmp_path)
    assert done.returncode == 1 and "UsageError: Python runs without assertions (python -O" in done.stderr


def test_a_signal_within_an_exec_ends_with_its_own_code(tmp_path: Path) -> None:
    """Python notes a KeyboardInterrupt that passes through an exec(), and a `python -m` would then end by SIGINT."""
    (tmp_path / "busy.py").write_text(
        "import sys; from mimiidg_build import cli\n"
        "@cli.cli.command()\n"
        "def busy(): exec('import os, signal; os.kill(os.getpid(), signal.SIGTERM)')\n"
        "sys.exit(cli.main(['busy']))\n"
    )
    done = subprocess.run([sys.executable, "-m", "busy"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip().partition(".")[0]) == (143, "stopped")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_another_thread_gets_wakes_the_main_one(number: int) -> None:
    """As the system does it: Ctrl-Z, ``kill %1``. The main thread of a benchmark waits for its workers meanwhile."""

    def send() -> None:
        time.sleep(0.2)
        signal.pthread_kill(threading.get_ident(), number)

    held = threading.Lock()
    held.acquire()
    before, began = signal.set_wakeup_fd(-1), time.monotonic()
    with StopSignals() as signals, pytest.raises(KeyboardInterrupt):
        threading.Thread(target=send).start()
        held.acquire(timeout=30)
    assert time.monotonic() - began < 15, "it was woken: a wait that ends by itself raises it, too"
    assert signals.came == (None if number == signal.SIGINT else number)
    assert signal.set_wakeup_fd(before) == -1, "as it was"
    assert signal.getsignal(signal.SIGURG) is signal.SIG_DFL


def test_a_command_ends_without_a_search_for_garbage() -> None:
    """Which takes a second where torch and Prefect were imported: what is frozen is not searched."""
    code = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 10_000))\n"  # called after main's
    code += "from mimiidg_build.cli import main; main(['--version'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"
