"""Peak resident memory and processor time of every command that works on clips, by the number of clips.

``python -m tests.benchmarks.memory``. Each command is ``mimiidg`` in a process of its own; what counts is the resident
memory of it and of all processes that it starts, taken together, at its highest: looked at every 20 ms. Pages that
several of them share count once for each. Builds are from archives to the published store, levels included; one that
does not count goes before them, so that no kernel is compiled in those that do. Training is of one epoch. What is in
the clips does not matter: ``--simulated`` takes archives of square waves (``simulated.py``), which are made in seconds.

Bars: 1 GB, but for training, whose clips are held in memory up to 4 GiB; a build's memory is flat: the largest takes
at most a quarter more than the smallest; and processor time is linear: between the two largest sizes its exponent is at
most 1.1.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from mimiidg_build.datasets.synthetic import SyntheticSpec, clip_counts
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.fetch.dataset import fetch_dataset, make_synthetic
from tests.benchmarks import Ratio, parser, report, working_root
from tests.benchmarks.build import forget_levels
from tests.benchmarks.commands import Took, mimiidg
from tests.benchmarks.million import exponent
from tests.benchmarks.simulated import simulate_archives

SECTIONS = 15
NAME = "benchmark-memory"
BUILDS = ("build, noise mixed", "build, as they are")
TRAINING = "benchmark autoencoder"


def commands(dataset: str, exported: str, workers: int) -> dict[str, list[str]]:
    """What is run, in this order: the second build's store is what all others work on."""
    workers_ = ["--workers", str(workers)]
    build = ["--name", NAME, "--dataset", dataset, *workers_]
    training = ["--model", "autoencoder", "--profile", "smoke", "--epochs", "1", "--workers", "1"]
    return {
        BUILDS[1]: ["build", "released", *build],
        BUILDS[0]: ["build", "paper", *build],
        "verify": ["verify", NAME],
        "verify --deep": ["verify", NAME, "--deep", *workers_],
        "export": ["export", NAME, exported],
        TRAINING: ["benchmark", NAME, *training],
        "report": ["report", NAME],
    }


def measure(
    root: Path, percent: float, workers: int, simulated: bool, without: Collection[str] = ()
) -> dict[str, Took]:
    """Every command, on a release of this size; what they write is removed."""
    spec = SyntheticSpec(percent, 0)
    dataset = spec.name
    if simulated and not (root / "archives" / spec.record_id).is_dir():
        simulate_archives(spec, root)
        fetch_dataset(dataset, root, offline=True)  # takes them as they are
    make_synthetic(derive_variant(load_variant("paper"), dataset=dataset), root)
    _warm_up()
    took: dict[str, Took] = {}
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        for what, arguments in commands(dataset, f"{scratch}/exported", workers).items():
            if what in without:
                continue
            if what in BUILDS:
                forget_levels(root)
                shutil.rmtree(root / "variants" / NAME, ignore_errors=True)  # the disk need not hold two stores
            took[what] = mimiidg(*arguments, "--root", str(root), "--quiet", watched=True)
            print(f"{percent:g} %, {what}: {took[what].tree_mb:.0f} MB, {took[what].cpu_s:.1f} s", file=sys.stderr)
    for folder in ("variants", "runs", "reports"):
        shutil.rmtree(root / folder / NAME, ignore_errors=True)
    return took


@functools.cache  # once
def _warm_up() -> None:
    """Compile what this machine has not cached yet: a compiler's memory is not a build's."""
    with tempfile.TemporaryDirectory() as directory:
        spec = SyntheticSpec(1, 0)
        simulate_archives(spec, Path(directory))
        mimiidg(*commands(spec.name, "", 1)[BUILDS[0]], "--root", directory, "--quiet")


def main(arguments: Sequence[str] | None = None) -> list[Ratio]:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--root", type=Path, help="where the archives are kept; a temporary folder by default")
    options.add_argument("--percents", type=float, nargs="+", default=[1, 5, 20], help="sizes; 1 is 180 clips")
    options.add_argument("--simulated", action="store_true", help="square waves, where no archives are there")
    options.add_argument("--workers", type=int, default=os.cpu_count())
    options.add_argument("--without", nargs="+", default=[], metavar="COMMAND", help=f'as "{TRAINING}"')
    given = options.parse_args(arguments)
    found: dict[int, dict[str, Took]] = {}
    with working_root(given.root) as root:
        for percent in given.percents:
            n_clips = SECTIONS * sum(clip_counts(percent).values())
            found[n_clips] = measure(root, percent, given.workers, given.simulated, given.without)
    smallest, largest = found[min(found)], found[max(found)]
    growths = exponents(found)
    rows = [
        {"command": what}
        | {f"{n:,} clips": f"{took[what].tree_mb:.0f} MB, {took[what].cpu_s:.1f} s" for n, took in found.items()}
        | ({"exponent": f"{growths[what]:.2f}"} if growths else {})
        for what in largest
    ]
    ratios = [
        Ratio(f"peak memory, {what}", took.tree_mb, 1000, at_least=False, unit=" MB")
        for what, took in largest.items()
        if what != TRAINING
    ]
    ratios += [Ratio(f"exponent, {what}", growth, 1.1, at_least=False) for what, growth in growths.items()]
    growth = max(largest[what].tree_mb / smallest[what].tree_mb for what in BUILDS)
    ratios.append(Ratio("peak memory of a build, largest / smallest", growth, 1.25, at_least=False))
    title = f"peak memory and processor time with {given.workers} workers"
    report("memory", title, rows, ratios, given.save)
    return ratios


def exponents(found: dict[int, dict[str, Took]]) -> dict[str, float]:
    """By which power of the number of clips each command's time grows between the two largest sizes; none of one."""
    if len(found) < 2:
        return {}
    less, more = sorted(found)[-2:]
    return {what: exponent(found[less][what].cpu_s, took.cpu_s, more / less) for what, took in found[more].items()}


if __name__ == "__main__":
    main()
