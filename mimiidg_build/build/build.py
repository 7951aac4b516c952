"""Building a variant from fetched archives, start to finish: read, decide, plan, render, publish.

The same steps, one by one, are what ``flows.build_variant`` runs as Prefect tasks. See :mod:`mimiidg_build.build.plan_build`
for what is decided and planned, :mod:`mimiidg_build.build.stage` for how a store takes shape.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from filelock import Timeout

from mimiidg_build.build import stage
from mimiidg_build.build.inputs import read_inputs
from mimiidg_build.build.plan_build import decide, plan_sections
from mimiidg_build.datasets.release import Release
from mimiidg_build.errors import DataError
from mimiidg_build.fetch.dataset import make_synthetic
from mimiidg_build.parallel.run_tasks import runner
from mimiidg_build.progress import Reporter
from mimiidg_build.storage.locks import variant_lock
from mimiidg_build.storage.places import Place
from mimiidg_build.store.store import Store, is_latest, variant_dir
from schemas.variants import Variant

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Built:
    """A finished store, whether this run had anything to do, and the warnings of validation."""

    store: Store
    was_finished: bool
    findings: pd.DataFrame


@contextlib.contextmanager
def building(root: Place, variant: str) -> Iterator[None]:
    """Hold the variant's lock: two builds of one variant at once would do the same work twice.

    The second waits, says so, and then finds the first's result.

    Raises
    ------
    DataError
        ROOT cannot be written.
    """
    with locked(variant_dir(root, variant), f"another build of {variant} is running; waiting for it"):
        yield


@contextlib.contextmanager
def locked(directory: Place, waiting: str) -> Iterator[None]:
    """Hold the lock of a variant's directory; say so before waiting for it."""
    try:
        lock = variant_lock(directory)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.warning(waiting)
            lock.acquire()
    except OSError as error:
        raise DataError(f"{directory} cannot be written: {error.strerror}. Give another --root, or rights.") from error
    try:
        yield
    finally:
        lock.release()


def build_variant(
    variant: Variant,
    root: Place,
    *,
    scheduler: str = "threads",
    workers: int | None = None,
    plan: Path | None = None,
    allow: Collection[str] = (),
    release: Release | None = None,
    reporter: Reporter | None = None,
) -> Built:
    """Build a variant, or find it built.

    Parameters
    ----------
    variant : Variant
    root : Place
        Archives are read from ROOT/archives, the store goes to ROOT/variants/<variant>.
    scheduler : str
        ``threads``, ``processes`` or a dask cluster's address. The result never depends on it.
    workers : int, optional
        Threads or processes; all cores by default.
    plan : Path, optional
        A mix plan to render instead of drawing one.
    allow : collection of str
        Kinds of validation findings that are warnings rather than errors.
    release : Release, optional
        The dataset, if it was read already.
    reporter : Reporter, optional
        Shows progress.

    Raises
    ------
    DataError, FetchError, UsageError
    """
    reporter, run = reporter or Reporter(), runner(scheduler, workers, root)
    make_synthetic(variant, root, reporter)
    inputs = read_inputs(variant, root, plan=plan, allow=allow, release=release)
    decision = decide(inputs, root)
    # a read-only ROOT is enough to see it; a journal that is still there is an interrupted run's, for this to remove
    if decision.finished is not None and is_latest(decision.finished.path) and not decision.journal.is_dir():
        return Built(decision.finished, True, inputs.release.findings)
    with building(root, variant.name):
        decision = decide(inputs, root)
        if decision.finished is not None:
            stage.move_latest(decision.finished)
            return Built(decision.finished, True, inputs.release.findings)
        n_clips = len(inputs.release.clips)
        planned = plan_sections(inputs, decision, root, run, reporter.step("levels", n_clips))
        stage.open_staging(decision)
        on_progress = reporter.step("render", sum(len(section.clips) for section in planned))
        rendered = stage.render_sections(inputs, decision, planned, run, on_progress)
        return Built(stage.publish(inputs, decision, rendered), False, inputs.release.findings)
