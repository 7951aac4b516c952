"""Building a variant from fetched archives, start to finish: read, decide, plan, render, publish.

:func:`build_variant` is the one list of stages. It hands each stage to a :class:`BuildExecutor`, which calls it here,
and as a task of its own in ``flows.build_variant``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from mimiidg_build.audio.inflated import InflatedMembers, inflated_members
from mimiidg_build.build.checks import check_build, check_name_is_free
from mimiidg_build.build.decision import Decision, decide
from mimiidg_build.build.inputs import Inputs, read_inputs
from mimiidg_build.build.planning import PlannedSection, batches, plan_sections
from mimiidg_build.build.publish import move_latest, open_staging, publish
from mimiidg_build.build.sections import RenderedSection, render_sections
from mimiidg_build.datasets.findings import findings_frame
from mimiidg_build.datasets.release import Release
from mimiidg_build.datasets.truth import Truth
from mimiidg_build.datasets.variant import load_variant
from mimiidg_build.fetch.dataset import cut_recordings, make_synthetic
from mimiidg_build.mixing.noise_quality import noise_findings
from mimiidg_build.parallel.executor import Executor
from mimiidg_build.parallel.runner import Runner, running
from mimiidg_build.progress import Reporter
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.storage.locks import locked_variant
from mimiidg_build.storage.places import Place, local, place
from mimiidg_build.store.store import Store, is_latest, variant_dir

Stage = Literal["validate", "plan", "render", "publish"]


@dataclass(frozen=True)
class Built:
    """A finished store, whether it was there already, and what validation found."""

    store: Store
    was_finished: bool
    findings: pd.DataFrame


class BuildExecutor(Executor[Stage]):
    """Runs the stages of a build. This one calls them; a flow's makes a task of each, to be watched and retried."""

    def batches(self, sections: Sequence[PlannedSection]) -> list[list[PlannedSection]]:
        """Sections that are rendered together; by default as many as memory allows: small ones have fewer shards than
        there are workers."""
        return batches(sections)


def build_variant(
    variant: Variant | str,
    root: str | Place,
    *,
    scheduler: str = "threads",
    workers: int | None = None,
    plan: Path | None = None,
    allow: Collection[str] = (),
    replace: bool = False,
    release: Release | None = None,
    truth: Truth | Path | Sequence[Path] | None = None,
    reporter: Reporter | None = None,
    executor: BuildExecutor | None = None,
) -> Built:
    """Build a variant from fetched archives, or find it built. A synthetic release is made where it is not there.

    With ``scheduler="processes"`` a script needs an ``if __name__ == "__main__"`` guard around its work.

    Parameters
    ----------
    variant : Variant or str
        Or the name of a shipped variant, or the path of a variant file.
    root : str or Place
        Archives are read from ROOT/archives, the store goes to ROOT/variants/<variant>.
    scheduler : str
        ``threads``, ``processes`` or a dask cluster's address. The result never depends on it.
    workers : int, optional
        Threads or processes; all cores by default.
    plan : Path, optional
        A mix plan to render instead of drawing one.
    allow : collection of str
        Kinds of validation findings that are warnings rather than errors.
    replace : bool
        Whether the store may become the latest of a name that a store of another definition (dataset, sections, SNR,
        noise, ...) has: see :mod:`mimiidg_build.build.checks`.
    release : Release, optional
        The dataset, if it was read already.
    truth : Truth, path or paths, optional
        The organisers' lists of what clips are whose names hide it: files, or directories that are searched for them.
        Without them such clips are an error, ``hidden_name``; where that is allowed they have no condition.
    reporter : Reporter, optional
        Shows progress.
    executor : Executor, optional
        Runs the stages.

    Returns
    -------
    Built

    Raises
    ------
    DataError
        The archives, tables or noise are damaged or do not fit, or something cannot be written.
    FetchError
        An archive is missing.
    UsageError
        The variant, the scheduler or the plan is not one, noise is not given, or the name is another store's.
    """
    root = place(root)
    variant = load_variant(variant) if isinstance(variant, str) else variant
    variant = check_build(variant, root, allow=allow, replace=replace)
    with running(scheduler, workers, root) as run:
        build = _Build(variant, root, run, reporter or Reporter(), executor or BuildExecutor())
        inputs = build.executor.run("validate", lambda: build.read(plan, allow, release, truth))
        decision = _decided(inputs, root, replace)
        # Without the lock, so that a read-only ROOT is enough. A journal is an interrupted run's: this one finishes it.
        if decision.finished is not None and is_latest(decision.finished.path) and not decision.journal.is_dir():
            return _built(decision.finished, True, inputs)
        # two builds of one variant at once would do the same work twice: the second waits, and finds the first's result
        waiting = f"another build of {variant.name} is running; waiting for it"
        with locked_variant(variant_dir(root, variant.name), waiting):
            decision = _decided(inputs, root, replace)
            if decision.finished is not None:
                move_latest(decision.finished)  # an earlier run may have been killed between the rename and this step
                return _built(decision.finished, True, inputs)
            return _built(build.make(inputs, decision), False, inputs)


