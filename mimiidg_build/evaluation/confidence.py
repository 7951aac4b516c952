"""Confidence intervals of AUCs, pAUCs, their means and official scores, from the jackknife over test clips.

Conventions
-----------
Variances are those of a jackknife that leaves out one clip at a time within each cell (section, domain, condition):
sums over cells of what :mod:`.influence` gives clip by clip. So a section's AUCs and pAUC vary together, and the design
of the test set is kept. Intervals are at 95 %. They say how a metric would vary with other test clips; not with another
training seed, which is a second source of variance. Nothing is drawn at random.

- *One AUC or pAUC, and arithmetic means*: Wilson's interval (the score interval of a binomial share) at the number of
  clips that has the jackknife's variance. It stays within [0, 1], leans away from a bound, and has a width where every
  clip is ranked right, for which variance a pseudo-count of Hanley and McNeil's is added (``Influence.unit``).
- *Harmonic means*, official scores among them: on the log scale, where an interval of a ratio is symmetrical, from the
  derivatives of the mean. 1 / a of an AUC that is known to a variance v is too large by v / a^3 on average; the
  reciprocal of a + v / a stands for it, so that one AUC of nearly 0, by chance, does not decide everything.
- pAUC is corrected for its bias. Quantiles are Student's, with Satterthwaite's degrees of freedom over the cells.

An interval always holds the value that is printed. Where a cell has one clip there is none. How often intervals hold
the truth, ``tests/benchmarks/coverage.py`` measures; the table is in ``tests/README.md``.

Sources: Efron and Stein, Annals of Statistics 9 (1981); DeLong et al., Biometrics 44 (1988); Wilson, JASA 22 (1927);
Kottas et al., BMC Medical Research Methodology 14 (2014), for Wilson's form at an AUC; Satterthwaite, Biometrics
Bulletin 2 (1946).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.special

from mimiidg_build.evaluation.hanley_mcneil import LEVEL
from mimiidg_build.evaluation.influence import Influence, SectionInfluence, cell_variances

Interval = tuple[float, float]
Weighted = Sequence[tuple[SectionInfluence, Mapping[str, float]]]
"""What a mean is of: for each section, the weights of its metrics."""

FLOOR = sys.float_info.epsilon  # of values under a harmonic mean, as in :mod:`.means`


@dataclass(frozen=True)
class Spread:
    """The variance of a weighted sum of metrics and its degrees of freedom; NaN where a cell has one clip."""

    variance: float
    freedom: float

    def half_width(self, added_variance: float = 0.0) -> float:
        """Student's quantile times the standard error."""
        return quantile(self.freedom) * float(np.sqrt(self.variance + added_variance))


def quantile(freedom: float, level: float = LEVEL) -> float:
    """Of Student's distribution, two-sided.

    >>> round(quantile(np.inf), 2), round(quantile(4), 2)
    (1.96, 2.78)
    """
    # scipy.stats takes a second to import
    probability = (1 + level) / 2
    return float(scipy.special.ndtri(probability) if np.isinf(freedom) else scipy.special.stdtrit(freedom, probability))


def wilson(share: float, variance: float, times: float) -> Interval:
    """Wilson's interval of a share.

    Parameters
    ----------
    share : float in [0, 1]
    variance : float
        As a fraction of share (1 - share): one over the number of independent clips that it is worth.
    times : float
        How many standard errors.

    Returns
    -------
    (low, high) : tuple of float in [0, 1]

    Examples
    --------
    >>> [round(bound, 4) for bound in wilson(1.0, 1 / 16, 1.96)]
    [0.8064, 1.0]
    """
    added = times**2 * variance
    middle = (share + added / 2) / (1 + added)
    half_width = np.sqrt(added * share * (1 - share) + added**2 / 4) / (1 + added)
    return max(0.0, float(middle - half_width)), min(1.0, float(middle + half_width))


# ---- Means -----------------------------------------------------------------------------------------------------------


def arithmetic_interval(weighted: Weighted) -> Interval | None:
    """The interval of an arithmetic mean: of one metric of one section, over sections, or over several metrics.

    Parameters
    ----------
    weighted : sequence of (SectionInfluence, {metric: weight})
        Weights are positive, and sum to 1.

    Returns
    -------
    (low, high) or None
        None where a cell has one clip.
    """
    terms = list(_terms(weighted))
    spread = spread_of(weighted)
    if np.isnan(spread.variance):
        return None
    scales = {(metric.offset, metric.factor) for metric, _ in terms}
    offset, factor = scales.pop() if len(scales) == 1 else (0.0, 1.0)  # as shares, where all are of one kind
    value = sum(weight * metric.value for metric, weight in terms)
    share = (value - offset) / factor
    bias = sum(weight * metric.factor * metric.bias for metric, weight in terms) / factor
    pseudo = sum(weight * metric.pseudo for metric, weight in terms) / len(weighted)
    expected = sum((w * m.factor / factor) ** 2 * m.pseudo * m.unit for m, w in terms) / len(weighted)
    relative = (spread.variance / factor**2 + expected) / (share * (1 - share) + pseudo)
    low, high = wilson(min(max(share - bias, 0.0), 1.0), relative, quantile(spread.freedom))
    return min(offset + factor * low, value), max(offset + factor * high, value)


