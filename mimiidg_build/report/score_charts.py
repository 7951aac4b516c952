"""Charts of scored clips: AUC by section with intervals, ROC curves, score histograms, AUC per attribute value, losses,
AUC against SNR. AUCs are in [0, 1], in charts in %. A chart is inline SVG (:mod:`.svg`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mimiidg_build.benchmark.estimates import Estimate
from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.datasets.rows import records
from mimiidg_build.evaluation import roc
from mimiidg_build.report.cells import signed_db
from mimiidg_build.report.data_charts import (
    MARKERS,
    PANEL,
    ROW,
    Chart,
    domains_of,
    shade_of,
    value_canvas,
    value_labels,
    value_order,
)
from mimiidg_build.report.svg import canvas, colour, inline
from mimiidg_build.report.sweeps import Sweep
from mimiidg_build.schemas.manifests import DOMAINS
from mimiidg_build.schemas.sections import SectionId, rows_by_section
from mimiidg_build.store.summary import snr_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_BINS = 24
AUC_TICKS = (0, 25, 50, 75, 100)


def aucs_of(results: Sequence[ModelResult]) -> dict[str, str]:
    """The AUCs that charts draw, by domain: of source and target; by ``""`` that of all clips, without domains."""
    if all(result.has_domains for result in results):
        return {domain: f"auc_{domain}" for domain in DOMAINS}
    return {"": "auc_all"}


def _what(*words: str) -> str:
    return ", ".join(filter(None, words))


def section_chart(number: int, result: ModelResult) -> Chart:
    """AUC of source and target by section with 95 % intervals; the paper's as hollow markers where it has one."""
    names, aucs = result.evaluated, aucs_of([result])
    figure, axes = canvas(360, ROW * (len(names) + 1) * 1.3 + 40, left=78, bottom=36)
    rows = [(name, {d: result.section(name, metric) for d, metric in aucs.items()}) for name in names]
    rows.append(("mean", {d: result.mean(metric) for d, metric in aucs.items()}))
    tips: dict[str, str] = {}
    for row, (name, estimates) in enumerate(rows):
        # strict=False: empty where nothing is published
        paper = dict(zip(DOMAINS, result.published.get(name if name != "mean" else "average", ()), strict=False))
        for domain, shift in zip(aucs, (-0.17, 0.17) if len(aucs) > 1 else (0.0,), strict=True):
            gid = f"auc-{row}-{domain}"
            tips[gid] = f"{_what(name, domain)}: {estimates[domain]}"
            _interval(axes, row + shift, estimates[domain], domain, gid)
            if domain in paper:
                tips[f"{gid}-paper"] = f"{name}, {domain}, paper: {paper[domain]:.2f}"
                _hollow(axes, paper[domain], row + shift, domain, f"{gid}-paper")
    axes.axhline(len(names) - 0.5, color=colour("line"), linewidth=1)
    _auc_axis(axes, "x")
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("AUC [%]")
    said = "; ".join(
        f"{name} {_what(*(f'{domain} {auc}'.strip() for domain, auc in own.items()))}" for name, own in rows
    )
    label = f"AUC in percent by section of {result.name}: {said}"
    return Chart(inline(figure, f"auc{number}", label, tips), result.name, result.label)


def _hollow(axes: Axes, x: float, y: float, domain: str, gid: str) -> None:
    shade, inside = shade_of(domain), colour("paper")
    axes.plot([x], [y], MARKERS[domain], color=shade, markerfacecolor=inside, markersize=5, gid=gid)


def _interval(axes: Axes, y: float, estimate: Estimate, domain: str, gid: str) -> None:
    axes.plot([100 * estimate.low, 100 * estimate.high], [y, y], color=shade_of(domain), linewidth=2, alpha=0.45)
    axes.plot([100 * estimate.value], [y], MARKERS[domain], color=shade_of(domain), markersize=5, gid=gid)


def _auc_axis(axes: Axes, which: str) -> None:
    """0 to 100 %, with a line at chance."""
    line, limits, ticks = (
        (axes.axvline, axes.set_xlim, axes.set_xticks)
        if which == "x"
        else (axes.axhline, axes.set_ylim, axes.set_yticks)
    )
    line(50, color=colour("faint"), linewidth=1, linestyle=":")
    limits(-2, 102)
    ticks(AUC_TICKS, [str(tick) for tick in AUC_TICKS])
    axes.grid(True, axis="x" if which == "x" else "y")


