"""Stops while a flow is called: at any line, Prefect's own code included, they end it, and before its next stage."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from mimiidg_build.flows import stops
from mimiidg_build.flows.stops import no_lost_stop, stage

# Stops a flow within a flow between its two tasks, at evenly spaced lines of all that Python runs there. All in one
# process, since to start Prefect takes longer than a trial.
TRIALS = """
import json, os, signal, sys
from mimiidg_build.cli.process import StopSignals
from mimiidg_build.flows.hermetic import flow
from mimiidg_build.flows.tasks import stage_task

number, n_trials = map(int, sys.argv[1:])
lines, at, done = 0, None, []

def trace(frame, event, _):
    global lines
    if event == "line" and "second" not in done:
        lines += 1
        if lines == at:
            sys.settrace(None)
            os.kill(os.getpid(), number)
    return trace

def first():
    frame = sys._getframe()
    while frame := frame.f_back:
        frame.f_trace = trace
    sys.settrace(trace)

@flow(name="inner")
def inner():
    stage_task("first", first)()
    stage_task("second", lambda: done.append("second"))()

@flow(name="outer")
def outer():
    inner()

def trial(line):
    global lines, at
    lines, at = 0, line
    done.clear()
    with StopSignals() as signals:
        try:
            outer()
            ended = None
        except BaseException as error:
            ended = type(error).__name__
        finally:
            sys.settrace(None)
    return {"line": line, "ended": ended, "came": signals.came, "done": list(done)}

trial(None)  # the first starts the server
unstopped, between = trial(None), lines
spaced = [1 + between * n // (n_trials + n_trials // 50 + 1) for n in range(n_trials)]  # a run's lines differ a little
print(json.dumps([unstopped, *map(trial, spaced)]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "came"), [(signal.SIGTERM, 15), (signal.SIGINT, None)], ids=["SIGTERM", "Ctrl-C"])
def test_a_stop_at_any_line_between_two_tasks(
    prefect_home: Path, tmp_path: Path, number: signal.Signals, came: int | None
) -> None:
    """Prefect made a ValueError of its own of those that came while it began a task."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
    environment["PREFECT_HOME"] = str(shutil.copytree(prefect_home, tmp_path / "prefect"))
    command = [sys.executable, "-c", TRIALS, str(int(number)), "25"]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    unstopped, *stopped = json.loads(process.stdout)
    assert unstopped == {"line": None, "ended": None, "came": None, "done": ["second"]}
    assert len({trial["line"] for trial in stopped}) == 25
    wrong = [t for t in stopped if t != {"line": t["line"], "ended": "KeyboardInterrupt", "came": came, "done": []}]
    assert not wrong


STOPS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def handlers() -> Iterator[list[int]]:
    """A program's own handlers, which raise, as a command's do; the numbers of the signals that reached them."""
    came: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = [signal.signal(number, handle) for number in STOPS]
    yield came
    for number, handler in zip(STOPS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPS)
def test_a_stop_waits_while_prefect_works(handlers: list[int], number: int) -> None:
    """For the next stage or the end of the call: Prefect may keep a lock for ever where it is interrupted."""
    reached: list[str] = []
    with pytest.raises(KeyboardInterrupt), no_lost_stop():
        signal.raise_signal(number)
        reached.append("Prefect goes on")
        with no_lost_stop(), stage():
            reached.append("a stage")
    with pytest.raises(KeyboardInterrupt), no_lost_stop():
        with no_lost_stop():
            signal.raise_signal(number)
            reached.append("to the end")
        reached.append("the next flow")
    assert reached == ["Prefect goes on", "to the end"] and handlers == [number, number]
    assert all(signal.getsignal(one) not in (signal.SIG_DFL, signal.default_int_handler) for one in STOPS)


@pytest.mark.parametrize("number", STOPS)
def test_a_stop_in_a_stage_is_raised_there_and_never_lost(handlers: list[int], number: int) -> None:
    reached: list[str] = []
    with pytest.raises(KeyboardInterrupt), no_lost_stop():
        with contextlib.suppress(KeyboardInterrupt), stage():
            signal.raise_signal(number)
            reached.append("a stage goes on")
        reached.append("lost")
        with stage():
            reached.append("the next stage")
    assert reached == ["lost"] and handlers == [number]
    with pytest.raises(KeyboardInterrupt), no_lost_stop():
        with contextlib.suppress(KeyboardInterrupt), stage():
            signal.raise_signal(number)
        raise ValueError("Task run is not set")  # what Prefect makes of it
    with no_lost_stop(), stage():
        reached.append("another call")
    assert reached == ["lost", "another call"]


@pytest.mark.parametrize("number", STOPS)
def test_prefect_is_not_waited_for_for_ever(handlers: list[int], number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stops, "PATIENCE_S", 0.05)
    with pytest.raises(KeyboardInterrupt), no_lost_stop():
        signal.raise_signal(number)
        time.sleep(60)  # for a server that does not answer
    assert handlers == [number]
    monkeypatch.setattr(stops, "PATIENCE_S", 60)
    with pytest.raises(KeyboardInterrupt), no_lost_stop():
        signal.raise_signal(number)
        signal.raise_signal(number)  # a second Ctrl-C
        time.sleep(60)
    assert handlers == [number, number]


def test_what_a_program_ignores_or_only_notes_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: noted.append(number))
    try:
        with no_lost_stop():
            signal.raise_signal(signal.SIGINT)
            assert not noted
            with stage():
                assert noted == [signal.SIGINT]
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nohup
        with no_lost_stop(), stage():
            signal.raise_signal(signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert noted == [signal.SIGINT] and signal.getsignal(signal.SIGINT) is before
