"""The ``oracle`` score: the best sum of some of the scores, chosen by the labels of the test clips.

It shows what the paper's choice of a combination could reach, and is never the model's own score.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mimiidg_build.evaluation.roc import auc
from mimiidg_build.models.base import Array, ScoreTable


def oracle_scores(names: Sequence[str], training: ScoreTable, test: ScoreTable) -> tuple[Array, Array]:
    """The sum of some of the scores that has the greatest mean AUC over the test sections; of equals, the shortest.

    Parameters
    ----------
    names : sequence of str
        The scores to choose among.
    training, test : ScoreTable

    Returns
    -------
    training, test : np.ndarray [shape=(n_clips,)]
        That sum for the training and the test clips.
    """
    subsets = [some for n in range(1, len(names) + 1) for some in itertools.combinations(names, n)]
    best = max(subsets, key=lambda some: _mean_auc(test.clips, _sum(test, some)))  # max: the first of equals
    return _sum(training, best), _sum(test, best)


def _sum(table: ScoreTable, names: Sequence[str]) -> Array:
    total: Array = np.sum([table.scores[name] for name in names], axis=0)
    return total


def _mean_auc(clips: pd.DataFrame, scores: Array) -> float:
    """Mean over sections of the AUC of all their test clips; of those alone whose condition is known."""
    aucs = []
    for _, own in clips.assign(score=scores).groupby("section"):
        normal, anomaly = (own.loc[own["condition"] == name, "score"].to_numpy() for name in ("normal", "anomaly"))
        if len(normal) and len(anomaly):
            aucs.append(auc(normal, anomaly))
    return float(np.mean(aucs)) if aucs else 0.5  # where nothing is known, all sums are alike
