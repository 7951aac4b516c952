"""What a user waits for before the work begins: imports, ``--help``, a build with nothing to do, Prefect in the demo.

``python -m tests.benchmarks.startup``. *Nothing to do*: ``mimiidg build`` of a variant of 18,000 clips that is built
already, from Python's start to the printed table: it reads and validates every archive's directory and attribute table
and makes the fingerprint. Tables are simulated, not audio (``simulated.py``). *Demo*: see ``own_work.py``. Each command
is a process of its own, the best of several runs counts.
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
from tests.benchmarks import Ratio, parser, report
from tests.benchmarks.commands import Took, mimiidg, run
from tests.benchmarks.simulated import simulate_archives, simulate_store

PARTS = ("imports", "nothing to do", "demo")


def best(found: list[Took]) -> Took:
    """The fastest."""
    return min(found, key=lambda took: took.wall_s)


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
    options.add_argument("--demo-percent", type=float, default=5)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args(arguments)
    rows, ratios = [], []

    def told(what: str, took: Took, bar_s: float) -> None:
        rows.append({"command": what, "s": f"{took.wall_s:.2f}", "processor s": f"{took.cpu_s:.2f}"})
        ratios.append(Ratio(what, took.wall_s, bar_s, at_least=False, unit=" s"))

    if "imports" in given.parts:
        told("import mimiidg_build", best([run("-c", "import mimiidg_build") for _ in range(given.rounds)]), 0.3)
        told("mimiidg --help", best([mimiidg("--help") for _ in range(given.rounds)]), 0.5)
    if "nothing to do" in given.parts:
        n_clips, took = nothing_to_do(given.percent, given.rounds)
        told(f"mimiidg build, {n_clips:,} clips, nothing to do", took, 3)
    if "demo" in given.parts:
        found = demo(given.demo_percent)
        for what, key in ((f"mimiidg demo --percent {given.demo_percent:g}", "seconds"), ("of it its own work", "own")):
            rows.append({"command": what, "s": f"{found[key]:.1f}", "processor s": ""})
        outside = 100 * (1 - found["own"] / found["seconds"])
        ratios.append(Ratio("demo, time outside its own work", outside, 25, at_least=False, unit=" %"))
    report("startup", "before the work begins", rows, ratios, given.save)
    return ratios


if __name__ == "__main__":
    main()
