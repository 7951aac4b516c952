"""What a second microphone far from the machine is worth: features with it as a reference of the noise, and without.

``python -m tests.benchmarks.two_channels``. The real pipeline on a thinned two-channel release (``synthetic-2ch``):
one store for each setting of ``features.reference``, the near channel alone being the first; the models are trained on
each with one seed and compared with the near channel's on the same test clips, with paired 95 % intervals over clips.
No bar: it measures. With ``--root`` what is finished is kept, and another call goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mimiidg_build.benchmark.compare import compare_results
from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.synthetic import SyntheticSpec
from mimiidg_build.datasets.variant import derive_variant, load_variant
from tests.benchmarks import CORES, Ratio, parser, report, working_root
from tests.benchmarks.synthetic_ranking import MACHINES, write_thinned

MODELS = ("nearest_neighbour", "autoencoder")
SETTINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "log_ratio": {"channels": "all", "features": {"reference": "log_ratio"}},
    "subtract": {"channels": "all", "features": {"reference": "subtract"}},
}
METRICS = ("auc_source", "auc_target", "official_score")


def rows_of(results: dict[str, dict[str, ModelResult]]) -> Iterator[dict[str, str]]:
    """A row for each model and setting: the metrics, and how they differ from those of the near channel alone.

    Parameters
    ----------
    results : dict of model to dict of setting to ModelResult
        The first setting is what the others are compared with.
    """
    for model, by_setting in results.items():
        base = next(iter(by_setting.values()))
        for setting, result in by_setting.items():
            row = {"model": model, "reference": setting}
            for one in compare_results(result, base).differences:
                if one.place == "mean" and one.metric in METRICS:
                    row[one.metric] = f"{100 * one.first:.1f}"
                    paired = f"{100 * one.value:+.1f} ({100 * one.low:+.1f} .. {100 * one.high:+.1f})"
                    row[f"less none: {one.metric}"] = "" if result is base else paired
            yield row


def main(arguments: Sequence[str] | None = None) -> list[Ratio]:
    """Make the thinned release, build a store for each setting, train, compare."""
    options = parser(__doc__)
    options.add_argument("--root", type=Path, help="where archives, stores and runs are kept")
    options.add_argument("--machines", nargs="+", default=("fan", "gearbox"), choices=MACHINES)
    options.add_argument("--references", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    options.add_argument("--models", nargs="+", default=MODELS)
    options.add_argument("--cell", type=int, default=50, help="test clips of each domain and condition")
    options.add_argument("--train", type=int, default=100, help="training clips of a section; they divide 1,000")
    options.add_argument("--profile", default="cpu")
    options.add_argument("--epochs", type=int, help="instead of the profile's")
    options.add_argument("--workers", type=int, default=CORES)
    given = options.parse_args(arguments)
    results: dict[str, dict[str, ModelResult]] = {model: {} for model in given.models}
    with working_root(given.root) as root:
        spec = SyntheticSpec(100, family="2ch")
        manifest = str(write_thinned(root, spec, given.machines, given.cell, given.train, given.workers))
        for setting in dict.fromkeys(["none", *given.references]):
            changes = SETTINGS[setting]
            name = f"two-{setting}"
            variant = derive_variant(load_variant("released"), dataset=manifest, name=name, **changes)
            store = build_variant(variant, root, workers=given.workers).store
            trained = {"profile": given.profile, "epochs": given.epochs, "workers": given.workers}
            for result in benchmark_models(store, root, given.models, **trained).models:
                if not result.score:
                    results[result.name][setting] = result
        what = f"profile {given.profile}, {given.train} training clips a section, {given.cell} test clips a cell"
        report("two_channels", f"{', '.join(given.machines)}; {what}", list(rows_of(results)), [], given.save)
    return []


if __name__ == "__main__":
    main()
