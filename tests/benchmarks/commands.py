"""Commands as a user starts them, in processes of their own, with what they took."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass

PROGRAM = """
import sys
from mimiidg_build.cli import main
code = main(sys.argv[1:])
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")), file=sys.stderr)
sys.exit(code)
"""


@dataclass(frozen=True)
class Took:
    """A finished process: wall time, processor time of it and its children, and what it said on standard error."""

    wall_s: float
    cpu_s: float
    errors: str

    @property
    def peak_mb(self) -> float:
        """Largest resident memory, as the program above tells it: what the system tells of a child that has ended
        includes its parent's, from before it became another program."""
        return int(self.errors.split()[-1]) * 1024 / 1e6


def run(*arguments: str) -> Took:
    """Run Python with arguments to its end.

    Raises
    ------
    RuntimeError
        It failed.
    """
    begun = time.perf_counter()
    # as users have them: an installed package comes with its bytecode, and ours is kept by the first process
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    )
    assert process.stderr is not None
    with process.stderr:
        errors = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{errors}")
    return Took(time.perf_counter() - begun, usage.ru_utime + usage.ru_stime, errors)


def mimiidg(*arguments: str) -> Took:
    """Run the program."""
    return run("-c", PROGRAM, *arguments)
