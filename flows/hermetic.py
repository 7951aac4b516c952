"""Flows that are quiet and send nothing where Prefect runs its embedded server; ``flow`` makes them.

Prefect reads its settings when it is imported, and again from the context of every call. So a call of a flow enters a
context of settings, and importing this package sets next to nothing: the environment of a program that calls a flow
stays as it is, before and after.
The one exception is ``DO_NOT_TRACK``, which Prefect asks the environment for, while it is imported in a terminal and at
a flow's first run, before it reports either to its makers (see ``flows/__init__``). And what a first call sets stays
for Prefect's loggers: at the program's exit the embedded server is stopped, which Prefect would else announce.

Where a server is configured (``PREFECT_API_URL`` or a profile) its settings are left alone.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from prefect.flows import Flow
from prefect.logging.configuration import setup_logging
from prefect.settings import get_current_settings, temporary_settings

from mimiidg_build.errors import MimiidgError

P = ParamSpec("P")
R = TypeVar("R")

# Defaults: what the environment or a profile sets is stronger.
EMBEDDED: dict[str, Any] = {
    "server.analytics_enabled": False,
    "server.logging_level": "ERROR",
    "server.ephemeral.enabled": True,
    "server.ephemeral.startup_timeout_seconds": 120,  # the first start migrates a database: 20 s on two cores
    "logging.level": "WARNING",
}


@contextlib.contextmanager
def hermetic() -> Iterator[None]:
    """Within this block Prefect's embedded server, where it is the one that is used, is hermetic and quiet."""
    hide_tracebacks()
    if get_current_settings().api.url:
        yield
        return
    with temporary_settings(set_defaults=EMBEDDED):
        setup_logging()
        yield


class HermeticFlow(Flow[P, R]):
    """A flow whose calls run in :func:`hermetic`. (A run that a Prefect server starts is no call of this kind.)"""

    if not TYPE_CHECKING:  # the overloads of Prefect's own stay the ones that are checked

        def __call__(self, *args, **kwargs):
            with hermetic():
                return super().__call__(*args, **kwargs)


def flow(name: str, **options: Any) -> Callable[[Callable[P, R]], HermeticFlow[P, R]]:
    """Make a function a flow, as ``prefect.flow`` does, whose calls are hermetic."""
    return lambda function: HermeticFlow(function, name=name, **options)


def hide_tracebacks() -> None:
    """Have Prefect log a mistake in data or configuration as its message alone."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_without_traceback)  # the same filter again is not added


def _without_traceback(record: logging.LogRecord) -> bool:
    """The message names file, row and value; where in the code the mistake was found helps nobody."""
    if record.exc_info and isinstance(record.exc_info[1], MimiidgError):
        record.exc_info = None
    return True
