"""Flows that are quiet and send nothing where Prefect runs its embedded server; ``flow`` makes them.

Prefect reads its settings from the environment when it is imported, and from the context of each call after that. So
they are given to each call of a flow, by a context (``prefect.settings.temporary_settings``), and the environment of a
program that calls a flow is the same before and after. The embedded server inherits them from the call that starts it.

That server knows a secret that this program made for it, and refuses everybody else: see :mod:`flows.server` for why.

Two things last. ``DO_NOT_TRACK`` is set when this package is imported (``flows/__init__``): Prefect looks for it in the
environment when it is itself imported in a terminal, before it reports that to its makers. And the first call sets the
levels of Prefect's loggers for good: when the program ends, the embedded server's end would else be announced.

And a call that was stopped always raises KeyboardInterrupt, whatever Prefect made of the signal: :mod:`flows.stops`.

Where a server is configured (``PREFECT_API_URL`` or a profile) its settings are left alone.

No call sends heartbeats, by which a server finds out that a run has died unseen: Prefect waits up to two seconds at the
end of every flow, and every flow within it, for the thread that sends them. Whoever calls a flow sees how it ends. Runs
that a server starts have them, and so has every call where ``PREFECT_FLOWS_HEARTBEAT_FREQUENCY`` is set.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import prefect.context
from prefect.flows import Flow
from prefect.logging.configuration import setup_logging
from prefect.settings import get_current_settings, temporary_settings

from mimiidg_build.errors import MimiidgError
from mimiidg_build.flows.stops import no_lost_stop, take_back

P = ParamSpec("P")
R = TypeVar("R")

# Defaults: what the environment or a profile sets is stronger.
EMBEDDED: dict[str, Any] = {
    "server.analytics_enabled": False,
    "server.logging_level": "ERROR",
    "server.ephemeral.enabled": True,
    "server.ephemeral.startup_timeout_seconds": 120,  # the first start migrates a database: 20 s on two cores
    "server.api.cors_allowed_origins": "https://none.invalid",  # it has no pages, so none may read its answers
    "logging.level": "WARNING",
}
HERE: dict[str, Any] = {"flows.heartbeat_frequency": None}
_SECRET = f"mimiidg:{secrets.token_urlsafe(32)}"  # of the embedded server, which ends with this program


@contextlib.contextmanager
def hermetic() -> Iterator[None]:
    """Within this block Prefect's embedded server, where it is the one that is used, is hermetic and quiet."""
    hide_tracebacks()
    if get_current_settings().api.url:
        with temporary_settings(set_defaults=HERE):
            yield
        return
    with temporary_settings(_know_secret(), set_defaults=EMBEDDED | HERE):
        setup_logging()
        yield


def _know_secret() -> Any:
    """The settings with the embedded server's secret, also made those of the whole program.

    Whatever of this program asks the server later, a client outside a flow too, knows it then; its environment, which
    other programs inherit, does not.
    """
    api, everywhere = get_current_settings().api, prefect.context.GLOBAL_SETTINGS_CONTEXT
    secret = api.auth_string.get_secret_value() if api.auth_string else _SECRET
    known: Any = {"api.auth_string": secret, "server.api.auth_string": secret}
    prefect.context.GLOBAL_SETTINGS_CONTEXT = prefect.context.SettingsContext(
        profile=everywhere.profile, settings=everywhere.settings.copy_with_update(updates=known)
    )
    return known


class HermeticFlow(Flow[P, R]):
    """A flow whose calls run in :func:`hermetic`. (A run that a Prefect server starts does not come this way.)"""

    if not TYPE_CHECKING:  # the overloads of Prefect's own stay the ones that are checked

        def __call__(self, *args, **kwargs):
            with hermetic(), no_lost_stop():
                return super().__call__(*args, **kwargs)


def flow(name: str, **options: Any) -> Callable[[Callable[P, R]], HermeticFlow[P, R]]:
    """Make a function a flow, as ``prefect.flow`` does, whose calls are hermetic."""
    return lambda function: HermeticFlow(function, name=name, on_running=[take_back], **options)


def hide_tracebacks() -> None:
    """Have Prefect log a mistake in data or configuration as its message alone."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_without_traceback)  # the same filter again is not added


def _without_traceback(record: logging.LogRecord) -> bool:
    """The message names file, row and value; the line of code that found the mistake adds nothing."""
    if record.exc_info and isinstance(record.exc_info[1], MimiidgError):
        record.exc_info = None
    return True
