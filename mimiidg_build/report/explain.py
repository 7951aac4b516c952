"""Where the attention network looks: a clip's log-mel, Wavegram and attention maps, and the maps of a whole test set.

Conventions
-----------
Images and maps are (channel, mel, frame); a network's channels are ``logmel``, ``wavegram`` or one of them, and each
has a map of its own. A map's mean and deviation are taken over clips and frames, per mel bin: Figure 4 of Neri and
Carli (2024), as a curve. The Wavegram's rows are learned and have no frequency.

Figures are PNG under ROOT/reports.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimiidg_build.benchmark.plots import COLOURS, save_figure
from mimiidg_build.benchmark.results import data_kind
from mimiidg_build.benchmark.runs import Run, check_config, choose_device, plan_runs
from mimiidg_build.errors import UsageError
from mimiidg_build.features import HOP, SAMPLE_RATE
from mimiidg_build.models import create
from mimiidg_build.parallel.memory import keep_all_freed_memory
from mimiidg_build.progress import Reporter
from mimiidg_build.storage.places import Place, local
from mimiidg_build.store.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mimiidg_build.models.attention import Attention

CLIPS_AT_ONCE = 16
TITLES = {"logmel": "log-mel", "wavegram": "Wavegram"}
TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000)
EVERY = "all"

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClipMaps:
    """What the network makes of one clip.

    Attributes
    ----------
    name : str
        ``fan/section_00_...``
    images, maps : np.ndarray [shape=(n_channels, n_mels, n_frames)]
        The log-mel in dB; maps in (0, 1).
    """

    name: str
    channels: tuple[str, ...]
    images: Array
    maps: Array


@dataclass(frozen=True)
class MapStatistics:
    """Mean and standard deviation of one map by mel bin [shape=(n_mels,)], over frames and ``n_clips`` test clips."""

    machine_type: str
    condition: str
    channel: str
    n_clips: int
    mean: Array
    deviation: Array


def trained_run(store: Store, root: Place, model: str, profile: str, seed: int, epochs: int | None = None) -> Run:
    """The finished run of a model on a store.

    Raises
    ------
    UsageError
        It is not there; the message has the command that trains it.
    """
    (run,) = (run for run in plan_runs(store, root, [model], profile, seed + 1, epochs) if run.seed == seed)
    if all(run.is_finished(part) for part in run.parts()):
        check_config(run)
        return run
    command = f"mimiidg benchmark {store.attributes.variant.name} --model {model} --profile {profile}"
    command += "" if epochs is None else f" --epochs {epochs}"
    command += f" --seeds {seed + 1}" if seed else ""
    there = sorted(path.parent.name for path in run.directory.parent.glob(f"{model}-*-*/summary_all.json"))
    found = f"; trained are {', '.join(there)}" if there else ""
    raise UsageError(f"{run.directory} holds no trained network{found}. To train it: {command} --root {root}")


def find_clip(store: Store, name: str, machine_type: str | None = None) -> pd.Series[Any]:
    """A clip's row of the clip table, by its name, with or without its machine type: ``fan/section_00_...``.

    Raises
    ------
    UsageError
        No clip has that name, or clips of several machine types have.
    """
    typed, _, bare = name.removesuffix(".wav").rpartition("/")
    if typed and machine_type and typed != machine_type:
        raise UsageError(f"--clip {name} is of {typed}, --machine-type says {machine_type}")
    clips = store.clips
    wanted = clips["clip"] == bare
    if typed or machine_type:
        wanted &= clips["machine_type"] == (typed or machine_type)
    found = clips[wanted]
    if len(found) == 1:
        return found.iloc[0]
    if len(found):
        names = ", ".join(found["machine_type"] + "/" + found["clip"])
        raise UsageError(f"{len(found)} clips are called {bare}: {names}. Say which, or give --machine-type.")
    full = (clips["machine_type"] + "/" + clips["clip"]).tolist()
    near = difflib.get_close_matches(f"{typed or machine_type or clips['machine_type'].iloc[0]}/{bare}", full, 3, 0.5)
    raise UsageError(f"{store.path} has no clip {name!r}. Did you mean {', '.join(near or full[:3])}?")


class Explainer:
    """A trained attention network and its store.

    Raises
    ------
    UsageError
        The model has no attention map.
    """

    def __init__(self, run: Run, device: str = "auto") -> None:
        from mimiidg_build.training import checkpoint

        (part,) = run.parts()
        keep_all_freed_memory()
        self.run, self._device = run, choose_device(device)
        created: Any = create(run.model, run.profile, len(run.store.sections), run.seed)
        if getattr(created, "attention", None) is None:
            raise UsageError(f"{run.model} has no attention map to show")
        checkpoint.load_weights(checkpoint.weights_path(run.directory, part.name), created)
        self._model: Attention = created.to(self._device)

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """What the maps are of."""
        return tuple(self._model.channels)

    def clip(self, row: pd.Series[Any]) -> ClipMaps:
        """Images and maps of one clip, a row of the store's clip table."""
        from mimiidg_build.training.clip_dataset import ClipDataset

        section = f"{row['machine_type']}/{row['section']}"
        clips = ClipDataset(self.run.store, sections=section, features="audio", memory_budget_bytes=0)
        numbers = np.flatnonzero(clips.clips["row"] == row["row"])
        images, maps = self._model.maps(clips.read(numbers).to(self._device))
        found = [part[0].double().cpu().numpy() for part in (images, maps)]
        return ClipMaps(f"{row['machine_type']}/{row['clip']}", self.channels, found[0], found[1])

    def statistics(self, reporter: Reporter | None = None) -> list[MapStatistics]:
        """Mean and deviation of the maps over the test set: of all clips, and by machine type; by condition."""
        from mimiidg_build.training.clip_dataset import ClipDataset

        test = ClipDataset(self.run.store, split="test", features="audio", memory_budget_bytes=0)
        told = (reporter or Reporter()).step(f"{self.run.model} maps", len(test))
        means, squares = [], []  # of each clip, over frames
        for numbers in np.split(np.arange(len(test)), range(CLIPS_AT_ONCE, len(test), CLIPS_AT_ONCE)):
            maps = self._model.maps(test.read(numbers).to(self._device))[1].double()
            means.append(maps.mean(dim=3).cpu().numpy())
            squares.append(maps.square().mean(dim=3).cpu().numpy())
            told(len(numbers))
        mean, square = np.concatenate(means), np.concatenate(squares)
        types = [EVERY, *test.clips["machine_type"].unique()]
        return [
            _statistics(mean[rows, number], square[rows, number], machine_type, condition, channel)
            for machine_type in types
            for condition in ("normal", "anomaly")
            for number, channel in enumerate(self.channels)
            if (rows := _rows(test.clips, machine_type, condition)).any()
        ]