def roc_charts(number: int, result: ModelResult) -> list[Chart]:
    """A ROC curve per section and domain: its normal clips against all anomalous clips of the section."""
    charts = []
    for place, (name, clips) in enumerate(result.scored.items()):
        figure, axes = canvas(PANEL, PANEL - 14, left=40, bottom=34)
        axes.plot([0, 100], [0, 100], color=colour("faint"), linewidth=1, linestyle=":")
        anomaly = clips.loc[clips["condition"] == "anomaly", "score"].to_numpy()
        aucs = {}
        # as in the paper: each domain's normal clips against the anomalies of both
        for domain, line in zip(domains_of(clips), ("-", "--"), strict=False):
            normal = clips.loc[(clips["condition"] == "normal") & (clips["domain"] == domain), "score"].to_numpy()
            fpr, tpr = roc.roc_curve(normal, anomaly)
            aucs[domain] = roc.auc(normal, anomaly)
            axes.plot(100 * fpr, 100 * tpr, line, color=shade_of(domain), linewidth=1.8)
        axes.axvspan(0, 100 * roc.MAX_FPR, color=colour("line"), alpha=0.5, linewidth=0)  # what the pAUC is of
        axes.set_xlim(-1, 101)
        axes.set_ylim(-1, 101)
        axes.set_xticks([0, 50, 100])
        axes.set_yticks([0, 50, 100])
        axes.set_xlabel("false positives [%]")
        axes.set_ylabel("true positives [%]")
        note = " · ".join(f"{domain} {100 * auc:.1f}".strip() for domain, auc in aucs.items())
        label = f"ROC curves of {name}, {result.name}. AUC in percent: {note}"
        charts.append(Chart(inline(figure, f"roc{number}-{place}", label), name, note))
    return charts


def histogram_charts(number: int, result: ModelResult) -> list[Chart]:
    """Score histograms per section: source upwards, target downwards; normal filled, anomalous outlined."""
    charts = []
    for place, (name, clips) in enumerate(result.scored.items()):
        figure, axes = canvas(PANEL, 130, left=8, right=8, bottom=20)
        threshold = result.thresholds[name]
        above = _draw_histograms(axes, clips, threshold)
        axes.axhline(0, color=colour("faint"), linewidth=1)
        axes.axvline(threshold, color=colour("ink"), linewidth=1.2, linestyle="--")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=3)
        label = f"Score histogram of {name}, {result.name}. Above the threshold {threshold:.4g}: {', '.join(above)}"
        charts.append(Chart(inline(figure, f"hist{number}-{place}", label), name, f"threshold {threshold:.4g}"))
    return charts


def _draw_histograms(axes: Axes, clips: pd.DataFrame, threshold: float) -> list[str]:
    """One per domain and condition; how many of each are above the threshold, in words."""
    low, high = np.quantile(clips["score"], [0, 1])
    ends = (min(float(low), threshold), max(float(high), threshold))
    # a width of 1 where all scores and the threshold are one number
    edges = np.linspace(ends[0], ends[1] if ends[1] > ends[0] else ends[0] + 1, N_BINS + 1)
    highest, above = 1, []
    for domain, side in domains_of(clips).items():
        sign = -1 if side > 0 else 1  # target downwards
        for condition in ("normal", "anomaly"):
            scores = clips.loc[(clips["domain"] == domain) & (clips["condition"] == condition), "score"]
            counts = np.histogram(scores, edges)[0]
            highest = max(highest, int(counts.max()))
            above.append(f"{domain} {condition} ".lstrip() + f"{int((scores > threshold).sum())} of {len(scores)}")
            filled = condition == "normal"
            options: dict[str, Any] = {"alpha": 0.4, "linewidth": 0} if filled else {"linewidth": 1.4}
            axes.stairs(sign * counts, edges, color=shade_of(domain), fill=filled, **options)
    axes.set_ylim(-1.08 * highest, 1.08 * highest)
    return above


def value_auc_charts(number: int, result: ModelResult) -> list[Chart]:
    """AUC per attribute value: the normal clips that carry it against all anomalous clips of the section."""
    charts, rows_of = [], rows_by_section(result.values)
    for place, name in enumerate(result.evaluated):
        rows = records(result.values.iloc[rows_of.get(SectionId.parse(name), [])])
        if not rows:
            continue
        rows.sort(key=lambda row: (row["attribute"], *value_order(row["domain"], row["value"])))
        labels = value_labels([(row["attribute"], row["value"]) for row in rows])
        figure, axes = value_canvas(labels)
        tips, said = {}, []
        for line, row in enumerate(rows):
            gid = f"value-{line}"
            domain = row["domain"] if row["domain"] in DOMAINS else "faint"
            what = f"{row['attribute']} = {row['value']}"
            tips[gid] = f"{_what(what, row['domain'])}: {100 * row['auc']:.2f}, {row['n_normal']} normal clips"
            said.append(f"{what} {100 * row['auc']:.1f}")
            axes.plot([50, 100 * row["auc"]], [line, line], color=colour(domain), linewidth=2, alpha=0.4)  # from chance
            axes.plot([100 * row["auc"]], [line], MARKERS.get(domain, "s"), color=colour(domain), markersize=5, gid=gid)
        _auc_axis(axes, "x")
        label = f"AUC in percent per attribute value of {name}, {result.name}: {'; '.join(said)}"
        note = ", ".join(dict.fromkeys(str(row["attribute"]) for row in rows))
        charts.append(Chart(inline(figure, f"valueauc{number}-{place}", label, tips), name, note))
    return charts


