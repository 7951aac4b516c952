"""Normal or anomalous: the decision threshold, and precision, recall and F1 of decisions.

Scores are larger = more anomalous; a clip is called anomalous if its score is above the threshold. Source: the DCASE
2022 Task 2 evaluator, with its floor of 2.2e-16 under every denominator. scikit-learn has the same numbers, and is the
reference in the tests; as a dependency of the library it would replace five lines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mimiidg_build.evaluation.means import FLOOR
from mimiidg_build.evaluation.roc import finite_scores

THRESHOLD_QUANTILE = 0.9


def decision_threshold(training_scores: ArrayLike, quantile: float = THRESHOLD_QUANTILE) -> float:
    """The score above which a clip is called anomalous: a quantile of a gamma distribution fitted to training scores.

    Parameters
    ----------
    training_scores : array_like [shape=(n,)]
        Scores of the training clips of one machine type: the very quantity that the threshold is applied to.
    quantile : float in (0, 1)

    Returns
    -------
    float
        On the scale of the scores.

    Raises
    ------
    ValueError
        Fewer than two different scores, or a fit that does not converge.

    Notes
    -----
    Maximum likelihood with all three parameters free (shape, location, scale), as in the official baseline. The fit
    is to standardised scores, which changes nothing but the numbers that the optimiser works with: on scores of 1e-5
    (cosine distances) its absolute tolerances would end it far from the maximum.
    """
    scores = finite_scores(training_scores, "training")
    if np.ptp(scores) == 0.0:
        raise ValueError(f"decision threshold: all {scores.size} training scores equal {scores[0]}, nothing to fit")
    import scipy.stats  # most of a second of import, which reports and evaluations of scores do without

    mean, standard_deviation = scores.mean(), scores.std()
    with np.errstate(all="ignore"):  # the optimiser steps outside the likelihood's support and comes back
        try:
            fitted = scipy.stats.gamma.fit((scores - mean) / standard_deviation)
            threshold = float(mean + standard_deviation * scipy.stats.gamma.ppf(quantile, *fitted))
        except scipy.stats.FitError as error:
            raise ValueError(f"decision threshold: no gamma fit to {scores.size} training scores: {error}") from error
    if not np.isfinite(threshold):
        raise ValueError(f"decision threshold: the gamma fit to {scores.size} training scores gave {threshold}")
    return threshold


def precision_recall_f1(anomalous: ArrayLike, decided: ArrayLike) -> dict[str, float]:
    """Precision, recall and F1 of decisions; denominators are floored, so that an empty one gives 0.

    Parameters
    ----------
    anomalous, decided : array_like of bool [shape=(n,)]
        The truth and the decision of each clip, of one domain of one section.

    Returns
    -------
    dict
        ``precision``, ``recall`` and ``f1``, each in [0, 1].

    Examples
    --------
    >>> precision_recall_f1([True, True, False, False], [True, False, True, False])
    {'precision': 0.5, 'recall': 0.5, 'f1': 0.5}
    >>> precision_recall_f1([True, False], [False, False])
    {'precision': 0.0, 'recall': 0.0, 'f1': 0.0}
    """
    truth, positive = np.asarray(anomalous, dtype=bool), np.asarray(decided, dtype=bool)
    true_positives = int((truth & positive).sum())
    precision = true_positives / max(int(positive.sum()), FLOOR)
    recall = true_positives / max(int(truth.sum()), FLOOR)
    return {"precision": precision, "recall": recall, "f1": 2.0 * precision * recall / max(precision + recall, FLOOR)}
