"""How many processor cores this process may use, and what they are called.

dask and psutil count them as well, but dask's count costs the import of dask, which a build in threads does without.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")


def n_cores() -> int:
    """As many cores as the system's affinity and a container's quota of processor time allow; one at least."""
    # elsewhere than on Linux a process has no affinity that Python knows of
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(n, _quota())))


def processor_name() -> str:
    """The processor's name, which Python itself does not know on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def _quota() -> float:
    """Cores' worth of processor time that a container has, infinite without a limit."""
    for group in ("cpuacct,cpu", "cpu,cpuacct"):  # of version 1; distributions differ
        with contextlib.suppress(OSError, ValueError):
            quota, period = (int((CGROUPS / group / f"cpu.cfs_{what}_us").read_text()) for what in ("quota", "period"))
            return quota / period if quota > 0 else math.inf
    with contextlib.suppress(OSError, ValueError):  # version 2 says "max" where there is no limit
        own = OWN_GROUP.read_text().strip().split(":")[-1].strip("/")
        quota, period = map(int, (CGROUPS / own / "cpu.max").read_text().split())
        return quota / period
    return math.inf
