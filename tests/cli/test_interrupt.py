"""Signals, real: Ctrl-C at a terminal reaches every process of a command at once, from elsewhere the command alone;
SIGTERM, SIGHUP and SIGKILL. Whatever it was, no process of the command is left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from mimiidg_build.build.variant import build_variant
from mimiidg_build.cli import cli, main
from mimiidg_build.datasets.variant import derive_variant, load_variant
from tests.command_server import OURS, Command, take_terminal
from tests.command_server import run as run_command
from tests.conftest import DATASET
from tests.small_store import make_store

MARK = "MIMIIDG_TEST_MARK"
PATIENT_S = 300  # a limit for what waits in vain, on a machine with a dozen processes a core, too
STOPPED = "stopped. What is finished is kept: run the same command again to go on."


class Interrupted:
    """A command, stopped when ``trigger`` is seen in what it says, or is true: at a terminal with Ctrl-C, else with a
    signal, to it alone or to all of its processes, as a service manager sends it."""

    def __init__(
        self,
        arguments: list[str],
        directory: Path,
        trigger: str | Callable[[], bool],
        *,
        terminal: bool,
        number: int = signal.SIGINT,
        to_all: bool = False,
    ) -> None:
        mark = uuid.uuid4().hex
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")} | {MARK: mark}
        read, write = pty.openpty() if terminal else os.pipe()
        process = Command(
            [*OURS, *arguments],
            stdin=write if terminal else subprocess.DEVNULL,
            stdout=write,
            stderr=write,
            cwd=directory,
            env=environment | {"COLUMNS": "100", "TERM": "xterm"},
            preexec_fn=take_terminal if terminal else None,
        )
        os.close(write)
        self.said = ""
        try:
            self._listen(read, trigger if callable(trigger) else lambda: trigger in self.said)
            reaped_s, used_s = reaped(), used(process.pid)
            if terminal:
                os.write(read, b"\x03")
            else:
                # Held while its processes are looked for, which takes a busy machine longer than what is left to do.
                os.kill(process.pid, signal.SIGSTOP)
                assert process.poll() is None, f"it ended before it could be stopped: {self.said}"
                # the command itself is forked: what /proc says of its environment is its parent's
                self.processes = sorted({str(process.pid), *marked(mark)})
                for target in self.processes if to_all else [str(process.pid)]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(target), number)
                os.kill(process.pid, signal.SIGCONT)
            sent = time.monotonic()
            self._listen(read, lambda: False)
            self.exit_code = process.wait(PATIENT_S)
            # by the clock, or of processor time: among a dozen processes a core nothing ends at once
            self.took_s = min(time.monotonic() - sent, reaped() - reaped_s - used_s)
        finally:
            process.kill()
            process.wait()
            os.close(read)
        self.last_line = self.said.strip().splitlines()[-1] if self.said.strip() else ""
        end = time.monotonic() + PATIENT_S  # helpers of Python's own notice that their parent is gone, and go
        while (survivors := marked(mark)) and time.monotonic() < end:
            time.sleep(0.1)
        self.survivors = survivors

    def _listen(self, read: int, is_enough: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENT_S
        while not is_enough():
            assert time.monotonic() < end, f"it goes on and on: {self.said}"
            if select.select([read], [], [], 0.02)[0]:
                data = b""
                with contextlib.suppress(OSError):  # a terminal that everybody left
                    data = os.read(read, 65536)
                if not data:
                    return
                self.said += data.decode(errors="replace")


def reaped() -> float:
    """Processor seconds of all processes that have ended and been waited for."""
    times = os.times()
    return times.children_user + times.children_system


def used(process: int) -> float:
    """Processor seconds of a process until now; 0 of one that has ended."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, words[11:13])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def marked(mark: str) -> list[str]:
    """Processes, whatever became of their parents, that were started with the mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes():
                found.append(process.name)
    return found


@pytest.mark.parametrize(
    ("arguments", "trigger", "terminal"),
    [
        (["build", "demo", "--dataset", DATASET], "levels: 180 of 180", False),
        (["build", "demo", "--dataset", DATASET], "render", True),
        pytest.param(
            ["build", "demo", "--dataset", DATASET, "--scheduler", "processes"], "render", True, marks=pytest.mark.slow
        ),
        (["fetch", "synthetic-5pct-seed7"], "synthesize", True),
        (["benchmark", "small", "--model", "autoencoder", "--epochs", "100000", "--workers", "2"], "windows", True),
        pytest.param(["demo", "--percent", "1"], "levels", True, marks=pytest.mark.slow),
        (["demo", "--percent", "1"], "start Prefect", True),
    ],
    ids=["build-pipe", "build", "build-processes", "fetch", "benchmark", "demo", "demo-at-once"],
)
def test_ctrl_c_stops_everything_and_says_how_to_go_on(
    root: Path, arguments: list[str], trigger: str, terminal: bool
) -> None:
    if arguments[0] == "benchmark":
        variant = load_variant("demo").model_copy(update={"name": "small"})
        make_store(root, "small", variant=variant.model_dump(mode="json"))
    stopped = Interrupted([*arguments, "--root", str(root)], root.parent, trigger, terminal=terminal)
    # 130 in a shell, either way: Python itself dies of the signal if it came while code was made from text at import
    assert stopped.exit_code in (130, -signal.SIGINT), stopped.said
    assert stopped.last_line == STOPPED
    assert not re.search("Traceback|KeyboardInterrupt|Crash|rror", stopped.said), stopped.said
    assert stopped.survivors == []
    assert terminal or "\x1b" not in stopped.said, "no control codes where there is no terminal"


def test_ctrl_c_ends_a_report_within_two_seconds(root: Path) -> None:
    """Not only once all sounds are encoded, which another thread does."""
    variant = derive_variant(load_variant("demo"), dataset=DATASET).model_copy(update={"name": "demo"})
    build_variant(variant, root)
    stopped = Interrupted(["report", "demo", "--root", str(root)], root.parent, "report", terminal=True)
    assert stopped.exit_code in (130, -signal.SIGINT), stopped.said
    assert stopped.last_line == STOPPED
    assert stopped.took_s < 2, stopped.said
    assert not list(root.rglob("*.html*"))


def terminated() -> BaseException:
    """What Prefect raises of SIGTERM in a flow. To import it takes a second, which other files' workers need not."""
    from prefect.exceptions import TerminationSignal

    return TerminationSignal(signal.SIGTERM)


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize(
    ("made", "exit_code"), [(KeyboardInterrupt, 130), (terminated, 143)], ids=["Ctrl-C", "SIGTERM in a flow"]
)
def test_a_signal_within_a_destructor_still_stops(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    made: Callable[[], BaseException],
    exit_code: int,
    goes_on: bool,
) -> None:
    """Python prints an exception in a destructor and goes on; that of a signal comes again, or counts at the end."""
    raised = made()

    class Held:
        def __del__(self) -> None:
            raise raised

    def work(**_: object) -> None:
        held = Held()
        del held
        if goes_on:
            time.sleep(5)

    monkeypatch.setattr(cli.commands["list"], "callback", work)
    handler, hook, begun = signal.getsignal(signal.SIGINT), sys.unraisablehook, time.monotonic()
    try:
        assert main(["list"]) == exit_code
        time.sleep(0.1)  # no signal comes after
    finally:
        signal.signal(signal.SIGINT, handler)
    assert time.monotonic() - begun < 4 and sys.unraisablehook is hook
    assert capsys.readouterr().err.strip() == STOPPED


