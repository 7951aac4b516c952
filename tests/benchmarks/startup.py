"""What a user waits for before the work begins: imports, ``--help``, ``list``, a build's first clips, a build with
nothing to do, Prefect in the demo.

``python -m tests.benchmarks.startup``. *First clips*: processor time of a process that builds a section of 12 clips
whose levels are known, until they are rendered, beyond that of one that only imports numpy and pandas. *Nothing to
do*: ``mimiidg build`` of a variant of 18,000 clips that is built already, from Python's start to the printed table: it
reads and validates every archive's directory and attribute table and makes the fingerprint. Tables are simulated, not
audio (``simulated.py``). *Demo*: see ``own_work.py``; its kernels are compiled, its bar is of two cores that nobody
else uses. Each command is a process of its own, the best of several runs counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mimiidg_build.datasets.synthetic import SyntheticSpec
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.fetch.dataset import fetch_dataset
from tests.benchmarks import Ratio, parser, report
from tests.benchmarks.commands import Took, best, mimiidg, run
from tests.benchmarks.simulated import simulate_archives, simulate_store

DEMO_PERCENT = 5.0  # the demo's own
PARTS = ("imports", "first clips", "nothing to do", "demo")
DATASET = "synthetic-1pct-seed0"
BUILD = """
import gc, os, sys
gc.set_threshold(50_000)  # as the command line does
from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.progress import Reporter

class FirstClips(Reporter):
    def step(self, title, total, unit="clips"):
        def on_progress(n):
            if title == "render" and n and seed:
                os._exit(0)
        return on_progress

root, dataset, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
variant = derive_variant(load_variant("demo"), dataset=dataset, sections=["fan/00"], seed=seed, name=f"first-{seed}")
store = build_variant(variant, root, workers=1, reporter=FirstClips())
assert not seed, f"it rendered nothing, {store.store.path} was there"
"""


def first_clips(root: Path, rounds: int) -> float:
    """Processor seconds from Python's start to a build's first clips, without those of importing numpy and pandas."""
    run("-c", BUILD, str(root), DATASET, "0")  # so that levels are known
    found = [run("-c", BUILD, str(root), DATASET, str(seed + 1)).cpu_s for seed in range(rounds)]
    return min(found) - min(run("-c", "import numpy, pandas").cpu_s for _ in range(rounds))


def nothing_to_do(percent: float, rounds: int) -> tuple[int, Took]:
    """Clips of a simulated, finished variant, and a build that finds it finished."""
    spec = SyntheticSpec(percent, 0)
    variant = derive_variant(load_variant("paper"), dataset=spec.name)
    with tempfile.TemporaryDirectory(prefix="mimiidg-benchmark-") as directory:
        root = Path(directory)
        simulate_archives(spec, root)
        store = simulate_store(variant, root)
        before = (store.path / "zarr.json").stat().st_mtime_ns
        arguments = ("build", "paper", "--dataset", spec.name, "--root", directory, "--quiet")
        took = best([mimiidg(*arguments) for _ in range(rounds)])
        if [path.name for path in store.path.parent.glob("*.zarr*")] != [store.path.name]:
            raise RuntimeError("the build had something to do")
        assert (store.path / "zarr.json").stat().st_mtime_ns == before
        return len(store.clips), took


def demo(percent: float) -> dict[str, float]:
    """Seconds of the demo in a fresh folder, and of its own work in them."""
    with tempfile.TemporaryDirectory(prefix="mimiidg-benchmark-") as root:
        command = [sys.executable, "-m", "tests.benchmarks.own_work", "demo", "--percent", str(percent), "--root", root]
        done = subprocess.run([*command, "--quiet"], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stderr.splitlines()[-1])
    return found


def main(arguments: Sequence[str] | None = None) -> list[Ratio]:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options.add_argument("--percent", type=float, default=100, help="size of the variant with nothing to do")
    options.add_argument("--demo-percent", type=float, default=DEMO_PERCENT)
    options.add_argument("--root", type=Path, help=f"has {DATASET}; its first clips are built there. Made by default")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args(arguments)
    rows, ratios = [], []

    def told(what: str, took: Took, bar_s: float) -> None:
        rows.append({"command": what, "s": f"{took.wall_s:.2f}", "processor s": f"{took.cpu_s:.2f}"})
        ratios.append(Ratio(what, took.wall_s, bar_s, at_least=False, unit=" s"))

    if "imports" in given.parts:
        told("import mimiidg_build", best([run("-c", "import mimiidg_build") for _ in range(given.rounds)]), 0.3)
        told("mimiidg --help", best([mimiidg("--help") for _ in range(given.rounds)]), 0.1)
        told("mimiidg list", best([mimiidg("list") for _ in range(given.rounds)]), 0.5)
    if "first clips" in given.parts:
        with tempfile.TemporaryDirectory(prefix="mimiidg-benchmark-") as directory:
            root = given.root or Path(directory)
            fetch_dataset(DATASET, root)
            taken = first_clips(root, given.rounds)
        what = "build, processor time to its first clips"
        rows.append({"command": what, "s": "", "processor s": f"{taken:.2f}"})
        ratios.append(Ratio(what, taken, 0.4, at_least=False, unit=" s"))
    if "nothing to do" in given.parts:
        n_clips, took = nothing_to_do(given.percent, given.rounds)
        told(f"mimiidg build, {n_clips:,} clips, nothing to do", took, 1.5)
    if "demo" in given.parts:
        found = demo(given.demo_percent)
        for what, key in ((f"mimiidg demo --percent {given.demo_percent:g}", "seconds"), ("of it its own work", "own")):
            rows.append({"command": what, "s": f"{found[key]:.1f}", "processor s": ""})
        if given.demo_percent == DEMO_PERCENT:
            ratios.append(Ratio("mimiidg demo", found["seconds"], 45, at_least=False, unit=" s"))
        outside = 100 * (1 - found["own"] / found["seconds"])
        ratios.append(Ratio("demo, time outside its own work", outside, 25, at_least=False, unit=" %"))
    report("startup", "before the work begins", rows, ratios, given.save)
    return ratios


if __name__ == "__main__":
    main()
