"""Draws ``.github/speed.png`` and prints the table of ``tests/README.md`` from figures that the other programs saved.

``python -m tests.benchmarks.picture FOLDER [FILE]``, FOLDER as given to ``--save``. Each figure stands as a multiple of
its bar, so that right of the line is better than what was asked for, whatever its unit.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from tests.benchmarks import Ratio
from tests.pictures import FAINT, INK

ORDER = ("features", "build", "read", "memory", "scale", "startup", "training", "whole_run", "peers", "million")
HOLDS, FAILS = "#2f6f9f", "#c2573a"
FILE = Path(__file__).parents[2] / ".github" / "speed.png"


def saved(folder: Path) -> dict[str, tuple[str, list[Ratio]]]:
    """Machine and ratios of every program whose figures are there, in reading order."""
    found = {}
    for name in ORDER:
        if (folder / f"{name}.json").is_file():
            content = json.loads((folder / f"{name}.json").read_text())
            found[name] = (content["machine"], [Ratio(**ratio) for ratio in content["ratios"]])
    return found


def better(ratio: Ratio) -> float:
    """How many times better than its bar a figure is."""
    return ratio.value / ratio.bar if ratio.at_least else ratio.bar / max(ratio.value, 1e-9)


def table(found: dict[str, tuple[str, list[Ratio]]]) -> str:
    """The table of ``tests/README.md``."""
    lines = ["| | | found | bar |", "|---|---|---:|---:|"]
    for name, (_, ratios) in found.items():
        for number, row in enumerate(ratio.row() for ratio in ratios):
            label = f"`{name}`" if number == 0 else ""
            missed = " (missed)" if row["holds"] == "NO" else ""
            lines.append(f"| {label} | {row['figure']} | {row['found']}{missed} | {row['bar']} |")
    machines = "; ".join(dict.fromkeys(machine for machine, _ in found.values()))
    return "\n".join([*lines, "", f"Measured on {machines}."])


def draw(found: dict[str, tuple[str, list[Ratio]]], path: Path) -> None:
    """One bar a figure."""
    ratios = [ratio for _, group in found.values() for ratio in group][::-1]
    plt.rcParams["font.family"] = ["DejaVu Sans"]
    figure, axes = plt.subplots(figsize=(9.6, 0.29 * len(ratios) + 0.9), dpi=144, layout="constrained")
    colours = [HOLDS if ratio.holds else FAILS for ratio in ratios]
    axes.barh(range(len(ratios)), [better(ratio) - 1 for ratio in ratios], left=1, color=colours, height=0.62)
    axes.set_xscale("log")
    axes.axvline(1, color=INK, linewidth=1)
    for y, ratio in enumerate(ratios):
        right = better(ratio) >= 1
        axes.annotate(
            ratio.row()["found"],
            (better(ratio), y),
            xytext=(4 if right else -4, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize=8,
            color=INK,
        )
    labels = [f"{ratio.what}  ({ratio.row()['bar']})" for ratio in ratios]
    axes.set_yticks(range(len(ratios)), labels, fontsize=8.5, color=INK)
    axes.set_xlabel("times better than its bar", fontsize=9, color=FAINT)
    axes.margins(x=0.14, y=0.01)
    axes.tick_params(colors=FAINT, labelsize=8, length=0, which="both")
    axes.tick_params(axis="y", labelcolor=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor="white")
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("file", type=Path, nargs="?", default=FILE)
    given = options.parse_args(arguments)
    found = saved(given.folder)
    draw(found, given.file)
    print(table(found))


if __name__ == "__main__":
    main()
