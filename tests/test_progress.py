"""Progress: few plain lines for logs, a live line for people, nothing for programs."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from rich.cells import cell_len
from rich.console import Console

from mimiidg_build import progress, settings
from mimiidg_build.progress import LiveReporter, PlainReporter, Reporter, choose_reporter


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


@pytest.fixture
def restored() -> Iterator[None]:
    before = settings.reporter()
    yield
    settings.configure(reporter=before)


def test_a_step_ends_with_one_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    on_progress = PlainReporter().step("render", 1800)
    for _ in range(18):
        clock.now += 0.5
        on_progress(100)
    assert capsys.readouterr() == ("", "render: 1,800 of 1,800 clips, 200/s\n")
    on_progress(0)  # nothing more is done
    on_progress(5)  # and what comes beyond the end is not the end again
    assert capsys.readouterr().err == ""


def test_a_long_step_gives_a_line_every_ten_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    on_progress = PlainReporter().step("synthesis", 100, unit="files")
    for _ in range(100):
        clock.now += 0.5
        on_progress(1)
    assert capsys.readouterr().err.splitlines() == [
        "synthesis: 20 of 100 files, 2/s, 0:40 left",
        "synthesis: 40 of 100 files, 2/s, 0:30 left",
        "synthesis: 60 of 100 files, 2/s, 0:20 left",
        "synthesis: 80 of 100 files, 2/s, 0:10 left",
        "synthesis: 100 of 100 files, 2/s",
    ]


def test_a_short_step_that_does_not_end_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    PlainReporter().step("render", 100)(99)
    assert capsys.readouterr() == ("", "")


def test_steps_do_not_disturb_each_other(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    plain = PlainReporter()
    first, second = plain.step("one", 10), plain.step("two", 10)
    first(5)
    second(10)
    first(5)
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == ["two", "one"]


class Slow(int):
    """A number that takes its time to be added: long enough for another thread to come in between."""

    def __radd__(self, other: int) -> int:
        time.sleep(0.001)
        return other + int(self)


def test_many_threads_report_to_one_step(capsys: pytest.CaptureFixture[str]) -> None:
    on_progress = PlainReporter().step("render", 1000)
    threads = [threading.Thread(target=lambda: [on_progress(Slow(10)) for _ in range(25)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert capsys.readouterr().err.startswith("render: 1,000 of 1,000 clips, ")  # none was lost


def test_a_transfer_gives_a_line_every_ten_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    plain = PlainReporter()
    for second in range(25):
        plain.transfer("fan.zip", second * 10_000_000, 928_511_244)
        plain.transfer("own.zip", second * 1_000_000, None)
        clock.now += 1
    assert capsys.readouterr().err.splitlines() == [
        "fan.zip: 100 of 929 MB",
        "own.zip: 10 MB",
        "fan.zip: 200 of 929 MB",
        "own.zip: 20 MB",
    ]


def test_the_silent_reporter_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter() as silent:
        silent.step("render", 1)(1)
        silent.transfer("fan.zip", 1, 1)
    assert capsys.readouterr() == ("", "")


def test_bars_show_count_unit_and_size(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with LiveReporter() as live:
        on_progress = live.step("render", 180, unit="clips")
        for _ in range(18):
            on_progress(10)
        live.transfer("fan.zip", 400_000_000, 928_000_000)
        live.transfer("fan.zip", 928_000_000, 928_000_000)
        live.transfer("own.zip", 3_000_000, None)
    out, err = capsys.readouterr()
    assert out == ""
    rows = {line.split()[0]: " ".join(line.split()) for line in err.splitlines() if line.strip()}
    assert "180 of 180 clips" in rows["render"]
    assert "928 of 928 MB" in rows["fan.zip"]
    assert "3 MB" in rows["own.zip"]


def terminal(height: int = 24) -> tuple[LiveReporter, Console]:
    """A reporter at a terminal of 80 columns, and that terminal."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=height, _environ={"TERM": "xterm"})
    return LiveReporter(console), console


def shown(live: LiveReporter, console: Console) -> list[str]:
    """The lines that stand there at this moment."""
    with console.capture() as drawn:
        console.print(live._progress.get_renderable())
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.get()).splitlines()


def test_what_has_ended_is_a_line_and_what_goes_on_stays_in_sight() -> None:
    """More steps than lines: those under way are at the bottom, each of the others was printed once."""
    live, console = terminal()
    for number in range(40):
        live.step(f"network {number}", 10, "windows")(10)
    under_way = live.step("network 40", 10, "windows")
    under_way(3)
    assert [line.split("  ")[0] for line in shown(live, console)] == ["network 40"]
    under_way(7)
    under_way(1)  # beyond the end, when the bar has gone
    assert shown(live, console) == []
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert [written.count(f"network {number} ") for number in range(41)] == [1] * 41
    assert "10 of 10 windows" in written


def test_no_more_bars_than_lines() -> None:
    live, console = terminal(height=10)
    for number in range(40):
        live.step(f"network {number}", 10)(1)
    lines = shown(live, console)
    assert len(lines) < 10 and lines[0].startswith("network 0 ") and lines[-1] == "and 33 more"


@pytest.mark.parametrize("title", ["render", "autoencoder smoke-2epochs seed 1 gearbox, epoch 12 of 100, loss 0.01234"])
def test_a_bar_is_one_line(title: str) -> None:
    live, console = terminal()
    live.step(title, 1_234_567, "recordings")(200_000)
    live.transfer("a_very_long_name_of_an_archive_with_recordings_of_a_machine_type.zip", 10**8, 10**9)
    lines = shown(live, console)
    assert len(lines) == 2 and max(map(cell_len, lines)) <= 80
    assert "200,000 of 1,234,567 recordings" in lines[0] and "100 of 1,000 MB" in lines[1]
    live.step("x" * 100, 1)(1)
    assert all(cell_len(line) <= 80 for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def test_a_note_stands_beside_a_step_under_way() -> None:
    live, console = terminal()
    under_way = live.step("autoencoder", 2)
    live.note("autoencoder", "loss 12.5")
    assert shown(live, console)[0].startswith("autoencoder, loss 12.5")
    under_way(2)
    live.note("autoencoder", "loss 12.4")  # too late, and no mistake
    assert shown(live, console) == []


@pytest.mark.parametrize(
    ("terminal", "quiet", "kind"),
    [(True, False, LiveReporter), (False, False, PlainReporter), (True, True, Reporter), (False, True, Reporter)],
)
def test_the_reporter_suits_where_it_goes(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, quiet: bool, kind: type[Reporter]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert type(choose_reporter(quiet)) is kind


@pytest.mark.usefixtures("restored")
def test_a_programs_reporter_is_silent_until_it_sets_one() -> None:
    # in a program of its own: other tests ran commands, which set theirs
    fresh = "from mimiidg_build.settings import *; assert type(reporter()).__name__ == 'Reporter'"
    subprocess.run([sys.executable, "-c", fresh], check=True)
    plain = PlainReporter()
    settings.configure(reporter=plain)
    assert settings.reporter() is plain
    settings.configure()
    assert settings.reporter() is plain, "what is left out stays"
