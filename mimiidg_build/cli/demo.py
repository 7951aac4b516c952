"""``mimiidg demo``: everything, on a small synthetic release and a Prefect server of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mimiidg_build.cli.names import absolute_for_cluster
from mimiidg_build.cli.options import common, replace_option, run_options
from mimiidg_build.cli.prefect_server import start_prefect
from mimiidg_build.cli.printing import print_json, print_lines, print_store, print_table, shown_progress, store_content

if TYPE_CHECKING:
    from mimiidg_build.benchmark.runs import Run
    from mimiidg_build.progress import Reporter
    from mimiidg_build.schemas.variants import Variant
    from mimiidg_build.storage.places import Place
    from mimiidg_build.store.store import Store

MODELS = ["nearest_neighbour", "autoencoder", "mobilenetv2"]


@click.command()
@click.option(
    "--percent", default=5.0, show_default=True, help="Size of the synthetic release, 1 to 100 % of MIMII DG."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the synthetic release.")
@replace_option
@run_options
@common
def demo(
    root: Place,
    percent: float,
    seed: int,
    replace: bool,
    scheduler: str,
    workers: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run everything on a small synthetic release.

    Nothing is downloaded. Generates it, serves it like Zenodo on this machine, fetches, validates, plans, mixes,
    stores, then trains and evaluates three detectors for a few epochs.

    Example: mimiidg demo --percent 10
    """
    from mimiidg_build.datasets.synthetic import SyntheticSpec
    from mimiidg_build.datasets.variant import derive_variant, load_variant

    root = absolute_for_cluster(root, scheduler)
    variant = derive_variant(load_variant("demo"), dataset=SyntheticSpec(percent, seed).name)
    from mimiidg_build.build.checks import check_build

    check_build(variant, root, replace=replace)
    from mimiidg_build.benchmark.evaluate_runs import collect
    from mimiidg_build.benchmark.rows import compare_rows
    from mimiidg_build.store.store import open_store, variant_dir

    finished = finished_store(variant, root)
    if finished is None or any(
        not run.is_finished(network) for run in smoke_runs(finished, root) for network in run.networks()
    ):
        with shown_progress(quiet) as reporter:
            run_flows(variant, root, scheduler, workers, reporter, replace)
        note = ""
    else:
        note = "nothing to do, it is built: "
    store = open_store(variant_dir(root, variant.name)) if finished is None else finished
    found = collect(smoke_runs(store, root))
    if as_json:
        print_json({"store": store_content(store), "benchmark": found.to_dict()})
        return
    print_table(f"{found.title}: means over sections", compare_rows([found]))
    print_lines(found.few_clips_notes)
    print_store(store, as_json=False, note=note)
    if not quiet:
        click.echo(f"all of it on one page: mimiidg report {variant.name}", err=True)


def smoke_runs(store: Store, root: Place) -> list[Run]:
    """The demo's trainings."""
    from mimiidg_build.benchmark.planning import plan_runs

    return plan_runs(store, root, MODELS, "smoke", seeds=1)


def run_flows(
    variant: Variant, root: Place, scheduler: str, workers: int | None, reporter: Reporter, replace: bool
) -> None:
    """Refresh the variant and benchmark it, as flows on a Prefect server of our own.

    Parameters
    ----------
    variant : Variant
        Its synthetic release is made while the server starts.
    root : Place
    scheduler : str
    workers : int or None
        See ``build_variant``.
    reporter : Reporter
    replace : bool
        See ``build_variant``.
    """
    from mimiidg_build.fetch.dataset import make_synthetic

    started = reporter.step("start Prefect", 1, "server")
    start_prefect(root, "benchmark", "refresh", meanwhile=lambda: make_synthetic(variant, root, reporter))
    from mimiidg_build.flows.benchmark import benchmark
    from mimiidg_build.flows.refresh import refresh

    started(1)
    content = variant.model_dump(mode="json")
    refresh(
        [content], str(root), scheduler, workers, with_report=False, replace=replace
    )  # a report now would lack the benchmark
    benchmark([content], str(root), MODELS, "smoke")


def finished_store(variant: Variant, root: Place) -> Store | None:
    """The variant's store, if its archives are there and it is built from them already."""
    from mimiidg_build.build.decision import decide
    from mimiidg_build.build.inputs import read_inputs
    from mimiidg_build.fetch.dataset import archives_are_there

    return decide(read_inputs(variant, root), root).finished if archives_are_there(variant, root) else None
