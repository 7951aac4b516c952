"""Kinds of values that options take, and options that take several at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from mimiidg_build.cli import complete
from mimiidg_build.errors import did_you_mean, shown
from mimiidg_build.storage.places import Place, expanded, is_local, place

MODULE_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
DEVICE = re.compile(r"auto|(cpu|cuda|mps|xpu)(:[0-9]{1,3})?")


class Root(click.ParamType[Place]):
    """A folder, or a place on object storage."""

    name = "directory"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        """The place, if it can be one. See :meth:`click.ParamType.convert`."""
        root = place(value)
        if is_local(root):
            click.Path(file_okay=False).convert(str(root), param, ctx)
        else:
            root.is_dir()  # fails now, before any work, where there is no such bucket or no permission to use it
        return root

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Folders. See :meth:`click.ParamType.shell_complete`."""
        return [click.shell_completion.CompletionItem(incomplete, type="dir")]


class FilePath(click.Path):
    """A path of the user's, ``~`` expanded: a shell leaves it as it is in ``--output=~/page.html``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path. See :meth:`click.ParamType.convert`."""
        return super().convert(expanded(str(value)), param, ctx)


class Known(click.Choice[str]):
    """One of the known values; an error about another one names what is near."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The value, if it is known. See :meth:`click.ParamType.convert`."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            self.fail(f"{error.message}{did_you_mean(str(value), map(str, self.choices))}", param, ctx)


class ModelName(Known):
    """A model's name, or ``module:Class``, a model of the user's own."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, if it can be a model's. See :meth:`click.ParamType.convert`."""
        if ":" not in value:
            return super().convert(value, param, ctx)
        if not MODULE_CLASS.fullmatch(value) or len(value) > 100:
            self.fail(f"{shown(value)} is no model of your own: write module:Class, as in my_models:Mine", param, ctx)
        return str(value)


class Device(click.ParamType[str]):
    """Where a model runs, as torch names it; whether the machine has it is for torch to say."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The device, if it can be one. See :meth:`click.ParamType.convert`."""
        if not DEVICE.fullmatch(value):
            near = did_you_mean(value, ["auto", "cpu", "cuda"])
            self.fail(f"{shown(value)} is not a device: write auto, cpu, or cuda:0.{near}", param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """What most machines have. See :meth:`click.ParamType.shell_complete`."""
        offered = [device for device in ("auto", "cpu", "cuda:0") if device.startswith(incomplete)]
        return [click.shell_completion.CompletionItem(device) for device in offered]


# ---- Several values at once ------------------------------------------------------------------------------------------


def is_number(word: str) -> bool:
    """Whether a word is a number, perhaps a negative one: no option.

    >>> [is_number(word) for word in ("-6", "+3.5", "fan", "--seed")]
    [True, True, False, False]
    """
    return word.lstrip("+-").replace(".", "", 1).isdigit()


def is_section(word: str) -> bool:
    """Whether a word is a machine type or a section, and so no variant's name."""
    return word in complete.section_choices()


SEVERAL: Mapping[str, Callable[[str], bool]] = {
    "--snr": is_number,
    "--snr-offset": is_number,
    "--seed": is_number,
    "--known-anomalies": is_number,
    "--section": is_section,
}


def one_value_each(arguments: Sequence[str], several: Mapping[str, Callable[[str], bool]] = SEVERAL) -> list[str]:
    """Write an option with several values as the option repeated.

    >>> one_value_each(["demo", "--snr-offset", "-6", "0", "--seeds", "3"])
    ['demo', '--snr-offset', '-6', '--snr-offset', '0', '--seeds', '3']
    >>> one_value_each(["--section", "fan", "valve/00", "demo"])
    ['--section', 'fan', '--section', 'valve/00', 'demo']
    """
    spread: list[str] = []
    for argument in arguments:
        # a second value in a row: the word before the last value is the option itself
        option = spread[-2] if len(spread) > 1 else ""
        if option in several and several[option](argument):
            spread.append(option)
        spread.append(argument)
    return spread


class SweepCommand(click.Command):
    """A command with options that take several values at once: ``--snr-offset -6 0 6``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, after one value has been given to each option. See :meth:`click.Command.parse_args`."""
        return super().parse_args(ctx, one_value_each(args))
