"""Charts of a store: planned against measured SNR, levels and attenuation, clips per attribute value.

Powers are mean square at full scale 1, in charts dB of full scale. A chart is inline SVG (:mod:`.svg`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from markupsafe import Markup

from mimiidg_build.datasets.rows import records
from mimiidg_build.report.svg import canvas, colour, inline
from mimiidg_build.schemas.attributes import row_attributes
from mimiidg_build.schemas.manifests import DOMAINS
from mimiidg_build.schemas.stores import SNR_TOLERANCE_DB, SectionSummary
from mimiidg_build.store.store import Store
from mimiidg_build.store.summary import power_db, snr_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW = 18  # px per line of a chart with one line a section or value
PANEL = 190  # px, width of a small panel
MAX_LABEL = 13
MARKERS = {"source": "o", "target": "D", "": "s"}  # "": clips without a domain
GROUPS = (  # split, condition: how a count is drawn, and what it is called
    ("train", "normal", "train"),
    ("test", "normal", "test, normal"),
    ("test", "anomaly", "test, anomalous"),
)


@dataclass(frozen=True)
class Chart:
    """A drawing and its title; ``note`` is a short line below the title."""

    svg: Markup
    title: str
    note: str = ""


@dataclass(frozen=True)
class ValueCount:
    """Clips of a section that carry an attribute value, by domain and group of ``GROUPS``."""

    machine_type: str
    section: str
    attribute: str
    value: str
    domain: str
    counts: tuple[int, ...]


def snr_charts(store: Store) -> list[Chart]:
    """Planned against measured SNR of every clip; the largest error of each section. Empty where no noise was added."""
    clips, planned = store.clips, store.mix_plan["added_noise_snr_db"]
    mixed = planned.notna().to_numpy()
    if not mixed.any():
        return []
    return [_snr_scatter(clips[mixed], planned[mixed], snr_title(store)), _snr_errors(store)]


def domains_of(clips: pd.DataFrame) -> dict[str, float]:
    """The domains of clips, and which way each is moved aside in a chart: source one way, target the other."""
    found = [domain for domain in DOMAINS if (clips["domain"] == domain).any()]
    return {domain: (-1.0, 1.0)[DOMAINS.index(domain)] for domain in found} or {"": 0.0}


def shade_of(domain: str) -> str:
    """The colour of a domain; of clips without one, the text's."""
    return colour(domain or "ink")


def _snr_scatter(clips: pd.DataFrame, planned: pd.Series, title: str) -> Chart:
    measured = clips["measured_added_noise_snr_db"]
    figure, axes = canvas(500, 330, left=42, bottom=36)
    ends = (float(planned.min()) - 2, float(planned.max()) + 2)
    axes.plot(ends, ends, color=colour("line"), zorder=0)
    for domain, side in domains_of(clips).items():
        own = (clips["domain"] == domain).to_numpy()
        # most clips of a section share a point: drawn once, the page stays small
        points = sorted(set(zip(planned[own].round(3), measured[own].round(3), strict=True)))
        xs, ys = zip(*points, strict=True) if points else ((), ())
        moved = [x + 0.35 * side for x in xs]
        axes.plot(moved, ys, MARKERS[domain], color=shade_of(domain), markersize=5, markeredgewidth=0)
    axes.set_xlabel(f"planned {title} [dB]")
    axes.set_ylabel(f"measured {title} [dB]")
    axes.grid(True)
    error = float((measured - planned).abs().max())
    label = f"Measured against planned {title} of {len(clips):,} clips. Largest difference {error:.5f} dB."
    return Chart(inline(figure, "snr", label), f"Planned and measured {title}", "domains moved apart sideways")