def _built(store: Store, was_finished: bool, inputs: Inputs) -> Built:
    """The store, with what validation found in the dataset and in the noise."""
    findings = pd.concat([inputs.release.findings, found_in_noise(store)], ignore_index=True)
    return Built(store, was_finished, findings)


def found_in_noise(store: Store) -> pd.DataFrame:
    """What is odd about the noise that a store was mixed with: a Findings table, from its attributes."""
    return findings_frame(noise_findings(store.attributes.noise or {}))


def _decided(inputs: Inputs, root: Place, replace: bool) -> Decision:
    """What must be done, unless that would take the name from a store of another definition."""
    decision = decide(inputs, root)
    if not replace and not (decision.finished and is_latest(decision.finished.path)):
        check_name_is_free(inputs.variant, root)
    return decision


@dataclass(frozen=True)
class _Build:
    """What the stages of one build share."""

    variant: Variant
    root: Place
    run: Runner
    reporter: Reporter
    executor: BuildExecutor

    def read(
        self,
        plan: Path | None,
        allow: Collection[str],
        release: Release | None,
        truth: Truth | Path | Sequence[Path] | None,
    ) -> Inputs:
        """Have on disk what is made here; read and validate everything that decides the store's bytes."""
        make_synthetic(self.variant, self.root, self.reporter)
        cut_recordings(self.variant, self.root, self.reporter, allow)
        return read_inputs(self.variant, self.root, plan=plan, allow=allow, release=release, truth=truth)

    def make(self, inputs: Inputs, decision: Decision) -> Store:
        """Plan, render and publish a store that is not there yet."""
        with inflated_members(local(decision.staging).parent) as inflated:
            rendered = self.planned_and_rendered(inputs, decision, inflated)
        return self.executor.run("publish", lambda: publish(inputs, decision, rendered, self.run))

    def planned_and_rendered(
        self, inputs: Inputs, decision: Decision, inflated: InflatedMembers
    ) -> dict[str, RenderedSection]:
        """Every section's shards in the partial store."""
        planned = self.executor.run("plan", lambda: self.plan(inputs, decision, inflated))
        on_progress = self.reporter.step("render", sum(len(section.clips) for section in planned))
        rendered: dict[str, RenderedSection] = {}
        for batch in self.executor.batches(planned):

            def render(batch: list[PlannedSection] = batch) -> dict[str, RenderedSection]:
                return render_sections(inputs, decision, batch, self.run, on_progress)

            rendered |= self.executor.run("render", render, ", ".join(section.section.id for section in batch))
        return rendered

    def plan(self, inputs: Inputs, decision: Decision, inflated: InflatedMembers) -> list[PlannedSection]:
        """Measure levels, draw noise, set gains; make the place for the partial store."""
        on_progress = self.reporter.step("levels", len(inputs.release.clips))
        planned = plan_sections(inputs, decision, self.root, self.run, on_progress, inflated)
        open_staging(decision)
        return planned
