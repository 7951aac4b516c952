"""The commands that train and measure: ``benchmark`` and ``evaluate``. Registered by :mod:`mimiidg_build.cli`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimiidg_build import progress
from mimiidg_build.cli import complete
from mimiidg_build.cli.options import as_flow, common, embed_prefect, print_table
from mimiidg_build.models import ABLATIONS, MODELS, PROFILES
from mimiidg_build.storage.places import Place, local, place

if TYPE_CHECKING:
    from mimiidg_build.benchmark.results import Benchmark
    from mimiidg_build.evaluation.results import Evaluation
    from mimiidg_build.progress import Reporter
    from mimiidg_build.store.store import Store
    from schemas.variants import Variant


SEVERAL = ("--snr-offset", "--known-anomalies")


def one_value_each(arguments: Sequence[str], options: Sequence[str] = SEVERAL) -> list[str]:
    """Write an option with several numbers as the option repeated.

    >>> one_value_each(["demo", "--snr-offset", "-6", "0", "--seeds", "3"])
    ['demo', '--snr-offset', '-6', '--snr-offset', '0', '--seeds', '3']
    """
    spread: list[str] = []
    for argument in arguments:
        number = argument.lstrip("+-").replace(".", "", 1).isdigit()
        if number and len(spread) > 1 and spread[-2] in options:
            spread.append(spread[-2])
        spread.append(argument)
    return spread


class SweepCommand(click.Command):
    """A command with options that take several numbers at once: ``--snr-offset -6 0 6``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, one_value_each(args))