def loss_charts(number: int, result: ModelResult) -> list[Chart]:
    """Loss curves, a panel per trained network: a line per seed, the loss on clips held out dashed."""
    from matplotlib.ticker import LogLocator

    charts = []
    for place, (part, curves) in enumerate(result.losses.items()):
        figure, axes = canvas(PANEL, 140, left=40, bottom=34)
        for curve in curves:
            axes.plot(curve["epoch"], curve["loss"], color=colour("ink"), linewidth=1.5)
            if curve["held_out_loss"].notna().any():
                axes.plot(curve["epoch"], curve["held_out_loss"], "--", color=colour("faint"), linewidth=1.5)
        if all((curve["loss"] > 0).all() for curve in curves):  # 0 and below have no logarithm
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
        axes.locator_params(axis="x", integer=True, nbins=5)
        axes.set_xlabel("epoch")
        axes.grid(True, axis="y")
        last = ", ".join(f"{curve['loss'].iloc[-1]:.4g}" for curve in curves)
        label = f"Training loss of {result.name}, {part}, over {len(curves[0])} epochs. Last: {last}"
        charts.append(Chart(inline(figure, f"loss{number}-{place}", label), part.replace("_", "/"), f"last {last}"))
    return charts


def snr_sweep_charts(sweep: Sweep) -> list[Chart]:
    """Mean AUC of source and target against the SNR offset, a panel per model, with 95 % intervals."""
    charts = []
    for number, ((model, label), results) in enumerate(sweep.items()):
        offsets = [result.snr_offset_db for result in results]
        axis = _Axis(
            f"offset to the recipe's {snr_title(results[0].store)} [dB]",
            offsets,
            [signed_db(offset) for offset in offsets],
        )
        charts.append(_sweep_chart(f"sweep{number}", results, axis, model, label))
    return charts


def known_anomaly_charts(known: Sweep) -> list[Chart]:
    """Mean AUC of source and target against the number of known anomalies, a panel per model, with 95 % intervals."""
    charts = []
    for number, ((name, label), results) in enumerate(known.items()):
        ticks = [str(result.known_anomalies) for result in results]
        axis = _Axis("known anomalies per section, k", list(range(len(ticks))), ticks)  # 0 has no place on a log axis
        charts.append(_sweep_chart(f"known{number}", results, axis, name, label))
    return charts


@dataclass(frozen=True)
class _Axis:
    """The axis that results differ along: where each one stands on it, and what is written there."""

    title: str
    places: Sequence[float]
    ticks: Sequence[str]


def _sweep_chart(name: str, results: Sequence[ModelResult], axis: _Axis, model: str, label: str) -> Chart:
    """Mean AUC of source and target along an axis."""
    figure, axes = canvas(340, 240, left=40, bottom=36)
    tips, said = {}, []
    for (domain, metric), line in zip(aucs_of(results).items(), ("-", "--"), strict=False):
        means = [result.mean(metric) for result in results]
        axes.plot(axis.places, [100 * mean.value for mean in means], line, color=shade_of(domain), linewidth=1.6)
        for number, (at, tick, mean) in enumerate(zip(axis.places, axis.ticks, means, strict=True)):
            gid = f"{domain}-{number}"
            tips[gid] = f"{domain} at {tick}: {mean}".lstrip()
            said.append(tips[gid])
            axes.plot([at, at], [100 * mean.low, 100 * mean.high], color=shade_of(domain), linewidth=2, alpha=0.45)
            axes.plot([at], [100 * mean.value], MARKERS[domain], color=shade_of(domain), markersize=5, gid=gid)
    axes.axhline(50, color=colour("faint"), linewidth=1, linestyle=":")
    axes.set_xticks(axis.places, axis.ticks)
    axes.set_xlabel(axis.title)
    axes.set_ylabel("mean AUC [%]")
    axes.grid(True, axis="y")
    text = f"Mean AUC in percent of {model} against {axis.title}: {'; '.join(said)}"
    return Chart(inline(figure, name, text, tips), model, label)
