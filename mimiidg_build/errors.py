"""Errors that a user sees as one message, without a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

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


def first_mistake(error: ValidationError) -> str:
    """The first thing that is wrong in a file and where: one is enough to see that it is damaged.

    Examples
    --------
    >>> from pydantic import BaseModel, ValidationError
    >>> class Run(BaseModel, extra="forbid"):
    ...     epochs: int
    >>> for content in {"epochs": "many"}, {"epochs": 3, "lr": 0.1}:
    ...     try:
    ...         Run.model_validate(content)
    ...     except ValidationError as error:
    ...         print(first_mistake(error))
    epochs: Input should be a valid integer, unable to parse string as an integer
    lr: unknown key
    """
    mistake = error.errors(include_url=False, include_input=False)[0]
    if mistake["type"] == "value_error":  # a message of the model's own
        return mistake["msg"].removeprefix("Value error, ")
    where = ".".join(map(str, mistake["loc"])) or "the file"
    return f"{where}: {'unknown key' if mistake['type'] == 'extra_forbidden' else mistake['msg']}"
