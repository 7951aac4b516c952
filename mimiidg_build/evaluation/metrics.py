"""Metrics of anomaly detection, as the MIMII DG paper and the DCASE 2022 evaluator compute them.

Conventions
-----------
Scores are float, larger = more anomalous. A *section* is (machine type, section number). Its test clips fall into four
cells, domain (source, target) times condition (normal, anomaly); a cell is a 1-d array of scores, in any order.

=====================  =============================================================================================
``auc_source``         normal clips of source against ALL anomalous clips of the section; Eq. (1) of the paper
``auc_target``         normal clips of target against ALL anomalous clips of the section
``auc_all``            all normal against all anomalous clips; with equal counts, the mean of the two above
``auc_source_within``  normal against anomalous clips of source alone: another number, so another name
``pauc``               all clips, false positive rate up to p = 0.1, normalised after McClish: chance = 0.5
``pauc_raw``           the same area, divided by p: chance = 0.05
=====================  =============================================================================================

An AUC is the chance that an anomalous clip scores higher than a normal one, ties counting one half. All values are in
[0, 1]. Sources: arXiv:2205.13879 (MIMII DG); DCASE 2022 Task 2 evaluator; McClish, Medical Decision Making 9 (1989);
Hanley and McNeil, Radiology 143 (1982).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

MAX_FPR = 0.1
THRESHOLD_QUANTILE = 0.9
# The evaluator's floor of denominators, and of values under a harmonic mean: one zero pulls the mean to about zero.
FLOOR = sys.float_info.epsilon
SECTION_AUCS = (
    "auc_source",
    "auc_target",
    "auc_all",
    "auc_source_within",
    "auc_target_within",
    "pauc",
    "pauc_raw",
)
_DECISION_METRICS = tuple(
    f"{name}_{domain}" for name in ("precision", "recall", "f1") for domain in ("source", "target")
)
OFFICIAL = ("auc_source", "auc_target", "pauc")


# ---- One ranking -----------------------------------------------------------------------------------------------------


def auc(normal: ArrayLike, anomaly: ArrayLike) -> float:
    """Area under the ROC curve: the share of (normal, anomalous) pairs ranked right, ties one half.

    Parameters
    ----------
    normal, anomaly : array_like [shape=(n,), (m,)]
        Scores, larger = more anomalous.

    Raises
    ------
    ValueError
        One of the two is empty, or a score is not finite.

    Examples
    --------
    >>> auc([1.0, 2.0], [2.0, 3.0])  # pairs: 1<2, 1<3, 2=2, 2<3
    0.875
    """
    normal, anomaly = _scores(normal, "normal"), _scores(anomaly, "anomaly")
    ranked = np.sort(normal)
    below = np.searchsorted(ranked, anomaly, side="left")
    not_above = np.searchsorted(ranked, anomaly, side="right")
    return float((below + not_above).sum() / (2 * normal.size * anomaly.size))


def roc_curve(normal: ArrayLike, anomaly: ArrayLike) -> tuple[Floats, Floats]:
    """False and true positive rates, threshold falling; one point per distinct score, from (0, 0) to (1, 1).

    Examples
    --------
    >>> [rates.tolist() for rates in roc_curve([1.0, 2.0], [2.0, 3.0])]
    [[0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0]]
    """
    normal, anomaly = _scores(normal, "normal"), _scores(anomaly, "anomaly")
    levels = np.unique(np.concatenate([normal, anomaly]))[::-1]
    return rates(at_levels(normal, levels)), rates(at_levels(anomaly, levels))


def partial_area(fpr: Floats, tpr: Floats, max_fpr: float = 1.0) -> Floats:
    """Area under ROC curves up to a false positive rate, straight lines between the points.

    Parameters
    ----------
    fpr, tpr : np.ndarray [shape=(..., n_points)]
        Curves along the last axis; leading axes are resamples.
    max_fpr : float in (0, 1]

    Returns
    -------
    np.ndarray [shape=(...)]
        In [0, max_fpr].

    Examples
    --------
    >>> float(partial_area(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 0.5))  # chance: a triangle
    0.125
    """
    left, right = fpr[..., :-1], fpr[..., 1:]
    bottom, top = tpr[..., :-1], tpr[..., 1:]
    width = np.clip(max_fpr - left, 0.0, right - left)
    # The segment that crosses max_fpr is cut there; on the others the share of the width is 1 (or the width 0).
    share = np.divide(width, right - left, out=np.zeros_like(width), where=right > left)
    area: Floats = (width * (bottom + 0.5 * share * (top - bottom))).sum(axis=-1)
    return area


def pauc(normal: ArrayLike, anomaly: ArrayLike, max_fpr: float = MAX_FPR) -> float:
    """Partial AUC, normalised after McClish: 1/2 (1 + (A - p^2/2) / (p - p^2/2)), chance = 0.5, perfect = 1.

    Examples
    --------
    >>> pauc([1.0, 2.0], [3.0, 4.0])
    1.0
    """
    return float(mcclish(partial_area(*roc_curve(normal, anomaly), max_fpr), max_fpr))


def pauc_raw(normal: ArrayLike, anomaly: ArrayLike, max_fpr: float = MAX_FPR) -> float:
    """Partial AUC as some papers print it: the area divided by p, chance = p / 2, perfect = 1."""
    return float(partial_area(*roc_curve(normal, anomaly), max_fpr) / max_fpr)


def mcclish(area: Floats, max_fpr: float) -> Floats:
    """McClish's normalisation of an area A up to p: what chance and perfection reach become 0.5 and 1.

    Examples
    --------
    >>> mcclish(np.array([0.005, 0.1]), 0.1).tolist()
    [0.5, 1.0]
    """
    chance = 0.5 * max_fpr**2
    return 0.5 * (1.0 + (area - chance) / (max_fpr - chance))


def _scores(values: ArrayLike, name: str) -> Floats:
    """Finite float64 scores, at least one."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} scores: expected a 1-d array of at least one score, found shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} scores: expected finite numbers, found {array[~np.isfinite(array)][0]}")
    return array