def harmonic_interval(weighted: Weighted) -> Interval | None:
    """The interval of a harmonic mean: of one metric over sections, or of several metrics.

    Parameters
    ----------
    weighted : sequence of (SectionInfluence, {metric: weight})
        Weights are positive, and sum to 1.

    Returns
    -------
    (low, high) or None
        None where a cell has one clip.
    """
    found = harmonic_mean(weighted)
    spread = spread_of(found.slopes)
    if np.isnan(spread.variance):
        return None
    half_width = spread.half_width(found.added_variance) / found.mean  # of the logarithm
    value = 1.0 / sum(weight / max(metric.value, FLOOR) for metric, weight in _terms(weighted))
    low, high = (found.mean * float(np.exp(sign * half_width)) for sign in (-1, 1))
    return min(low, value), max(min(high, 1.0), value)


@dataclass(frozen=True)
class HarmonicMean:
    """A harmonic mean, corrected for what chance adds to 1 / a; its derivatives by its metrics.

    ``added_variance`` is what low AUCs add to its variance that their clips do not show.
    """

    mean: float
    slopes: Weighted
    added_variance: float


def harmonic_mean(weighted: Weighted) -> HarmonicMean:
    """The harmonic mean of metrics that are known from clips; weights as of :func:`harmonic_interval`."""
    n = len(weighted)
    found = [(section, {name: _lifted(section.metrics[name], n) for name in weights}) for section, weights in weighted]
    mean = 1.0 / sum(
        weight / lifted[name].value
        for (_, lifted), (_, weights) in zip(found, weighted, strict=True)
        for name, weight in weights.items()
    )
    slopes = [
        (section, {name: weight * mean**2 * lifted[name].slope for name, weight in weights.items()})
        for (section, lifted), (_, weights) in zip(found, weighted, strict=True)
    ]
    added = sum(
        slope**2 * lifted[name].added_variance
        for (_, lifted), (_, by_name) in zip(found, slopes, strict=True)
        for name, slope in by_name.items()
    )
    return HarmonicMean(mean, slopes, added)


@dataclass(frozen=True)
class _Lifted:
    """A metric a as its reciprocal is taken: 1 / ``value`` estimates 1 / a, less by ``slope`` for each unit of a."""

    value: float
    slope: float
    added_variance: float


def _lifted(metric: Influence, n_sections: int) -> _Lifted:
    """A metric a of one of several sections as a + v / a, less its bias.

    Of an AUC, whose v is d a (1 - a), that is (a + d) / (1 + d): for 1 / d = n independent clips of which X are ranked
    right it is (X + 1) / (n + 1), the reciprocal of which is unbiased for 1 / a but for a part (1 - a)^(n + 1). Its
    variance is that of an AUC of this value: of an AUC of 0, clips show none.
    """
    relative = metric.relative_variance / (1 + metric.relative_variance)
    share = min(max(metric.share - metric.bias, 1e-9), 1.0)
    value = max(metric.offset + metric.factor * (metric.share - metric.bias), metric.factor * 1e-9)
    of_value = metric.factor / value
    lift = relative * of_value * share * (1 - share)  # of the share
    slope = 1 + relative * of_value * ((1 - 2 * share) - of_value * share * (1 - share))
    lifted = value + metric.factor * lift
    expected = metric.relative_variance * (share + lift) * (1 - share - lift) - metric.variance
    added = metric.factor**2 * max(expected, _pseudo_variance(metric, n_sections))
    return _Lifted(lifted, min(max(slope, 0.0), 1.0) / lifted**2, added)


# ---- Variances -------------------------------------------------------------------------------------------------------


def spread_of(weighted: Weighted) -> Spread:
    """The variance of a weighted sum of metrics, those of one section over the same clips; weights of any sign.

    Parameters
    ----------
    weighted : sequence of (SectionInfluence, {metric: weight})

    Returns
    -------
    Spread

    Examples
    --------
    >>> from mimiidg_build.evaluation.influence import section_influence
    >>> section = section_influence((np.array([1.0, 2.0, 3.0]), np.array([2.5, 4.0])), ["auc_all"])
    >>> round(spread_of([(section, {"auc_all": 1.0})]).variance, 4)
    0.0556
    """
    variance, parts, freedom = 0.0, [np.zeros(0)], [np.zeros(0)]
    for section, weights in weighted:
        metrics = [(section.metrics[name], weight * section.metrics[name].factor) for name, weight in weights.items()]
        clips = np.sum([weight * metric.clips for metric, weight in metrics], axis=0)
        cells = np.any([metric.cells for metric, _ in metrics], axis=0)
        own = float(cell_variances(clips, section.sizes, cells).sum())
        added = sum(weight**2 * metric.added_variance for metric, weight in metrics)
        variance += max(own + added, 0.0) if own == own else own
        # the metrics apart: each has its own degrees of freedom
        parts += [weight**2 * metric.variances for metric, weight in metrics]
        freedom += [metric.freedom for metric, _ in metrics]
    every, own_freedom = np.concatenate(parts), np.concatenate(freedom)
    squares = float((every**2 / own_freedom).sum())
    return Spread(variance, float(every.sum() ** 2 / squares) if squares > 0 else np.inf)


def pseudo_variance(weighted: Weighted) -> float:
    """What pseudo-counts add to the variance of a weighted sum: nothing where clips tell enough.

    One pseudo-count is shared by all sections: what one of them lacks, the others tell.
    """
    return sum(
        (weight * metric.factor) ** 2 * _pseudo_variance(metric, len(weighted)) for metric, weight in _terms(weighted)
    )


def _pseudo_variance(metric: Influence, n_sections: int) -> float:
    pseudo = metric.pseudo / n_sections
    return max((metric.variance + pseudo * metric.unit) / (1 + 4 * pseudo) - metric.variance, 0.0)


def _terms(weighted: Weighted) -> Iterator[tuple[Influence, float]]:
    return ((section.metrics[name], weight) for section, weights in weighted for name, weight in weights.items())
