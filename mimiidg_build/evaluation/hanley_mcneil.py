"""Hanley and McNeil's interval of an AUC in closed form: as it should be, and as papers printed it.

Source: Hanley and McNeil, Radiology 143 (1982). It needs the AUC and the numbers of clips alone, so it is what papers
print; it takes scores to be exponential, and is symmetrical, so that it undercovers near an AUC of 1 and has no width
at 1 itself. :mod:`.confidence` looks at the clips.

**As published**: Kuroyanagi et al. (EUSIPCO 2021) print, for the mean AUC over a machine type's IDs, the interval of
one AUC of all their clips together, with the numbers of normal and anomalous clips in each other's place. With the
clips of DCASE 2020's evaluation data, all 30 values of their Table II come out so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

LEVEL = 0.95


def hanley_mcneil_error(auc: float, n_normal: int, n_anomaly: int) -> float:
    """Standard error of one AUC (Hanley and McNeil 1982, equations 1 and 2, exponential approximation).

    Parameters
    ----------
    auc : float in [0, 1]
    n_normal, n_anomaly : int, 1 or larger
        Clips of each condition.

    Returns
    -------
    float, 0 or larger

    Raises
    ------
    ValueError
        The AUC is outside [0, 1], or a condition has no clip.

    Examples
    --------
    At chance it is the exact error of the Mann-Whitney statistic, sqrt((n + m + 1) / (12 n m)):

    >>> hanley_mcneil_error(0.5, n_normal=50, n_anomaly=100) == (151 / 60_000) ** 0.5
    True
    """
    if not 0.0 <= auc <= 1.0 or n_normal < 1 or n_anomaly < 1:
        raise ValueError(f"expected an AUC in [0, 1] of at least one clip each, found {auc}, {n_normal}, {n_anomaly}")
    q1 = auc / (2.0 - auc)  # two anomalous clips both rank above one normal clip
    q2 = 2.0 * auc**2 / (1.0 + auc)  # one anomalous clip ranks above two normal clips
    variance = auc * (1.0 - auc) + (n_anomaly - 1) * (q1 - auc**2) + (n_normal - 1) * (q2 - auc**2)
    # no term is negative but for rounding, near an AUC of 0 or 1
    return math.sqrt(max(variance, 0.0) / (n_normal * n_anomaly))


def hanley_mcneil_interval(auc: float, n_normal: int, n_anomaly: int, level: float = LEVEL) -> tuple[float, float]:
    """Interval of one AUC from the normal distribution with Hanley and McNeil's standard error, clipped to [0, 1].

    Parameters
    ----------
    auc : float in [0, 1]
    n_normal, n_anomaly : int, 1 or larger
        Clips of each condition.
    level : float in (0, 1)

    Returns
    -------
    (low, high) : tuple of float in [0, 1]

    Raises
    ------
    ValueError
        The AUC is outside [0, 1], or a condition has no clip.

    Examples
    --------
    >>> [round(bound, 3) for bound in hanley_mcneil_interval(0.9, n_normal=50, n_anomaly=100)]
    [0.852, 0.948]
    """
    return _around(auc, hanley_mcneil_error(auc, n_normal, n_anomaly), level)


def hanley_mcneil_mean(aucs: Sequence[tuple[float, int, int]], level: float = LEVEL) -> tuple[float, float]:
    """Interval of the mean of several AUCs of clips of their own, whose errors are independent.

    Parameters
    ----------
    aucs : sequence of (AUC, normal clips, anomalous clips)
    level : float in (0, 1)

    Returns
    -------
    (low, high) : tuple of float in [0, 1]

    Examples
    --------
    >>> [round(bound, 3) for bound in hanley_mcneil_mean([(0.9, 50, 100), (0.9, 50, 100)])]
    [0.866, 0.934]
    """
    mean = sum(auc for auc, _, _ in aucs) / len(aucs)
    error = math.sqrt(sum(hanley_mcneil_error(*one) ** 2 for one in aucs)) / len(aucs)
    return _around(mean, error, level)


def published_interval(aucs: Sequence[tuple[float, int, int]], level: float = LEVEL) -> tuple[float, float]:
    """The same as it was published: of one AUC of all clips, normal and anomalous clips in each other's place.

    Parameters
    ----------
    aucs : sequence of (AUC, normal clips, anomalous clips)
    level : float in (0, 1)

    Returns
    -------
    (low, high) : tuple of float in [0, 1]

    Examples
    --------
    Fan by BCE in Table II, 92.69 +- 2.06 %:

    >>> fan = [(0.9269, 100, 326), (0.9269, 100, 358), (0.9269, 109, 349)]
    >>> [round(100 * bound, 2) for bound in published_interval(fan)]
    [90.63, 94.75]
    """
    mean = sum(auc for auc, _, _ in aucs) / len(aucs)
    n_normal, n_anomaly = sum(n for _, n, _ in aucs), sum(m for _, _, m in aucs)
    return _around(mean, hanley_mcneil_error(mean, n_normal=n_anomaly, n_anomaly=n_normal), level)


def _around(value: float, error: float, level: float) -> tuple[float, float]:
    half_width = NormalDist().inv_cdf((1 + level) / 2) * error
    return max(0.0, value - half_width), min(1.0, value + half_width)
