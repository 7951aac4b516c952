"""Commands from archives to finished stores: ``fetch``, ``validate``, ``build``, ``list``, ``verify``, ``export``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from mimiidg_build import progress
from mimiidg_build.cli.options import (
    as_flow,
    chosen_variant,
    common,
    embed_prefect,
    named_store,
    print_store,
    print_table,
    run_options,
    variant_options,
)


@click.command()
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


@click.command()
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


@click.command()
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


@click.command(name="list")
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


@click.command()
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


@click.command()
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