def _snr_errors(store: Store) -> Chart:
    errors = {
        name: section.largest_snr_error_db
        for name, section in store.sections.items()
        if section.largest_snr_error_db is not None
    }
    figure, axes = canvas(500, 330, left=78, bottom=36)
    rows = range(len(errors))
    tips = {}
    for row, (name, error) in enumerate(errors.items()):
        tips[f"error{row}"] = f"{name}: {error:.6f} dB"
        # an error of 0 is drawn at the edge of the logarithmic axis
        axes.plot([max(error, 1e-7)], [row], "s", color=colour("ink"), markersize=5, gid=f"error{row}")
    axes.axvline(SNR_TOLERANCE_DB, color=colour("faint"), linestyle="--", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(1e-7, 1)
    axes.set_xticks([1e-6, 1e-4, 1e-2, 1], ["0.000001", "0.0001", "0.01", "1"])
    axes.set_yticks(rows, list(errors))
    axes.set_ylim(len(errors) - 0.4, -0.6)
    axes.set_xlabel("largest difference to the plan [dB]")
    axes.grid(True, axis="y")
    worst = max(errors, key=errors.__getitem__)
    label = f"Largest SNR error by section. The worst is {worst} with {errors[worst]:.6f} dB."
    title = "Largest error of a section"
    return Chart(
        inline(figure, "snr-error", label, tips), title, f"dashed: what a build refuses, {SNR_TOLERANCE_DB} dB"
    )


def level_chart(store: Store) -> Chart:
    """Level of the recordings before mixing, by section and domain: middle 90 % and median; and the attenuation."""
    names = list(store.sections)
    figure, axes = canvas(1120, ROW * len(names) * 1.25 + 44, left=78, right=320, bottom=36)
    width, height = figure.get_size_inches() * 72
    # fractions of the figure, from pixels: 290 from the right edge
    beside = figure.add_axes((1 - 290 / width, 36 / height, 274 / width, 1 - 42 / height), sharey=axes)
    tips = _draw_levels(axes, store) | _draw_attenuations(beside, store)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)  # reversed: the first section is on top
    axes.set_xlabel("level of a clip before mixing [dB of full scale]")
    axes.grid(True)
    beside.tick_params(labelleft=False)
    said = "; ".join(
        f"{name} {power_db(section.a):.1f} dB, attenuation {_attenuation_db(section):.2f} dB"
        for name, section in store.sections.items()
    )
    note = "range of the middle 90 % of clips, marker at the median"
    return Chart(inline(figure, "level", f"Mean level by section: {said}", tips), "Level and attenuation", note)


def _draw_levels(axes: Axes, store: Store) -> dict[str, str]:
    """A line per section and domain; the tooltip of each, by the id of its drawing."""
    tips: dict[str, str] = {}
    for row, name in enumerate(store.sections):
        own = store.clips.iloc[store.rows_by_section[name]]
        for domain, side in domains_of(own).items():
            powers = own.loc[(own["domain"] == domain) & (own["power"] > 0), "power"]  # silence has no level in dB
            if powers.empty:
                continue
            low, middle, high = (float(v) for v in np.quantile(10 * np.log10(powers), [0.05, 0.5, 0.95]))
            gid = f"level-{row}-{domain}"
            what = f"{name}, {domain}" if domain else name
            tips[gid] = f"{what}: median {middle:.1f} dB, 90 % of clips within {low:.1f} .. {high:.1f} dB"
            tips[f"{gid}-range"] = tips[gid]
            shade, y = shade_of(domain), row + 0.16 * side
            axes.plot([low, high], [y, y], color=shade, linewidth=3.5, alpha=0.35, gid=f"{gid}-range")
            axes.plot([middle], [y], MARKERS[domain], color=shade, markersize=5, gid=gid)
    return tips


def _draw_attenuations(axes: Axes, store: Store) -> dict[str, str]:
    """A bar per section; the tooltip of each, by the id of its drawing."""
    attenuations_db = {name: _attenuation_db(section) for name, section in store.sections.items()}
    tips = {}
    for row, (name, attenuation_db) in enumerate(attenuations_db.items()):
        tips[f"attenuation{row}"] = f"{name}: attenuated by {-attenuation_db + 0.0:.2f} dB"
        axes.barh([row], [attenuation_db], 0.5, color=colour("faint"), linewidth=0, gid=f"attenuation{row}")
    axes.set_xlabel("attenuation of the section [dB]")
    axes.set_xlim(min(-1.0, min(attenuations_db.values()) * 1.1), 0)
    axes.grid(True, axis="x")
    return tips


