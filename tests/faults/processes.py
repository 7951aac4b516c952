"""The program in processes of its own, to be killed: forked from one that has imported everything, so each starts in
milliseconds. Clips are 1 s and shards 4 clips there, so that a build of a second has many steps to die at.

Run as a script it is that one process, itself forked from :mod:`tests.command_server`: a command a line on standard
input, an answer a line on standard output.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.command_server import Command
from tests.faults.actions import ACTIONS
from tests.faults.injected import FAULTS, at_end

END = {"end": True}
CHECKOUT = Path(__file__).resolve().parents[2]
N_SAMPLES, SHARD_CLIPS = 16_000, 4
WARM = (
    "dask.dataframe",  # pandera asks for it
    "distributed",  # dask does
    "mimiidg_build.benchmark.train_network",
    "mimiidg_build.build.variant",
    "mimiidg_build.cli",
    "mimiidg_build.kernels.entries",
    "mimiidg_build.training.clip_dataset",
    "mimiidg_build.upkeep.prune",
    "mimiidg_build.upkeep.repair",
    "rich.table",
    "zarr",
)


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit code (negative: the signal), and what it printed."""

    code: int
    out: str
    err: str


class Processes:
    """Starts and awaits runs of ``mimiidg``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.outputs: dict[int, Path] = {}
        self.n_started = 0
        self.parent = Command(
            [sys.executable, __file__],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, **command: Any) -> Any:
        assert self.parent.stdin and self.parent.stdout
        print(json.dumps(command), file=self.parent.stdin, flush=True)
        return json.loads(self.parent.stdout.readline())

    def start(self, *arguments: object, action: str = "mimiidg", **faults: Any) -> int:
        """Start the program, with faults (see ``FAULTS``); the process's number."""
        self.n_started += 1
        output = str(self.directory / str(self.n_started))
        for end in (".out", ".err"):
            Path(output + end).touch()
        process = self._ask(action=action, arguments=[str(a) for a in arguments], faults=faults, output=output)
        self.outputs[process] = Path(output)
        return int(process)

    def wait(self, process: int) -> Ended:
        """Wait for a process that was started."""
        code, output = self._ask(wait=process), self.outputs.pop(process)
        return Ended(code, *(output.with_suffix(end).read_text() for end in (".out", ".err")))

    def run(self, *arguments: object, action: str = "mimiidg", **faults: Any) -> Ended:
        """Run the program to its end."""
        return self.wait(self.start(*arguments, action=action, **faults))

    def warm(self, *arguments: object) -> None:
        """Run the program in the parent, so that what it loads and compiles is there for all that follow."""
        self._ask(warm=[str(a) for a in arguments])

    def load(self, *modules: str) -> None:
        """Import modules in the parent, for all that follow."""
        self._ask(load=modules)

    def close(self) -> None:
        """End the parent; whatever it started has been waited for."""
        assert self.parent.stdin and self.parent.stdout
        print(json.dumps(END), file=self.parent.stdin, flush=True)  # what another test forked may hold the pipe open
        self.parent.stdin.close()
        self.parent.wait()
        self.parent.stdout.close()


def shorten() -> None:
    """Small shards, in this process."""
    from mimiidg_build.build import inputs, metadata, planning, render
    from mimiidg_build.upkeep import export

    for module in (export, inputs, metadata, planning, render):
        if hasattr(module, "SHARD_CLIPS"):
            module.SHARD_CLIPS = SHARD_CLIPS


def fork(action: str, arguments: list[str], faults: dict[str, Any], output: str) -> int:
    """Run an action in a process of its own; its number."""
    if process := os.fork():
        return process
    code = 70
    try:
        os.setpgid(0, 0)
        for number, end in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(output + end, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for name, value in faults.items():
            FAULTS[name](value)
        code = ACTIONS[action](*arguments)
        for function in at_end:
            function()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def serve(commands: Iterator[str]) -> None:
    """Start and await what is asked for."""
    for module in WARM:
        importlib.import_module(module)
    sys.modules["mimiidg_build.kernels.entries"].load_all()  # which LLVM links in each process
    shorten()
    gc.set_threshold(50_000)  # as the command line does
    for line in commands:
        command = json.loads(line)
        if command == END:
            return
        if "wait" in command:
            answer = os.waitstatus_to_exitcode(os.waitpid(command["wait"], 0)[1])
        elif "load" in command:
            answer = len([importlib.import_module(name) for name in command["load"]])
        elif "warm" in command:
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
                answer = ACTIONS["mimiidg"](*command["warm"])
        else:
            gc.freeze()  # a collection in a forked process would write to all that they share
            answer = fork(**command)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(iter(sys.stdin.readline, ""))
