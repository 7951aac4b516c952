"""The Prefect server that commands run their flows on: the configured one, or one of this program's own."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mimiidg_build import settings
from mimiidg_build.errors import UsageError
from mimiidg_build.storage.places import Place, local

if TYPE_CHECKING:
    from mimiidg_build.flows.server import Server


def as_flow(prefect: bool) -> bool:
    """Whether a command runs as a flow: ``--prefect`` was given, or a Prefect server is configured to see it."""
    return prefect or bool(settings.prefect_url())


def start_prefect(root: Place, *flows: str, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Have a Prefect server to run flows on: the configured one, or our own, which ends with this program.

    Must come before the first import of Prefect, which reads the environment that is set here. What it logs goes to
    the server alone; the command itself says what its user needs to know.

    Parameters
    ----------
    root : Place
    *flows : str
        Modules of ``flows`` to import while the server starts, which takes 10 s and more.
    meanwhile : callable, optional
        Called while it starts, too.

    Raises
    ------
    DataError
        Our own server does not start.
    ModuleNotFoundError
        Prefect is not installed.
    UsageError
        The configured server does not answer.
    """
    if find_spec("prefect") is None:  # before anything is started that lacks it as well
        raise ModuleNotFoundError("No module named 'prefect'", name="prefect")
    settings.configure(environment={"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"} | settings.UNTRACKED)
    if settings.prefect_url():
        check_prefect()
        return
    server = own_server(root)
    server.start()
    for name in flows:
        # importing Prefect takes seconds, which the server needs to start anyway
        import_module(f"mimiidg_build.flows.{name}")
    meanwhile()
    server.wait()


def own_server(root: Place, port: int | None = None, *, schedules: bool = False) -> Server:
    """A Prefect server of this command's own, not started yet, which this process uses from now on.

    Parameters
    ----------
    root : Place
        Its files lie under it, or under its counterpart on this machine, unless PREFECT_HOME says otherwise.
    port : int, optional
        A free one by default.
    schedules : bool
        Whether it also starts scheduled runs.

    Returns
    -------
    Server

    Raises
    ------
    UsageError
        The port is taken, or the server's secret would be none.
    """
    home = {"PREFECT_HOME": str((local(root) / ".prefect").resolve())}
    settings.configure(environment=settings.OWN_PREFECT_SERVER | home)
    from mimiidg_build.flows.server import Server

    return Server(Path(settings.prefect_home()), port, schedules=schedules)


def check_prefect() -> None:
    """Make sure that the configured Prefect server answers this program.

    Raises
    ------
    UsageError
        None is configured, it does not answer, or it refuses this program.
    """
    from mimiidg_build.flows.server import answers, is_refused

    url = settings.prefect_url()
    if not url:
        raise UsageError(
            "no Prefect server is configured. Let this command run one with --server, or start one "
            "(`prefect server start`) and set PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    if not answers(url):
        raise UsageError(f"no Prefect server answers at PREFECT_API_URL={url}. Start it: `prefect server start`")
    if is_refused():
        raise UsageError(
            f"the Prefect server at PREFECT_API_URL={url} refuses this program. Set PREFECT_API_AUTH_STRING to the "
            "user:password that it was started with; for one that `mimiidg serve` runs, to the line in its file "
            "ROOT/.prefect/auth-string."
        )
