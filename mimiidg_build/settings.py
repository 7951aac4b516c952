"""The environment, and what the running program has configured: read and written here and nowhere else.

| variable | meaning |
|---|---|
| ``MIMIIDG_ROOT`` | where archives and stores lie, where no ``--root`` is given |
| ``MIMIIDG_WORK`` | this machine's counterpart of a root on object storage, or of one that is read-only |
| ``MIMIIDG_ZENODO_URL`` | another record API in Zenodo's place |
| ``AWS_ENDPOINT_URL`` | the object storage, where it is not Amazon's |
| ``PREFECT_API_URL`` | a Prefect server to run flows on |
| ``PREFECT_API_AUTH_STRING`` | what that server, or the one that this program starts, wants to hear: user:password |
| ``PREFECT_HOME`` | where a Prefect server that this program starts keeps its files |
| ``NUMBA_CACHE_DIR`` | where compiled code is kept, instead of beside the package or in ``XDG_CACHE_HOME`` |
| ``NUMBA_CPU_NAME``, ``NUMBA_CPU_FEATURES`` | the processor to compile for, instead of this one |
| ``MIMIIDG_SERVED_BY`` | set by ``mimiidg serve``: its process, with which the runs that it starts end |

Importing this module, or the package, reads nothing and changes nothing. The command line and the flows call
:func:`configure`; a library function never does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from mimiidg_build.progress import PlainReporter, Reporter

DEFAULT_ROOT = "mimiidg-data"
DEFAULT_WORK = "mimiidg-work"
ZENODO_URL = "https://zenodo.org"

SERVED_BY = "MIMIIDG_SERVED_BY"

UNTRACKED = {"DO_NOT_TRACK": "1"}  # unless this is set, Prefect reports first uses to its makers
# For this process and the server that it starts: nothing is sent, and only what went wrong is logged.
OWN_PREFECT_SERVER = UNTRACKED | {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_LOGGING_LEVEL": "WARNING",
}

_reporter = Reporter()


def configure(*, reporter: Reporter | None = None, environment: Mapping[str, str] | None = None) -> None:
    """Configure the running program.

    Parameters
    ----------
    reporter : Reporter, optional
        Shows the progress of flows, whose own arguments must be plain data. Functions of the library take a reporter
        as an argument instead.
    environment : mapping of str to str, optional
        Environment variables for Prefect, which reads them when it is imported and hands them to the processes that
        it starts. One that is set already stays as it is.
    """
    global _reporter
    if reporter is not None:
        _reporter = reporter
    for name, value in (environment or {}).items():
        if not os.environ.get(name):  # an empty variable counts as unset
            os.environ[name] = value


def report_to(write: Callable[[str], object]) -> None:
    """Show the progress of flows as plain lines, each given to ``write``."""
    configure(reporter=PlainReporter(write))


def reporter() -> Reporter:
    """The reporter that was configured; a silent one by default."""
    return _reporter


def child_environment(**changes: str) -> dict[str, str]:
    """The environment for a process that this one starts."""
    return os.environ | changes


def root() -> str:
    """Where archives and stores lie by default: a path, or a URL of object storage."""
    return os.environ.get("MIMIIDG_ROOT", DEFAULT_ROOT)


def work() -> Path:
    """This machine's directory for what cannot lie on object storage, or where nothing can be written or locked."""
    return Path(os.environ.get("MIMIIDG_WORK", DEFAULT_WORK))


def zenodo_url() -> str:
    """Base URL of the record API."""
    return os.environ.get("MIMIIDG_ZENODO_URL", ZENODO_URL)


def object_storage_url() -> str:
    """Address of the object storage; empty for Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL", "")


def prefect_url() -> str:
    """Address of the configured Prefect server's API; empty where there is none."""
    return os.environ.get("PREFECT_API_URL", "")


def prefect_auth_string() -> str:
    """What a Prefect server is told, user:password; empty where nothing is configured."""
    return os.environ.get("PREFECT_API_AUTH_STRING") or os.environ.get("PREFECT_SERVER_API_AUTH_STRING", "")


def served_by() -> int:
    """The process of ``mimiidg serve`` that started this one; 0 where none did."""
    return int(os.environ.get(SERVED_BY) or 0)


def prefect_home() -> str:
    """Where a Prefect server that this program starts keeps its files; empty where nothing is configured."""
    return os.environ.get("PREFECT_HOME", "")


def compiled_code_folders(beside: Path) -> list[Path]:
    """Where compiled code may be kept, in this order: where it is told to be, else beside the package or the user's."""
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        return [Path(given)]
    return [beside, Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mimiidg_build"]


def compiled_for() -> tuple[str | None, str | None]:
    """Name and features, in LLVM's words, of the processor to compile for; None for those of this one."""
    return os.environ.get("NUMBA_CPU_NAME"), os.environ.get("NUMBA_CPU_FEATURES")
