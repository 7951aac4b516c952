"""``mimiidg``, the front door. Parses, calls the library (or the flows, lazily), prints a table or a path.

Nothing heavy is imported before a command needs it. Standard output carries the result, standard error progress and
messages. Exit code 0: done, 1: the data or the run failed, 2: wrong use, 130: stopped by Ctrl-C.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mimiidg_build import __version__, progress
from mimiidg_build.errors import MimiidgError, UsageError

if TYPE_CHECKING:
    from mimiidg_build.store import Store
    from schemas.variants import Variant

Command = TypeVar("Command", bound=Callable[..., Any])


def common(command: Command) -> Command:
    """Options that every command has."""
    options = [
        click.option(
            "--root",
            type=click.Path(path_type=Path, file_okay=False),
            default=lambda: Path(os.environ.get("MIMIIDG_ROOT", "mimiidg-data")),
            help="Where archives and stores live. [default: $MIMIIDG_ROOT or ./mimiidg-data]",
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
            "--dataset", help="Another dataset: a name, a manifest's path, or synthetic[-<percent>pct][-seed<k>]."
        ),
        click.option("--section", "sections", multiple=True, help="Only this machine type or section: fan, valve/02."),
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
            "--scheduler", default="threads", show_default=True, help="threads, processes, or tcp://host:port."
        ),
        click.option("--workers", type=click.IntRange(1), help="Threads or processes. [default: all cores]"),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="mimiidg")
def cli() -> None:
    """Build datasets like MIMII DG and benchmark anomalous sound detectors on them.

    Try it: `mimiidg demo`
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; a mistake in data or configuration is one message, never a traceback."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
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
        click.echo("stopped. What is finished is kept: run the same command again to go on.", err=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        click.echo(f"error: {error.filename or 'the system'}: {error.strerror or error}", err=True)
        return 1


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
    # names like [dB] are not markup
    Console(width=None if sys.stdout.isatty() else 200, markup=False, highlight=False).print(table)


def print_store(store: Store, as_json: bool, note: str = "") -> None:
    """The section table and the path, which every build ends with."""
    from mimiidg_build.tables import section_rows

    if as_json:
        click.echo(json.dumps({"path": str(store.path), "fingerprint": store.fingerprint, "sections": store.sections}))
        return
    attributes = store.attributes
    kind = "synthetic data, for trying only" if attributes["synthetic"] else attributes["dataset_title"]
    print_table(f"{attributes['variant']['name']} ({kind})", section_rows(store))
    click.echo(f"{note}{store.path}")


def chosen_variant(
    name: str, *, noise: Sequence[str], sections: Sequence[str], variant_name: str | None, **changes: Any
) -> Variant:
    """The variant that a command line means."""
    from mimiidg_build.manifest import derive, load_variant, parse_variant, with_absolute_noise

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
    variant = derive(variant, sections=list(sections) or None, **changes)
    return variant.model_copy(update={"name": variant_name}) if variant_name else variant


def as_flow(prefect: bool) -> bool:
    """Whether a command runs as a flow: asked for, or a Prefect server is configured to see it."""
    return prefect or bool(os.environ.get("PREFECT_API_URL"))


def embed_prefect(root: Path) -> None:
    """Keep an embedded Prefect server's files under ROOT. Must come before the first import of the flows."""
    if not os.environ.get("PREFECT_API_URL"):
        home = (root / ".prefect").resolve()
        home.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("PREFECT_HOME", str(home))


@cli.command()
@click.option(
    "--percent", default=5.0, show_default=True, help="Size of the synthetic release, 1 to 100 % of MIMII DG."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the synthetic release.")
@run_options
@common
def demo(
    root: Path, percent: float, seed: int, scheduler: str, workers: int | None, as_json: bool, quiet: bool
) -> None:
    """Run everything on a small synthetic release: nothing is downloaded.

    Generates it, serves it like Zenodo on this machine, fetches, validates, plans, mixes, stores.

    Example: mimiidg demo --percent 10
    """
    from mimiidg_build.manifest import derive, load_variant
    from mimiidg_build.store import open_store
    from mimiidg_build.synthesis import SyntheticSpec

    variant = derive(load_variant("demo"), dataset=SyntheticSpec(percent, seed).name)
    finished = finished_store(variant, root)
    if finished is not None:
        print_store(finished, as_json, note="nothing to do, it is built: ")
        return
    embed_prefect(root)
    with progress.reporter(quiet) as reporter:
        progress.use(reporter)
        started = reporter.step("start Prefect", 1, "server")
        from flows.refresh import refresh

        started(1)
        (path,) = refresh([variant.model_dump(mode="json")], root, scheduler, workers)
    print_store(open_store(path), as_json)


def finished_store(variant: Variant, root: Path) -> Store | None:
    """The variant's store, if its archives are there and it is built from them already."""
    from mimiidg_build.acquire import archives_are_there
    from mimiidg_build.inputs import read_inputs
    from mimiidg_build.plan_build import decide

    return decide(read_inputs(variant, root), root).finished if archives_are_there(variant, root) else None


@cli.command()
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...")
@click.option("--file", "files", multiple=True, help="Only this file of the dataset.")
@click.option("--offline", is_flag=True, help="Use and verify what is there.")
@click.option("--prefect", is_flag=True, help="Run as a Prefect flow.")
@common
def fetch(
    datasets: tuple[str, ...],
    files: tuple[str, ...],
    offline: bool,
    prefect: bool,
    root: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Fetch and verify the archives of datasets.

    A broken transfer goes on where it stopped; what is there and verified is not fetched again; a file downloaded by
    hand into ROOT/archives/<record>/ is verified and taken.

    Example: mimiidg fetch mimii_dg --file fan.zip --file valve.zip
    """
    from mimiidg_build.acquire import check_files, fetch_dataset
    from mimiidg_build.manifest import load_dataset

    manifests = [load_dataset(name) for name in datasets]
    check_files(manifests, files)
    names = list(files) or None
    fetched: dict[str, Path] = {}
    with progress.reporter(quiet) as reporter:
        progress.use(reporter)
        if as_flow(prefect):
            embed_prefect(root)
            from flows.fetch_archives import fetch_archives

            fetched = fetch_archives(dict.fromkeys(datasets, names), root, offline)
        else:
            for manifest in manifests:
                fetched |= fetch_dataset(manifest, root, names=names, offline=offline, reporter=reporter)
    if as_json:
        click.echo(json.dumps({key: str(path) for key, path in fetched.items()}))
    else:
        rows = [{"archive": k, "MB": f"{p.stat().st_size / 1e6:,.1f}", "path": str(p)} for k, p in fetched.items()]
        print_table("verified archives", rows)


@cli.command()
@click.argument("dataset")
@click.option("--machine", "machines", multiple=True, help="Only this machine type.")
@click.option("--allow", multiple=True, metavar="KIND", help="Take errors of this kind as warnings.")
@common
def validate(
    dataset: str, machines: tuple[str, ...], allow: tuple[str, ...], root: Path, as_json: bool, quiet: bool
) -> None:
    """Validate a fetched dataset: names, attribute tables, audio members and Table 1 against each other.

    Warnings are the known disagreements of a release; an error exits with 1.

    Example: mimiidg validate mimii_dg --machine valve
    """
    from mimiidg_build.acquire import read_release
    from mimiidg_build.findings import summarise
    from mimiidg_build.manifest import load_dataset
    from mimiidg_build.mix_plan import records

    release = read_release(load_dataset(dataset), root, lambda machine: not machines or machine in machines, allow)
    findings = release.findings
    errors = int((findings["severity"] == "error").sum())
    if as_json:
        click.echo(json.dumps({"clips": len(release.clips), "findings": findings.to_dict("records")}))
    else:
        if len(findings):
            print_table("findings", records(summarise(findings)))
        click.echo(
            f"{len(release.clips):,} clips in {len(release.sections)} sections: {errors} errors, "
            f"{len(findings) - errors} warnings"
        )
    if errors:
        raise click.exceptions.Exit(1)


@cli.command()
@click.argument("variant")
@variant_options
@run_options
@click.option("--plan", type=click.Path(path_type=Path, exists=True), help="Render this mix plan (parquet or CSV).")
@click.option("--allow", multiple=True, metavar="KIND", help="Take validation errors of this kind as warnings.")
@click.option("--prefect", is_flag=True, help="Run as a Prefect flow.")
@common
def build(
    variant: str,
    dataset: str | None,
    sections: tuple[str, ...],
    noise: tuple[str, ...],
    snr_offset: float | None,
    seed: int | None,
    full_scale: str | None,
    name: str | None,
    scheduler: str,
    workers: int | None,
    plan: Path | None,
    allow: tuple[str, ...],
    prefect: bool,
    root: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Build a variant's store: a shipped variant (released, paper, demo) or the path of your own file.

    Stopped, it goes on where it was; built already, it says so.

    Example: mimiidg build paper --noise A=factory_a --noise B=factory_b --section valve
    """
    from mimiidg_build.build import build_variant
    from mimiidg_build.manifest import load_dataset
    from mimiidg_build.store import open_store

    wanted = chosen_variant(
        variant,
        noise=noise,
        sections=sections,
        variant_name=name,
        dataset=dataset,
        snr_offset_db=snr_offset,
        seed=seed,
        full_scale=full_scale,
    )
    load_dataset(wanted.dataset)
    with progress.reporter(quiet) as reporter:
        progress.use(reporter)
        if as_flow(prefect):
            embed_prefect(root)
            from flows.build_variant import build_variant as build_flow

            content = wanted.model_dump(mode="json")
            print_store_of = open_store(build_flow(content, root, scheduler, workers, plan, list(allow)))
            note = ""
        else:
            built = build_variant(
                wanted, root, scheduler=scheduler, workers=workers, plan=plan, allow=allow, reporter=reporter
            )
            print_store_of, note = built.store, "nothing to do, it is built: " if built.was_finished else ""
    print_store(print_store_of, as_json, note)


@cli.command(name="list")
@common
def list_(root: Path, as_json: bool, quiet: bool) -> None:
    """List the stores under ROOT: variants, sizes, which is latest, which is partial.

    Example: mimiidg list
    """
    from mimiidg_build.store import list_stores
    from mimiidg_build.tables import store_rows

    listed = list_stores(root)
    if as_json:
        click.echo(json.dumps([asdict(store) | {"path": str(store.path)} for store in listed]))
    elif listed:
        print_table(f"stores under {root}", store_rows(listed))
    else:
        click.echo(f"no stores under {root}; `mimiidg demo` makes one.")


def named_store(name: str, root: Path) -> Store:
    """A store by path, or the latest one of a variant by name."""
    from mimiidg_build.store import open_store, variant_dir

    path = variant_dir(root, name)
    return open_store(path if path.is_dir() and not Path(name).exists() else Path(name))


@cli.command()
@click.argument("store")
@click.option("--deep", is_flag=True, help="Render every clip anew from the archives and compare.")
@run_options
@common
def verify(store: str, deep: bool, scheduler: str, workers: int | None, root: Path, as_json: bool, quiet: bool) -> None:
    """Verify a finished store, given by path or variant: every file against its digest.

    Example: mimiidg verify demo --deep
    """
    from mimiidg_build.run_tasks import runner
    from mimiidg_build.store import verify_objects
    from mimiidg_build.verify import render_again

    opened = named_store(store, root)
    with progress.reporter(quiet) as reporter:
        size = sum(entry["size_bytes"] for entry in opened.attributes["objects"].values())
        problems = verify_objects(opened, reporter.step("verify", size, "bytes"))
        if deep:
            told = reporter.step("render", len(opened.clips))
            problems += render_again(opened, root, runner(scheduler, workers), told)
    if as_json:
        click.echo(json.dumps({"path": str(opened.path), "problems": problems}))
    else:
        for problem in problems:
            click.echo(f"{opened.path}/{problem}")
        objects = len(opened.attributes["objects"])
        click.echo(
            f"{opened.path}: {objects} objects, " + (f"{len(problems)} problems" if problems else "all as recorded")
        )
    if problems:
        raise click.exceptions.Exit(1)


@cli.command()
@click.argument("store")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--zip", "as_zip", is_flag=True, help="As a release: one zip per machine type, md5 sums, a manifest.")
@common
def export(store: str, directory: Path, as_zip: bool, root: Path, as_json: bool, quiet: bool) -> None:
    """Write a store, given by path or variant, as WAV files and attribute tables in the released layout.

    Example: mimiidg export demo exported --zip
    """
    from mimiidg_build.export import export as export_store

    opened = named_store(store, root)
    with progress.reporter(quiet) as reporter:
        written = export_store(opened, directory, as_zip=as_zip, on_clips=reporter.step("export", len(opened.clips)))
    if as_json:
        click.echo(json.dumps([str(path) for path in written]))
    else:
        for path in written:
            click.echo(path)
