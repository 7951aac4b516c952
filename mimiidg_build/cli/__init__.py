"""``mimiidg``, the front door. Parses, calls the library (or the flows, lazily), prints a table or a path.

Nothing heavy is imported before a command needs it. Standard output carries the result, standard error progress and
messages. Exit code 0: done, 1: the data or the run failed, 2: wrong use, 130: stopped by Ctrl-C.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence

import click

from mimiidg_build.cli import data
from mimiidg_build.cli.benchmark import benchmark, evaluate
from mimiidg_build.cli.complete import completion
from mimiidg_build.cli.demo import demo
from mimiidg_build.cli.explain import explain
from mimiidg_build.cli.report import report
from mimiidg_build.cli.serve import serve
from mimiidg_build.errors import KEPT, MimiidgError
from mimiidg_build.settings import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="mimiidg")
def cli() -> None:
    """Build datasets like MIMII DG and benchmark anomalous sound detectors on them.

    Try it: `mimiidg demo`
    """


for command in (
    demo,
    data.fetch,
    data.validate,
    data.build,
    data.list_,
    data.verify,
    data.prune,
    data.export,
    benchmark,
    evaluate,
    explain,
    report,
    serve,
    completion,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; a mistake in data or configuration is one message, never a traceback."""
    gc.set_threshold(50_000)  # plans are many small objects that stay: no use in looking through them every 700
    if logging.lastResort is not None:  # whatever becomes of the root logger, which Prefect takes for itself
        logging.getLogger("mimiidg_build").addHandler(logging.lastResort)
    try:
        result = cli.main(
            args=None if arguments is None else list(arguments), prog_name="mimiidg", standalone_mode=False
        )
        return result if isinstance(result, int) else 0
    except MimiidgError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever presses it again does not want to wait
        click.echo(f"stopped. {KEPT}", err=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "mimiidg_build", "schemas", "flows"):
            raise
        click.echo(
            f"error: this command needs the package {package}, which is not installed. An environment that only builds "
            "stores (dependency group `build`) has no training, report or schedule: install all of mimiidg_build.",
            err=True,
        )
        return 1
    except OSError as error:
        click.echo(f"error: {error.filename or 'the system'}: {error.strerror or error}", err=True)
        return 1
