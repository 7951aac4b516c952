"""``mimiidg explain``: where the attention network looks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.changed_settings import checked_settings, settings_options
from mimiidg_build.cli.names import named_store
from mimiidg_build.cli.options import common, device_option
from mimiidg_build.cli.printing import print_json, print_lines, print_table, shown_progress
from mimiidg_build.cli.values import Known
from mimiidg_build.models import ABLATIONS, MODELS, PROFILES
from mimiidg_build.storage.places import Place

if TYPE_CHECKING:
    from mimiidg_build.report.attention_maps import ClipMaps, MapStatistics

FAMILY = [name for name, where in (MODELS | ABLATIONS).items() if where.startswith("attention:")]


@click.command()
@click.argument("variant", shell_complete=complete.stores)
@click.option("--clip", required=True, help="A clip's name, with its machine type where others share it: fan/NAME.")
@click.option(
    "--machine-type",
    help="The clip's machine type, where its name does not say it.",
    shell_complete=complete.machine_types,
)
@click.option("--model", type=Known(FAMILY), default="attention", show_default=True)
@click.option(
    "--profile", type=Known(PROFILES), default="paper", show_default=True, help="Profile it was trained with."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed that it was trained with.")
@click.option("--epochs", type=click.IntRange(1), help="Epochs that it was trained for. [default: the profile's]")
@settings_options
@device_option
@common
def explain(
    variant: str,
    clip: str,
    machine_type: str | None,
    model: str,
    profile: str,
    seed: int,
    epochs: int | None,
    assignments: tuple[str, ...],
    settings_file: Path | None,
    precision: str | None,
    device: str,
    root: Place,
    as_json: bool,
    quiet: bool,
) -> None:
    """Draw where a trained attention network looks.

    A clip's log-mel and Wavegram, beside each its attention map; and the maps' mean and standard deviation over the
    test set by mel bin, for normal and anomalous clips of every machine type. The network is one that `mimiidg
    benchmark` trained, with the settings that are given here, too.

    Example: mimiidg explain demo --profile smoke --clip fan/section_00_source_test_normal_0000_m-n_W
    """
    store = named_store(variant, root)  # first: an unknown one is said without waiting for torch
    from mimiidg_build.report.attention_figures import figure_path, plot_clip, plot_statistics, statistics_rows
    from mimiidg_build.report.attention_maps import Explainer, find_clip, trained_run

    row = find_clip(store, clip, machine_type)
    changes = checked_settings([model], profile, assignments, settings_file, precision)
    run = trained_run(store, root, model, profile, seed, epochs, changes)
    explainer = Explainer(run, device)
    found = explainer.clip(row)
    with shown_progress(quiet) as reporter:
        statistics = explainer.statistics(reporter)
    figures = [plot_clip(run, found, figure_path(run, found.name))]
    for channel in explainer.channels:
        figures.append(plot_statistics(run, statistics, channel, figure_path(run, f"test-{channel}")))
    if as_json:
        print_json(_content(found, statistics) | {"figures": [str(path) for path in figures]})
        return
    print_table(f"{variant}: attention maps over the test set", statistics_rows(statistics))
    print_lines(figures)


def _content(clip: ClipMaps, statistics: list[MapStatistics]) -> dict[str, Any]:
    """The result as JSON output shows it: maps by mel bin."""
    from mimiidg_build.report.attention_maps import mel_hz

    maps = zip(clip.channels, clip.maps, strict=True)
    return {
        "clip": clip.name,
        "mel_hz": mel_hz().round(3).tolist(),
        "maps": [
            {"channel": channel, "mean": values.mean(axis=1).tolist(), "deviation": values.std(axis=1).tolist()}
            for channel, values in maps
        ],
        "test_set": [
            {
                "machine_type": row.machine_type,
                "condition": row.condition,
                "channel": row.channel,
                "n_clips": row.n_clips,
                "mean": row.mean.tolist(),
                "deviation": row.standard_deviation.tolist(),
            }
            for row in statistics
        ],
    }