def test_a_signal_that_comes_to_nothing_is_not_a_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever swallowed it on the way: a shell would go on to the next command."""

    def work(**_: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(cli.commands["list"], "callback", work)
    handler = signal.getsignal(signal.SIGINT)
    try:
        assert main(["list"]) == 143
    finally:
        signal.signal(signal.SIGINT, handler)
    assert capsys.readouterr().err.strip() == STOPPED


def test_ctrl_c_before_a_coroutine_runs_is_only_said_to_be_a_stop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """zarr makes one for every read, and hands it to a thread: between the two Python would report a forgotten one."""

    async def read() -> None:
        return None

    def work(**_: object) -> None:
        held = read()
        signal.raise_signal(signal.SIGINT)
        asyncio.run(held)

    monkeypatch.setattr(cli.commands["list"], "callback", work)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            assert main(["list"]) == 130
            gc.collect()
    finally:
        signal.signal(signal.SIGINT, handler)
    assert not said
    assert capsys.readouterr().err.strip() == STOPPED


def test_what_a_stop_left_half_made_is_freed_in_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """asyncio's loops, for one, have a destructor that needs what their last line makes."""
    freed = []

    class HalfMade:
        def __init__(self) -> None:
            signal.raise_signal(signal.SIGINT)
            self.is_closed = False

        def __del__(self) -> None:
            freed.append(self)
            assert self.is_closed

    monkeypatch.setattr(cli.commands["list"], "callback", lambda **_: HalfMade())
    handler, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
    printed: list[object] = []
    sys.unraisablehook = printed.append
    try:
        assert main(["list"]) == 130
        assert sys.unraisablehook == printed.append
    finally:
        signal.signal(signal.SIGINT, handler)
        sys.unraisablehook = hook
    assert len(freed) == 1 and not printed
    assert capsys.readouterr().err.strip() == STOPPED


