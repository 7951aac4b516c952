"""Two systems on the same clips: the differences of their AUCs, means and official scores, with 95 % intervals.

Conventions
-----------
Both systems score the same clips, so that what is hard for one is mostly hard for the other: the interval of the
difference is narrower than the intervals of the two suggest. It is that of the jackknife of the difference: a clip's
influence on it is the difference of its influences (:mod:`.influence`), averaged over seeds. With five seeds or more
of every system that trains, the spread of the seeds is added, and the interval is one over trainings as well. With
fewer it is over clips alone: a spread that two or three trainings show is no basis for an interval.

A difference is first less second, in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from mimiidg_build.errors import UsageError
from mimiidg_build.evaluation.confidence import (
    FLOOR,
    Interval,
    Weighted,
    harmonic_mean,
    pseudo_variance,
    quantile,
    spread_of,
)
from mimiidg_build.evaluation.influence import SectionInfluence, section_influence
from mimiidg_build.evaluation.intervals import weighted_sections
from mimiidg_build.evaluation.protocols import PROTOCOLS, Protocol
from mimiidg_build.evaluation.scored_clips import by_section
from mimiidg_build.evaluation.section_rows import by_condition, cells_of
from mimiidg_build.evaluation.small_cells import MARK, few_clips_notes, has_few_clips, smallest_cell
from mimiidg_build.schemas.results import SmallestCell
from mimiidg_build.schemas.sections import SectionId

LEAST_SEEDS = 5
OFFICIAL = "official_score"
MEAN = "mean"
_CLIP = ["machine_type", "section", "domain", "condition", "file_name"]


@dataclass(frozen=True)
class System:
    """The scored clips (``ScoredClips``) of every seed of a system; ``trains`` where its seeds differ."""

    name: str
    seeds: tuple[pd.DataFrame, ...]
    trains: bool = True

    @property
    def has_enough_seeds(self) -> bool:
        """Whether how much it varies from training to training is known."""
        return not self.trains or len(self.seeds) >= LEAST_SEEDS


@dataclass(frozen=True)
class Difference:
    """One number of both systems: ``place`` is a section (``fan/00``), a machine type, or ``mean`` over all sections.

    ``low`` and ``high`` bound the difference; NaN where a cell has one clip.
    """

    place: str
    metric: str
    first: float
    second: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """First less second."""
        return self.first - self.second


@dataclass(frozen=True)
class Comparison:
    """Two systems: differences by place and metric, the official score's last."""

    first: str
    second: str
    protocol: Protocol
    differences: tuple[Difference, ...]
    seeds: tuple[int, int]
    over_seeds: bool
    smallest_cell: SmallestCell
    notes: tuple[str, ...]

    @property
    def official_score(self) -> Difference:
        """Of the protocol's official score."""
        return self.differences[-1]

    @property
    def few_clips(self) -> bool:
        """Whether a cell has so few clips that means and official score are marked."""
        return has_few_clips(self.smallest_cell)

    @property
    def mark(self) -> str:
        """What stands behind means and official score."""
        return MARK if self.few_clips else ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, numbers at full precision; None for an interval that is unknown."""
        rows = [asdict(one) | {"difference": one.value} for one in self.differences]
        return {
            "first": self.first,
            "second": self.second,
            "protocol": self.protocol.name,
            "seeds": list(self.seeds),
            "over_seeds": self.over_seeds,
            "few_clips": self.few_clips,
            "differences": [
                {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
                for row in rows
            ],
            "notes": list(self.notes),
        }


def compare_systems(first: System, second: System, protocol: str) -> Comparison:
    """Compare two systems on the same clips.

    Parameters
    ----------
    first, second : System
    protocol : {"mimii", "2020", "2021", "2022"}

    Returns
    -------
    Comparison

    Raises
    ------
    UsageError
        Their clips are not the same; the message names the first that differs. Or the domains that the protocol needs
        are unknown.
    """
    rule = PROTOCOLS[protocol]
    pair = tuple(System(own.name, _aligned(own, first), own.trains) for own in (first, second))
    found = tuple([_influences(clips, rule) for clips in own.seeds] for own in pair)
    enough = all(own.has_enough_seeds for own in pair)
    differences = [
        _difference(place, metric, [[_estimate(seed, *how) for seed in own] for own in found], pair, enough)
        for place, metric, how in _wanted(next(iter(found[0])), rule)
    ]
    smallest = smallest_cell(by_section(pair[0].seeds[0]), rule)
    notes = [] if enough else [_seeds_note(pair)]
    return Comparison(
        first.name,
        second.name,
        rule,
        tuple(differences),
        (len(first.seeds), len(second.seeds)),
        enough and any(own.trains for own in pair),
        smallest,
        (*notes, *few_clips_notes(smallest)),
    )


def _seeds_note(pair: Sequence[System]) -> str:
    few = ", ".join(f"{own.name} has {len(own.seeds)}" for own in pair if not own.has_enough_seeds)
    return (
        f"The intervals are over test clips alone, not over trainings: {few} of the {LEAST_SEEDS} seeds that an "
        "interval over seeds needs."
    )


# ---- The same clips --------------------------------------------------------------------------------------------------


def _aligned(system: System, first: System) -> tuple[pd.DataFrame, ...]:
    """The clips of every seed in one order, the same for both systems."""
    expected = first.seeds[0].sort_values(_CLIP)[_CLIP].reset_index(drop=True)
    found = []
    for clips in system.seeds:
        ordered = clips.sort_values(_CLIP).reset_index(drop=True)
        if not ordered[_CLIP].equals(expected):
            raise UsageError(_what_differs(first.name, expected, system.name, ordered))
        found.append(ordered)
    return tuple(found)


def _what_differs(first: str, expected: pd.DataFrame, second: str, clips: pd.DataFrame) -> str:
    one, other = (set(table[_CLIP].itertuples(index=False, name=None)) for table in (expected, clips))
    named = " and ".join(
        f"{len(own)} clips of {name} are not in the other ({_named(min(own))})"
        for name, own in ((first, one - other), (second, other - one))
        if own
    )
    return f"{first} and {second} do not score the same clips: {named}. Only systems tested on the same clips compare."


def _named(clip: tuple[str, ...]) -> str:
    machine_type, section, domain, condition, name = clip
    return f"{machine_type}/{section} {' '.join(filter(None, (domain, condition)))} {name}"


def _influences(clips: pd.DataFrame, protocol: Protocol) -> dict[SectionId, SectionInfluence]:
    found = {}
    for section, rows in by_section(clips).items():
        cells = cells_of(section, rows) if protocol.has_domains else by_condition(rows)
        if cells is None:
            raise UsageError(f"{section}: the protocol {protocol.name} needs domains, which its clips do not have")
        found[section] = section_influence(cells, protocol.shown.values())
    return found


# ---- Differences -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Estimate:
    """A number of one seed: as it is printed, corrected, and as a sum of influences."""

    value: float
    corrected: float
    slopes: Weighted
    added_variance: float


_How = tuple[Sequence[SectionId], Sequence[str], str, bool]
"""A mean over sections, of metrics, arithmetic or harmonic, by machine type or not."""


def _wanted(sections: Mapping[SectionId, SectionInfluence], rule: Protocol) -> Iterator[tuple[str, str, _How]]:
    """(place, metric, how it is computed), the official score last."""
    places: dict[str, list[SectionId]] = {str(section): [section] for section in sections}
    types = dict.fromkeys(section.machine_type for section in sections)
    if len(sections) > 1:
        places |= {name: [section for section in sections if section.machine_type == name] for name in types}
        places[MEAN] = list(sections)
    for place, own in places.items():
        for metric in rule.shown.values():
            yield place, metric, (own, [metric], "arithmetic", place == MEAN and rule.by_machine_type)
    yield MEAN, OFFICIAL, (list(sections), rule.official, rule.mean, rule.by_machine_type)


def _estimate(
    influences: Mapping[SectionId, SectionInfluence],
    sections: Sequence[SectionId],
    metrics: Sequence[str],
    mean: str,
    by_machine_type: bool,
) -> _Estimate:
    weighted = weighted_sections({section: influences[section] for section in sections}, metrics, by_machine_type)
    terms = [(section.metrics[name], weight) for section, weights in weighted for name, weight in weights.items()]
    if mean == "harmonic":
        found = harmonic_mean(weighted)
        value = 1.0 / sum(weight / max(metric.value, FLOOR) for metric, weight in terms)
        return _Estimate(value, found.mean, found.slopes, found.added_variance)
    value = sum(weight * metric.value for metric, weight in terms)
    corrected = value - sum(weight * metric.factor * metric.bias for metric, weight in terms)
    return _Estimate(value, corrected, weighted, pseudo_variance(weighted))


def _difference(
    place: str, metric: str, found: Sequence[Sequence[_Estimate]], pair: Sequence[System], over_seeds: bool
) -> Difference:
    first, second = (float(np.mean([seed.value for seed in own])) for own in found)
    corrected = [float(np.mean([seed.corrected for seed in own])) for own in found]
    spread = spread_of(_of_both(found))
    variances = [spread.variance + sum(float(np.mean([seed.added_variance for seed in own])) for own in found)]
    freedom = [spread.freedom]
    for system, own in zip(pair, found, strict=True):
        if over_seeds and system.trains:
            variances.append(float(np.var([seed.value for seed in own], ddof=1)) / len(own))
            freedom.append(len(own) - 1)
    low, high = _around(corrected[0] - corrected[1], variances, freedom)
    value = first - second
    return Difference(place, metric, first, second, min(low, value), max(high, value))


def _around(difference: float, variances: Sequence[float], freedom: Sequence[float]) -> Interval:
    """The interval of a difference whose variance has several parts (Welch and Satterthwaite)."""
    total = sum(variances)
    if math.isnan(total):
        return math.nan, math.nan
    squares = sum(variance**2 / df for variance, df in zip(variances, freedom, strict=True))
    half_width = quantile(total**2 / squares if squares > 0 else math.inf) * math.sqrt(total)
    return max(difference - half_width, -1.0), min(difference + half_width, 1.0)


def _of_both(found: Sequence[Sequence[_Estimate]]) -> Weighted:
    """The difference of both systems' means over seeds as one sum of influences, section by section."""
    together: list[tuple[SectionInfluence, dict[str, float]]] = []
    for sections in zip(*(seed.slopes for own in found for seed in own), strict=True):
        signs = [sign / len(own) for sign, own in zip((1, -1), found, strict=True) for _ in own]
        metrics = {f"{n} {name}": own.metrics[name] for n, (own, slopes) in enumerate(sections) for name in slopes}
        weights = {
            f"{n} {name}": sign * slope
            for n, (sign, (_, slopes)) in enumerate(zip(signs, sections, strict=True))
            for name, slope in slopes.items()
        }
        together.append((SectionInfluence(sections[0][0].sizes, metrics), weights))
    return together
