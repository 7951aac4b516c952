"""Peak resident memory of a build, by its number of clips.

``python -m tests.benchmarks.memory``. Each build is ``mimiidg build`` in a process of its own, from archives to the
published store, levels included. Bars: 1 GB, and flat: the largest build takes at most a quarter more than the
smallest.
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
from tests.benchmarks.commands import mimiidg

SECTIONS = 15


def main(arguments: Sequence[str] | None = None) -> list[Ratio]:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--root", type=Path, help="where the archives are kept; a temporary folder by default")
    options.add_argument("--percents", type=float, nargs="+", default=[1, 5, 20], help="sizes; 1 is 180 clips")
    options.add_argument("--workers", type=int, default=os.cpu_count())
    given = options.parse_args(arguments)
    peaks_mb: dict[int, dict[str, float]] = {}
    with working_root(given.root) as root:
        for percent in given.percents:
            dataset = SyntheticSpec(percent, 0).name
            n_clips = SECTIONS * sum(clip_counts(percent).values())
            make_synthetic(derive_variant(load_variant("paper"), dataset=dataset), root)
            forget_levels(root)
            for variant in ("paper", "released"):
                name = f"benchmark-{variant}"
                shutil.rmtree(variant_dir(root, name), ignore_errors=True)
                sizes = ["--dataset", dataset, "--workers", str(given.workers), "--root", str(root)]
                took = mimiidg("build", variant, "--name", name, "--quiet", *sizes)
                shutil.rmtree(variant_dir(root, name))
                peaks_mb.setdefault(n_clips, {})[variant] = took.peak_mb
    rows = [
        {"clips": n_clips, "noise mixed [MB]": round(peak["paper"]), "as they are [MB]": round(peak["released"])}
        for n_clips, peak in peaks_mb.items()
    ]
    largest = [max(peak.values()) for peak in peaks_mb.values()]
    ratios = [
        Ratio("peak memory of the largest build", largest[-1], 1000, at_least=False, unit=" MB"),
        Ratio("peak memory, largest build / smallest", largest[-1] / largest[0], 1.25, at_least=False),
    ]
    report("memory", f"peak memory of a build with {given.workers} workers", rows, ratios, given.save)
    return ratios


if __name__ == "__main__":
    main()
