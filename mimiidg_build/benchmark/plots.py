"""Figures of benchmarks: AUC against SNR and against the number of known anomalies, and loss curves.

PNG; matplotlib is imported when one is drawn.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.benchmark.results import Benchmark
from mimiidg_build.storage.files import write_file
from mimiidg_build.storage.places import Place, cache_places, local
from mimiidg_build.store.summary import snr_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = {"auc_source": ("source", "-"), "auc_target": ("target", "--")}
ONE_LINE = {"auc_all": ("all clips", "-")}  # where there are no domains
# colour-blind readers can tell these apart (Okabe and Ito)
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
LONGEST_NAMES = 100  # characters of all models' names in a file's name, which a file system bounds


def figure_name(variant: str, models: Sequence[ModelResult], shown: str) -> str:
    """The file name of a figure, by all that sets it apart from another: neither overwrites the other.

    Parameters
    ----------
    variant : str
    models : sequence of ModelResult
        Whose results it shows.
    shown : str
        What it shows of them: ``snr-6_+0_+6dB``, ``loss``.

    Returns
    -------
    str
    """
    names = "+".join(dict.fromkeys(re.sub(r"[^A-Za-z0-9_.]", "_", model.model) for model in models))
    if len(names) > LONGEST_NAMES:
        names = f"models-{hashlib.sha256(names.encode()).hexdigest()[:8]}"
    return f"{variant}-{models[0].label}-{names}-{shown}.png"


def snr_sweep_name(benchmarks: Sequence[Benchmark]) -> str:
    """The file name of ``plot_snr_sweep``'s figure: variant, profile, models, and SNR offsets or variants."""
    if not _is_sweep(benchmarks):
        variants = "+".join(benchmark.variant for benchmark in benchmarks)
        names = variants if len(variants) <= LONGEST_NAMES else hashlib.sha256(variants.encode()).hexdigest()[:8]
        return figure_name(names, benchmarks[0].models, "variants")
    offsets = "_".join(f"{offset:+g}" for offset in sorted(benchmark.snr_offset_db for benchmark in benchmarks))
    return figure_name(benchmarks[0].base_variant, benchmarks[0].models, f"snr{offsets}dB")


def _is_sweep(benchmarks: Sequence[Benchmark]) -> bool:
    """Whether variants differ in their SNR offset alone."""
    return len({benchmark.base_variant for benchmark in benchmarks}) == 1


def known_anomalies_name(benchmark: Benchmark) -> str:
    """The file name of ``plot_known_anomalies``'s figure: variant, profile, models and numbers of known anomalies."""
    numbers = "_".join(str(k) for k in sorted({model.known_anomalies for model in benchmark.models}))
    return figure_name(benchmark.variant, benchmark.models, f"known-anomalies-{numbers}")


def plot_snr_sweep(benchmarks: Sequence[Benchmark], path: Path) -> Path:
    """Draw mean AUC of source and target against the SNR offset, one colour per model, with 95 % intervals.

    Variants that differ in something else stand side by side, in the order given.
    """
    from matplotlib.figure import Figure  # not pyplot, which holds every figure until it is closed

    is_sweep = _is_sweep(benchmarks)
    ordered = sorted(benchmarks, key=lambda benchmark: benchmark.snr_offset_db) if is_sweep else list(benchmarks)
    places = [benchmark.snr_offset_db if is_sweep else float(n) for n, benchmark in enumerate(ordered)]
    curves: dict[tuple[str, str], list[tuple[float, ModelResult]]] = {}
    for place, benchmark in zip(places, ordered, strict=True):
        for model in benchmark.models:
            curves.setdefault((model.name, model.label), []).append((place, model))
    figure = Figure(figsize=(7, 4.2), dpi=144, layout="constrained")
    axes = figure.subplots()
    for number, curve in enumerate(curves.values()):
        _plot_means(axes, [place for place, _ in curve], [model for _, model in curve], number)
    if is_sweep:
        axes.set_xlabel(f"offset to the recipe's {snr_title(ordered[0].store)} [dB]")
        axes.set_title(f"{ordered[0].base_variant} ({ordered[0].store.attributes.data_kind})", fontsize=10)
        axes.set_xticks(places)
    else:
        axes.set_xticks(places, [benchmark.variant for benchmark in ordered])
    return save_figure(figure, path)


