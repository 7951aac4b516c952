"""``mimiidg serve``: refresh variants on a schedule, through a Prefect server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mimiidg_build import settings
from mimiidg_build.cli import complete
from mimiidg_build.cli.options import common, run_options
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
@run_options
@common
def serve(
    variants: tuple[str, ...],
    cron: str | None,
    timezone: str,
    server: bool,
    port: int,
    offline: bool,
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
    from mimiidg_build.parallel.runner import runner

    named = by_name(variants)
    runner(scheduler, workers)  # fails now, not at night, where there is no such scheduler
    with shown_progress(quiet) as reporter:
        started = reporter.step("start Prefect", 1, "server")
        own = _start_prefect(root, port if server else None, quiet)
        from mimiidg_build.flows.schedule import cron_schedule, deployment, run_deployments

        schedule = cron_schedule(cron, timezone) if cron else None  # a mistake in it is known before the server is up
        if own is None:
            check_prefect()
        else:
            own.wait()
        started(1)
    parameters = {"root": str(root.absolute()), "scheduler": scheduler, "workers": workers, "offline": offline}
    made = [deployment(variant, name, schedule, **parameters) for name, variant in named.items()]

    def on_registered(ids: list[UUID]) -> None:
        rows = [{"deployment": f"refresh/{name}", "id": str(id_)} for name, id_ in zip(named, ids, strict=True)]
        if as_json:
            content = {"server": settings.prefect_url(), "cron": cron, "timezone": timezone, "deployments": rows}
            print_json(content)
        else:
            _print_deployments(rows, f"{cron} ({timezone})" if cron else "when started by hand")

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


def _start_prefect(root: Place, port: int | None, quiet: bool) -> Server | None:
    """Begin to start a server of our own where a port is given; it may not answer yet."""
    console = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL" if quiet else "INFO"}
    settings.configure(environment=settings.UNTRACKED | console | {"PREFECT_LOGGING_LEVEL": "INFO"})
    if port is None:
        return None
    if url := settings.prefect_url():
        raise UsageError(f"--server: there is one already, PREFECT_API_URL={url}. Leave out one of the two.")
    return own_server(root, port, schedules=True)


def _print_deployments(rows: list[dict[str, str]], when: str) -> None:
    url = settings.prefect_url().removesuffix("/api")
    print_table(f"deployments on {url}", [row | {"runs": when} for row in rows])
    click.echo(
        f"waiting for runs that fall due; Ctrl-C stops. Run one now: prefect deployment run {rows[0]['deployment']}"
    )
