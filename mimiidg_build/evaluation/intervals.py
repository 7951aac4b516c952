"""The intervals of an evaluation: of every metric of every section, of means, and of the official score.

Three kinds: ``jackknife`` (:mod:`.confidence`), the default; ``hanley_mcneil`` and ``as_published``, of AUCs alone
(:mod:`.hanley_mcneil`). ``none`` computes none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar, get_args

from mimiidg_build.errors import UsageError, did_you_mean, shown
from mimiidg_build.evaluation.confidence import Interval, Weighted, arithmetic_interval, harmonic_interval
from mimiidg_build.evaluation.hanley_mcneil import hanley_mcneil_mean, published_interval
from mimiidg_build.evaluation.influence import Conditions, SectionInfluence, auc_counts, section_influence
from mimiidg_build.evaluation.protocols import Protocol
from mimiidg_build.evaluation.section_metrics import DOMAINLESS_AUCS, SECTION_AUCS, Cells
from mimiidg_build.schemas.sections import SectionId

Kind = Literal["jackknife", "hanley_mcneil", "as_published", "none"]
KINDS: tuple[Kind, ...] = get_args(Kind)
UNKNOWN = (math.nan, math.nan)
Scores = Mapping[SectionId, Cells | Conditions]
Influences = Mapping[SectionId, SectionInfluence]
T = TypeVar("T")


@dataclass(frozen=True)
class Intervals:
    """Intervals by metric: of sections, of arithmetic means over machine types and over all, and of the rest.

    A metric that has none is left out.
    """

    sections: dict[SectionId, dict[str, Interval]] = field(default_factory=dict)
    machine_types: dict[str, dict[str, Interval]] = field(default_factory=dict)
    arithmetic: dict[str, Interval] = field(default_factory=dict)
    harmonic: dict[str, Interval] = field(default_factory=dict)
    official_score: Interval = UNKNOWN


def kind_named(name: str) -> Kind:
    """The kind of interval of that name.

    Raises
    ------
    UsageError
        There is none.
    """
    for kind in KINDS:
        if kind == name:
            return kind
    raise UsageError(f"no interval is named {shown(name)}.{did_you_mean(name, KINDS)} There are {', '.join(KINDS)}.")


def find_intervals(scores: Scores, protocol: Protocol, is_complete: bool, kind: Kind) -> Intervals:
    """All intervals of one kind.

    Parameters
    ----------
    scores : mapping of SectionId to Cells, or to (normal scores, anomalous scores) where there are no domains
        Of the sections whose truth is known as far as the protocol needs it.
    protocol : Protocol
    is_complete : bool
        Whether these are all sections; means over others are unknown.
    kind : Kind

    Returns
    -------
    Intervals
    """
    if kind == "none" or not scores:
        return Intervals()
    if kind != "jackknife":
        return _closed_form(scores, protocol, is_complete, kind)
    found = {section: section_influence(cells) for section, cells in scores.items()}
    metrics = SECTION_AUCS if protocol.has_domains else DOMAINLESS_AUCS
    sections = {
        section: known
        for section, own in found.items()
        if (known := _known({name: arithmetic_interval([(own, {name: 1.0})]) for name in own.metrics}))
    }
    if not is_complete:
        return Intervals(sections)
    by_type = {
        machine_type: _known({name: mean_interval(own, [name], "arithmetic") for name in metrics})
        for machine_type, own in _by_machine_type(found).items()
    }
    arithmetic, harmonic = (
        _known({name: mean_interval(found, [name], mean, protocol.by_machine_type) for name in metrics})
        for mean in ("arithmetic", "harmonic")
    )
    return Intervals(sections, by_type, arithmetic, harmonic, official_interval(found, protocol) or UNKNOWN)


def _closed_form(scores: Scores, protocol: Protocol, is_complete: bool, kind: Kind) -> Intervals:
    """Hanley and McNeil's: a machine type's is of its sections' mean; as published, of nothing larger."""
    mean = hanley_mcneil_mean if kind == "hanley_mcneil" else published_interval
    aucs: dict[SectionId, dict[str, tuple[float, int, int]]] = {}
    for section, cells in scores.items():
        counts = auc_counts(cells)
        found = section_influence(cells, counts).metrics
        aucs[section] = {name: (found[name].share, *counts[name]) for name in counts}
    types = {
        machine_type: {name: mean([found[name] for found in own.values()]) for name in next(iter(own.values()))}
        for machine_type, own in _by_machine_type(aucs).items()
    }
    every = next(iter(aucs.values()))
    over_all = {name: mean([found[name] for found in aucs.values()]) for name in every}
    return Intervals(
        sections={section: {name: mean([auc]) for name, auc in found.items()} for section, found in aucs.items()},
        machine_types=types if is_complete else {},
        # of sections that all count alike
        arithmetic=over_all if is_complete and kind == "hanley_mcneil" and not protocol.by_machine_type else {},
    )


def official_interval(sections: Influences, protocol: Protocol) -> Interval | None:
    """Of the official score; None where a cell has one clip."""
    return mean_interval(sections, protocol.official, protocol.mean, protocol.by_machine_type)


def mean_interval(
    sections: Influences, metrics: Sequence[str], mean: str, by_machine_type: bool = False
) -> Interval | None:
    """Of a mean over sections and metrics.

    Parameters
    ----------
    sections : mapping of SectionId to SectionInfluence
    metrics : sequence of str
    mean : {"arithmetic", "harmonic"}
    by_machine_type : bool
        Whether every machine type counts alike, rather than every section.

    Returns
    -------
    (low, high) or None
        None where a cell has one clip.
    """
    of = {"arithmetic": arithmetic_interval, "harmonic": harmonic_interval}[mean]
    return of(weighted_sections(sections, metrics, by_machine_type))


def weighted_sections(sections: Influences, metrics: Sequence[str], by_machine_type: bool) -> Weighted:
    """What each metric of each section weighs in their mean; see :func:`mean_interval`."""
    types = _by_machine_type(sections)
    n_alike = {
        section: len(types) * len(types[section.machine_type]) if by_machine_type else len(sections)
        for section in sections
    }
    return [(own, dict.fromkeys(metrics, 1 / (n_alike[section] * len(metrics)))) for section, own in sections.items()]


def _by_machine_type(sections: Mapping[SectionId, T]) -> dict[str, dict[SectionId, T]]:
    names = dict.fromkeys(section.machine_type for section in sections)
    return {name: {key: own for key, own in sections.items() if key.machine_type == name} for name in names}


def _known(intervals: Mapping[str, Interval | None]) -> dict[str, Interval]:
    return {name: interval for name, interval in intervals.items() if interval is not None}
