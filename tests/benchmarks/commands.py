"""Commands as a user starts them, in processes of their own, with what they took."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

WATCH_S = 0.02  # how often memory is looked at
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
    tree_mb: float = 0.0  # peak resident memory of it and all its children, where it was watched

    @property
    def peak_mb(self) -> float:
        """Largest resident memory, as the program above tells it: what the system tells of a child that has ended
        includes its parent's, from before it became another program."""
        return int(self.errors.split()[-1]) * 1024 / 1e6


def best(rounds: Sequence[Took]) -> Took:
    """The least of either time: what disturbs a measurement only ever slows it."""
    return replace(rounds[0], wall_s=min(one.wall_s for one in rounds), cpu_s=min(one.cpu_s for one in rounds))


def run(
    *arguments: str,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
    watched: bool = False,
) -> Took:
    """Run Python with arguments to its end.

    Parameters
    ----------
    *arguments : str
    python : str
        The interpreter; this one by default.
    environment : mapping of str to str, optional
        Its environment variables; this process's by default.
    watched : bool
        Whether to look at the memory of it and its children while it runs.

    Returns
    -------
    Took

    Raises
    ------
    RuntimeError
        It failed.
    """
    begun = time.perf_counter()
    # as users have them: an installed package comes with its bytecode, and ours is kept by the first process
    own = {k: v for k, v in (environment or os.environ).items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([python, *arguments], stdout=output, stderr=errors, env=own)
        tree_mb = _watch(process.pid) if watched else 0.0
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said, complained = _content(output), _content(errors)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{complained}")
    return Took(time.perf_counter() - begun, usage.ru_utime + usage.ru_stime, complained, said, tree_mb)


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _watch(pid: int) -> float:
    """The largest resident memory of a process and its children together, in MB, until it has ended."""
    largest = 0
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        largest = max(largest, _tree_bytes(pid))
        time.sleep(WATCH_S)
    return largest / 1e6


def _tree_bytes(pid: int) -> int:
    """Resident memory of a process and its children as they are now; 0 of one that has ended."""
    process = Path("/proc") / str(pid)
    try:
        resident = int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        children = [child for task in (process / "task").iterdir() for child in (task / "children").read_text().split()]
    except (OSError, IndexError):
        return 0
    return resident + sum(_tree_bytes(int(child)) for child in children)


def mimiidg(*arguments: str, environment: Mapping[str, str] | None = None, watched: bool = False) -> Took:
    """Run the program."""
    return run("-c", PROGRAM, *arguments, environment=environment, watched=watched)