def at_levels(scores: Floats, levels: Floats) -> Floats:
    """How many scores stand at each of the distinct levels, falling: equal scores share one point of the curve.

    >>> at_levels(np.array([1.0, 3.0, 3.0]), np.array([3.0, 2.0, 1.0])).tolist()
    [2.0, 0.0, 1.0]
    """
    places = levels.size - 1 - np.searchsorted(levels[::-1], scores)
    return np.bincount(places, minlength=levels.size).astype(np.float64)


def rates(counts: Floats) -> Floats:
    """Counts at falling levels [..., level] to rates from 0 to 1 [..., level + 1]."""
    cumulative = np.cumsum(counts, axis=-1)
    start = np.zeros((*counts.shape[:-1], 1))
    return np.concatenate([start, cumulative / cumulative[..., -1:]], axis=-1)


# ---- One section -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cells:
    """The scores of one section's test clips, by domain and condition. Each is 1-d and holds at least one score."""

    source_normal: Floats
    source_anomaly: Floats
    target_normal: Floats
    target_anomaly: Floats

    def __post_init__(self) -> None:
        for name in ("source_normal", "source_anomaly", "target_normal", "target_anomaly"):
            object.__setattr__(self, name, _scores(getattr(self, name), name.replace("_", " ")))

    def __iter__(self) -> Iterator[Floats]:
        return iter((self.source_normal, self.source_anomaly, self.target_normal, self.target_anomaly))

    @classmethod
    def of(cls, scores: ArrayLike, domains: Sequence[str], conditions: Sequence[str]) -> Cells:
        """Sort clips into cells by their domain (source, target) and condition (normal, anomaly)."""
        values = np.asarray(scores, dtype=np.float64)
        domain, condition = np.asarray(domains), np.asarray(conditions)
        return cls(*(values[(domain == d) & (condition == c)] for d, c in _CELLS))


_CELLS = (("source", "normal"), ("source", "anomaly"), ("target", "normal"), ("target", "anomaly"))


def section_metrics(cells: Cells) -> dict[str, float]:
    """Every AUC and pAUC of a section, by the names of ``SECTION_AUCS``.

    Examples
    --------
    >>> cells = Cells(*map(np.array, ([1.0, 2.0], [3.0, 4.0], [3.5], [5.0])))
    >>> {name: round(value, 4) for name, value in section_metrics(cells).items() if name.startswith("auc")}
    {'auc_source': 1.0, 'auc_target': 0.6667, 'auc_source_within': 1.0, 'auc_target_within': 1.0, 'auc_all': 0.8889}
    """
    normal = np.concatenate([cells.source_normal, cells.target_normal])
    anomaly = np.concatenate([cells.source_anomaly, cells.target_anomaly])
    return {
        "auc_source": auc(cells.source_normal, anomaly),
        "auc_target": auc(cells.target_normal, anomaly),
        "auc_source_within": auc(cells.source_normal, cells.source_anomaly),
        "auc_target_within": auc(cells.target_normal, cells.target_anomaly),
        **domainless_metrics(normal, anomaly),
    }


def domainless_metrics(normal: ArrayLike, anomaly: ArrayLike) -> dict[str, float]:
    """What can be said of a section, or of a DCASE 2020 machine ID, without domains: AUC (all) and pAUC."""
    return {"auc_all": auc(normal, anomaly), "pauc": pauc(normal, anomaly), "pauc_raw": pauc_raw(normal, anomaly)}


def auc_by_value(scores: ArrayLike, conditions: Sequence[str], values: Sequence[str]) -> dict[str, float]:
    """AUC per attribute value: normal clips that carry the value against ALL anomalous clips given.

    Values that no normal clip carries, and the absent value ``""``, are left out.

    Examples
    --------
    >>> auc_by_value([1.0, 4.0, 3.0], ["normal", "normal", "anomaly"], ["W", "Y", "W"])
    {'W': 1.0, 'Y': 0.0}
    """
    score, normal, value = np.asarray(scores, np.float64), np.asarray(conditions) == "normal", np.asarray(values)
    carried = sorted(set(value[normal].tolist()) - {""})
    return {v: auc(score[normal & (value == v)], score[~normal]) for v in carried}


def pooled(normal: Sequence[ArrayLike], anomaly: Sequence[ArrayLike]) -> dict[str, float]:
    """One AUC and pAUC over the clips of several sections thrown together, as some papers report a machine type.

    Not the mean of the sections' values (DCASE 2020 and later): it also depends on how their scores are scaled to
    each other.
    """
    every_normal = np.concatenate([np.asarray(scores, np.float64) for scores in normal])
    every_anomaly = np.concatenate([np.asarray(scores, np.float64) for scores in anomaly])
    return {"auc_pooled": auc(every_normal, every_anomaly), "pauc_pooled": pauc(every_normal, every_anomaly)}


# ---- Decisions -------------------------------------------------------------------------------------------------------


def decision_threshold(training_scores: ArrayLike, quantile: float = THRESHOLD_QUANTILE) -> float:
    """The score above which a clip is called anomalous: a quantile of a gamma distribution fitted to training scores.

    Parameters
    ----------
    training_scores : array_like [shape=(n,)]
        Scores of the training clips of one machine type: the very quantity that the threshold is applied to.
    quantile : float in (0, 1)

    Notes
    -----
    Maximum likelihood with all three parameters free (shape, location, scale), as the official baseline does. The fit
    is to standardised scores, which changes nothing but the numbers the search works in: on scores of 1e-5 (cosine
    distances) its absolute tolerances would end it far from the maximum.

    Raises
    ------
    ValueError
        Fewer than two different scores, or a fit that does not converge.
    """
    scores = _scores(training_scores, "training")
    if np.ptp(scores) == 0.0:
        raise ValueError(f"decision threshold: all {scores.size} training scores equal {scores[0]}, nothing to fit")
    centre, spread = scores.mean(), scores.std()
    with np.errstate(all="ignore"):  # the search steps outside the likelihood's support and comes back
        try:
            fitted = scipy.stats.gamma.fit((scores - centre) / spread)
            threshold = float(centre + spread * scipy.stats.gamma.ppf(quantile, *fitted))
        except scipy.stats.FitError as error:
            raise ValueError(f"decision threshold: no gamma fit to {scores.size} training scores: {error}") from error
    if not np.isfinite(threshold):
        raise ValueError(f"decision threshold: the gamma fit to {scores.size} training scores gave {threshold}")
    return threshold


def precision_recall_f1(anomalous: ArrayLike, decided: ArrayLike) -> dict[str, float]:
    """Precision, recall and F1 of decisions; denominators floored, so that an empty one gives 0.

    Parameters
    ----------
    anomalous, decided : array_like of bool [shape=(n,)]
        The truth and the decision of each clip, of one domain of one section.

    Examples
    --------
    >>> precision_recall_f1([True, True, False, False], [True, False, True, False])
    {'precision': 0.5, 'recall': 0.5, 'f1': 0.5}
    >>> precision_recall_f1([True, False], [False, False])
    {'precision': 0.0, 'recall': 0.0, 'f1': 0.0}
    """
    truth, said = np.asarray(anomalous, dtype=bool), np.asarray(decided, dtype=bool)
    hits = int((truth & said).sum())
    precision = hits / max(int(said.sum()), FLOOR)
    recall = hits / max(int(truth.sum()), FLOOR)
    return {"precision": precision, "recall": recall, "f1": 2.0 * precision * recall / max(precision + recall, FLOOR)}


# ---- Means -----------------------------------------------------------------------------------------------------------


def arithmetic_mean(values: ArrayLike, axis: int = -1) -> Floats:
    """Mean along an axis.

    >>> float(arithmetic_mean([0.5, 1.0]))
    0.75
    """
    return np.asarray(np.mean(np.asarray(values, dtype=np.float64), axis=axis))


def harmonic_mean(values: ArrayLike, axis: int = -1) -> Floats:
    """Harmonic mean along an axis, each value floored at 2.2e-16.

    >>> round(float(harmonic_mean([0.5, 1.0])), 4)
    0.6667
    """
    floored = np.maximum(np.asarray(values, dtype=np.float64), FLOOR)
    return np.asarray(1.0 / np.mean(1.0 / floored, axis=axis))


def means(sections: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Arithmetic and harmonic mean of every metric over sections: of one machine type, or of all.

    Parameters
    ----------
    sections : sequence of {metric: value}
        One mapping per section; values may be NaN, and make their mean NaN.

    Returns
    -------
    {"arithmetic": {metric: mean}, "harmonic": {metric: mean}}
        ``auc``, ``precision``, ``recall`` and ``f1`` without a domain are over sections and both domains.

    Examples
    --------
    >>> means([{"auc_source": 0.5, "auc_target": 1.0}])["arithmetic"]
    {'auc_source': 0.5, 'auc_target': 1.0, 'auc': 0.75}
    """
    groups: dict[str, tuple[str, ...]] = {name: (name,) for name in (*SECTION_AUCS, *_DECISION_METRICS)}
    groups |= {name: (f"{name}_source", f"{name}_target") for name in ("auc", "precision", "recall", "f1")}
    values = {
        mean: [section[name] for name in names for section in sections]
        for mean, names in groups.items()
        if all(name in section for name in names for section in sections)
    }
    return {
        "arithmetic": {mean: float(arithmetic_mean(of)) for mean, of in values.items()},
        "harmonic": {mean: float(harmonic_mean(of)) for mean, of in values.items()},
    }


def official_score(sections: Iterable[Mapping[str, float]]) -> float:
    """DCASE 2022's official score: harmonic mean of {AUC source, AUC target, pAUC} of all machine types and sections.

    >>> official_score([{"auc_source": 0.5, "auc_target": 0.5, "pauc": 0.5}])
    0.5
    """
    return float(harmonic_mean([row[name] for row in sections for name in OFFICIAL]))
