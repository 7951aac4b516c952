"""Build a variant: validate, plan, render section by section, publish; every stage a task, so a run can be watched."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from prefect import flow, runtime, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.fetch_archives import is_worth_a_retry
from mimiidg_build import progress
from mimiidg_build.build import stage
from mimiidg_build.build.build import building
from mimiidg_build.build.inputs import Inputs, read_inputs
from mimiidg_build.build.plan_build import Decision, PlannedSection, decide, plan_sections
from mimiidg_build.build.stage import RenderedSection
from mimiidg_build.datasets.findings import summarise
from mimiidg_build.datasets.rows import records
from mimiidg_build.datasets.variant import parse_variant
from mimiidg_build.fetch.dataset import make_synthetic
from mimiidg_build.parallel.run_tasks import runner
from mimiidg_build.storage.places import Place, place
from mimiidg_build.store.store import Store
from mimiidg_build.store.summary import section_rows

# A small section has one shard, for one worker; more than two sections at once would only take memory.
RUNNER = cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=2))


@task(name="validate", task_run_name="validate", cache_policy=NO_CACHE)
def validate(variant: dict[str, Any], root: Place, plan: Path | None, allow: list[str]) -> Inputs:
    """Read archives' directories, tables and noise, and validate them."""
    wanted = parse_variant(variant)
    make_synthetic(wanted, root, progress.current())
    return read_inputs(wanted, root, plan=plan, allow=allow)


@task(name="plan", task_run_name="plan", cache_policy=NO_CACHE)
def plan_all(
    inputs: Inputs, decision: Decision, root: Place, scheduler: str, workers: int | None
) -> list[PlannedSection]:
    """Measure levels, draw noise, set gains."""
    told = progress.current().step("levels", len(inputs.release.clips))
    planned = plan_sections(inputs, decision, root, runner(scheduler, workers, root), told)
    stage.open_staging(decision)
    return planned


@task(
    name="render",
    task_run_name="render {planned.section.id}",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=is_worth_a_retry,
    cache_policy=NO_CACHE,
)
def render(
    inputs: Inputs,
    decision: Decision,
    planned: PlannedSection,
    root: Place,
    scheduler: str,
    workers: int | None,
    told: Any,
) -> dict[str, RenderedSection]:
    """Render one section; its finished shards are kept over a retry."""
    return stage.render_sections(inputs, decision, [planned], runner(scheduler, workers, root), told)


@task(name="publish", task_run_name="publish", cache_policy=NO_CACHE)
def publish(inputs: Inputs, decision: Decision, rendered: dict[str, RenderedSection]) -> Store:
    """Verify the staged store, give it its name, move ``latest``."""
    return stage.publish(inputs, decision, rendered)


def report(store: Store, inputs: Inputs) -> None:
    """The section table and the validation's findings, as artifacts of the run."""
    create_table_artifact(key="sections", table=section_rows(store), description=f"Sections of {store.path}")
    findings = summarise(inputs.release.findings)
    create_table_artifact(key="findings", table=records(findings), description="Validation")
    create_markdown_artifact(key="store", markdown=f"`{store.path}`", description="The finished store")


def run_name() -> str:
    """What a server shows a run as."""
    return f"build {runtime.flow_run.parameters['variant']['name']}"


@flow(name="build-variant", flow_run_name=run_name, task_runner=RUNNER)
def build_variant(
    variant: dict[str, Any],
    root: str | Path,
    scheduler: str = "threads",
    workers: int | None = None,
    plan: Path | None = None,
    allow: list[str] | None = None,
) -> Place:
    """Build a variant, given as the content of a variant file; the path of its store. Built already: nothing to do."""
    at = place(root)
    inputs = validate(variant, at, plan, allow or [])
    with building(at, inputs.variant.name):
        decision = decide(inputs, at)
        if decision.finished is not None:
            stage.move_latest(decision.finished)
            report(decision.finished, inputs)
            return decision.finished.path
        planned = plan_all(inputs, decision, at, scheduler, workers)
        told = progress.current().step("render", sum(len(section.clips) for section in planned))
        futures = [render.submit(inputs, decision, section, at, scheduler, workers, told) for section in planned]
        rendered = {section_id: section for future in futures for section_id, section in future.result().items()}
        store = publish(inputs, decision, rendered)
        report(store, inputs)
        return store.path
