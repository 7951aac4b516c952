"""README.md, taken at its word: its blocks of sh and Python run in their order, in one empty directory, from outside.

What a block needs is said in a comment right before it, which the page does not show:

<!-- not run: REASON -->    the reason why a block is left out
<!-- file: NAME -->         the block is the content of a file
<!-- until: TEXT -->        the block runs until it says TEXT, then Ctrl-C ends it
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile as sf

from mimiidg_build.cli import cli
from mimiidg_build.storage.places import ObjectPath
from tests.object_storage import make_bucket

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCK = re.compile(r"(?:<!-- (not run|file|until): ([^\n]*?) -->\n)?```(sh|python|toml)\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and what its comment says of it."""

    language: str
    text: str
    how: str
    value: str
    line: int


def blocks() -> list[Block]:
    text = README.read_text()
    found = [
        Block(match[3], match[4], match[1] or "", match[2] or "", text[: match.start(4)].count("\n"))
        for match in BLOCK.finditer(text)
    ]
    assert len(found) == len(re.findall(r"^```(?:sh|python|toml)$", text, re.MULTILINE))
    return found


def test_what_is_left_out_has_a_reason_and_the_rest_is_run() -> None:
    assert all(len(block.value) > 10 for block in blocks() if block.how == "not run")
    run = [block for block in blocks() if block.how != "not run" and block.language != "toml"]
    commands = {word for block in run for word in re.findall(r"mimiidg (\w+)", block.text)}
    assert commands >= {"build", "benchmark", "serve"}
    assert sum(block.language == "python" for block in run) >= 3


@pytest.fixture
def my_bucket(bucket: ObjectPath, storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's bucket, and the environment that leads to it."""
    make_bucket(storage, "my-bucket")
    monkeypatch.delenv("MIMIIDG_WORK")


@pytest.mark.usefixtures("my_bucket")
@pytest.mark.parametrize("block", [b for b in blocks() if b.language == "sh"], ids=lambda block: f"line {block.line}")
def test_every_command_shown_exists(block: Block) -> None:
    """Of the blocks that are not run, too: names of commands and options are right."""
    for line in block.text.splitlines():
        for part in re.split(r"&&|\|", line):
            words = shlex.split(part.strip(" &"), comments=True)
            if words[:1] == ["mimiidg"] and words[1:] != ["--help"]:
                command = cli.commands[words[1]]
                try:
                    command.make_context(words[1], words[2:], resilient_parsing=False)
                except click.BadParameter as error:
                    assert "does not exist" in str(error), part  # a file of the reader's own


@pytest.fixture
def place(synthetic_archives: Path, tmp_path: Path) -> Path:
    """An empty directory, but for what the reader has: recordings of noise, and archives fetched once for all tests."""
    (tmp_path / "mimiidg-data").mkdir()
    (tmp_path / "mimiidg-data/archives").symlink_to(synthetic_archives / "archives")
    for name, seed in (("hall_a", 1), ("hall_b", 2)):
        (tmp_path / name).mkdir()
        noise = np.random.default_rng(seed).normal(0, 0.1, 1_000_000)
        sf.write(tmp_path / name / "recording.wav", noise, 44_100)
    return tmp_path


@pytest.mark.usefixtures("my_bucket")
def test_what_is_shown_works_as_written(place: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MIMIIDG", "PYTHON"))}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
        "OMP_NUM_THREADS": "1",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    }
    for block in blocks():
        if block.how == "not run":
            continue
        if block.how == "file":
            (place / block.value).write_text(block.text)
            continue
        if block.language == "toml":
            continue
        command = ["bash", "-e", "-c", block.text] if block.language == "sh" else [sys.executable, "-c", block.text]
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(
                command, cwd=place, env=environment, stdout=said, stderr=said, start_new_session=True
            )
            end, goes_on = time.monotonic() + 180, block.how == "until"
            while process.poll() is None and time.monotonic() < end:
                time.sleep(0.1)
                if goes_on and block.value in read(said.fileno()):
                    os.killpg(process.pid, signal.SIGINT)
                    goes_on, end = False, time.monotonic() + 60
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            text = read(said.fileno())
        expected = (130, -signal.SIGINT) if block.how == "until" else (0,)
        assert process.returncode in expected, f"README.md line {block.line}:\n{block.text}\n{text}"
        assert "Warning" not in text and "Traceback" not in text, f"README.md line {block.line}:\n{block.text}\n{text}"


def read(descriptor: int) -> str:
    """What a process has written so far, without moving where it goes on writing."""
    return os.pread(descriptor, 1_000_000, 0).decode(errors="replace")
