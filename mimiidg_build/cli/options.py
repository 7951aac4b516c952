"""Options that several commands have. Each of these decorators adds a group of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mimiidg_build import settings
from mimiidg_build.cli import complete
from mimiidg_build.cli.values import Device, FilePath, Known, Root
from mimiidg_build.models.backends import BACKENDS

Command = TypeVar("Command", bound=Callable[..., Any])
Option = Callable[[Command], Command]


def common(command: Command) -> Command:
    """Options that every command has."""
    return _with_options(
        command,
        click.option(
            "--root",
            type=Root(),
            default=settings.root,
            help="Where archives and stores lie: a path, or s3://bucket/prefix. "
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
    """Options that change a variant before it is built. Of SNR, offset and seed there may be several."""
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
            help="Only these machine types or sections: fan valve/02.",
            shell_complete=complete.sections,
        ),
        noise_option,
        click.option(
            "--noise-from",
            help="A dataset whose noise is used for kinds that --noise does not give.",
            shell_complete=complete.datasets,
        ),
        click.option("--snr", "snrs", type=float, multiple=True, help="SNR of all sections in dB, not Table 1's."),
        click.option("--snr-offset", "snr_offsets", type=float, multiple=True, help="Added to every SNR, dB."),
        click.option("--seed", "seeds", type=int, multiple=True, help="Another seed draws anew."),
        click.option(
            "--full-scale", type=Known(["attenuate", "saturate", "error"]), help="What to do beyond full scale."
        ),
        click.option("--name", help="Name of the variant. [default: the file's, and what differs]"),
    )


def replace_option(command: Command) -> Command:
    """Whether a build may take its name over."""
    return _with_options(
        command,
        click.option("--replace", is_flag=True, help="Take the name over from a store of another definition."),
    )


def allow_option(command: Command) -> Command:
    """Errors of validation that are to be taken as warnings."""
    return _with_options(
        command,
        click.option(
            "--allow",
            multiple=True,
            metavar="KIND",
            help="Take validation errors of this kind as warnings.",
            shell_complete=complete.error_kinds,
        ),
    )


def truth_option(command: Command) -> Command:
    """The organisers' lists of what clips are whose names hide it."""
    return _with_options(
        command,
        click.option(
            "--truth",
            multiple=True,
            type=FilePath(exists=True),
            help="Ground truth of clips whose names hide it: the organisers' lists or tables, or a folder of them.",
        ),
    )


def section_option(command: Command) -> Command:
    """Machine types and sections of a dataset."""
    return _with_options(
        command,
        click.option(
            "--section",
            "sections",
            multiple=True,
            help="Only archives that hold these machine types or sections: fan valve/02.",
            shell_complete=complete.sections,
        ),
    )


def backend_option(command: Command) -> Command:
    """Which back end of a run scores."""
    return _with_options(
        command,
        click.option(
            "--backend",
            type=Known(BACKENDS),
            help="Score with this back end, which the run was benchmarked with. [default: the model's own score]",
        ),
    )


def device_option(command: Command) -> Command:
    """Where a model runs."""
    return _with_options(
        command,
        click.option(
            "--device",
            type=Device(),
            default="auto",
            show_default=True,
            help="auto (a GPU if there is one), cpu, cuda:0.",
        ),
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
