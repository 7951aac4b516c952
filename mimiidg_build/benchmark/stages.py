"""Benchmarking from a variant's name to its results: build, plan, train and score, evaluate.

:func:`benchmark_models` is the one list of stages on a store, :func:`benchmark_variants` goes through it for every
store of a sweep. Each stage is handed to a :class:`BenchmarkExecutor`, which calls it here, and as a task of its own
in ``flows.benchmark``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from mimiidg_build.benchmark.evaluate_runs import collect
from mimiidg_build.benchmark.planning import Training, plan_runs, trainings_of
from mimiidg_build.benchmark.results import Benchmark
from mimiidg_build.benchmark.runs import Run, go_on_here
from mimiidg_build.benchmark.suitability import check_suited
from mimiidg_build.benchmark.train_network import check_precisions, choose_device
from mimiidg_build.benchmark.trainers import Trainers
from mimiidg_build.benchmark.training_noise import check_noise
from mimiidg_build.models import UNCHANGED, Changes
from mimiidg_build.parallel.executor import Executor
from mimiidg_build.progress import Reporter
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.storage.places import Place, place
from mimiidg_build.store.store import Store, open_store, variant_dir

Stage = Literal["plan", "train-and-score", "evaluate"]


class BenchmarkExecutor(Executor[Stage]):
    """Runs the stages of a benchmark. This one calls them; a flow's makes a task of each, to be watched and retried."""

    def train(self, trainers: Trainers, trainings: Sequence[Training]) -> None:
        """Run the stage ``train-and-score`` of every network, as many at once as there are workers."""
        trainers.run_all(trainings)


def benchmark_models(
    store: Store,
    root: str | Place,
    models: Sequence[str],
    *,
    profile: str = "paper",
    seeds: int = 1,
    epochs: int | None = None,
    known_anomalies: Sequence[int] = (),
    changes: Changes = UNCHANGED,
    backends: Sequence[str] = (),
    encoders: Sequence[str | Path] = (),
    device: str = "auto",
    workers: int | None = 1,
    keep_going: bool = False,
    reporter: Reporter | None = None,
    executor: BenchmarkExecutor | None = None,
) -> Benchmark:
    """Train, score and evaluate models on a store. What is finished is reused, the rest resumes from its last epoch.

    With more than one worker on a CPU, processes are started that import the calling script: it needs an
    ``if __name__ == "__main__":`` guard around its work.

    Parameters
    ----------
    store : Store
    root : str or Place
        Runs go to ROOT/runs.
    models : sequence of str
        See ``models.MODELS`` and ``models.GROUPS``; a model of one's own is named ``module:Class``.
    profile : str
        ``paper``, ``released``, ``cpu`` or ``smoke``.
    seeds : int
        Trainings of each model, with seeds 0, 1, ...; one of a model that trains nothing.
    epochs : int, optional
        Instead of the profile's.
    known_anomalies : sequence of int
        Each model is trained once for each number, with so many known anomalies per section. The anomalies of the
        largest number are left out of the test set of all, so that like is compared with like.
    changes : mapping of str to object
        Settings in place of the profile's, by name (``{"batch_size": 256}``): of every model that has them. Each of
        them is part of the run's name, and a run with other settings is another run.
    backends : sequence of str
        Back ends that score the models' embeddings (``models.backends.BACKENDS``), or ``all``: further scores of the
        same runs, for which nothing is trained again.
    encoders : sequence of str or Path
        Files of frozen encoders, a model each: a TOML file of ``file``, ``sample_rate`` and ``pooling``, or the
        TorchScript, torch.export or ONNX file that it describes and lies beside.
    device : str
        ``auto`` (a GPU if there is one), or a torch device.
    workers : int or None
        Trainings at once on a CPU, each in a process of its own; None: as many as there are cores for. They change no
        score: how many threads a training takes is its profile's.
    keep_going : bool
        Of several systems, finish the others where one fails: ``Benchmark.failed`` says which did, and why. By default
        the first failure ends the benchmark.
    reporter : Reporter, optional
        Shows progress.
    executor : Executor, optional
        Runs the stages.

    Returns
    -------
    Benchmark

    Raises
    ------
    UsageError
        An unknown model, profile, setting, back end or device, numbers that do not fit, a precision that the device
        cannot train in, noise to add of a store without any, a store that a model cannot be run on, back ends for a
        model without embeddings, an encoder that is missing or gives no embeddings of the store's clips, a directory
        that holds a run of other settings, or a script without a guard.
    DataError
        Training or scoring failed (with ``keep_going``, of every system), a worker was killed, or a file is damaged or
        cannot be written.
    """
    root, executor, name = place(root), executor or BenchmarkExecutor(), store.attributes.variant.name

    def plan() -> list[Run]:
        runs = plan_runs(store, root, models, profile, seeds, epochs, known_anomalies, changes, backends, encoders)
        check_suited(store, models, profile, changes)
        check_precisions(runs, device)
        check_noise(runs)
        if any(run.encoder for run in runs):
            from mimiidg_build.benchmark.encoders.embeddings import check_encoders

            check_encoders(runs, choose_device(device))
        return runs

    runs = executor.run("plan", plan, name)
    for run in runs:
        go_on_here(run)
    trainings = trainings_of(runs)
    threads = max((run.settings.threads for run, _ in trainings), default=1)
    # of a single system the error itself is the best account
    goes_on = keep_going and len({(run.model, run.known_anomalies) for run in runs}) > 1
    with Trainers(device, workers, len(trainings), reporter or Reporter(), threads, goes_on) as trainers:
        executor.train(trainers, trainings)
    return executor.run("evaluate", lambda: collect(runs, changes, goes_on), name)


def benchmark_variants(
    variants: Sequence[Variant],
    root: str | Place,
    models: Sequence[str],
    build: Callable[[Variant], Store],
    **options: Any,
) -> list[Benchmark]:
    """Benchmark models on variants, each built first if it is not.

    Needs a guard as :func:`benchmark_models` does.

    Parameters
    ----------
    variants : sequence of Variant
    root : str or Place
    models : sequence of str
    build : callable
        Builds a variant whose latest store is not of this very variant.
    **options
        See :func:`benchmark_models`.

    Returns
    -------
    list of Benchmark
        In the variants' order.

    Raises
    ------
    UsageError, DataError
        See :func:`benchmark_models`, and whatever ``build`` raises.
    """
    stores = [stored(variant, place(root), build) for variant in variants]  # all first: what cannot be built fails now
    return [benchmark_models(store, root, models, **options) for store in stores]


def stored(variant: Variant, root: Place, build: Callable[[Variant], Store]) -> Store:
    """The latest store of a variant, built if there is none.

    Parameters
    ----------
    variant : Variant
    root : Place
    build : callable
        Called where the latest store is not of this very variant: its file was changed since.

    Returns
    -------
    Store
    """
    # a finished store is enough: its archives may be gone, and whether they changed is for a build to find out
    directory = variant_dir(root, variant.name)
    if (directory / "latest").is_file():
        store = open_store(directory)
        if store.attributes.variant == variant:
            return store
    return build(variant)
