"""Errors that a user sees as one message, without a traceback."""

from __future__ import annotations

KEPT = "What is finished is kept: run the same command again to go on."


class MimiidgError(Exception):
    """The data or the run failed: what happened, what was expected, the likely cause. Exit code 1."""

    exit_code = 1


class DataError(MimiidgError):
    """Bad data in an archive, a table, a clip or a store; the message names file, row and value."""


class FetchError(MimiidgError):
    """A transfer failed for good, or what arrived is not what was published."""


class UsageError(MimiidgError):
    """Wrong use: an unknown name, an impossible value, a bad variant file. Exit code 2."""

    exit_code = 2
