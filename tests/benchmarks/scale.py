"""Time of a build against its number of clips, its workers, and what was built before it.

``python -m tests.benchmarks.scale``. Each build is ``mimiidg build`` in a process of its own, start-up and imports
included. *First* builds measure the levels of the dataset's clips; *SNR +6 dB* is a second variant of the dataset,
which finds them known. Processor time is printed beside wall time: on a busy machine it is what stays comparable.
Rounds are interleaved and the best of each counts, of either time: a virtual machine may take seconds to get memory
back that it gave away.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from mimiidg_build.datasets.synthetic import SyntheticSpec, clip_counts
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.fetch.dataset import make_synthetic
from mimiidg_build.store.store import variant_dir
from tests.benchmarks import Ratio, parser, report, working_root
from tests.benchmarks.build import forget_levels
from tests.benchmarks.commands import Took, best, mimiidg
from tests.benchmarks.memory import SECTIONS


def build(root: Path, dataset: str, workers: int, *more: str) -> Took:
    """One build of the paper's variant, deleted again."""
    name = "benchmark-scale"
    shutil.rmtree(variant_dir(root, name), ignore_errors=True)
    os.sync()
    sizes = ["--dataset", dataset, "--workers", str(workers), "--root", str(root)]
    took = mimiidg("build", "paper", "--name", name, "--quiet", *sizes, *more)
    shutil.rmtree(variant_dir(root, name))
    return took


def main(arguments: Sequence[str] | None = None) -> list[Ratio]:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--root", type=Path, help="where the archives are kept; a temporary folder by default")
    options.add_argument("--percents", type=float, nargs="+", default=[1, 5, 20], help="sizes; 1 is 180 clips")
    options.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args(arguments)
    rounds: dict[tuple[int, int, str], list[Took]] = {}
    with working_root(given.root) as root:
        for percent in given.percents:
            dataset = SyntheticSpec(percent, 0).name
            n_clips = SECTIONS * sum(clip_counts(percent).values())
            make_synthetic(derive_variant(load_variant("paper"), dataset=dataset), root)
            for workers in given.workers * given.rounds:
                forget_levels(root)
                rounds.setdefault((n_clips, workers, "first"), []).append(build(root, dataset, workers))
                again = build(root, dataset, workers, "--snr-offset", "6")
                rounds.setdefault((n_clips, workers, "SNR +6 dB"), []).append(again)
    took = {key: best(found) for key, found in rounds.items()}
    rows = [
        {
            "clips": n_clips,
            "workers": workers,
            "build": which,
            "s": f"{found.wall_s:.2f}",
            "processor s": f"{found.cpu_s:.2f}",
            "clips/s": round(n_clips / found.wall_s),
        }
        for (n_clips, workers, which), found in took.items()
    ]
    n_clips, workers = next(reversed(took))[:2]
    first, second = took[n_clips, workers, "first"], took[n_clips, workers, "SNR +6 dB"]
    # a clip is inflated once in either, and its level is measured in the first alone
    ratios = [
        Ratio("first variant / one of another SNR, processor time", first.cpu_s / second.cpu_s, 1.2, at_least=False)
    ]
    if (n_clips, 1, "first") in took and workers > 1:
        alone = took[n_clips, 1, "first"].wall_s
        ratios.append(Ratio(f"{workers} workers / 1, largest build", alone / first.wall_s, 0.9 * workers))
    smallest = next(iter(took))[0]
    if smallest < n_clips:
        one = took[smallest, workers, "SNR +6 dB"]
        growth = (second.wall_s / n_clips) / (one.wall_s / smallest)
        ratios.append(Ratio("time a clip, largest build / smallest", growth, 1, at_least=False))
    report("scale", "time of a build", rows, ratios, given.save)
    return ratios


if __name__ == "__main__":
    main()