BUILD = ["build", "demo", "--dataset", DATASET]
COMMANDS = {
    "build": ([*BUILD, "--scheduler", "processes", "--workers", "2"], "render: ", 3),
    "build-prefect": ([*BUILD, "--prefect"], "render", 2),
    "fetch": (["fetch", "synthetic-5pct-seed7"], "synthesize: ", 3),
    "benchmark": (
        ["benchmark", "small", "--model", "autoencoder", "--epochs", "100000", "--workers", "2"],
        "windows",
        4,
    ),
    "demo": (["demo", "--percent", "1"], "levels: ", 2),
    "serve": (["serve", "--server", "--variant", "demo", "--cron", "0 2 1 1 *"], "waiting for runs", 2),
}


@pytest.fixture
def migrated(root: Path, prefect_home: Path) -> Path:
    """A root where a Prefect server has been before."""
    shutil.copytree(prefect_home, root / ".prefect")
    return root


@pytest.fixture
def root_for(request: pytest.FixtureRequest, command: str) -> Path:
    """The root for a command: with a database for those that start a Prefect server."""
    found: Path = request.getfixturevalue("migrated" if command in ("build-prefect", "demo", "serve") else "root")
    return found


def stopped_by(number: int, command: str, root: Path, *, to_all: bool = False) -> Interrupted:
    """A command that has at least so many processes of its own, stopped by a signal."""
    arguments, trigger, n_processes = COMMANDS[command]
    if command == "benchmark":
        variant = load_variant("demo").model_copy(update={"name": "small"})
        make_store(root, "small", variant=variant.model_dump(mode="json"))
    if command == "serve":
        with socket.socket() as trial:
            trial.bind(("127.0.0.1", 0))
            arguments = [*arguments, "--port", str(trial.getsockname()[1])]
    arguments = [*arguments, "--root", str(root)]
    stopped = Interrupted(arguments, root.parent, trigger, terminal=False, number=number, to_all=to_all)
    assert len(stopped.processes) >= n_processes, "or nothing is tested"
    return stopped


SOME, ALL = ["build"], [pytest.param(name, marks=pytest.mark.slow) for name in COMMANDS if name != "build"]


@pytest.mark.parametrize("command", [*SOME, *ALL])
@pytest.mark.parametrize(
    ("number", "to_all", "exit_code"),
    [
        pytest.param(signal.SIGTERM, False, 143, id="SIGTERM"),
        pytest.param(signal.SIGTERM, True, 143, id="SIGTERM to all", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, True, 129, id="SIGHUP to all", marks=pytest.mark.slow),
    ],
)
def test_a_signal_is_as_ctrl_c(root_for: Path, command: str, number: int, to_all: bool, exit_code: int) -> None:
    stopped = stopped_by(number, command, root_for, to_all=to_all)
    assert stopped.exit_code == exit_code, stopped.said
    assert stopped.last_line == STOPPED
    assert not re.search("Traceback|KeyboardInterrupt|Crash|rror", stopped.said), stopped.said
    assert stopped.survivors == []


@pytest.mark.parametrize("command", [*SOME, *ALL])
def test_no_process_outlives_a_killed_command(root_for: Path, command: str) -> None:
    stopped = stopped_by(signal.SIGKILL, command, root_for)
    assert stopped.exit_code == -signal.SIGKILL
    assert stopped.survivors == []
    assert "Traceback" not in stopped.said, stopped.said


@pytest.mark.parametrize(("then", "exit_code"), [(signal.SIGTERM, 143), (None, 0)], ids=["SIGTERM", "nothing"])
def test_a_signal_that_is_ignored_stays_so(root: Path, then: int | None, exit_code: int) -> None:
    """``nohup`` is what people start long builds with; a shell has its background jobs ignore Ctrl-C."""
    ignored = (signal.SIGHUP, signal.SIGINT)
    before = [signal.signal(number, signal.SIG_IGN) for number in ignored]
    try:
        process = Command([*OURS, *BUILD, "--root", str(root), "--quiet"], stderr=subprocess.PIPE, text=True)
    finally:
        for number, handler in zip(ignored, before, strict=True):
            signal.signal(number, handler)
    with process:
        while process.poll() is None and not any(root.glob("variants/*/*.journal/*.json")):
            time.sleep(0.005)
        for number in ignored:
            process.send_signal(number)
        assert process.poll() is None, "it was at work"
        if then is not None:
            time.sleep(0.1)
            process.send_signal(then)
        said = process.communicate(timeout=PATIENT_S)[1]
    assert process.returncode == exit_code, said


def test_an_interrupted_build_is_listed_and_goes_on(root: Path, tmp_path: Path) -> None:
    build = ["build", "demo", "--dataset", DATASET, "--root", str(root)]
    Interrupted(build, tmp_path, lambda: any(root.glob("variants/*/*.journal/*")), terminal=False)
    (listed,) = json.loads(run("list", "--root", str(root), "--json"))
    assert listed["state"] == "partial"
    assert run(*build, "--quiet", "--json")
    assert [store["state"] for store in json.loads(run("list", "--root", str(root), "--json"))] == ["latest"]


def run(*arguments: str) -> str:
    done = run_command([*OURS, *arguments])
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout
