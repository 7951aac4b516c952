"""What each clip contributes to an AUC or pAUC of a section: what intervals and paired comparisons are made of.

Conventions
-----------
A *share* is what an AUC and a partial AUC have in common: an average of true positive rates, in [0, 1]. An AUC is one;
a partial area up to p, divided by p, is one; McClish's pAUC is ``offset + factor * share``. The *influence* of a clip
is its first-order contribution to the share, up to a constant of its cell. With ``u`` the influences of a cell of n
clips, n / (n - 1) * sum (u - mean u)^2 is the jackknife's variance that this cell adds (leave one clip out, within each
cell): for an AUC, the variance of DeLong, DeLong and Clarke-Pearson, from placement values alone; for the normal clips
of a partial area, of which only those at its end count, the clips are left out one after the other.

A partial area is an average over the highest-ranking normal clips, and overestimates: (p - G)+ is convex in the rank G
of a clip among normal clips, so that its estimate is too large by G (1 - G) / (2 n) at its kink. Summed over anomalous
clips that is slope * (1 - p) / (2 n), the slope that of the ROC curve at p; ``bias`` estimates it.

Sources: DeLong et al., Biometrics 44 (1988); Efron and Stein, Annals of Statistics 9 (1981), for the jackknife.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from mimiidg_build.evaluation.hanley_mcneil import hanley_mcneil_error
from mimiidg_build.evaluation.roc import MAX_FPR, Floats
from mimiidg_build.evaluation.section_metrics import Cells

Conditions = tuple[Floats, Floats]
"""Scores of normal and of anomalous clips, of a section without domains."""


@dataclass(frozen=True)
class Influence:
    """One metric of one section, clip by clip.

    Attributes
    ----------
    share, bias : float
        The share that was found, and by how much it is too large on average.
    clips : np.ndarray [shape=(n_clips,)]
        Influence of each clip of the section, cell after cell; 0 in cells that the metric is not of.
    cells : tuple of bool
        Whether the metric is of each cell.
    variances, freedom : np.ndarray [shape=(n_cells,)]
        What each cell adds to the variance of the share, NaN for a cell of one clip; and degrees of freedom of that,
        infinite for an AUC, whose variance follows from its value.
    added_variance : float
        What the clips' influences leave out of the variance of the share: see ``_of_partial_area``.
    unit : float
        The variance of such a share for a system of its value, divided by share (1 - share): what is expected before
        any clip is seen, and what holds where too few clips are misranked to tell.
    pseudo : float
        How much ``unit`` counts, in share (1 - share).
    offset, factor : float
        The metric is ``offset + factor * share``.
    """

    share: float
    bias: float
    clips: Floats
    cells: tuple[bool, ...]
    variances: Floats
    freedom: Floats
    added_variance: float
    unit: float
    pseudo: float
    offset: float
    factor: float

    @property
    def value(self) -> float:
        """The metric."""
        return self.offset + self.factor * self.share

    @property
    def variance(self) -> float:
        """Of the share; NaN where a cell has one clip."""
        return float(self.variances.sum()) + self.added_variance

    @property
    def relative_variance(self) -> float:
        """Of the share, as a fraction of share (1 - share), the pseudo-count with it: never 0."""
        return (self.variance + self.pseudo * self.unit) / (self.share * (1 - self.share) + self.pseudo)


@dataclass(frozen=True)
class SectionInfluence:
    """The metrics of a section by name, and the number of clips of each of its cells."""

    sizes: tuple[int, ...]
    metrics: Mapping[str, Influence]


# Of which cells a metric is: (normal, anomalous), cells as ``Cells`` gives them, or as ``Conditions`` does.
_Of = tuple[tuple[int, ...], tuple[int, ...]]
_BOTH: _Of = (0, 2), (1, 3)
_AUCS: dict[str, _Of] = {
    "auc_source": ((0,), (1, 3)),
    "auc_target": ((2,), (1, 3)),
    "auc_all": _BOTH,
    "auc_source_within": ((0,), (1,)),
    "auc_target_within": ((2,), (3,)),
}
_PAUCS: dict[str, _Of] = {
    "pauc": _BOTH,
    "pauc_raw": _BOTH,
    "pauc_source_within": ((0,), (1,)),
    "pauc_target_within": ((2,), (3,)),
}
_DOMAINLESS: dict[str, _Of] = dict.fromkeys(("auc_all", "pauc", "pauc_raw"), ((0,), (1,)))
_MCCLISH = ((1 - MAX_FPR) / (2 - MAX_FPR), 1 / (2 - MAX_FPR))  # offset and factor: roc.mcclish of p times a share


def section_influence(cells: Cells | Conditions, names: Iterable[str] | None = None) -> SectionInfluence:
    """The influence of every clip of a section on its metrics.

    Parameters
    ----------
    cells : Cells, or (normal scores, anomalous scores) where there are no domains
    names : iterable of str, optional
        Of the metrics; by default all of ``section_metrics.SECTION_AUCS``, or of ``DOMAINLESS_AUCS``.

    Returns
    -------
    SectionInfluence

    Examples
    --------
    >>> found = section_influence((np.array([1.0, 2.0]), np.array([2.0, 3.0])))
    >>> found.sizes, round(found.metrics["auc_all"].value, 4)
    ((2, 2), 0.875)
    """
    scores = tuple(cells)
    known = {**_AUCS, **_PAUCS} if isinstance(cells, Cells) else _DOMAINLESS
    wanted = known if names is None else {name: known[name] for name in names if name in known}
    return SectionInfluence(
        tuple(cell.size for cell in scores), {name: _of_metric(name, scores, *of) for name, of in wanted.items()}
    )


def auc_counts(cells: Cells | Conditions) -> dict[str, tuple[int, int]]:
    """The numbers of normal and of anomalous clips that each AUC of a section is of."""
    sizes = [cell.size for cell in cells]
    known = _AUCS if isinstance(cells, Cells) else {"auc_all": _DOMAINLESS["auc_all"]}
    return {
        name: (sum(sizes[cell] for cell in normal), sum(sizes[cell] for cell in anomaly))
        for name, (normal, anomaly) in known.items()
    }


def cell_variances(clips: Floats, sizes: Sequence[int], cells: Sequence[bool]) -> Floats:
    """What each cell adds to the variance of a sum of influences.

    Parameters
    ----------
    clips : np.ndarray [shape=(n_clips,)]
    sizes : sequence of int
    cells : sequence of bool
        The cells to count; others add nothing.

    Returns
    -------
    np.ndarray [shape=(n_cells,)]
        NaN for a cell of one clip.

    Examples
    --------
    >>> cell_variances(np.array([0.0, 1.0, 5.0]), (2, 1), (True, True)).tolist()
    [1.0, nan]
    """
    parts = np.split(clips, np.cumsum(sizes)[:-1])
    return np.array([_variance(part) if used else 0.0 for part, used in zip(parts, cells, strict=True)])


def _variance(clips: Floats) -> float:
    # Efron and Stein's, with n / (n - 1) in place of (n - 1) / n, as influences are what a clip adds, not what is left
    return float(clips.size * clips.var(ddof=1)) if clips.size > 1 else float("nan")


def _of_metric(name: str, scores: Sequence[Floats], normal: Sequence[int], anomaly: Sequence[int]) -> Influence:
    """One metric, its influences at their clips' places."""
    every_normal, every_anomaly = (np.concatenate([scores[cell] for cell in side]) for side in (normal, anomaly))
    is_auc = name in _AUCS
    found, of_normal, of_anomaly = (_of_auc if is_auc else _of_partial_area)(every_normal, every_anomaly)
    clips, freedom = [np.zeros(cell.size) for cell in scores], np.full(len(scores), np.inf)
    for side, influences in ((normal, of_normal), (anomaly, of_anomaly)):
        bounds = np.cumsum([scores[cell].size for cell in side])[:-1]
        for cell, own in zip(side, np.split(influences, bounds), strict=True):
            clips[cell] = own
            if not is_auc:
                # the normal clips that count are those above the threshold, and one
                n_above = (MAX_FPR * every_normal.size + 1) / len(normal)
                freedom[cell] = n_above if cell in normal else max(own.size - 1, 1)
    together, used = np.concatenate(clips), tuple(cell in (*normal, *anomaly) for cell in range(len(scores)))
    offset, factor = (0.0, 1.0) if is_auc or name == "pauc_raw" else _MCCLISH
    return Influence(
        clips=together,
        cells=used,
        variances=cell_variances(together, [cell.size for cell in scores], used),
        freedom=freedom,
        offset=offset,
        factor=factor,
        **found,
    )


class _Found(TypedDict):
    """The numbers of an ``Influence`` that follow from two sets of scores."""

    share: float
    bias: float
    added_variance: float
    unit: float
    pseudo: float


def _of_auc(normal: Floats, anomaly: Floats) -> tuple[_Found, Floats, Floats]:
    """The AUC: influences are placement values."""
    below = _placements(anomaly, normal)
    above = 1.0 - _placements(normal, anomaly)
    auc = float(below.mean())
    # Hanley and McNeil's variance is that of a share (1 - share), but for a factor that varies little; at 0 and 1 it
    # is 0 / 0, so it is taken a little inside
    inside = min(max(auc, 0.01), 0.99)
    unit = hanley_mcneil_error(inside, normal.size, anomaly.size) ** 2 / (inside * (1 - inside))
    pseudo = 0.5 / min(normal.size, anomaly.size)
    found = _Found(share=auc, bias=0.0, added_variance=0.0, unit=unit, pseudo=pseudo)
    return found, above / normal.size, below / anomaly.size


def _placements(scores: Floats, others: Floats) -> Floats:
    """The share of the other scores that lie below each score, ties one half."""
    ranked = np.sort(others)
    return (np.searchsorted(ranked, scores, "left") + np.searchsorted(ranked, scores, "right")) / (2.0 * others.size)


