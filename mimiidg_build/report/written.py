"""When, where and with what a report was written. No host or user name: a page may be passed on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mimiidg_build import __version__

PACKAGES = ("numpy", "scipy", "pandas", "zarr", "matplotlib", "soundfile", "torch")


def written() -> dict[str, str]:
    """Date, machine and versions, by title."""
    return {
        "Report written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "Versions here": ", ".join(
            [f"mimiidg_build {__version__}", f"Python {platform.python_version()}", *_versions()]
        ),
    }


def _versions() -> list[str]:
    """Read from what is installed: nothing is imported for it."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    """The processor's name, which Python itself does not know on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"
