"""What the commands share: options, what a command line means, and how results are printed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mimiidg_build.cli import complete
from mimiidg_build.errors import UsageError
from mimiidg_build.storage.places import Place, is_local, local, place

if TYPE_CHECKING:
    from mimiidg_build.store.store import Store
    from schemas.manifests import DatasetManifest
    from schemas.variants import Variant

Command = TypeVar("Command", bound=Callable[..., Any])


class Root(click.ParamType[Place]):
    """A folder, or a place on object storage."""

    name = "directory"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        where = place(value)
        if is_local(where):
            click.Path(file_okay=False).convert(value, param, ctx)
        else:
            where.is_dir()  # says now that there is no such bucket, or no right to it
        return where

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        return [click.shell_completion.CompletionItem(incomplete, type="dir")]


def common(command: Command) -> Command:
    """Options that every command has."""
    options = [
        click.option(
            "--root",
            type=Root(),
            default=lambda: os.environ.get("MIMIIDG_ROOT", "mimiidg-data"),
            help="Where archives and stores live: a path, or s3://bucket/prefix. "
            "[default: $MIMIIDG_ROOT or ./mimiidg-data]",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
        click.option("--quiet", is_flag=True, help="No progress."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def variant_options(command: Command) -> Command:
    """Options that make a variant of a variant."""
    options = [
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
        click.option(
            "--noise", multiple=True, metavar="KIND=PATH", help="Noise of a kind: a folder of WAV files, or a zip."
        ),
        click.option("--snr-offset", type=float, help="Added to every SNR, dB."),
        click.option("--seed", type=int, help="Another seed draws anew."),
        click.option("--full-scale", type=click.Choice(["attenuate", "saturate", "error"]), help="Beyond full scale."),
        click.option("--name", help="Name of the variant. [default: the file's, and what differs]"),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def run_options(command: Command) -> Command:
    """Options of the commands that render."""
    options = [
        click.option(
            "--scheduler",
            default="threads",
            show_default=True,
            help="threads, processes, or tcp://host:port.",
            shell_complete=complete.schedulers,
        ),
        click.option("--workers", type=click.IntRange(1), help="Threads or processes. [default: all cores]"),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def absolute_for_cluster(root: Place, scheduler: str) -> Place:
    """ROOT as a cluster's workers need it, who start in folders of their own."""
    from mimiidg_build.parallel.run_tasks import is_cluster

    return root.absolute() if is_cluster(scheduler) else root


def print_table(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """A table for people; as wide as it must be where nobody's terminal limits it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in rows[0] if rows else ():
        number = all(isinstance(row[name], int | float) or str(row[name])[:1] in "0123456789-" for row in rows)
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()))
    console = Console(width=None if sys.stdout.isatty() else 10_000, markup=False, highlight=False)  # [dB] is a unit
    with console.capture() as printed:
        console.print(table)
    for line in printed.get().splitlines():
        click.echo(line.rstrip())


def store_content(store: Store) -> dict[str, Any]:
    """A store as JSON output shows it."""
    sections = {name: section.model_dump(mode="json") for name, section in store.sections.items()}
    return {"path": str(store.path), "fingerprint": store.fingerprint, "sections": sections}


def print_store(store: Store, as_json: bool, note: str = "") -> None:
    """The section table and the path, which every build ends with."""
    from mimiidg_build.store.summary import section_rows

    if as_json:
        click.echo(json.dumps(store_content(store)))
        return
    attributes = store.attributes
    print_table(f"{attributes.variant.name} ({attributes.data_kind})", section_rows(store))
    click.echo(f"{note}{store.path}")


def chosen_variant(
    name: str, *, noise: Sequence[str], sections: Sequence[str], variant_name: str | None, **changes: Any
) -> Variant:
    """The variant that a command line means."""
    from mimiidg_build.datasets.variant import derive_variant, load_variant, parse_variant, with_absolute_noise

    variant = load_variant(name)
    if noise:
        given: dict[str, list[str]] = {}
        for entry in noise:
            kind, separator, path = entry.partition("=")
            if not (kind and separator and path):
                raise UsageError(f"--noise {entry!r}: write KIND=PATH, as in --noise A=recordings/factory_a")
            given.setdefault(kind, []).append(path)
        content = variant.model_dump()
        variant = parse_variant(content | {"noise": content["noise"] | given}, "--noise")
        variant = with_absolute_noise(variant, Path.cwd())
    variant = derive_variant(variant, sections=list(sections) or None, **changes)
    return variant.model_copy(update={"name": variant_name}) if variant_name else variant


def as_flow(prefect: bool) -> bool:
    """Whether a command runs as a flow: asked for, or a Prefect server is configured to see it."""
    return prefect or bool(os.environ.get("PREFECT_API_URL"))


def embed_prefect(root: Place, *flows: str, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Have a Prefect server to run flows on: the configured one, or our own, which ends with this program.

    Must come before the first import of the flows. Those named are imported while the server starts, and ``meanwhile``
    is called: it takes 10 s and more. What Prefect logs goes to the server; here it would be noise.
    """
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    if os.environ.get("PREFECT_API_URL"):
        check_prefect()
    else:
        from flows.server import Server

        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")
        server = Server(prefect_home(root))
        for name in flows:
            import_module(f"flows.{name}")
        meanwhile()
        server.wait()


def check_prefect() -> None:
    """Refuse to go on without the configured Prefect server.

    Raises
    ------
    UsageError
        None is configured, or it does not answer.
    """
    from flows.server import answers

    url = os.environ.get("PREFECT_API_URL")
    if not url:
        raise UsageError(
            "no Prefect server is configured. Let this command run one with --server, or start one "
            "(`prefect server start`) and set PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    if not answers(url):
        raise UsageError(f"no Prefect server answers at PREFECT_API_URL={url}. Start it: `prefect server start`")


def prefect_home(root: Place) -> Path:
    """Where a Prefect server of our own keeps its files: under ROOT, or its counterpart on this machine."""
    return Path(os.environ.setdefault("PREFECT_HOME", str((local(root) / ".prefect").resolve())))


def named_store(name: str, root: Place) -> Store:
    """A store by path, or the latest one of a variant by name."""
    from mimiidg_build.store.store import open_store

    return open_store(store_path(name, root))


def store_path(name: str, root: Place) -> Place:
    """Where a store lies that is given by path, or by variant: its latest. It may be damaged, or not there."""
    from mimiidg_build.store.store import latest, variant_dir

    directory, given = variant_dir(root, name), place(name)
    path = directory if not given.exists() and directory.is_dir() else given
    return path / f"{latest(path)}.zarr" if (path / "latest").is_file() else path


def named_dataset(name: str, root: Place) -> DatasetManifest | None:
    """The dataset that a name means, if it means neither a variant nor a store."""
    from mimiidg_build.datasets.manifest import load_dataset
    from mimiidg_build.store.store import variant_dir

    if variant_dir(root, name).is_dir():
        return None
    try:
        return load_dataset(name)
    except UsageError:
        if name.endswith(".toml"):
            raise
        return None
