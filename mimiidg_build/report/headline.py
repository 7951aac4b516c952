"""What the first screen says: which system is best, how sure that is, where it fails, and on what data.

A system's score is the official score; where the domains that it needs are unknown, the mean AUC over sections.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mimiidg_build.benchmark.estimates import Estimate
from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.errors import counted
from mimiidg_build.evaluation.paired import Comparison, Difference
from mimiidg_build.report.cells import Cell, estimate, with_minus
from mimiidg_build.schemas.manifests import DOMAINS
from mimiidg_build.store.store import Store
from mimiidg_build.store.summary import snr_title, span

CHANCE = 0.5


@dataclass(frozen=True)
class Headline:
    """The best of several systems; ``weakest`` names the section, and the domain, where its AUC is lowest."""

    best: ModelResult
    score_title: str
    score: Cell
    weakest: str
    weakest_auc: Cell
    weakest_note: str
    rivals: str
    mark: str


def score(result: ModelResult) -> Estimate:
    """What systems are ranked by."""
    official = result.official_score
    return result.mean("auc_all") if math.isnan(official.value) else official


def ranked(results: Sequence[ModelResult]) -> list[ModelResult]:
    """The best system first; by mean AUC where scores are equal: one section with an AUC of 0 makes any score 0."""
    return sorted(
        results, key=lambda result: (round(score(result).value, 6), result.mean("auc_all").value), reverse=True
    )


def headline(
    results: Sequence[ModelResult], pairs: Mapping[tuple[str, str], Comparison] | None = None
) -> Headline | None:
    """The best of the systems that were trained on normal clips alone; None where there is none.

    A training that knows anomalies of the test set, or a score that uses them, is no rival of one that does not.

    Parameters
    ----------
    results : sequence of ModelResult
    pairs : {(name, profile): Comparison}, optional
        Of the other systems less the best one, on the same clips: surer than their own intervals.

    Returns
    -------
    Headline or None
    """
    plain = ranked([result for result in results if result.is_rival])
    if not plain:
        return None
    best, found = plain[0], score(plain[0])
    where, auc = weakest(best)
    is_official = not math.isnan(best.official_score.value)
    return Headline(
        best,
        "official score" if is_official else "mean AUC",
        _shown(found),
        where,
        _shown(auc),
        against_chance(auc),
        _rivals(found, plain[1:], pairs or {}),
        found.mark,
    )


def _shown(found: Estimate) -> Cell:
    """An estimate with its interval, where that says anything; the mark of few clips is the page's to place."""
    cell = estimate(replace(found, few_clips=False))
    return cell if has_width(found) else replace(cell, small="")


def weakest(result: ModelResult) -> tuple[str, Estimate]:
    """Where a system's AUC is lowest: the section and, where domains are known, the domain."""
    aucs = {
        f"{name}, {domain}": result.section(name, f"auc_{domain}") for name in result.evaluated for domain in DOMAINS
    }
    known = {where: auc for where, auc in aucs.items() if not math.isnan(auc.value)}
    known = known or {name: result.section(name, "auc_all") for name in result.evaluated}
    return min(known.items(), key=lambda entry: entry[1].value)


def against_chance(auc: Estimate) -> str:
    """What an AUC's interval says of chance.

    >>> against_chance(Estimate(0.45, 0.4, 0.55)), against_chance(Estimate(0.3, 0.2, 0.4))
    ('no better than chance', 'worse than chance')
    >>> against_chance(Estimate(0.6, 0.55, 0.65))
    ''
    """
    if not has_width(auc):
        return "too few test clips for an interval"
    if auc.high < CHANCE:
        return "worse than chance"
    return "no better than chance" if auc.low <= CHANCE else ""


def _rivals(best: Estimate, others: Sequence[ModelResult], pairs: Mapping[tuple[str, str], Comparison]) -> str:
    """How sure the order is: by differences on the same clips where they are known, else by intervals that overlap."""
    if not others:
        return "No other system has been benchmarked."
    found = [score(result) for result in others]
    second = _shown(found[0])
    interval = f" ({second.small})" if second.small else ""
    said = f"Next is {others[0].name} with {second.text} %{interval}."
    paired = [pairs[key].official_score for other in others if (key := (other.name, other.label)) in pairs]
    if len(paired) == len(others) and not any(math.isnan(one.high) for one in paired):
        return f"{said} {_of_pairs(paired)}"
    if not all(has_width(one) for one in (best, *found)):
        return f"{said} The test clips are too few to say whether that order holds."
    n_level = sum(one.high >= best.low for one in found)
    if not n_level:
        return f"{said} Its interval lies below: the order is clear."
    return f"{said} The intervals overlap, so the order of {_names(n_level)} is not certain."


def _of_pairs(paired: Sequence[Difference]) -> str:
    """How sure the order is, of differences from the best system."""
    behind = f"On the same clips it is {with_minus(f'{-100 * paired[0].value:.2f}')} points behind"
    bounds = with_minus(f"({-100 * paired[0].high:.1f} .. {-100 * paired[0].low:.1f})")
    n_level = sum(one.high >= 0 for one in paired)
    if not n_level:
        return f"{behind} {bounds}: the order is clear."
    return f"{behind} {bounds}. The order of {_names(n_level)} is not certain."


def has_width(found: Estimate) -> bool:
    """Whether an interval says anything: with one clip of a kind, all resamples are alike.

    >>> has_width(Estimate(0.5, 0.5, 0.5)), has_width(Estimate(0.5, 0.4, 0.6))
    (False, True)
    """
    return found.high - found.low > 1e-6  # NaN, where there is no interval, is not larger


def _names(n_level: int) -> str:
    return "the two" if n_level == 1 else f"the first {n_level + 1}"


def data_summary(store: Store) -> str:
    """The data in a line: machine types, sections, clips, SNR."""
    machine_types = sorted(set(store.clips["machine_type"]))
    planned = [snr for section in store.sections.values() for snr in section.planned_added_noise_snr_db or ()]
    noise = f"{snr_title(store)} {with_minus(span(min(planned), max(planned), 1))} dB" if planned else "no noise added"
    n_test = int((store.clips["split"] == "test").sum())
    sections = f"{counted(len(store.sections), 'section')} of {', '.join(machine_types)}"
    return f"{sections}; {len(store.clips):,} clips, {n_test:,} of them for testing; {noise}"
