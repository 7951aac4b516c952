"""``mimiidg``, the command line: one module per command.

In: a command line, and the environment (:mod:`mimiidg_build.settings`). Out: a result on standard output, as a table,
a path or JSON; progress and messages on standard error. Exit codes: :data:`mimiidg_build.cli.process.EXIT_CODES`.
A command parses, calls the library (or the flows) and prints. What takes time to import is imported by the command that
needs it: ``mimiidg --help`` is there at once.
Imports: errors, settings, progress, schemas, storage, parallel, datasets, fetch, store, build, upkeep, evaluation,
models, benchmark, report, detect, flows.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import logging
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence

import click

from mimiidg_build import __version__
from mimiidg_build.cli.benchmark import benchmark
from mimiidg_build.cli.build import build
from mimiidg_build.cli.compare import compare
from mimiidg_build.cli.completion import completion
from mimiidg_build.cli.datasets import datasets
from mimiidg_build.cli.demo import demo
from mimiidg_build.cli.detect import detect
from mimiidg_build.cli.diff import diff
from mimiidg_build.cli.evaluate import evaluate
from mimiidg_build.cli.explain import explain
from mimiidg_build.cli.export import export
from mimiidg_build.cli.export_model import export_model
from mimiidg_build.cli.fetch import fetch
from mimiidg_build.cli.leaderboard import leaderboard
from mimiidg_build.cli.list_stores import list_stores
from mimiidg_build.cli.new_dataset import new_dataset
from mimiidg_build.cli.new_variant import new_variant
from mimiidg_build.cli.process import (
    EXIT_CODES,
    StopSignals,
    check_process,
    open_streams,
    settle_output,
    unread,
)
from mimiidg_build.cli.prune import prune
from mimiidg_build.cli.report import report
from mimiidg_build.cli.serve import serve
from mimiidg_build.cli.validate import validate
from mimiidg_build.cli.verify import verify
from mimiidg_build.errors import KEPT, MimiidgError, printable

HELP_OF_CODES = "\b\nExit codes:\n" + "\n".join(f"  {code:<5}{meaning}" for code, meaning in EXIT_CODES.items())
LONGEST_MESSAGE = 10_000  # characters; what a user reads is far shorter


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=HELP_OF_CODES)
@click.version_option(__version__, prog_name="mimiidg")
def cli() -> None:
    """Build datasets like MIMII DG and benchmark anomalous sound detectors on them.

    Try it: `mimiidg demo`
    """


for command in (
    demo,
    datasets,
    fetch,
    validate,
    new_dataset,
    new_variant,
    build,
    list_stores,
    verify,
    diff,
    prune,
    export,
    benchmark,
    evaluate,
    compare,
    leaderboard,
    detect,
    export_model,
    explain,
    report,
    serve,
    completion,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; a mistake in data or configuration is one message, no traceback."""
    gc.set_threshold(50_000)  # plans are many small objects that stay: a waste to search them every 700
    atexit.register(gc.freeze)  # or Python ends with a search of all that was imported: a second with torch and Prefect
    if logging.lastResort is not None:  # warnings are shown even after Prefect has taken over the root logger
        logging.getLogger("mimiidg_build").addHandler(logging.lastResort)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="surrogateescape")  # a path that is not UTF-8 is printed as the bytes that it is
    given = None if arguments is None else list(arguments)
    open_streams()
    with StopSignals() as signals:
        try:
            check_process()
            with _stopped_in_destructors(signals):
                result = cli.main(args=given, prog_name="mimiidg", standalone_mode=False)
            sys.stdout.flush()  # while it can be said that it cannot be written
            return result if isinstance(result, int) else 0  # without standalone mode click returns the code of an Exit
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            return _failed(error, signals)


