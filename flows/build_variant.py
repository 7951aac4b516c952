"""Build a variant: the library's own list of stages, each a task, so that a run can be watched and retried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from prefect import runtime
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from mimiidg_build import settings
from mimiidg_build.build.planning import PlannedSection
from mimiidg_build.build.variant import BuildExecutor, Built, Stage
from mimiidg_build.build.variant import build_variant as build
from mimiidg_build.datasets.findings import summarise
from mimiidg_build.datasets.rows import records
from mimiidg_build.datasets.variant import parse_variant
from mimiidg_build.flows import artifacts
from mimiidg_build.flows.hermetic import flow
from mimiidg_build.flows.tasks import stage_task
from mimiidg_build.storage.places import Place, place
from mimiidg_build.store.summary import noise_rows, section_rows

T = TypeVar("T")

RETRIES: dict[Stage, int] = {"render": 1}  # a retry is cheap: finished shards are not rendered again


class Tasks(BuildExecutor):
    """Runs each stage of a build as a task; a section is rendered at a time, on all workers, and shows as its own."""

    def run(self, stage: Stage, call: Callable[[], T], subject: str = "") -> T:
        """Run a stage as a task.

        Parameters
        ----------
        stage : Stage
        call : callable
        subject : str
            Which section, for the task's name.

        Returns
        -------
        What ``call`` returns.
        """
        return stage_task(stage, call, subject, RETRIES.get(stage, 0))()

    def batches(self, sections: Sequence[PlannedSection]) -> list[list[PlannedSection]]:
        """A section at a time."""
        return [[section] for section in sections]


def report(built: Built) -> None:
    """The section table and the validation's findings, as artifacts of the run."""
    store, name = built.store, built.store.attributes.variant.name
    create_table_artifact(
        key=artifacts.key("sections", name), table=section_rows(store), description=f"Sections of {store.path}"
    )
    create_table_artifact(key=artifacts.key("noise", name), table=noise_rows(store), description=f"Noise of {name}")
    findings = records(summarise(built.findings))
    create_table_artifact(key=artifacts.key("findings", name), table=findings, description=f"Validation of {name}")
    create_markdown_artifact(f"`{store.path}`", key=artifacts.key("store", name), description=f"The store of {name}")


def run_name() -> str:
    """What a server shows a run as."""
    return f"build {runtime.flow_run.parameters['variant'].get('name')}"


@flow(name="build-variant", flow_run_name=run_name)
def build_variant(
    variant: dict[str, Any],
    root: str | Path,
    scheduler: str = "threads",
    workers: int | None = None,
    plan: Path | None = None,
    allow: list[str] | None = None,
    replace: bool = False,
    truth: list[Path] | None = None,
) -> Place:
    """Build a variant, or find it built; see :func:`mimiidg_build.build.variant.build_variant`.

    With ``scheduler="processes"`` a script that calls this needs an ``if __name__ == "__main__":`` guard.

    Parameters
    ----------
    variant : dict
        The content of a variant file.
    root : str or Path
        Where archives and stores lie; ``s3://bucket/prefix`` on object storage.
    scheduler : str
        ``threads``, ``processes`` or a dask cluster's address.
    workers : int, optional
        Threads or processes; all cores by default.
    plan : Path, optional
        A mix plan to render instead of drawing one.
    allow : list of str, optional
        Kinds of validation findings that are warnings rather than errors.
    replace : bool
        Whether it may take its name over from a store of another definition.
    truth : list of Path, optional
        The organisers' lists of what clips are whose names hide it.

    Returns
    -------
    Path or ObjectPath
        The store.
    """
    built = build(
        parse_variant(variant),
        place(root),
        scheduler=scheduler,
        workers=workers,
        plan=plan,
        allow=allow or [],
        replace=replace,
        truth=truth,
        reporter=settings.reporter(),
        executor=Tasks(),
    )
    report(built)
    return built.store.path
