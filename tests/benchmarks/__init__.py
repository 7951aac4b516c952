"""Programs that measure: run by hand, ``python -m tests.benchmarks.<name>``. Ratios within one run are what counts.

Each compares side by side, with fixed work, prints a table and its ratios with their bars, and takes its sizes as
options. ``--save FOLDER`` keeps the figures; ``python -m tests.benchmarks.picture FOLDER`` makes the table and the
plot of ``tests/README.md``. ``--root DIR`` keeps the synthetic archives, so that the next program need not make them
again.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mimiidg_build.cli.printing import print_table

CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Ratio:
    """One figure against its bar: at least, or at most."""

    what: str
    value: float
    bar: float
    at_least: bool = True
    unit: str = ""

    @property
    def holds(self) -> bool:
        """Whether the bar is met."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def row(self) -> dict[str, str]:
        """As printed."""
        sign = "≥" if self.at_least else "≤"
        return {
            "figure": self.what,
            "found": f"{self.value:.3g}{self.unit}",
            "bar": f"{sign} {self.bar:g}{self.unit}",
            "holds": "yes" if self.holds else "NO",
        }


def parser(description: str | None) -> argparse.ArgumentParser:
    """Options that every program has."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False
    )
    options.add_argument("--save", type=Path, metavar="FOLDER", help="keep the figures as FOLDER/<name>.json")
    return options


def machine() -> str:
    """What it ran on, when, and how busy that was."""
    models = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return (
        f"{models[0] if models else platform.processor()}, {CORES} cores, Python {platform.python_version()}, {today}"
    )


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def report(name: str, title: str, rows: Sequence[dict[str, Any]], ratios: Sequence[Ratio], save: Path | None) -> None:
    """Print a program's figures, and keep them if wanted."""
    print_table(f"{title} ({machine()}; load {os.getloadavg()[0]:.1f})", rows)
    print_table("", [ratio.row() for ratio in ratios])
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
        content = {"title": title, "machine": machine(), "rows": rows, "ratios": [asdict(ratio) for ratio in ratios]}
        (save / f"{name}.json").write_text(json.dumps(content, indent=1))


@contextlib.contextmanager
def working_root(root: Path | None) -> Iterator[Path]:
    """The root given, or one that is deleted afterwards."""
    if root is not None:
        root.mkdir(parents=True, exist_ok=True)
        yield root
    else:
        with tempfile.TemporaryDirectory(prefix="mimiidg-benchmark-") as directory:
            yield Path(directory)
