"""Commands as a user starts them, in processes of their own, with what they took."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
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
    """A finished process: wall time, processor time of it and its children, and what it said."""

    wall_s: float
    cpu_s: float
    errors: str
    output: str = ""

    @property
    def peak_mb(self) -> float:
        """Largest resident memory, as the program above tells it: what the system tells of a child that has ended
        includes its parent's, from before it became another program."""
        return int(self.errors.split()[-1]) * 1024 / 1e6


def run(*arguments: str, python: str = sys.executable, environment: Mapping[str, str] | None = None) -> Took:
    """Run Python with arguments to its end.

    Parameters
    ----------
    *arguments : str
    python : str
        The interpreter; this one by default.
    environment : mapping of str to str, optional
        Its environment variables; this process's by default.

    Returns
    -------
    Took

    Raises
    ------
    RuntimeError
        It failed.
    """
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([python, *arguments], stdout=output, stderr=subprocess.PIPE, env=environment)
        assert process.stderr is not None
        with process.stderr:
            errors = process.stderr.read().decode()
        output.seek(0)
        said = output.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{errors}")
    return Took(time.perf_counter() - begun, usage.ru_utime + usage.ru_stime, errors, said)


def mimiidg(*arguments: str, environment: Mapping[str, str] | None = None) -> Took:
    """Run the program."""
    return run("-c", PROGRAM, *arguments, environment=environment)
