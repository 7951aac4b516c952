"""Commands from archives to finished stores, and to look after them: ``fetch``, ``validate``, ``build``, ``list``,
``verify``, ``prune``, ``export``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mimiidg_build import progress
from mimiidg_build.cli import complete
from mimiidg_build.cli.options import (
    absolute_for_cluster,
    as_flow,
    chosen_variant,
    common,
    embed_prefect,
    named_dataset,
    named_store,
    print_store,
    print_table,
    run_options,
    store_path,
    variant_options,
)

if TYPE_CHECKING:
    from mimiidg_build.storage.places import Place
    from schemas.manifests import DatasetManifest


@click.command()
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...", shell_complete=complete.datasets)
@click.option("--file", "files", multiple=True, help="Only this file of the dataset.")
@click.option("--offline", is_flag=True, help="Use and verify what is there.")
@click.option("--prefect", is_flag=True, help="Run as a Prefect flow.")
@common
def fetch(
    datasets: tuple[str, ...],
    files: tuple[str, ...],
    offline: bool,
    prefect: bool,
    root: Place,
    as_json: bool,
    quiet: bool,
) -> None:
    """Fetch and verify the archives of datasets.

    A broken transfer goes on where it stopped; what is there and verified is not fetched again; a file downloaded by
    hand into ROOT/archives/<record>/ is verified and taken.

    Example: mimiidg fetch mimii_dg --file fan.zip --file valve.zip
    """
    from mimiidg_build.datasets.manifest import load_dataset
    from mimiidg_build.datasets.release import check_files
    from mimiidg_build.fetch.dataset import fetch_dataset

    manifests = [load_dataset(name) for name in datasets]
    check_files(manifests, files)
    names = list(files) or None
    fetched: dict[str, Place] = {}
    with progress.reporter(quiet) as reporter:
        progress.use(reporter)
        if as_flow(prefect):
            embed_prefect(root, "fetch_archives")
            from flows.fetch_archives import fetch_archives

            fetched = fetch_archives(dict.fromkeys(datasets, names), str(root), offline)
        else:
            for manifest in manifests:
                fetched |= fetch_dataset(manifest, root, names=names, offline=offline, reporter=reporter)
    if as_json:
        click.echo(json.dumps({key: str(path) for key, path in fetched.items()}))
    else:
        rows = [{"archive": k, "MB": f"{p.stat().st_size / 1e6:,.1f}", "path": str(p)} for k, p in fetched.items()]
        print_table("verified archives", rows)


@click.command()
@click.argument("dataset", shell_complete=complete.datasets)
@click.option("--machine", "machines", multiple=True, help="Only this machine type.")
@click.option("--allow", multiple=True, metavar="KIND", help="Take errors of this kind as warnings.")
@common
def validate(
    dataset: str, machines: tuple[str, ...], allow: tuple[str, ...], root: Place, as_json: bool, quiet: bool
) -> None:
    """Validate a fetched dataset.

    Names, attribute tables, audio members and Table 1 against each other. Warnings are the known disagreements of a
    release; an error exits with 1.

    Example: mimiidg validate mimii_dg --machine valve
    """
    from mimiidg_build.datasets.findings import summarise
    from mimiidg_build.datasets.manifest import load_dataset
    from mimiidg_build.datasets.rows import records
    from mimiidg_build.fetch.dataset import validate_dataset

    release = validate_dataset(load_dataset(dataset), root, lambda machine: not machines or machine in machines, allow)
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
@click.argument("variant", shell_complete=complete.variants)
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
    root: Place,
    as_json: bool,
    quiet: bool,
) -> None:
    """Build a variant's store.

    A shipped variant (released, paper, demo), or the path of your own file. Stopped, it goes on where it was; built
    already, it says so.

    Example: mimiidg build paper --noise A=factory_a --noise B=factory_b --section valve
    """
    from mimiidg_build.build.variant import build_variant
    from mimiidg_build.datasets.manifest import load_dataset
    from mimiidg_build.store.store import open_store

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
    root = absolute_for_cluster(root, scheduler)
    with progress.reporter(quiet) as reporter:
        progress.use(reporter)
        if as_flow(prefect):
            embed_prefect(root, "build_variant")
            from flows.build_variant import build_variant as build_flow

            content = wanted.model_dump(mode="json")
            print_store_of = open_store(build_flow(content, str(root), scheduler, workers, plan, list(allow)))
            note = ""
        else:
            built = build_variant(
                wanted, root, scheduler=scheduler, workers=workers, plan=plan, allow=allow, reporter=reporter
            )
            print_store_of, note = built.store, "nothing to do, it is built: " if built.was_finished else ""
    print_store(print_store_of, as_json, note)


@click.command(name="list")
@common
def list_(root: Place, as_json: bool, quiet: bool) -> None:
    """List the stores under ROOT.

    Variants, sizes, which is latest, which is partial.

    Example: mimiidg list
    """
    from mimiidg_build.store.listing import list_stores
    from mimiidg_build.store.summary import store_rows

    listed = list_stores(root)
    if as_json:
        click.echo(json.dumps([asdict(store) | {"path": str(store.path)} for store in listed]))
    elif listed:
        print_table(f"stores under {root}", store_rows(listed))
    else:
        click.echo(f"no stores under {root}; `mimiidg demo` makes one.")


@click.command()
@click.argument("name", metavar="STORE|DATASET", shell_complete=complete.stores_and_datasets)
@click.option("--deep", is_flag=True, help="Render every clip anew from the archives and compare.")
@click.option("--repair", "mend", is_flag=True, help="Make anew what is damaged, and only that.")
@run_options
@common
def verify(
    name: str, deep: bool, mend: bool, scheduler: str, workers: int | None, root: Place, as_json: bool, quiet: bool
) -> None:
    """Verify every byte of a store or of a dataset's archives.

    A store is given by path or variant. A store's files are held against their digests, archives against their
    checksums. --repair renders damaged shards again from the archives, or fetches damaged archives again, and
    verifies anew.

    Example: mimiidg verify demo --repair
    """
    from mimiidg_build.parallel.run_tasks import runner
    from mimiidg_build.store.store import open_store
    from mimiidg_build.upkeep.repair import repair_store
    from mimiidg_build.upkeep.verify import verify_store

    root = absolute_for_cluster(root, scheduler)
    dataset = named_dataset(name, root)
    if dataset is not None:
        _verify_archives(dataset, mend, root, as_json, quiet)
        return
    path, run, restored = store_path(name, root), runner(scheduler, workers, root), list[str]()
    with progress.reporter(quiet) as reporter:
        if mend:
            restored = repair_store(path, root, run, reporter)
        opened = open_store(path)
        problems = verify_store(opened, root, deep=deep, run=run, reporter=reporter)
    _print_verified(str(path), f"{len(opened.attributes.objects)} objects", restored, problems, as_json)


def _verify_archives(dataset: DatasetManifest, mend: bool, root: Place, as_json: bool, quiet: bool) -> None:
    from mimiidg_build.upkeep.verify import damaged_archives, replace_archives

    with progress.reporter(quiet) as reporter:
        damage = damaged_archives(dataset, root, reporter.transfer)
        restored = sorted(damage) if mend else []
        if restored:
            replace_archives(dataset, root, restored, reporter)
            damage = damaged_archives(dataset, root, reporter.transfer)
    problems = [f"{key}: {what}" for key, what in damage.items()]
    _print_verified(str(root / "archives"), f"archives of {dataset.name}", restored, problems, as_json)


def _print_verified(path: str, what: str, restored: list[str], problems: list[str], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"path": path, "restored": restored, "problems": problems}))
    else:
        for name in restored:
            click.echo(f"{path}/{name}: restored")
        for problem in problems:
            click.echo(f"{path}/{problem}")
        click.echo(f"{path}: {what}, " + (f"{len(problems)} problems" if problems else "all as recorded"))
    if problems:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("variants", nargs=-1, metavar="[VARIANT]...", shell_complete=complete.stores)
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@click.option("--keep", type=click.IntRange(0), default=0, metavar="N", help="Keep a variant's N newest old stores.")
@click.option("--unfinished", is_flag=True, help="Also builds and transfers that could still go on.")
@click.option("--runs", is_flag=True, help="Also trained models of stores that are gone.")
@common
def prune(
    variants: tuple[str, ...],
    dry_run: bool,
    keep: int,
    unfinished: bool,
    runs: bool,
    root: Place,
    as_json: bool,
    quiet: bool,
) -> None:
    """Remove superseded stores and what killed runs left behind, of some variants or of all of ROOT.

    What `latest` names, what somebody reads, and what a running build or fetch needs is never removed.

    Example: mimiidg prune --dry-run
    """
    from mimiidg_build.upkeep.prune import ORDINARY, prune_stores

    verdicts = prune_stores(root, variants, keep=keep, unfinished=unfinished, runs=runs, dry_run=dry_run)
    goes = "would go" if dry_run else "removed"
    rows = [
        {
            "path": str(verdict.found.paths[0].relative_to(root)),
            "what": verdict.found.kind,
            "verdict": goes if verdict.goes else "kept",
            "why": verdict.why,
            "freed_bytes": verdict.freed_bytes,
        }
        for verdict in verdicts
        if verdict.why not in ORDINARY
    ]
    freed_bytes = sum(verdict.freed_bytes for verdict in verdicts)
    if as_json:
        click.echo(json.dumps({"found": rows, "freed_bytes": freed_bytes, "dry_run": dry_run}))
        return
    if rows:
        print_table(f"under {root}", rows)
    click.echo(f"{freed_bytes / 1e6:,.1f} MB {'would be ' if dry_run else ''}freed under {root}")


@click.command()
@click.argument("store", shell_complete=complete.stores)
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--zip", "as_zip", is_flag=True, help="As a release: one zip per machine type, md5 sums, a manifest.")
@common
def export(store: str, directory: Path, as_zip: bool, root: Place, as_json: bool, quiet: bool) -> None:
    """Write a store as WAV files and attribute tables.

    The store is given by path or variant; the files are in the released layout.

    Example: mimiidg export demo exported --zip
    """
    from mimiidg_build.upkeep.export import export_store

    opened = named_store(store, root)
    with progress.reporter(quiet) as reporter:
        written = export_store(opened, directory, as_zip=as_zip, on_progress=reporter.step("export", len(opened.clips)))
    if as_json:
        click.echo(json.dumps([str(path) for path in written]))
    else:
        for path in written:
            click.echo(path)
