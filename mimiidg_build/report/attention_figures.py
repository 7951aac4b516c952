"""Attention maps as tables and figures: PNG under ROOT/reports. What they show: :mod:`.attention_maps`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mimiidg_build.benchmark.plots import COLOURS, reports_directory, save_figure
from mimiidg_build.benchmark.runs import Run
from mimiidg_build.features import HOP, SAMPLE_RATE
from mimiidg_build.report.attention_maps import EVERY, ClipMaps, MapStatistics, mel_hz

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {"logmel": "log-mel", "wavegram": "Wavegram"}
TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000)


def statistics_rows(statistics: Sequence[MapStatistics]) -> list[dict[str, Any]]:
    """The table: one row per machine type, condition and map."""
    centres = mel_hz()
    rows = []
    for one in statistics:
        highest = int(one.mean.argmax())
        where = f"{centres[highest]:.0f} Hz" if one.channel == "logmel" else f"row {highest}"
        rows.append(
            {
                "machine type": one.machine_type,
                "condition": one.condition,
                "clips": one.n_clips,
                "map of": TITLES[one.channel],
                "mean": f"{one.mean.mean():.3f}",
                "standard deviation": f"{np.sqrt((one.standard_deviation**2).mean()):.3f}",
                "highest at": where,
                "there": f"{one.mean[highest]:.3f}",
            }
        )
    return rows


def plot_clip(run: Run, clip: ClipMaps, path: Path) -> Path:
    """Draw a clip's images and beside each its attention map.

    Parameters
    ----------
    run : Run
        The network's: it stands in the title.
    clip : ClipMaps
    path : Path
        PNG.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    DataError
        It cannot be written.
    """
    from matplotlib.figure import Figure

    n = len(clip.channels)
    figure = Figure(figsize=(11, 0.8 + 2.7 * n), dpi=144, layout="constrained")
    panels = figure.subplots(n, 2, sharex=True, squeeze=False)
    seconds = clip.images.shape[2] * HOP / SAMPLE_RATE
    for row, (channel, image, weights) in enumerate(zip(clip.channels, clip.images, clip.maps, strict=True)):
        drawn = ((image, TITLES[channel], "magma"), (weights, f"attention to the {TITLES[channel]}", "viridis"))
        for axes, (values, title, colours) in zip(panels[row], drawn, strict=True):
            # rows are centred on whole numbers, by which _mel_ticks places its ticks
            extent = (0.0, seconds, -0.5, len(values) - 0.5)
            found = axes.imshow(
                values, origin="lower", aspect="auto", extent=extent, cmap=colours, interpolation="nearest"
            )
            figure.colorbar(found, ax=axes, pad=0.01, label="dB" if title == TITLES["logmel"] else "")
            axes.set_title(title, fontsize=10)
            _mel_ticks(axes, "y", channel)
    for axes in panels[-1]:
        axes.set_xlabel("time [s]")
    figure.suptitle(f"{clip.name}\n{_source(run)}", fontsize=10)
    return save_figure(figure, path)


def plot_statistics(run: Run, statistics: Sequence[MapStatistics], channel: str, path: Path) -> Path:
    """Draw a map's mean by mel bin and one standard deviation to both sides: a panel per machine type.

    Normal clips make one line, anomalous ones another.

    Parameters
    ----------
    run : Run
        The network's: it stands in the title.
    statistics : sequence of MapStatistics
    channel : str
        Which map: ``logmel`` or ``wavegram``.
    path : Path
        PNG.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    DataError
        It cannot be written.
    """
    from matplotlib.figure import Figure

    chosen = [one for one in statistics if one.channel == channel]
    types = list(dict.fromkeys(one.machine_type for one in chosen))
    n_rows = -(-len(types) // 3)
    figure = Figure(figsize=(11, 0.8 + 2.6 * n_rows), dpi=144, layout="constrained")
    panels = figure.subplots(n_rows, 3, sharex=True, sharey=True, squeeze=False).flatten()
    for axes, machine_type in zip(panels, types, strict=False):  # the last panels may stay empty
        for one in (one for one in chosen if one.machine_type == machine_type):
            colour, bins = COLOURS[one.condition == "anomaly"], np.arange(len(one.mean))
            line = "--" if one.condition == "anomaly" else "-"  # seen where the two are the same
            label = f"{one.condition}, {one.n_clips} clips"
            axes.plot(bins, one.mean, color=colour, linestyle=line, linewidth=1.4, label=label)
            low, high = one.mean - one.standard_deviation, one.mean + one.standard_deviation
            axes.fill_between(bins, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.set_title("all machine types" if machine_type == EVERY else machine_type, fontsize=10)
        axes.legend(fontsize=7, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        _mel_ticks(axes, "x", channel)
        axes.tick_params(labelbottom=True)  # sharex hides them above the last row, which may be incomplete
    for axes in panels[len(types) :]:
        axes.set_visible(False)
    for axes in panels[::3]:
        axes.set_ylabel("attention")
    title = f"attention to the {TITLES[channel]} over the test set: mean, and a standard deviation to both sides"
    figure.suptitle(f"{title}\n{_source(run)}", fontsize=10)
    return save_figure(figure, path)


def _mel_ticks(axes: Axes, which: str, channel: str) -> None:
    """Frequencies along the log-mel's bins; numbers along the Wavegram's rows, which have none."""
    if channel == "logmel":
        places = np.interp(TICKS_HZ, mel_hz(), np.arange(len(mel_hz()), dtype=float))
        labels = [f"{hz / 1000:g}" for hz in TICKS_HZ]
        axes.set(**{f"{which}ticks": places, f"{which}ticklabels": labels, f"{which}label": "frequency [kHz]"})
    else:
        axes.set(**{f"{which}label": "row"})


def _source(run: Run) -> str:
    """Which network on which data; a synthetic release says so."""
    variant = run.store.attributes.variant.name
    return f"{run.model}, {run.label} profile, seed {run.seed}, {variant} ({run.store.attributes.data_kind})"


def figure_path(run: Run, what: str) -> Path:
    """Where a figure of a run lies."""
    variant = run.store.attributes.variant.name
    return reports_directory(run.root) / f"{variant}-{run.model}-{run.label}-{run.seed}-{what.replace('/', '-')}.png"
