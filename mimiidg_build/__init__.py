"""Build datasets like MIMII DG and benchmark anomalous sound detectors on them.

What a notebook or a script needs, each imported when it is first used:

Datasets and variants
    load_dataset       the manifest of a dataset, by name or path
    load_variant       what to build from a dataset, by name or path
    derive_variant     a variant with some of its settings changed
    fetch_dataset      have a dataset's archives on disk, verified
    validate_dataset   its clip table, and what validation found
Stores
    build_variant      build a variant's store, or find it built
    list_stores        what stores there are
    open_store         a finished store: arrays, tables, attributes
    Store              what ``open_store`` gives
    verify_store       every byte against its digest; deep: every clip rendered anew
    repair_store       make anew what is damaged
    diff_stores        what differs between two stores
    export_store       as WAV files and attribute tables, or for other libraries
    prune_stores       remove what nobody needs any more
Training and evaluation
    ClipDataset        clips of a store as torch tensors
    benchmark_models   train, score and evaluate models on a store
    evaluate_scores    every metric of score files in the official format
    compare_runs       two systems on the same clips: differences with intervals
    write_leaderboard  every system that was run on a store: a page, JSON and CSV
    read_leaderboard   a ``leaderboard.json``, checked
    write_report       one HTML page about a store and its benchmarks
Detection
    Detector           a trained run on new recordings: ``Detector.load(run).score(samples, sample_rate)``
    export_model       a trained network as one file for other programs

The rooms of the package, from the ground up: errors, progress, settings, storage, parallel, kernels, audio, datasets,
synthesis, fetch, features, mixing, store, build, upkeep, evaluation, models, training, benchmark, report, cli.
The command line is ``mimiidg``; ``mimiidg_build/README.md`` is the guide to the inside.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mimiidg_build.errors import refuse_optimised

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mimiidg_build.benchmark.compare import compare_runs
    from mimiidg_build.benchmark.detection.detector import Detector
    from mimiidg_build.benchmark.detection.export import export_model
    from mimiidg_build.benchmark.stages import benchmark_models
    from mimiidg_build.build.variant import build_variant
    from mimiidg_build.datasets.manifest import load_dataset
    from mimiidg_build.datasets.variant import derive_variant, load_variant
    from mimiidg_build.evaluation.evaluate import evaluate_scores
    from mimiidg_build.fetch.dataset import fetch_dataset, validate_dataset
    from mimiidg_build.report.leaderboard.written import read_leaderboard, write_leaderboard
    from mimiidg_build.report.page import write_report
    from mimiidg_build.store.listing import list_stores
    from mimiidg_build.store.store import Store, open_store
    from mimiidg_build.training.clip_dataset import ClipDataset
    from mimiidg_build.upkeep.diff import diff_stores
    from mimiidg_build.upkeep.export import export_store
    from mimiidg_build.upkeep.prune import prune_stores
    from mimiidg_build.upkeep.repair import repair_store
    from mimiidg_build.upkeep.verify import verify_store

__all__ = [
    "ClipDataset",
    "Detector",
    "Store",
    "__version__",
    "benchmark_models",
    "build_variant",
    "compare_runs",
    "derive_variant",
    "diff_stores",
    "evaluate_scores",
    "export_model",
    "export_store",
    "fetch_dataset",
    "list_stores",
    "load_dataset",
    "load_variant",
    "open_store",
    "prune_stores",
    "read_leaderboard",
    "repair_store",
    "validate_dataset",
    "verify_store",
    "write_leaderboard",
    "write_report",
]

_HOMES = {
    "ClipDataset": "training.clip_dataset",
    "Detector": "benchmark.detection.detector",
    "Store": "store.store",
    "benchmark_models": "benchmark.stages",
    "build_variant": "build.variant",
    "compare_runs": "benchmark.compare",
    "derive_variant": "datasets.variant",
    "diff_stores": "upkeep.diff",
    "evaluate_scores": "evaluation.evaluate",
    "export_model": "benchmark.detection.export",
    "export_store": "upkeep.export",
    "fetch_dataset": "fetch.dataset",
    "list_stores": "store.listing",
    "load_dataset": "datasets.manifest",
    "load_variant": "datasets.variant",
    "open_store": "store.store",
    "prune_stores": "upkeep.prune",
    "read_leaderboard": "report.leaderboard.written",
    "repair_store": "upkeep.repair",
    "validate_dataset": "fetch.dataset",
    "verify_store": "upkeep.verify",
    "write_leaderboard": "report.leaderboard.written",
    "write_report": "report.page",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: the package itself costs no import of numpy or torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    refuse_optimised()
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
