"""``mimiidg benchmark``: train models on variants, score, evaluate and compare them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.names import named_variant
from mimiidg_build.cli.options import common, device_option, replace_option
from mimiidg_build.cli.prefect_server import as_flow, start_prefect
from mimiidg_build.cli.printing import print_json, print_lines, print_table, shown_progress
from mimiidg_build.cli.values import Known, ModelName, SweepCommand
from mimiidg_build.models import ABLATIONS, MODELS, PROFILES, check_models
from mimiidg_build.storage.places import Place

if TYPE_CHECKING:
    from mimiidg_build.benchmark.results import Benchmark
    from mimiidg_build.progress import Reporter
    from mimiidg_build.schemas.variants import Variant
    from mimiidg_build.store.store import Store


@click.command(cls=SweepCommand)
@click.argument("variant", shell_complete=complete.variants)
@click.option(
    "--model",
    "models",
    type=ModelName([*MODELS, *ABLATIONS, "all"]),
    multiple=True,
    required=True,
    help="May be given repeatedly. all: every model but the ablations (attention_...). Your own: module:Class.",
)
@click.option(
    "--profile",
    type=Known(PROFILES),
    default="paper",
    show_default=True,
    help="cpu: half an hour a family on two cores. smoke: seconds.",
)
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Trainings of each model.")
@click.option("--epochs", type=click.IntRange(1), help="Number of epochs. [default: the profile's]")
@click.option(
    "--known-anomalies",
    type=click.IntRange(0),
    multiple=True,
    help="Train with so many known anomalies per section, which leave the test set. Several numbers: compare them.",
)
@click.option(
    "--snr-offset",
    "snr_offsets",
    type=float,
    multiple=True,
    help="Added to every SNR, dB. Several numbers: compare them.",
)
@replace_option
@device_option
@click.option("--workers", type=click.IntRange(1), help="Trainings at once on a CPU. [default: one a core]")
@click.option("--sections/--no-sections", default=None, help="The table of sections. [default: for a single model]")
@click.option("--values", is_flag=True, help="Also the AUC per attribute value.")
@click.option("--losses", is_flag=True, help="Also plot the loss curves.")
@click.option("--prefect", is_flag=True, help="Run as a Prefect flow.")
@common
def benchmark(
    variant: str,
    models: tuple[str, ...],
    profile: str,
    seeds: int,
    epochs: int | None,
    known_anomalies: tuple[int, ...],
    snr_offsets: tuple[float, ...],
    replace: bool,
    device: str,
    workers: int | None,
    sections: bool | None,
    values: bool,
    losses: bool,
    prefect: bool,
    root: Place,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train, score and evaluate models on a variant, which is built first if needed.

    An interrupted run resumes after the last finished epoch; finished runs are reused. With several --snr-offset the
    variant is built at each offset to Table 1's SNR, with the same noise, and AUC is plotted against SNR; with several
    --known-anomalies, against their number. Runs go to ROOT/runs; where ROOT is read-only, to the work folder
    ($MIMIIDG_WORK or ./mimiidg-work).

    Example: mimiidg benchmark demo --model autoencoder --model nearest_neighbour --profile smoke
    """
    from mimiidg_build.datasets.variant import derive_grid

    wanted = derive_grid(named_variant(variant, root), snr_offset_db=sorted(snr_offsets))
    models = tuple(MODELS) if "all" in models else models
    check_models(models, profile)
    with shown_progress(quiet) as reporter:
        options: dict[str, Any] = {
            "models": list(models),
            "profile": profile,
            "seeds": seeds,
            "epochs": epochs,
            "known_anomalies": list(known_anomalies),
        }
        where = {"device": device, "workers": workers, "replace": replace}
        if as_flow(prefect):
            found = _as_flow(wanted, root, where, **options)
        else:
            found = _directly(wanted, root, reporter, where, **options)
    figures = _figures(found, root, losses)
    if as_json:
        print_json({"variants": [result.to_dict() for result in found], "figures": [str(path) for path in figures]})
        return
    _print_tables(found, sections, values)
    print_lines(model.runs[0].directory.parent for result in found for model in result.models[:1])
    print_lines(figures)


def _print_tables(found: list[Benchmark], sections: bool | None, values: bool) -> None:
    from mimiidg_build.benchmark.rows import compare_rows, result_rows, value_rows

    for result in found:
        if sections or (sections is None and len(result.models) == 1):
            print_table(result.title, result_rows(result))
        if values:
            print_table(f"{result.title}, per attribute value", value_rows(result))
    title = found[0].title if len(found) == 1 else "AUC in %"
    print_table(f"{title}: means over sections with 95 % intervals, parameters x networks", compare_rows(found))


def _directly(
    wanted: list[Variant], root: Place, reporter: Reporter, where: dict[str, Any], **options: Any
) -> list[Benchmark]:
    from mimiidg_build.benchmark.stages import benchmark_variants
    from mimiidg_build.build.variant import build_variant

    replace, models = where.pop("replace"), options.pop("models")

    def build(variant: Variant) -> Store:
        return build_variant(variant, root, replace=replace, reporter=reporter).store

    return benchmark_variants(wanted, root, models, build, reporter=reporter, **where, **options)


def _as_flow(wanted: list[Variant], root: Place, where: dict[str, Any], **options: Any) -> list[Benchmark]:
    start_prefect(root, "benchmark")
    from mimiidg_build.benchmark.evaluate_runs import collect
    from mimiidg_build.benchmark.planning import plan_runs
    from mimiidg_build.flows.benchmark import benchmark as benchmark_flow
    from mimiidg_build.store.store import open_store

    paths = benchmark_flow([variant.model_dump(mode="json") for variant in wanted], str(root), **where, **options)
    return [collect(plan_runs(open_store(path), root, **options)) for path in paths]


def _figures(found: list[Benchmark], root: Place, losses: bool) -> list[Path]:
    """Draw what was asked for, under ROOT/reports."""
    from mimiidg_build.benchmark import plots

    reports, drawn = plots.reports_directory(root), []
    if len(found) > 1:
        drawn.append(plots.plot_snr_sweep(found, reports / plots.snr_sweep_name(found)))
    for result in found:
        if len({model.known_anomalies for model in result.models}) > 1:
            drawn.append(plots.plot_known_anomalies(result, reports / plots.known_anomalies_name(result)))
    if losses:
        for result in found:
            name = plots.figure_name(result.variant, result.models, "loss")
            drawn.append(plots.plot_losses(result, reports / name))
    return drawn
