"""Prefect flows: order, retries, concurrency, artifacts. No arithmetic: every task is one call into the library.

They run with Prefect's embedded server where none is configured. Then they are hermetic: no telemetry, no update
checks, no chatter, and the server's files under PREFECT_HOME, which ``mimiidg`` sets to ROOT/.prefect. Where a server
is configured (``PREFECT_API_URL``) its settings are left alone.
"""

import os

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