def _rows(clips: pd.DataFrame, machine_type: str, condition: str) -> npt.NDArray[np.bool_]:
    is_type = (clips["machine_type"] == machine_type) | (machine_type == EVERY)
    return (is_type & (clips["condition"] == condition)).to_numpy()


def _statistics(mean: Array, square: Array, machine_type: str, condition: str, channel: str) -> MapStatistics:
    """From each clip's mean and mean square [shape=(n_clips, n_mels)]."""
    whole = mean.mean(axis=0)
    variance = np.maximum(square.mean(axis=0) - whole**2, 0)
    return MapStatistics(machine_type, condition, channel, len(mean), whole, np.sqrt(variance))


def mel_hz() -> Array:
    """Centre frequencies of the mel bins [shape=(n_mels,)]."""
    from mimiidg_build.models.attention.inputs import mel_edges_hz

    return mel_edges_hz()[1:-1]


# ---- Tables and figures ----------------------------------------------------------------------------------------------


def statistics_rows(statistics: Sequence[MapStatistics]) -> list[dict[str, Any]]:
    """The table: one row per machine type, condition and map."""
    centres = mel_hz()
    rows = []
    for of in statistics:
        highest = int(of.mean.argmax())
        where = f"{centres[highest]:.0f} Hz" if of.channel == "logmel" else f"row {highest}"
        rows.append(
            {
                "machine type": of.machine_type,
                "condition": of.condition,
                "clips": of.n_clips,
                "map of": TITLES[of.channel],
                "mean": f"{of.mean.mean():.3f}",
                "deviation": f"{np.sqrt((of.deviation**2).mean()):.3f}",
                "highest at": where,
                "there": f"{of.mean[highest]:.3f}",
            }
        )
    return rows


def plot_clip(run: Run, clip: ClipMaps, path: Path) -> Path:
    """Draw a clip's images and beside each its attention map."""
    from matplotlib.figure import Figure

    n = len(clip.channels)
    figure = Figure(figsize=(11, 0.8 + 2.7 * n), dpi=144, layout="constrained")
    panels = figure.subplots(n, 2, sharex=True, squeeze=False)
    seconds = clip.images.shape[2] * HOP / SAMPLE_RATE
    for row, (channel, image, weights) in enumerate(zip(clip.channels, clip.images, clip.maps, strict=True)):
        drawn = ((image, TITLES[channel], "magma"), (weights, f"attention to the {TITLES[channel]}", "viridis"))
        for axes, (values, title, colours) in zip(panels[row], drawn, strict=True):
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
    """Draw a map's mean by mel bin, and one deviation to both sides: a panel per machine type, a line per condition."""
    from matplotlib.figure import Figure

    chosen = [of for of in statistics if of.channel == channel]
    types = list(dict.fromkeys(of.machine_type for of in chosen))
    n_rows = -(-len(types) // 3)
    figure = Figure(figsize=(11, 0.8 + 2.6 * n_rows), dpi=144, layout="constrained")
    panels = figure.subplots(n_rows, 3, sharex=True, sharey=True, squeeze=False).flatten()
    for axes, machine_type in zip(panels, types, strict=False):
        for of in (of for of in chosen if of.machine_type == machine_type):
            colour, bins = COLOURS[of.condition == "anomaly"], np.arange(len(of.mean))
            line = "--" if of.condition == "anomaly" else "-"  # seen where the two are the same
            label = f"{of.condition}, {of.n_clips} clips"
            axes.plot(bins, of.mean, color=colour, linestyle=line, linewidth=1.4, label=label)
            axes.fill_between(bins, of.mean - of.deviation, of.mean + of.deviation, color=colour, alpha=0.18, lw=0)
        axes.set_title("all machine types" if machine_type == EVERY else machine_type, fontsize=10)
        axes.legend(fontsize=7, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        _mel_ticks(axes, "x", channel)
        axes.tick_params(labelbottom=True)
    for axes in panels[len(types) :]:
        axes.set_visible(False)
    for axes in panels[::3]:
        axes.set_ylabel("attention")
    title = f"attention to the {TITLES[channel]} over the test set: mean, and a deviation to both sides"
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
    return f"{run.model}, {run.label} profile, seed {run.seed}, {variant} ({data_kind(run.store)})"


def figure_path(run: Run, what: str) -> Path:
    """Where a figure of a run lies."""
    variant = run.store.attributes.variant.name
    return local(run.root) / "reports" / f"{variant}-{run.model}-{run.label}-{run.seed}-{what.replace('/', '-')}.png"
