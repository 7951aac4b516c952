"""ROC curves of one set of scored clips, and the areas under them.

Conventions
-----------
Scores are float, larger = more anomalous; normal and anomalous clips come as two 1-d arrays, in any order. An AUC is
the probability that an anomalous clip scores higher than a normal one, ties counting one half. Rates and areas are in
[0, 1]. A partial AUC covers false positive rates up to p = 0.1.

scikit-learn has the same numbers (the tests compare them with its ``roc_auc_score``). These stand because
the AUC is a ratio of two integers, so that equal rankings give the same float64 wherever they are computed.

Sources: arXiv:2205.13879 (MIMII DG); the DCASE 2022 Task 2 evaluator; McClish, Medical Decision Making 9 (1989).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

MAX_FPR = 0.1  # the paper's p


def auc(normal: ArrayLike, anomaly: ArrayLike) -> float:
    """Area under the ROC curve: the share of (normal, anomalous) pairs ranked correctly, ties one half.

    Parameters
    ----------
    normal, anomaly : array_like [shape=(n,), (m,)]
        Scores, larger = more anomalous.

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    ValueError
        One of the two is empty, or a score is not finite.

    Examples
    --------
    >>> auc([1.0, 2.0], [2.0, 3.0])  # pairs: 1<2, 1<3, 2=2, 2<3
    0.875
    """
    normal, anomaly = finite_scores(normal, "normal"), finite_scores(anomaly, "anomaly")
    ranked = np.sort(normal)
    below = np.searchsorted(ranked, anomaly, side="left")
    not_above = np.searchsorted(ranked, anomaly, side="right")
    # Twice the Mann-Whitney U, which is an integer: exact however the clips are ordered.
    return float((below + not_above).sum() / (2 * normal.size * anomaly.size))


def roc_curve(normal: ArrayLike, anomaly: ArrayLike) -> tuple[Floats, Floats]:
    """The ROC curve, with one point per distinct score.

    Parameters
    ----------
    normal, anomaly : array_like [shape=(n,), (m,)]
        Scores, larger = more anomalous.

    Returns
    -------
    fpr, tpr : np.ndarray [shape=(n_levels + 1,)]
        False and true positive rates as the threshold falls, from (0, 0) to (1, 1).

    Raises
    ------
    ValueError
        One of the two is empty, or a score is not finite.

    Examples
    --------
    >>> [rates.tolist() for rates in roc_curve([1.0, 2.0], [2.0, 3.0])]
    [[0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0]]
    """
    normal, anomaly = finite_scores(normal, "normal"), finite_scores(anomaly, "anomaly")
    levels = np.unique(np.concatenate([normal, anomaly]))[::-1]
    return rates(at_levels(normal, levels)), rates(at_levels(anomaly, levels))


def partial_area(fpr: Floats, tpr: Floats, max_fpr: float = 1.0) -> Floats:
    """Area under ROC curves up to a false positive rate, with straight lines between the points.

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
    """Partial AUC with McClish's normalisation: 1/2 (1 + (A - p^2/2) / (p - p^2/2)).

    Parameters
    ----------
    normal, anomaly : array_like [shape=(n,), (m,)]
        Scores, larger = more anomalous.
    max_fpr : float in (0, 1]
        The false positive rate p up to which the area A is taken.

    Returns
    -------
    float in [0, 1]
        0.5 at chance, 1 for a perfect ranking; below 0.5 for one that is worse than chance.

    Raises
    ------
    ValueError
        One of the two is empty, or a score is not finite.

    Examples
    --------
    >>> pauc([1.0, 2.0], [3.0, 4.0])
    1.0
    """
    return float(mcclish(partial_area(*roc_curve(normal, anomaly), max_fpr), max_fpr))


def pauc_raw(normal: ArrayLike, anomaly: ArrayLike, max_fpr: float = MAX_FPR) -> float:
    """Partial AUC without McClish's normalisation, as some papers print it: the area divided by p.

    Parameters
    ----------
    normal, anomaly : array_like [shape=(n,), (m,)]
        Scores, larger = more anomalous.
    max_fpr : float in (0, 1]
        The false positive rate p up to which the area is taken.

    Returns
    -------
    float in [0, 1]
        p / 2 at chance, 1 for a perfect ranking.

    Raises
    ------
    ValueError
        One of the two is empty, or a score is not finite.
    """
    return float(partial_area(*roc_curve(normal, anomaly), max_fpr) / max_fpr)


def mcclish(area: Floats, max_fpr: float) -> Floats:
    """McClish's normalisation of an area up to p: chance becomes 0.5, a perfect ranking 1.

    Examples
    --------
    >>> mcclish(np.array([0.005, 0.1]), 0.1).tolist()
    [0.5, 1.0]
    """
    chance = 0.5 * max_fpr**2
    return 0.5 * (1.0 + (area - chance) / (max_fpr - chance))


def finite_scores(values: ArrayLike, name: str) -> Floats:
    """Scores as a float64 array [shape=(n,)], n >= 1, all finite.

    Raises
    ------
    ValueError
        The array is empty or not 1-d, or a score is not finite; the message calls them ``name`` scores.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} scores: expected a 1-d array of at least one score, found shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} scores: expected finite numbers, found {array[~np.isfinite(array)][0]}")
    return array


def at_levels(scores: Floats, levels: Floats) -> Floats:
    """How many scores are at each of the distinct levels, in falling order: equal scores share a point of the curve.

    >>> at_levels(np.array([1.0, 3.0, 3.0]), np.array([3.0, 2.0, 1.0])).tolist()
    [2.0, 0.0, 1.0]
    """
    # searchsorted needs rising levels, and every score is one of them
    places = levels.size - 1 - np.searchsorted(levels[::-1], scores)
    return np.bincount(places, minlength=levels.size).astype(np.float64)


def rates(counts: Floats) -> Floats:
    """Counts at falling levels [shape=(..., n_levels)] as rates from 0 to 1 [shape=(..., n_levels + 1)]."""
    cumulative = np.cumsum(counts, axis=-1)
    start = np.zeros((*counts.shape[:-1], 1))
    # the last is the number of clips, never 0: neither finite_scores nor a resample lets a side be empty
    return np.concatenate([start, cumulative / cumulative[..., -1:]], axis=-1)
