"""Prefect flows: order, retries, concurrency, artifacts. No arithmetic: every task is one call into the library.

They run with Prefect's embedded server where none is configured. Then they are hermetic: no telemetry, no update
checks, no chatter, and the server's files under PREFECT_HOME, which ``mimiidg`` sets to ROOT/.prefect. Where a server
is configured (``PREFECT_API_URL``) its settings are left alone.
"""

import logging
import os

from mimiidg_build.errors import MimiidgError

_EMBEDDED = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # the first start migrates a database: 20 s here
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
}

os.environ.setdefault("DO_NOT_TRACK", "1")
if not os.environ.get("PREFECT_API_URL"):
    for _name, _value in _EMBEDDED.items():
        os.environ.setdefault(_name, _value)


def _without_traceback(record: logging.LogRecord) -> bool:
    """A mistake in data or configuration is told in a line; where in the code it was found helps nobody."""
    if record.exc_info and isinstance(record.exc_info[1], MimiidgError):
        record.exc_info = None
    return True


for _name in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_name).addFilter(_without_traceback)
