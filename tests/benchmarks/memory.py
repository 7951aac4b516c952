"""Peak resident memory of every command that works on clips, by the number of clips.

``python -m tests.benchmarks.memory``. Each command is ``mimiidg`` in a process of its own; what counts is the resident
memory of it and of all processes that it starts, taken together, at its highest: looked at every 20 ms. Pages that
several of them share count once for each. Builds are from archives to the published store, levels included. What is in
the clips does not matter: ``--simulated`` takes archives of square waves (``simulated.py``), which are made in seconds.

Bars: 1 GB, but for training, whose clips are held in memory up to 4 GiB; and a build's memory is flat: the largest
takes at most a quarter more than the smallest.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mimiidg_build.datasets.synthetic import SyntheticSpec, clip_counts
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.fetch.dataset import fetch_dataset, make_synthetic
from tests.benchmarks import Ratio, parser, report, working_root
from tests.benchmarks.build import forget_levels
from tests.benchmarks.commands import mimiidg
from tests.benchmarks.simulated import simulate_archives

SECTIONS = 15
NAME = "benchmark-memory"
BUILDS = ("build, noise mixed", "build, as they are")
TRAINING = "benchmark autoencoder"


def commands(dataset: str, exported: str, workers: int) -> dict[str, list[str]]:
    """What is run, in this order: the second build's store is what all others work on."""
    workers_ = ["--workers", str(workers)]
    build = ["--name", NAME, "--dataset", dataset, "--replace", *workers_]
    training = ["--model", "autoencoder", "--profile", "smoke", "--workers", "1"]
    return {
        BUILDS[1]: ["build", "released", *build],
        BUILDS[0]: ["build", "paper", *build],
        "verify --deep": ["verify", NAME, "--deep", *workers_],
        "export": ["export", NAME, exported],
        TRAINING: ["benchmark", NAME, *training],
        "report": ["report", NAME],
    }


def peaks_mb(root: Path, percent: float, workers: int, simulated: bool) -> dict[str, float]:
    """Peak memory of every command, on a release of this size; what they write is removed."""
    spec = SyntheticSpec(percent, 0)
    dataset = spec.name
    if simulated and not (root / "archives" / spec.record_id).is_dir():
        simulate_archives(spec, root)
        fetch_dataset(dataset, root, offline=True)  # takes them as they are
    make_synthetic(derive_variant(load_variant("paper"), dataset=dataset), root)
    forget_levels(root)
    peaks = {}
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        for what, arguments in commands(dataset, f"{scratch}/exported", workers).items():
            peaks[what] = mimiidg(*arguments, "--root", str(root), "--quiet", watched=True).tree_mb
    for folder in ("variants", "runs", "reports"):
        shutil.rmtree(root / folder / NAME, ignore_errors=True)
    return peaks


def main(arguments: Sequence[str] | None = None) -> list[Ratio]:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--root", type=Path, help="where the archives are kept; a temporary folder by default")
    options.add_argument("--percents", type=float, nargs="+", default=[1, 5, 20], help="sizes; 1 is 180 clips")
    options.add_argument("--simulated", action="store_true", help="square waves, where no archives are there")
    options.add_argument("--workers", type=int, default=os.cpu_count())
    given = options.parse_args(arguments)
    found: dict[int, dict[str, float]] = {}
    with working_root(given.root) as root:
        for percent in given.percents:
            found[SECTIONS * sum(clip_counts(percent).values())] = peaks_mb(
                root, percent, given.workers, given.simulated
            )
    smallest, largest = found[min(found)], found[max(found)]
    rows = [
        {"command": what} | {f"{n:,} clips [MB]": round(peaks[what]) for n, peaks in found.items()} for what in largest
    ]
    ratios = [
        Ratio(f"peak memory, {what}", peak, 1000, at_least=False, unit=" MB")
        for what, peak in largest.items()
        if what != TRAINING
    ]
    growth = max(largest[what] / smallest[what] for what in BUILDS)
    ratios.append(Ratio("peak memory of a build, largest / smallest", growth, 1.25, at_least=False))
    report("memory", f"peak memory with {given.workers} workers", rows, ratios, given.save)
    return ratios


if __name__ == "__main__":
    main()
