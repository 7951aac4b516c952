"""Settings in place of a profile's: ``--set``, ``--settings`` and ``--precision``, and what they say together."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from mimiidg_build.cli.values import FilePath, Known
from mimiidg_build.errors import UsageError, shown
from mimiidg_build.models import check_models

PRECISIONS = ("fp32", "bf16", "fp16")

Command = TypeVar("Command", bound=Callable[..., Any])


def settings_options(command: Command) -> Command:
    """The options, of the commands that have a profile."""
    for option in (
        click.option("--precision", type=Known(PRECISIONS), help="Of training. [default: fp32, on every device]"),
        click.option(
            "--settings",
            "settings_file",
            type=FilePath(exists=True, dir_okay=False),
            help="A TOML file of such settings, a line each: batch_size = 256.",
        ),
        click.option(
            "--set",
            "assignments",
            multiple=True,
            metavar="KEY=VALUE",
            help="A setting in place of the profile's: learning_rate=1e-3. May be given repeatedly.",
        ),
    ):
        command = option(command)
    return command


def chosen_settings(assignments: Sequence[str], settings_file: Path | None, precision: str | None) -> dict[str, Any]:
    """What was asked for, by the settings' names: of the file, then of the command line, which goes before it.

    Parameters
    ----------
    assignments : sequence of str
        ``KEY=VALUE``, the value as in TOML; quotes around a text may be left out.
    settings_file : Path, optional
    precision : str, optional

    Returns
    -------
    dict of str to value

    Raises
    ------
    UsageError
        A setting is given twice on the command line, an assignment is none, or the file cannot be read.

    Examples
    --------
    >>> chosen_settings(["batch_size=256", "learning_rate=1e-3", "attention=none"], None, "bf16")
    {'batch_size': 256, 'learning_rate': 0.001, 'attention': 'none', 'precision': 'bf16'}
    """
    given: dict[str, Any] = {}
    pairs = [_assignment(text) for text in assignments]
    for key, value in pairs if precision is None else [*pairs, ("precision", precision)]:
        if key in given:
            raise UsageError(f"the setting {shown(key)} is given twice, as {shown(given[key])} and {shown(value)}")
        given[key] = value
    if settings_file is None:
        return given
    from mimiidg_build.datasets.toml_files import read_toml

    return read_toml(settings_file) | given


def checked_settings(
    names: Sequence[str], profile: str, assignments: Sequence[str], settings_file: Path | None, precision: str | None
) -> dict[str, Any]:
    """:func:`chosen_settings`, held to the models that they are for before any work.

    Parameters
    ----------
    names : sequence of str
        Of models.
    profile : str
    assignments, settings_file, precision
        See :func:`chosen_settings`.

    Returns
    -------
    dict of str to value

    Raises
    ------
    UsageError
        See :func:`chosen_settings` and ``models.check_models``; what is wrong in the file names it.
    """
    changes = chosen_settings(assignments, settings_file, precision)
    try:
        check_models(names, profile, changes)
    except UsageError as error:
        if settings_file is None:
            raise
        check_models(names, profile, chosen_settings(assignments, None, precision))  # raises where it is not the file
        raise UsageError(f"{settings_file}: {error}") from None
    return changes


def _assignment(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not equals or not key:
        raise UsageError(f"--set {shown(text)}: expected KEY=VALUE, as in batch_size=256")
    try:
        found = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):  # no TOML: a text without quotes, or nothing that any setting takes
        return key, value
    return key, found["value"] if len(found) == 1 else value
