"""``mimiidg serve``: refresh variants on a schedule, through a Prefect server."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mimiidg_build import settings
from mimiidg_build.cli import complete
from mimiidg_build.cli.options import allow_option, common, run_options, truth_option
from mimiidg_build.cli.prefect_server import check_prefect, own_server
from mimiidg_build.cli.printing import print_json, print_table, shown_progress
from mimiidg_build.errors import UsageError

if TYPE_CHECKING:
    from uuid import UUID

    from mimiidg_build.flows.server import Server
    from mimiidg_build.storage.places import Place


@click.command()
@click.option(
    "--variant",
    "variants",
    multiple=True,
    required=True,
    help="A shipped variant, or a file; may be given repeatedly.",
    shell_complete=complete.shipped_variants,
)
@click.option("--cron", help="When: minute hour day-of-month month day-of-week. [default: when started by hand]")
@click.option("--timezone", default="UTC", show_default=True, help="The time zone of --cron, as Europe/Berlin.")
@click.option("--server", is_flag=True, help="Also run a Prefect server, on this machine, for as long as this runs.")
@click.option("--port", type=click.IntRange(1, 65535), default=4200, show_default=True, help="Port of that server.")
@click.option("--offline", is_flag=True, help="Fetch nothing; use and verify existing archives.")
@truth_option
@allow_option
@run_options
@common
def serve(
    variants: tuple[str, ...],
    cron: str | None,
    timezone: str,
    server: bool,
    port: int,
    offline: bool,
    truth: tuple[Path, ...],
    allow: tuple[str, ...],
    scheduler: str,
    workers: int | None,
    root: Place,
    as_json: bool,
    quiet: bool,
) -> None:
    """Refresh variants on a schedule.

    A refresh fetches, builds what changed, and writes the reports. Registers one deployment per variant with a
    Prefect server, the one that PREFECT_API_URL names or its own (--server), and runs them as they fall due, until
    stopped. A variant file is read anew at every run. A run that finds nothing new does nothing; one that builds
    moves `latest` and leaves the store before it in place; one that falls due while the one before it still runs is
    cancelled.

    Example: mimiidg serve --server --cron "0 2 * * *" --variant workshop.toml
    """
    from mimiidg_build.datasets.findings import check_kinds
    from mimiidg_build.parallel.runner import runner

    check_kinds(allow)
    named = by_name(variants)
    runner(scheduler, workers)  # fails now, not at night, where there is no such scheduler
    with shown_progress(quiet) as reporter, contextlib.ExitStack() as on_error:
        started = reporter.step("start Prefect", 1, "server")
        own = _prefect_server(root, port if server else None, quiet)
        if own is not None:
            on_error.callback(own.stop)
        from mimiidg_build.flows.schedule import cron_schedule, deployment, next_run, run_deployments

        schedule = cron_schedule(cron, timezone) if cron else None  # a mistake in it is known before anything starts
        if own is None:
            check_prefect()
        else:
            own.start()
            own.wait()
        started(1)
        on_error.pop_all()
    # absolute: a run may start in another folder
    places = {"root": str(root.absolute()), "truth": [str(path.absolute()) for path in truth]}
    options = {"allow": list(allow), "scheduler": scheduler, "workers": workers, "offline": offline}
    made = [deployment(variant, name, schedule, **places, **options) for name, variant in named.items()]
    due = None if schedule is None else next_run(schedule)

    def on_registered(ids: list[UUID]) -> None:
        rows = [{"deployment": f"refresh/{name}", "id": str(id_)} for name, id_ in zip(named, ids, strict=True)]
        if as_json:
            content = {"server": settings.prefect_url(), "cron": cron, "timezone": timezone, "deployments": rows}
            print_json(content | {"next": due and due.isoformat()})
        else:
            when = {"runs": f"{cron} ({timezone})", "next": f"{due:%a %Y-%m-%d %H:%M %Z}"}
            _print_deployments([row | (when if due else {"runs": "when started by hand"}) for row in rows], own)

    run_deployments(made, on_registered)


def by_name(variants: Sequence[str]) -> dict[str, str]:
    """Variants as their names, and how to load each from anywhere.

    Raises
    ------
    UsageError
        One cannot be loaded, or two have one name.
    """
    from mimiidg_build.datasets.noise_choice import check_noise
    from mimiidg_build.datasets.toml_files import shipped_names
    from mimiidg_build.datasets.variant import load_variant

    named: dict[str, str] = {}
    for given in variants:
        variant = load_variant(given)
        check_noise(variant)  # a mistyped dataset and noise that is not given fail now, not at night
        if variant.name in named:
            raise UsageError(f"two variants are named {variant.name}; a store and a deployment have one name each.")
        # absolute: a run may start in another folder
        named[variant.name] = given if given in shipped_names("variants") else str(Path(given).absolute())
    return named


def _prefect_server(root: Place, port: int | None, quiet: bool) -> Server | None:
    """Configure this process for Prefect, and have a server of our own, not started yet, where a port is given."""
    console = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL" if quiet else "INFO"}
    settings.configure(environment=settings.UNTRACKED | console | {"PREFECT_LOGGING_LEVEL": "INFO"})
    if port is None:
        return None
    if url := settings.prefect_url():
        raise UsageError(f"--server: there is one already, PREFECT_API_URL={url}. Leave out one of the two.")
    return own_server(root, port, schedules=True)


def _print_deployments(rows: list[dict[str, str]], own: Server | None) -> None:
    url, secret_file = settings.prefect_url(), own.secret_file if own else None
    print_table(f"deployments on {url.removesuffix('/api')}", rows)
    if secret_file is not None:
        click.echo(f"its pages ask for a password: the line in {secret_file}")
    is_configured = secret_file is None and settings.prefect_auth_string()  # a secret of the user's is not printed
    known = ", with PREFECT_API_AUTH_STRING as it is set here" if is_configured else ""
    click.echo(f"waiting for runs that fall due; Ctrl-C stops. Run one now, from any shell{known}:")
    click.echo(run_command(rows[0]["deployment"], url, secret_file))


def run_command(deployment: str, url: str, secret_file: Path | None) -> str:
    """The command that starts a run, complete: another shell has neither our environment nor our PATH.

    >>> run_command("refresh/nightly", "http://127.0.0.1:4200/api", Path("/data/auth-string"))
    'PREFECT_API_URL=http://127.0.0.1:4200/api PREFECT_API_AUTH_STRING="$(cat /data/auth-string)" ... refresh/nightly'
    """
    secret = f'PREFECT_API_AUTH_STRING="$(cat {shlex.quote(str(secret_file))})" ' if secret_file else ""
    run = shlex.join([sys.executable, "-m", "prefect", "deployment", "run", deployment])
    return f"PREFECT_API_URL={shlex.quote(url)} {secret}{run}"