def plot_known_anomalies(benchmark: Benchmark, path: Path) -> Path:
    """Draw mean AUC of source and target against the number of known anomalies per section, one colour per model.

    Of the models' own scores: all of them would be too many lines to tell apart.
    """
    from matplotlib.figure import Figure

    curves: dict[str, list[ModelResult]] = {}
    for model in sorted(benchmark.models, key=lambda model: model.known_anomalies):
        if not model.score:
            curves.setdefault(model.model, []).append(model)
    numbers = sorted({model.known_anomalies for model in benchmark.models})
    figure = Figure(figsize=(7, 4.2), dpi=144, layout="constrained")
    axes = figure.subplots()
    for number, models in enumerate(curves.values()):
        places = [numbers.index(model.known_anomalies) for model in models]  # 0 has no place on a logarithmic axis
        _plot_means(axes, places, models, number)
    axes.set_xlabel(f"known anomalies per section, k; all tested without the same {numbers[-1]}")
    axes.set_title(f"{benchmark.variant} ({benchmark.store.attributes.data_kind})", fontsize=10)
    axes.set_xticks(range(len(numbers)), [str(k) for k in numbers])
    return save_figure(figure, path)


def _plot_means(axes: Axes, places: Sequence[float], models: Sequence[ModelResult], number: int) -> None:
    """Mean AUC of one model along an axis: a line per domain, or one where there are none, with 95 % intervals."""
    for metric, (domain, line) in (LINES if all(model.has_domains for model in models) else ONE_LINE).items():
        means = [model.mean(metric) for model in models]
        below = [100 * (mean.value - mean.low) for mean in means]
        above = [100 * (mean.high - mean.value) for mean in means]
        axes.errorbar(
            places,
            [100 * mean.value for mean in means],
            yerr=[below, above],
            color=COLOURS[number % len(COLOURS)],
            linestyle=line,
            marker="o",
            markersize=4,
            capsize=3,
            label=f"{models[0].name_without_number}, {domain}",
        )
    axes.axhline(50, color="#6e7781", linewidth=0.8, linestyle=":")
    axes.set_ylabel("AUC, mean over sections [%]")
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def plot_losses(benchmark: Benchmark, path: Path) -> Path:
    """Draw the loss curves of all runs: a panel per model, a line per network and seed."""
    from matplotlib.figure import Figure

    trained = [model for model in benchmark.models if model.losses and not model.score]
    figure = Figure(figsize=(4.5 * max(1, len(trained)), 3.6), dpi=144, layout="constrained")
    panels = figure.subplots(1, max(1, len(trained)), squeeze=False)[0]
    for axes, model in zip(panels, trained, strict=False):  # one empty panel where nothing was trained
        for number, (name, curves) in enumerate(model.losses.items()):
            colour = COLOURS[number % len(COLOURS)]
            for seed, curve in enumerate(curves):
                label = name if seed == 0 else None  # one entry of the legend for all seeds
                axes.plot(curve["epoch"], curve["loss"], color=colour, linewidth=1, label=label)
        axes.set_title(f"{model.name} ({benchmark.store.attributes.data_kind})", fontsize=9)
        axes.set_xlabel("epoch")
        axes.set_ylabel("training loss")
        axes.legend(fontsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    return save_figure(figure, path)


def reports_directory(root: Place) -> Path:
    """Where figures go: ROOT/reports, or its counterpart in the work folder where ROOT is read-only."""
    return local(cache_places(local(root) / "reports")[-1])


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, the whole file or none of it."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    write_file(path, [drawn.getvalue()])
    return path