class ModelName(click.Choice[str]):
    """A model's name, or ``module:Class`` of one's own."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value if ":" in value else super().convert(value, param, ctx)


@click.command(cls=SweepCommand)
@click.argument("variant", shell_complete=complete.variants)
@click.option(
    "--model",
    "models",
    type=ModelName([*MODELS, *ABLATIONS, "all"]),
    multiple=True,
    required=True,
    help="May be given repeatedly; all: every one but the ablations (attention_...). Your own: module:Class.",
)
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    default="paper",
    show_default=True,
    help="cpu: half an hour a family on two cores. smoke: seconds.",
)
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Trainings of each model.")
@click.option("--epochs", type=click.IntRange(1), help="Instead of the profile's.")
@click.option(
    "--known-anomalies",
    type=click.IntRange(0),
    multiple=True,
    help="Several: tell the training of so many anomalies per section, and compare. They leave the test set.",
)
@click.option("--snr-offset", "snr_offsets", type=float, multiple=True, help="Several: compare SNRs, dB.")
@click.option("--device", default="auto", show_default=True, help="auto (a GPU if there is one), cpu, cuda:0.")
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
    """Train, score and evaluate models on a variant, which is built if it is not.

    Stopped, it goes on from the last finished epoch; what is finished is reused. With several --snr-offset the variant
    is built at each offset to Table 1's SNR, with the same noise, and AUC is plotted against SNR; with several
    --known-anomalies, against their number.

    Example: mimiidg benchmark demo --model autoencoder --model nearest_neighbour --profile smoke
    """
    from mimiidg_build.benchmark.rows import compare_rows, result_rows, value_rows
    from mimiidg_build.benchmark.stages import sweep_variants

    wanted = sweep_variants(named_variant(variant, root), snr_offsets)
    with progress.reporter(quiet) as reporter:
        progress.use(reporter)
        names = list(MODELS) if "all" in models else list(models)
        options: dict[str, Any] = {"models": names, "profile": profile, "seeds": seeds, "epochs": epochs}
        options["known_anomalies"] = list(known_anomalies)
        where = {"device": device, "workers": workers}
        if as_flow(prefect):
            found = _as_flow(wanted, root, where, **options)
        else:
            found = _directly(wanted, root, reporter, where, **options)
    figures = _figures(found, root, profile, losses)
    if as_json:
        content = {"variants": [benchmark.to_dict() for benchmark in found], "figures": [str(path) for path in figures]}
        click.echo(json.dumps(content, allow_nan=False))
        return
    for benchmark in found:
        if sections or (sections is None and len(benchmark.models) == 1):
            print_table(benchmark.title, result_rows(benchmark))
        if values:
            print_table(f"{benchmark.title}, per attribute value", value_rows(benchmark))
    title = found[0].title if len(found) == 1 else "AUC in %"
    print_table(f"{title}: means over sections with 95 % intervals, parameters x networks", compare_rows(found))
    for path in [*(model.runs[0].directory.parent for benchmark in found for model in benchmark.models[:1]), *figures]:
        click.echo(path)


def named_variant(name: str, root: Place) -> Variant:
    """A variant by name or file, or that of a store under ROOT or at a path."""
    from mimiidg_build.datasets.toml_files import shipped_names
    from mimiidg_build.datasets.variant import load_variant
    from mimiidg_build.store.store import open_store, variant_dir

    if name in shipped_names("variants") or name.endswith(".toml"):
        return load_variant(name)
    path = variant_dir(root, name) if variant_dir(root, name).is_dir() else place(name)
    if path.is_dir():
        return open_store(path).attributes.variant
    return load_variant(name)  # says what there is


def _directly(
    wanted: list[Variant], root: Place, reporter: Reporter, where: dict[str, Any], **options: Any
) -> list[Benchmark]:
    from mimiidg_build.benchmark.stages import benchmark_variants
    from mimiidg_build.build.variant import build_variant

    def build(variant: Variant) -> Store:
        return build_variant(variant, root, reporter=reporter).store

    models = options.pop("models")
    return benchmark_variants(wanted, root, models, build, reporter=reporter, **where, **options)


def _as_flow(wanted: list[Variant], root: Place, where: dict[str, Any], **options: Any) -> list[Benchmark]:
    embed_prefect(root, "benchmark")
    from flows.benchmark import benchmark as benchmark_flow
    from mimiidg_build.benchmark.evaluate_runs import collect
    from mimiidg_build.benchmark.planning import plan_runs
    from mimiidg_build.store.store import open_store

    paths = benchmark_flow([variant.model_dump(mode="json") for variant in wanted], str(root), **where, **options)
    return [collect(plan_runs(open_store(path), root, **options)) for path in paths]


def _figures(found: list[Benchmark], root: Place, profile: str, losses: bool) -> list[Path]:
    """Draw what was asked for, under ROOT/reports."""
    from mimiidg_build.benchmark.plots import plot_known_anomalies, plot_losses, plot_snr_sweep

    drawn = []
    if len(found) > 1:
        drawn.append(plot_snr_sweep(found, local(root) / "reports" / f"{found[0].base_variant}-{profile}-snr.png"))
    for benchmark in found:
        if len({model.known_anomalies for model in benchmark.models}) > 1:
            drawn.append(
                plot_known_anomalies(
                    benchmark, local(root) / "reports" / f"{benchmark.variant}-{profile}-known-anomalies.png"
                )
            )
    if losses:
        drawn += [
            plot_losses(benchmark, local(root) / "reports" / f"{benchmark.variant}-{profile}-loss.png")
            for benchmark in found
        ]
    return drawn


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--truth",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Ground truth of clips whose names hide it: attribute tables or lists, or directories of them.",
)
@common
def evaluate(directory: Path, truth: tuple[Path, ...], root: Place, as_json: bool, quiet: bool) -> None:
    """Compute every metric of a directory of score files in the official format, ours or anybody's.

    Reads anomaly_score_<machine>_section_<NN>_test.csv, and decision_result_... where they are there.

    Example: mimiidg evaluate my_scores --truth attributes --json
    """
    from mimiidg_build.evaluation.evaluate import evaluate_scores

    found = evaluate_scores(directory, truth or None)
    if as_json:
        click.echo(found.to_json())
        return
    print_table(f"{directory}: AUC, precision, recall and F1 in %", evaluation_rows(found))
    for note in found.notes:
        click.echo(note)


def evaluation_rows(found: Evaluation) -> list[dict[str, Any]]:
    """Every section, then means over all of them, and the official score with its interval."""
    shown = {
        "source": "auc_source",
        "target": "auc_target",
        "all": "auc_all",
        "pAUC": "pauc",
        "F1 source": "f1_source",
        "F1 target": "f1_target",
    }
    rows = [
        {"section": f"{row['machine_type']}/{row['section']}", **{t: percent(row[name]) for t, name in shown.items()}}
        for row in found.sections.to_dict("records")
    ]
    for mean, of in found.means.items():
        rows.append({"section": f"{mean} mean", **{t: percent(of.get(name)) for t, name in shown.items()}})
    low, high = found.official_score_interval
    interval = f" ({percent(low)} .. {percent(high)})" if percent(low) else ""
    official = {"section": "official score", **dict.fromkeys(shown, "")}
    return [*rows, official | {"source": f"{percent(found.official_score)}{interval}"}]


def percent(value: float | None) -> str:
    """A share in %, nothing where it is unknown.

    >>> percent(0.84691), percent(float("nan"))
    ('84.69', '')
    """
    return "" if value is None or value != value else f"{100 * value:.2f}"
