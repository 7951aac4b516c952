"""Runs ``mimiidg`` and says how much of its time was its own work: ``python -m tests.benchmarks.own_work demo ...``.

Every 10 ms it is looked where the threads stand. A moment is the program's own work where a thread is in the library
(below the commands and the flows), importing nothing; whatever else happens then, Prefect beside it is not waited for.
Training goes on in other processes while the library waits for them: that is own work, their start included. What is
left is Prefect, imports, and Python's start.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import mimiidg_build
from mimiidg_build.cli import main

INTERVAL_S = 0.01
LIBRARY = str(Path(mimiidg_build.__file__).parent)
COMMANDS = f"{LIBRARY}/cli"


def is_own(frame: FrameType | None) -> bool:
    """Whether a thread stands in the library's own work."""
    found = False
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return False
        found = found or (name.startswith(LIBRARY) and not name.startswith(COMMANDS))
        frame = frame.f_back
    return found


def sample(counts: list[int], stop: threading.Event) -> None:
    """Count moments: all, and those of own work."""
    me = threading.get_ident()
    while not stop.wait(INTERVAL_S):
        counts[0] += 1
        counts[1] += any(is_own(frame) for thread, frame in sys._current_frames().items() if thread != me)


def run(arguments: list[str]) -> dict[str, float]:
    """Run the program; seconds in all and the share of its own work."""
    counts, stop = [0, 0], threading.Event()
    sampler = threading.Thread(target=sample, args=(counts, stop), daemon=True)
    sampler.start()
    begun = time.perf_counter()
    code = main(arguments)
    seconds = time.perf_counter() - begun
    stop.set()
    sampler.join()
    if code:
        raise SystemExit(code)
    return {"seconds": seconds, "own": seconds * counts[1] / max(counts[0], 1)}


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1:])), file=sys.stderr)
