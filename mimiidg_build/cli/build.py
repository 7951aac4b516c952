"""``mimiidg build``: from fetched archives to a finished store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.names import absolute_for_cluster, chosen_variant
from mimiidg_build.cli.options import common, run_options, variant_options
from mimiidg_build.cli.prefect_server import as_flow, start_prefect
from mimiidg_build.cli.printing import print_store, shown_progress

if TYPE_CHECKING:
    from mimiidg_build.storage.places import Place


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
    noise_from: str | None,
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

    A shipped variant (released, paper, demo), or the path of your own file. An interrupted build resumes where it
    stopped; a finished one is not built again.

    Example: mimiidg build paper --noise A=factory_a --noise B=factory_b --section valve
    """
    from mimiidg_build.build.variant import build_variant
    from mimiidg_build.datasets.noise_choice import check_noise
    from mimiidg_build.store.store import open_store

    wanted = chosen_variant(
        variant,
        noise=noise,
        sections=sections,
        variant_name=name,
        dataset=dataset,
        noise_from=noise_from,
        snr_offset_db=snr_offset,
        seed=seed,
        full_scale=full_scale,
    )
    check_noise(wanted)  # a mistyped dataset and noise that is not given fail here, before a server starts
    root = absolute_for_cluster(root, scheduler)
    note = ""
    with shown_progress(quiet) as reporter:
        if as_flow(prefect):
            start_prefect(root, "build_variant")
            from mimiidg_build.flows.build_variant import build_variant as build_flow

            content = wanted.model_dump(mode="json")
            store = open_store(build_flow(content, str(root), scheduler, workers, plan, list(allow)))
        else:
            built = build_variant(
                wanted, root, scheduler=scheduler, workers=workers, plan=plan, allow=allow, reporter=reporter
            )
            store = built.store
            if built.was_finished:
                note = "nothing to do, it is built: "
    print_store(store, as_json=as_json, note=note)
