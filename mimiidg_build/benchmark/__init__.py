"""Benchmarking detectors on stores: plan the runs, train and score their parts, evaluate, draw together.

``benchmark`` does it all for one store, and does nothing twice: finished parts of a run are reused, unfinished ones go
on from their last epoch. ``sweep_variants`` and ``stored`` give the stores of an SNR sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mimiidg_build.benchmark.results import Benchmark, ModelResult, compare_rows
from mimiidg_build.benchmark.runs import Part, Run, evaluate_run, parts_of, plan_runs, train_and_score
from mimiidg_build.benchmark.trainers import Trainers
from mimiidg_build.datasets.variant import derive_variant
from mimiidg_build.progress import Reporter
from mimiidg_build.storage.places import Place
from mimiidg_build.store.store import Store, open_store, variant_dir
from schemas.variants import Variant

__all__ = [
    "Benchmark",
    "ModelResult",
    "Part",
    "Run",
    "Trainers",
    "benchmark",
    "collect",
    "compare_rows",
    "evaluate_run",
    "parts_of",
    "plan_runs",
    "stored",
    "sweep_variants",
    "train_and_score",
]


def benchmark(
    store: Store,
    root: Place,
    models: Sequence[str],
    *,
    profile: str = "paper",
    seeds: int = 1,
    epochs: int | None = None,
    known_anomalies: Sequence[int] = (),
    device: str = "auto",
    workers: int | None = 1,
    reporter: Reporter | None = None,
) -> Benchmark:
    """Train, score and evaluate models on a store.

    Parameters
    ----------
    store : Store
    root : Place
        Runs go to ROOT/runs.
    models : sequence of str
        See ``models.MODELS``.
    profile : str
        ``paper``, ``released``, ``cpu`` or ``smoke``.
    seeds : int
        Trainings of each model, with seeds 0, 1, ...; one of a model that trains nothing.
    epochs : int, optional
        Instead of the profile's.
    known_anomalies : sequence of int
        Each model is also, or only, run with so many known anomalies per section. The most of them leave the test set
        of all, so that like is compared with like.
    device : str
        ``auto`` (a GPU if there is one), or a torch device.
    workers : int or None
        Trainings at once on a CPU, each in a process of its own; None: as many as there are cores. A script that calls
        this with more than one needs an ``if __name__ == "__main__"`` guard.

    Raises
    ------
    UsageError, DataError
    """
    runs = plan_runs(store, root, models, profile, seeds, epochs, known_anomalies)
    parts = parts_of(runs)
    with Trainers(device, workers, len(parts), reporter or Reporter()) as trainers:
        trainers.run_all(parts)
    return collect(runs)


def collect(runs: Sequence[Run]) -> Benchmark:
    """Evaluate finished runs on one store, and draw the seeds of a model together, score by score.

    All are evaluated on the test clips that none of them was told of.
    """
    by_model: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        by_model.setdefault((run.model, run.known_anomalies), []).append(run)
    most = max(run.known_anomalies for run in runs)
    models = []
    for of in by_model.values():
        evaluations = [evaluate_run(run, most) for run in of]
        models += [ModelResult(tuple(of), tuple(e[name] for e in evaluations), name) for name in evaluations[0]]
    return Benchmark(runs[0].store, tuple(models))


def sweep_variants(variant: Variant, snr_offsets_db: Sequence[float]) -> list[Variant]:
    """The variant at each SNR offset, in dB; itself where no offset is given.

    Examples
    --------
    >>> from mimiidg_build.datasets.variant import load_variant
    >>> [variant.name for variant in sweep_variants(load_variant("paper"), [-6, 0])]
    ['paper-snr-6dB', 'paper']
    """
    return [derive_variant(variant, snr_offset_db=float(offset)) for offset in sorted(set(snr_offsets_db))] or [variant]


def stored(variant: Variant, root: Place, build: Callable[[Variant], Store]) -> Store:
    """The variant's latest store if it is finished and of this very variant; else what ``build`` makes."""
    directory = variant_dir(root, variant.name)
    if (directory / "latest").is_file():
        store = open_store(directory)
        if store.attributes.variant == variant:
            return store
    return build(variant)
