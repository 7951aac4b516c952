"""``mimiidg build``: from fetched archives to finished stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.names import absolute_for_cluster, chosen_variants
from mimiidg_build.cli.options import (
    allow_option,
    common,
    replace_option,
    run_options,
    truth_option,
    variant_options,
)
from mimiidg_build.cli.prefect_server import as_flow, start_prefect
from mimiidg_build.cli.printing import print_json, print_store, shown_progress, store_content
from mimiidg_build.cli.values import FilePath, SweepCommand

if TYPE_CHECKING:
    from mimiidg_build.progress import Reporter
    from mimiidg_build.schemas.variants import Variant
    from mimiidg_build.storage.places import Place
    from mimiidg_build.store.store import Store


@click.command(cls=SweepCommand)
@click.argument("variant", shell_complete=complete.variants)
@variant_options
@replace_option
@run_options
@click.option("--plan", type=FilePath(exists=True), help="Render this mix plan (parquet or CSV).")
@truth_option
@allow_option
@click.option("--prefect", is_flag=True, help="Run as a Prefect flow.")
@common
def build(
    variant: str,
    dataset: str | None,
    sections: tuple[str, ...],
    noise: tuple[str, ...],
    noise_from: str | None,
    snrs: tuple[float, ...],
    snr_offsets: tuple[float, ...],
    seeds: tuple[int, ...],
    full_scale: str | None,
    name: str | None,
    replace: bool,
    scheduler: str,
    workers: int | None,
    plan: Path | None,
    truth: tuple[Path, ...],
    allow: tuple[str, ...],
    prefect: bool,
    root: Place,
    as_json: bool,
    quiet: bool,
) -> None:
    """Build a variant's store.

    A shipped variant (released, paper, demo), the path of your own file, or a store's, to build it again. With several
    values of --snr, --snr-offset or --seed a store is built for each combination, named for what differs. An
    interrupted build resumes where it stopped; a finished one is not built again.

    A store of that name and another definition (dataset, sections, SNR, ...) is not superseded without --replace.
    Evaluation clips, whose names hide what they are, need the organisers' lists (--truth); without them, with --allow
    hidden_name, they are stored and scored and left out of every metric.

    Example: mimiidg build paper --noise A=factory_a --noise B=factory_b --section valve --snr-offset -6 0 6
    """
    from mimiidg_build.build.checks import check_build

    wanted = chosen_variants(
        variant,
        root,
        noise=noise,
        variant_name=name,
        dataset=[dataset] if dataset is not None else [],
        noise_from=[noise_from] if noise_from is not None else [],
        sections=[list(dict.fromkeys(sections))] if sections else [],
        snr_db=snrs,
        snr_offset_db=snr_offsets,
        seed=seeds,
        full_scale=[full_scale] if full_scale is not None else [],
    )
    root = absolute_for_cluster(root, scheduler)
    for one in wanted:  # a mistake fails here, before a server starts or anything is built
        check_build(one, root, allow=allow, replace=replace)
    options: dict[str, Any] = {"scheduler": scheduler, "workers": workers, "plan": plan, "replace": replace}
    options |= {"allow": list(allow), "truth": list(truth) or None}
    built = []
    with shown_progress(quiet) as reporter:
        make = _directly
        if as_flow(prefect):
            start_prefect(root, "build_variant")
            make = _as_flow
        for one in wanted:
            built.append(make(one, root, reporter, **options))
    if as_json:
        contents = [store_content(store) for store, _ in built]
        print_json(contents[0] if len(contents) == 1 else {"stores": contents})
        return
    for store, was_finished in built:
        print_store(store, as_json=False, note="nothing to do, it is built: " if was_finished else "")


def _directly(variant: Variant, root: Place, reporter: Reporter, **options: Any) -> tuple[Store, bool]:
    from mimiidg_build.build.variant import build_variant

    built = build_variant(variant, root, reporter=reporter, **options)
    return built.store, built.was_finished


def _as_flow(variant: Variant, root: Place, reporter: Reporter, **options: Any) -> tuple[Store, bool]:
    from mimiidg_build.flows.build_variant import build_variant
    from mimiidg_build.store.store import open_store

    return open_store(build_variant(variant.model_dump(mode="json"), str(root), **options)), False
