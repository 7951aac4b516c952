"""Stages of the library as Prefect tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

from mimiidg_build.errors import MimiidgError
from mimiidg_build.flows import stops

T = TypeVar("T")


def is_worth_a_retry(task: object, run: object, state: object) -> bool:
    """Whether a failed task is tried again: a mistake in data or configuration stays one. (The library itself retries
    transfers.)

    Parameters
    ----------
    task, run : object
        Prefect's, not used.
    state : object
        The failed run's, whose ``data`` holds the exception.

    Returns
    -------
    bool
        Whether the library did not foresee this failure.
    """
    error = getattr(state, "data", None)
    return not isinstance(getattr(error, "exception", error), MimiidgError)


def stage_task(stage: str, call: Callable[[], T], subject: str = "", retries: int = 0) -> Task[[], T]:
    """A stage as a task; its arguments are bound already, so that Prefect does not search them for futures.

    Parameters
    ----------
    stage : str
        The stage's name.
    call : callable
        The stage.
    subject : str
        Which section, variant or training, for the name of the task's run.
    retries : int
        After errors that a retry may mend.

    Returns
    -------
    Task
        Returns what ``call`` returns.
    """

    @task(
        name=stage,
        task_run_name=f"{stage} {subject}".strip(),
        retries=retries,
        retry_delay_seconds=5,
        retry_condition_fn=is_worth_a_retry,
        cache_policy=NO_CACHE,
    )
    def run() -> T:
        with stops.stage():
            return call()

    return run