def _of_partial_area(normal: Floats, anomaly: Floats) -> tuple[_Found, Floats, Floats]:
    """The area up to p, divided by p.

    How it varies with the normal clips is read off those few that lie above the threshold of p. So the variance is the
    mean of two: the jackknife's, and slope^2 (p / 3 - p^2 / 4) / n, which is that of a curve with one slope up to p.
    """
    n, p = normal.size, MAX_FPR
    curve = _Curve.of(normal, anomaly)
    share = float(curve.area(np.array(p * n))) / (p * n)
    if n > 1:
        of_levels = (n - 1) / n * (share - curve.left_out(p * (n - 1)) / (p * (n - 1)))
        of_normal = of_levels[np.searchsorted(-curve.levels, -normal)]
        slope = curve.slope(p * n)
        added = (slope**2 * (p / 3 - p**2 / 4) / n - _variance(of_normal)) / 2
    else:
        of_normal, slope, added = np.zeros(1), 0.0, 0.0
    found = _Found(
        share=share,
        bias=slope * (1 - p) / (2 * n),
        added_variance=added,
        # the anomalous clips' share is binomial at most; the threshold rests on p n normal clips
        unit=1 / anomaly.size + 2 / n,
        pseudo=0.1 / (p * n),
    )
    return found, of_normal, curve.contributions(anomaly, p * n) / (p * n * anomaly.size)


@dataclass(frozen=True)
class _Curve:
    """A ROC curve by the distinct scores of its normal clips, highest first, along an axis that counts normal clips.

    Along a level, which begins at ``start`` and is ``count`` clips wide, the true positive rate rises in a straight
    line from ``above`` by ``tied``. ``before`` is the area up to the level's beginning.
    """

    levels: Floats
    start: Floats
    count: Floats
    above: Floats
    tied: Floats
    before: Floats

    @classmethod
    def of(cls, normal: Floats, anomaly: Floats) -> _Curve:
        levels, counts = np.unique(normal, return_counts=True)
        levels, count = levels[::-1], counts[::-1].astype(np.float64)
        ranked = np.sort(anomaly)
        not_above, below = (np.searchsorted(ranked, levels, side) / ranked.size for side in ("right", "left"))
        above, tied = 1.0 - not_above, not_above - below
        area = count * (above + 0.5 * tied)
        return cls(levels, np.cumsum(count) - count, count, above, tied, np.cumsum(area) - area)

    def area(self, x: Floats) -> Floats:
        """The area up to x normal clips."""
        level = np.searchsorted(self.start, x, side="right") - 1
        within = x - self.start[level]
        rise = 0.5 * self.tied[level] * within / self.count[level]
        return np.asarray(self.before[level] + within * (self.above[level] + rise))

    def left_out(self, x: float) -> Floats:
        """The area up to x normal clips without one clip of each level [shape=(n_levels,)]."""
        end, within = self.start + self.count, x - self.start
        without = float(self.area(np.array(min(x + 1, end[-1])))) - (self.above + 0.5 * self.tied)
        # x lies within the level, which is one clip shorter
        cut = self.before + within * (self.above + 0.5 * self.tied * within / np.maximum(self.count - 1, 1))
        return np.where(within <= 0, float(self.area(np.array(x))), np.where(end <= x + 1, without, cut))

    def contributions(self, anomaly: Floats, x: float) -> Floats:
        """What each anomalous clip has of the area up to x: the width of the levels below it, half of those tied."""
        width = np.clip(x - self.start, 0.0, self.count)
        below = np.concatenate([np.cumsum(width[::-1])[::-1], [0.0]])  # of this level and all lower ones
        strictly, at_least = (np.searchsorted(-self.levels, -anomaly, side) for side in ("right", "left"))
        tied = np.where(
            strictly > at_least, (width * width / (2 * self.count))[np.minimum(at_least, width.size - 1)], 0
        )
        return np.asarray(below[strictly] + tied)

    def slope(self, x: float) -> float:
        """The slope of the curve about x normal clips, from half of x to half as much again; at least one clip wide."""
        n = self.start[-1] + self.count[-1]
        low = max(0.5 * x - 0.5, 0.0)
        high = min(max(1.5 * x - 0.5, low + 1.0), n - 1)
        middle = self.start + 0.5 * self.count - 0.5
        heights = np.interp([low, high], middle, self.above + 0.5 * self.tied)
        return float(max(heights[1] - heights[0], 0.0) * n / (high - low)) if high > low else 0.0
