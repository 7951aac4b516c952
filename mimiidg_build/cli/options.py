"""Options that several commands have. Each of these decorators adds a group of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mimiidg_build import settings
from mimiidg_build.cli import complete
from mimiidg_build.storage.places import Place, is_local, place

Command = TypeVar("Command", bound=Callable[..., Any])
Option = Callable[[Command], Command]


class Root(click.ParamType[Place]):
    """A folder, or a place on object storage."""

    name = "directory"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        """The place, if it can be one. See :meth:`click.ParamType.convert`."""
        root = place(value)
        if is_local(root):
            click.Path(file_okay=False).convert(value, param, ctx)
        else:
            root.is_dir()  # fails now, before any work, where there is no such bucket or no permission to use it
        return root

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Folders. See :meth:`click.ParamType.shell_complete`."""
        return [click.shell_completion.CompletionItem(incomplete, type="dir")]


def common(command: Command) -> Command:
    """Options that every command has."""
    return _with_options(
        command,
        click.option(
            "--root",
            type=Root(),
            default=settings.root,
            help="Where archives and stores live: a path, or s3://bucket/prefix. "
            "[default: $MIMIIDG_ROOT or ./mimiidg-data]",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
        click.option("--quiet", is_flag=True, help="No progress."),
    )


def noise_option(command: Command) -> Command:
    """Where noise is."""
    return click.option(
        "--noise", multiple=True, metavar="KIND=PATH", help="Noise of a kind: a folder, a recording, or a zip."
    )(command)


def variant_options(command: Command) -> Command:
    """Options that change a variant before it is built."""
    return _with_options(
        command,
        click.option(
            "--dataset",
            help="Another dataset: a name, a manifest's path, or synthetic[-<percent>pct][-seed<k>].",
            shell_complete=complete.datasets,
        ),
        click.option(
            "--section",
            "sections",
            multiple=True,
            help="Only this machine type or section: fan, valve/02.",
            shell_complete=complete.sections,
        ),
        noise_option,
        click.option(
            "--noise-from",
            help="A dataset whose noise is used for kinds that --noise does not give.",
            shell_complete=complete.datasets,
        ),
        click.option("--snr-offset", type=float, help="Added to every SNR, dB."),
        click.option("--seed", type=int, help="Another seed draws anew."),
        click.option("--full-scale", type=click.Choice(["attenuate", "saturate", "error"]), help="Beyond full scale."),
        click.option("--name", help="Name of the variant. [default: the file's, and what differs]"),
    )


def run_options(command: Command) -> Command:
    """Options of the commands that render."""
    return _with_options(
        command,
        click.option(
            "--scheduler",
            default="threads",
            show_default=True,
            help="threads, processes, or tcp://host:port.",
            shell_complete=complete.schedulers,
        ),
        click.option("--workers", type=click.IntRange(1), help="Threads or processes. [default: all cores]"),
    )


def _with_options(command: Command, *options: Option[Command]) -> Command:
    """Add options, which the command's help lists in this order: click lists the last one that was added first."""
    for option in reversed(options):
        command = option(command)
    return command
