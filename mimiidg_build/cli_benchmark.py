"""The commands that train and measure: ``benchmark`` and ``evaluate``. Registered by :mod:`mimiidg_build.cli`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mimiidg_build import progress
from mimiidg_build.cli import as_flow, chosen_variant, common, embed_prefect, print_table, run_options, variant_options
from mimiidg_build.models import MODELS, PROFILES

if TYPE_CHECKING:
    from mimiidg_build.benchmark import Benchmark
    from mimiidg_build.evaluate import Evaluation
    from mimiidg_build.progress import Reporter
    from mimiidg_build.store import Store
    from schemas.variants import Variant


@click.command()
@click.argument("variant")
@click.option(
    "--model", "models", type=click.Choice(list(MODELS)), multiple=True, required=True, help="May be given repeatedly."
)
@click.option("--profile", type=click.Choice(PROFILES), default="paper", show_default=True, help="smoke: seconds.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Trainings of each model.")
@click.option("--epochs", type=click.IntRange(1), help="Instead of the profile's.")
@click.option("--snr-offset", "snr_offsets", type=float, multiple=True, help="Repeatedly: compare SNRs, dB.")
@click.option("--device", default="auto", show_default=True, help="auto (a GPU if there is one), cpu, cuda:0.")
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
    snr_offsets: tuple[float, ...],
    device: str,
    values: bool,
    losses: bool,
    prefect: bool,
    root: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train, score and evaluate models on a variant, which is built if it is not.

    Stopped, it goes on from the last finished epoch; what is finished is reused. With several --snr-offset the variant
    is built at each offset to Table 1's SNR, with the same noise, and AUC is plotted against SNR.

    Example: mimiidg benchmark demo --model autoencoder --model nearest_neighbour --profile smoke
    """
    from mimiidg_build.benchmark import compare_rows, plan_runs, sweep_variants

    wanted = sweep_variants(named_variant(variant, root), snr_offsets)
    with progress.reporter(quiet) as reporter:
        progress.use(reporter)
        options = {"models": list(models), "profile": profile, "seeds": seeds, "epochs": epochs}
        if as_flow(prefect):
            found = _as_flow(wanted, root, device=device, **options)
        else:
            found = _directly(wanted, root, reporter, device=device, **options)
    figures = _figures(found, root, profile, losses)
    if as_json:
        content = {"variants": [of.to_dict() for of in found], "figures": [str(path) for path in figures]}
        click.echo(json.dumps(content, allow_nan=False))
        return
    for of in found:
        print_table(of.title, of.rows())
        if values:
            print_table(f"{of.title}, per attribute value", of.value_rows())
    if len(found) > 1:
        print_table("means over sections, AUC in %, with 95 % intervals", compare_rows(found))
    for path in [*(model.runs[0].directory.parent for of in found for model in of.models[:1]), *figures]:
        click.echo(path)


def named_variant(name: str, root: Path) -> Variant:
    """A variant by name or file, or that of a store under ROOT or at a path."""
    from mimiidg_build.manifest import load_variant, parse_variant, shipped_names
    from mimiidg_build.store import open_store, variant_dir

    if name in shipped_names("variants") or name.endswith(".toml"):
        return load_variant(name)
    path = variant_dir(root, name) if variant_dir(root, name).is_dir() else Path(name)
    if path.is_dir():
        return parse_variant(open_store(path).attributes["variant"], path)
    return load_variant(name)  # says what there is


def _directly(wanted: list[Variant], root: Path, reporter: Reporter, *, device: str, **options: Any) -> list[Benchmark]:
    from mimiidg_build.benchmark import benchmark as run_benchmark
    from mimiidg_build.benchmark import stored
    from mimiidg_build.build import build_variant

    def build(variant: Variant) -> Store:
        return build_variant(variant, root, reporter=reporter).store

    found = []
    for variant in wanted:
        store = stored(variant, root, build)
        found.append(run_benchmark(store, root, device=device, reporter=reporter, **options))
    return found


def _as_flow(wanted: list[Variant], root: Path, **options: Any) -> list[Benchmark]:
    embed_prefect(root)
    from flows.benchmark import benchmark as benchmark_flow
    from mimiidg_build.benchmark import collect, plan_runs
    from mimiidg_build.store import open_store