def _attenuation_db(section: SectionSummary) -> float:
    return 2 * power_db(section.attenuation) + 0.0  # a gain of amplitude; + 0.0 makes -0 a 0


def count_values(store: Store) -> list[ValueCount]:
    """Clips per section, attribute, value and domain, in the order that values sort as numbers or words."""
    found: Counter[tuple[str, str, str, str, str, int]] = Counter()
    numbers = {(split, condition): number for number, (split, condition, _) in enumerate(GROUPS)}
    for clip in records(store.clips):
        group = numbers.get((clip["split"], clip["condition"]))
        if group is None:  # a test clip whose condition nobody told
            continue
        for name, value in row_attributes(clip).items():
            found[clip["machine_type"], clip["section"], name, value, clip["domain"], group] += 1
    keys = sorted({key[:5] for key in found}, key=lambda key: (*key[:3], *value_order(key[4], key[3])))
    return [ValueCount(*key, tuple(found[(*key, group)] for group in range(len(GROUPS)))) for key in keys]


def value_order(domain: str, value: str) -> tuple[int, float, str]:
    """Sorts values: source before target, numbers as numbers."""
    place = DOMAINS.index(domain) if domain in DOMAINS else -1
    try:
        return place, float(value), value
    except ValueError:
        return place, 0.0, value


def value_charts(counts: list[ValueCount]) -> list[Chart]:
    """A panel per section: a line per attribute value, a marker per group of clips, on a logarithmic axis from 0."""
    sections: dict[str, list[ValueCount]] = {}
    for count in counts:
        sections.setdefault(f"{count.machine_type}/{count.section}", []).append(count)
    return [_value_chart(number, name, own) for number, (name, own) in enumerate(sections.items())]


def _value_chart(number: int, name: str, counts: list[ValueCount]) -> Chart:
    figure, axes = value_canvas(value_labels([(count.attribute, count.value) for count in counts]))
    tips = {}
    for row, count in enumerate(counts):
        for group, n_clips in enumerate(count.counts):
            gid = f"count-{row}-{group}"
            tips[gid] = f"{count.attribute} = {count.value}, {count.domain}, {GROUPS[group][2]}: {n_clips} clips"
            axes.plot(
                [n_clips],
                [row],
                (MARKERS[count.domain], MARKERS[count.domain], "x")[group],
                color=shade_of(count.domain),
                markerfacecolor=shade_of(count.domain) if group == 0 else "none",
                markeredgewidth=1.2,
                markersize=(6, 6, 5)[group],
                clip_on=False,  # markers at 0 stand on the edge, and are drawn whole
                gid=gid,
            )
    axes.set_xscale("symlog", linthresh=1, linscale=0.5)  # logarithmic, and yet with a place for 0
    most = max(max(count.counts) for count in counts)
    ticks = [tick for tick in (0, 1, 10, 100, 1000) if tick <= max(most, 1)]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlim(-0.25, most * 1.4)
    axes.grid(True)
    attributes = ", ".join(dict.fromkeys(count.attribute for count in counts))
    label = f"Clips of {name} per value of {attributes}: " + "; ".join(
        f"{count.attribute} {count.value} ({count.domain}) {'/'.join(map(str, count.counts))}" for count in counts
    )
    return Chart(inline(figure, f"values{number}", label, tips), name, attributes)


def value_labels(values: Sequence[tuple[str, str]]) -> list[str]:
    """Tick labels of (attribute, value); the attribute is named where there are several.

    >>> value_labels([("vel", "6"), ("vel", "10")]), value_labels([("vel", "6"), ("panel", "a very long one")])
    (['6', '10'], ['vel 6', 'panel a very…'])
    """
    several = len({attribute for attribute, _ in values}) > 1
    texts = [f"{attribute} {value}" if several else value for attribute, value in values]
    return [text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…" for text in texts]


def value_canvas(labels: Sequence[str]) -> tuple[Figure, Axes]:
    """A small panel with a line per attribute value."""
    left = 12 + 6 * max(len(label) for label in labels)
    figure, axes = canvas(PANEL, 15 * len(labels) + 30, left=left, right=10, top=4, bottom=22)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    return figure, axes
