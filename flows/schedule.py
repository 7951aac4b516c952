"""Deployments of ``refresh`` that a Prefect server starts on a schedule, and the process that runs them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner
from prefect.server.schemas.schedules import CronSchedule as ServerSchedule
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError

from mimiidg_build import settings
from mimiidg_build.errors import UsageError
from mimiidg_build.flows.refresh import refresh

# A run that is due while the one before still runs is not needed: that one, or the next, does its work.
ONE_AT_A_TIME = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)


def cron_schedule(cron: str, timezone: str) -> CronSchedule:
    """A schedule.

    Raises
    ------
    UsageError
        No cron expression of five fields, none of whose dates ever comes, or no time zone.
    """
    wrong = UsageError(
        f"{cron!r} is not a cron expression: write minute, hour, day of month, month and day of week, "
        "as '0 2 * * *' for every night at two"
    )
    if len(cron.split()) != 5:  # Prefect takes a sixth, the seconds, and would start a run at each of them
        raise wrong
    try:
        schedule = CronSchedule(cron=cron, timezone=timezone)
    except ValidationError as error:
        if any(detail["loc"] == ("timezone",) for detail in error.errors()):
            raise UsageError(f"{timezone!r} is not a time zone: use a name like Europe/Berlin") from None
        raise wrong from None
    next_run(schedule)
    return schedule


def next_run(schedule: CronSchedule) -> datetime:
    """When a schedule's next run falls due, in its time zone.

    Raises
    ------
    UsageError
        Never.
    """
    try:
        (date,) = asyncio.run(ServerSchedule(cron=schedule.cron, timezone=schedule.timezone).get_dates(1))
    except ValueError:  # after 50 years of searching
        raise UsageError(f"{schedule.cron!r} is a date that never comes: look at its day and month") from None
    return date


def deployment(variant: str, name: str, schedule: CronSchedule | None, **parameters: Any) -> RunnerDeployment:
    """``refresh`` of one variant, ready to be registered.

    Parameters
    ----------
    variant : str
        A shipped variant's name, or the absolute path of a file, which is read anew at every run.
    name : str
        The deployment's.
    schedule : CronSchedule or None
        None: it runs only when it is started by hand.
    **parameters
        Of :func:`flows.refresh.refresh`.

    Returns
    -------
    RunnerDeployment
    """
    made = refresh.to_deployment(
        name,
        schedules=[schedule] if schedule else [],
        parameters={"variants": [variant], **parameters},
        concurrency_limit=ONE_AT_A_TIME,
        description=f"Fetch, build and report {variant}",
        paused=False,  # an earlier program paused it when it ended
        entrypoint_type=EntrypointType.MODULE_PATH,  # by module, not by file: a run may start in any folder
    )
    assert isinstance(made, RunnerDeployment)
    return made


def run_deployments(deployments: Sequence[RunnerDeployment], on_registered: Callable[[list[UUID]], None]) -> None:
    """Register deployments and run what falls due, at most one run of each at once, until stopped.

    Stopped in order, it pauses their schedules: nothing falls due while there is nothing to run it.

    Parameters
    ----------
    deployments : sequence of RunnerDeployment
    on_registered : callable
        Called once with their ids, in order, when they are registered and run.
    """
    settings.configure(environment={settings.SERVED_BY: str(os.getpid())})  # the runs inherit it
    runner = Runner(name="mimiidg", limit=len(deployments) + 1)  # one more: a run must be begun to be turned away
    # Prefect would set a handler of its own, which ends this process as if all were done.
    runner.handle_sigterm = signal.getsignal(signal.SIGTERM)  # type: ignore[assignment, method-assign]
    ids: Any = [runner.add_deployment(deployment) for deployment in deployments]
    asyncio.run(_run(runner, lambda: on_registered(ids)))


async def _run(runner: Runner, on_started: Callable[[], None]) -> None:
    """Run until stopped. Started means that it polls: a Ctrl-C before that can get lost in Prefect."""
    running = asyncio.ensure_future(runner.start())
    while not runner.started and not running.done():
        await asyncio.sleep(0.05)
    if not running.done():
        on_started()
    await running