def _failed(error: BaseException, signals: StopSignals) -> int:
    """Say in one message what ended a command, and return its exit code; a mistake in the program is raised again."""
    if isinstance(error, click.Abort) and isinstance(error.__cause__, EOFError):  # which is no Ctrl-C
        error = error.__cause__
    # a signal first: what it ended (worker processes, a terminal, a server) has errors of its own
    if signals.came is not None or isinstance(error, KeyboardInterrupt | click.Abort):
        signals.release()
        # stopped between making a coroutine and handing it over (zarr's reads), which Python reports once it is gone
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        # A KeyboardInterrupt that passed through an exec(), as dataclasses have, makes Python end by SIGINT, whatever
        # the exit code; the next exec() of a text resets that.
        exec("")
        _forget(error)
        with unread():
            click.echo(f"stopped. {KEPT}", err=True)
        return 128 + (signals.came or signal.SIGINT)
    if isinstance(error, click.ClickException):
        said = io.StringIO()
        error.show(said)
        with unread():
            click.echo(_printable(said.getvalue()), nl=False, err=True)
        return 2
    if isinstance(error, OSError | SystemExit):
        settle_output()
    if isinstance(error, BrokenPipeError | SystemExit):  # the reader of our output has gone; click makes it an exit
        return 128 + signal.SIGPIPE
    if isinstance(error, MimiidgError | ModuleNotFoundError | OSError):
        message = _printable(_message(error))
        with unread():
            click.echo(f"error: {message}", err=True)
        return error.exit_code if isinstance(error, MimiidgError) else 1
    raise error


def _forget(error: BaseException | None) -> None:
    """Free what the work that ended by this exception held, before anything is said.

    What a stop left half made has destructors that fail, as asyncio's loops: Python would print that after our message.
    """
    before, sys.unraisablehook = sys.unraisablehook, lambda _: None
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
    sys.unraisablehook = before


@contextlib.contextmanager
def _stopped_in_destructors(signals: StopSignals) -> Iterator[None]:
    """A signal that comes while Python runs a destructor comes again after it; Python itself only prints it.

    Where the work ends before that, it is stopped all the same: a shell would go on to the next command.
    """
    before = sys.unraisablehook
    again: list[threading.Timer] = []
    lost: list[int] = []

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if (number := _signal_of(unraisable.exc_value, signals)) is None:
            before(unraisable)
            return
        # from a thread: what is raised in this hook is only printed, too; and a signal, which ends a sleep
        again.append(threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident or 0, number)))
        again[-1].start()
        lost.append(number)

    sys.unraisablehook = hook
    try:
        yield
        if lost or signals.came is not None:
            signals.came = signals.came or lost[0]
            raise KeyboardInterrupt
    finally:
        sys.unraisablehook = before
        for timer in again:  # or it would end the process while that says how it was stopped
            timer.cancel()
            timer.join()


def _signal_of(raised: BaseException | None, signals: StopSignals) -> int | None:
    """The signal that was raised, as Ctrl-C or, in a flow, as Prefect's exception that tells it; None of all else."""
    if isinstance(raised, KeyboardInterrupt):
        return signals.came or signal.SIGINT  # not always Ctrl-C, which a shell has its background jobs ignore
    return None if isinstance(raised, Exception) else getattr(raised, "signal", None)


def _printable(message: str) -> str:
    """A message as a terminal takes it: no control characters of a name in it, and of a bounded length."""
    text = printable(message)
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}... ({len(text):,} characters)"


def _message(error: MimiidgError | ModuleNotFoundError | OSError) -> str:
    """What the user reads of an error; a missing module of our own is a mistake in the program and raised again."""
    if isinstance(error, OSError):
        return f"{error.filename or 'the system'}: {error.strerror or error}"
    if not isinstance(error, ModuleNotFoundError):
        return str(error)
    package = (error.name or "").partition(".")[0]
    if package in ("", "mimiidg_build"):
        raise error
    return (
        f"this command needs the package {package}, which is not installed. An environment that only builds stores "
        "(dependency group `build`) has no training, report or schedule: install all of mimiidg_build."
    )
