"""When, where and with what a report was written. No host or user name: a page may be passed on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from mimiidg_build import __version__
from mimiidg_build.parallel.cores import processor_name

PACKAGES = ("numpy", "scipy", "pandas", "zarr", "matplotlib", "soundfile", "torch")


def written() -> dict[str, str]:
    """Date, machine and versions, by title."""
    return {
        "Report written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Machine": f"{processor_name()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
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
