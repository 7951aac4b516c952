"""``mimiidg benchmark``: train models on variants, score, evaluate and compare them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.changed_settings import checked_settings, settings_options
from mimiidg_build.cli.names import named_variant
from mimiidg_build.cli.options import common, device_option, replace_option
from mimiidg_build.cli.prefect_server import as_flow, start_prefect
from mimiidg_build.cli.printing import print_json, print_lines, print_table, shown_progress
from mimiidg_build.cli.values import FilePath, Known, ModelName, SweepCommand
from mimiidg_build.errors import MimiidgError
from mimiidg_build.models import ABLATIONS, GROUPS, MODELS, PROFILES, Changes, named_models
from mimiidg_build.models.backends import ALL, BACKENDS
from mimiidg_build.storage.places import Place

if TYPE_CHECKING:
    from mimiidg_build.benchmark.results import Benchmark
    from mimiidg_build.progress import Reporter
    from mimiidg_build.schemas.variants import Variant
    from mimiidg_build.store.store import Store


@click.command(cls=SweepCommand)
@click.argument("variants", nargs=-1, required=True, metavar="VARIANT...", shell_complete=complete.variants)
@click.option(
    "--model",
    "models",
    type=ModelName([*MODELS, *ABLATIONS, *GROUPS]),
    multiple=True,
    help="May be given repeatedly. all: every model that the data suits, and a leaderboard. ablations: attention, and "
    "all attention_.... Your own: module:Class.",
)
@click.option(
    "--encoder",
    "encoders",
    type=FilePath(exists=True, dir_okay=False),
    multiple=True,
    help="Your own frozen encoder as a model: a .toml file that describes it. May be given repeatedly.",
)
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    help="On this dataset instead of the variant's. May be given repeatedly: compare them.",
    shell_complete=complete.datasets,
)
@click.option(
    "--profile",
    type=Known(PROFILES),
    default="paper",
    show_default=True,
    help="cpu: half an hour a family on two cores. smoke: seconds.",
)
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Trainings of each model.")
@click.option(
    "--backend",
    "backends",
    type=Known([*BACKENDS, ALL]),
    multiple=True,
    help="Also score the models' embeddings with this back end. May be given repeatedly. all: every one.",
)
@click.option("--epochs", type=click.IntRange(1), help="Number of epochs. [default: the profile's]")
@settings_options
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
    variants: tuple[str, ...],
    models: tuple[str, ...],
    encoders: tuple[Path, ...],
    datasets: tuple[str, ...],
    profile: str,
    seeds: int,
    backends: tuple[str, ...],
    epochs: int | None,
    assignments: tuple[str, ...],
    settings_file: Path | None,
    precision: str | None,
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
    """Train, score and evaluate models on variants, which are built first if needed.

    An interrupted run resumes after the last finished epoch; finished runs are reused. With several --snr-offset the
    variant is built at each offset to its recipe's SNR, with the same noise, and AUC is plotted against SNR; with
    several --known-anomalies, against their number. Several variants, or several --dataset, are printed side by side by
    machine type, as papers print three SNRs. Where a paper has numbers of the same system, dataset and settings, they
    stand beside. Runs go to ROOT/runs; where ROOT is read-only, to the work folder ($MIMIIDG_WORK or ./mimiidg-work).

    Settings that are changed with --set, --settings or --precision are part of a run's name, and are those of every
    model that has them; one that no model has is an error. What a profile sets is in a run's config.json.

    Where several systems were run, all finished ones on the store are put on one page beside the runs,
    leaderboard.html, and for programs in leaderboard.json and leaderboard.csv. A system that fails stops no other: it
    is named at the end, with the reason, and the exit code is 1.

    A back end scores embeddings of clips, the layer before a network's output. It is fitted to those of the training
    clips once the network is finished: asking for more of them trains nothing again. Each is a system of its own, such
    as autoencoder/kmeans; models by back ends are also printed as one table, and written as CSV.

    An encoder is a file of torch.export (.pt2), TorchScript (.pt) or ONNX (.onnx), which nothing is trained of: its
    embeddings, computed once and kept under ROOT/embeddings, are scored by their nearest neighbour, and by back ends.
    Such a file is a program: use only those of people whom you trust.

    A network takes the beginning of every clip, as long as the shortest of its sections; clips of other sections that
    it learns from as outliers are cut, or repeated, to that length. Models take one channel at 16 kHz, or the log-mel
    that is made of two.

    Example: mimiidg benchmark demo --model autoencoder --model nearest_neighbour --profile smoke
    """
    from mimiidg_build.benchmark.results import raise_any_failed
    from mimiidg_build.datasets.variant import derive_grid

    choices: dict[str, Any] = {"dataset": list(datasets), "snr_offset_db": sorted(snr_offsets)}
    wanted = [one for name in dict.fromkeys(variants) for one in derive_grid(named_variant(name, root), **choices)]
    wanted = list({one.name: one for one in wanted}.values())
    names = [*named_models(models, profile), *_brought(models, encoders)]
    changes = checked_settings(names, profile, assignments, settings_file, precision)
    with shown_progress(quiet) as reporter:
        options: dict[str, Any] = {
            "models": list(models),
            "profile": profile,
            "seeds": seeds,
            "epochs": epochs,
            "known_anomalies": list(known_anomalies),
            "changes": changes,
            "backends": list(backends),
            "encoders": [str(path.absolute()) for path in encoders],
        }
        where = {"device": device, "workers": workers, "keep_going": True, "replace": replace}
        if as_flow(prefect):
            found = _as_flow(wanted, root, where, **options)
        else:
            found = _directly(wanted, root, reporter, where, **options)
    figures = _figures(found, root, losses)
    leaderboards, damage = _leaderboards(found, models, root)
    more = {"cross_tables": _cross_tables(found, root), "leaderboards": leaderboards}
    if as_json:
        content = {"variants": [result.to_dict() for result in found], "figures": [str(path) for path in figures]}
        print_json(content | {name: [str(path) for path in paths] for name, paths in more.items() if paths})
    else:
        _print_tables(found, sections, values)
        print_lines(_notes(found, models, profile, changes))
        print_lines(_directory(result, root) for result in found)
        print_lines([path for paths in more.values() for path in paths] + figures)
    raise_any_failed(found)
    if damage is not None:  # of an earlier run: what was found now is shown all the same
        raise damage


def _brought(models: tuple[str, ...], encoders: tuple[Path, ...]) -> list[str]:
    """The names of the encoders that the user brings, checked before any work; without any a model must be named."""
    if not models and not encoders:
        context = click.get_current_context()
        (option,) = (one for one in context.command.params if one.name == "models")
        raise click.MissingParameter("Or bring an --encoder.", context, option)
    if not encoders:
        return []
    from mimiidg_build.benchmark.encoders.description import read_encoders

    return [encoder.name for encoder in read_encoders(encoders)]


def _notes(found: list[Benchmark], models: tuple[str, ...], profile: str, changes: Changes) -> dict[str, None]:
    """What is to be known of the tables, each once."""
    from mimiidg_build.benchmark.suitability import left_out

    return dict.fromkeys(
        note for each in found for note in [*each.notes, *left_out(each.store, models, profile, changes)]
    )


def _directory(found: Benchmark, root: Place) -> Path:
    """Where the runs lie."""
    from mimiidg_build.benchmark.runs import runs_directories

    own = [model.runs[0].directory.parent for model in found.models]
    return own[0] if own else runs_directories(found.store, root)[-1]


def _print_tables(found: list[Benchmark], sections: bool | None, values: bool) -> None:
    from mimiidg_build.benchmark.beside_papers import rows_beside_papers
    from mimiidg_build.benchmark.cross_table import cross_rows
    from mimiidg_build.benchmark.rows import compare_rows, result_rows, value_rows
    from mimiidg_build.benchmark.variant_rows import variant_rows

    found = [result for result in found if result.models]
    for result in found:
        if sections or (sections is None and len(result.models) == 1):
            print_table(result.title, result_rows(result))
        if values:
            print_table(f"{result.title}, per attribute value", value_rows(result))
        if papers := rows_beside_papers(result.models):
            print_table(f"{result.title}, beside the papers' numbers", papers)
        if by_backend := cross_rows(result.models):
            print_table(f"{result.title}: models by back ends, means over sections", by_backend)
    if len(found) > 1:
        print_table("AUC in % by machine type, means over their sections", variant_rows(found))
    if found:
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
    from mimiidg_build.benchmark.failures import SystemsFailed
    from mimiidg_build.benchmark.planning import plan_runs
    from mimiidg_build.flows.benchmark import benchmark as benchmark_flow
    from mimiidg_build.store.store import open_store, variant_dir

    try:
        paths = benchmark_flow([variant.model_dump(mode="json") for variant in wanted], str(root), **where, **options)
    except SystemsFailed:  # which is said again, below the results of the others
        paths = [variant_dir(root, variant.name) for variant in wanted]
    plans = [plan_runs(open_store(path), root, **options) for path in paths]
    return [collect(runs, options["changes"], keep_going=True) for runs in plans]


def _leaderboards(
    found: list[Benchmark], models: tuple[str, ...], root: Place
) -> tuple[list[Path], MimiidgError | None]:
    """Write the leaderboard of each store on which several systems were run, beside the runs; and what hindered it."""
    from mimiidg_build.report.leaderboard.written import write_leaderboard

    several = [
        result
        for result in found
        if sum(model.is_rival for model in result.models) + len(result.failed) > 1 or set(models) & set(GROUPS)
    ]
    written = list[Path]()
    try:
        for result in several:
            if any(model.is_rival for model in result.models):
                written.append(write_leaderboard(result.store, root))
    except MimiidgError as error:
        return written, error
    return written, None


def _cross_tables(found: list[Benchmark], root: Place) -> list[Path]:
    """Write models by back ends as CSV, of each variant where back ends scored, under ROOT/reports."""
    from mimiidg_build.benchmark import plots
    from mimiidg_build.benchmark.cross_table import cross_csv, crossed
    from mimiidg_build.storage.files import write_file

    written = []
    for result in found:
        if crossed(result.models):
            name = Path(plots.figure_name(result.variant, result.models, "backends")).with_suffix(".csv")
            written.append(plots.reports_directory(root) / name)
            write_file(written[-1], [cross_csv(result.models)])
    return written


def _figures(found: list[Benchmark], root: Place, losses: bool) -> list[Path]:
    """Draw what was asked for, under ROOT/reports."""
    from mimiidg_build.benchmark import plots

    reports, drawn = plots.reports_directory(root), list[Path]()
    found = [result for result in found if result.models]
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
