"""Sums of some of the three scores: ``selected`` by training clips, as the paper says, and ``oracle`` by test clips.

The paper: "with the standardized scores, we select the best combination of the scores from the training data". It does
not say what a combination is held to there, where no clip is anomalous. Here it is the training clips of a machine
type's other sections, scored as if they were the section's own: what a system that knows its sections should find odd.

``oracle`` is chosen by the labels of the test clips. It shows what the choice of a combination could reach, and is
never the model's own score.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from mimiidg_build.evaluation.roc import auc
from mimiidg_build.models.base import Array, ScoreTable

Sum = tuple[int, ...]


def sums_among(n_scores: int) -> list[Sum]:
    """The sums of one score, of two, ..., of all of them, by their numbers: the shortest first.

    >>> sums_among(3)
    [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
    """
    numbers = range(n_scores)
    return [some for n in range(1, n_scores + 1) for some in itertools.combinations(numbers, n)]


def sum_of(scores: Sequence[Array], some: Sum) -> Array:
    """The sum of some of the scores, each [shape=(n_clips,)]."""
    total: Array = np.sum([scores[number] for number in some], axis=0)
    return total


def selected_sum(as_sections: Sequence[Array], section: Tensor) -> Sum:
    """The sum that best tells the training clips of each section from those of the machine type's other sections.

    Parameters
    ----------
    as_sections : sequence of np.ndarray [shape=(n_clips, n_scores)]
        For each section the scores of all training clips, as if they were its own.
    section : Tensor of int64 [shape=(n_clips,)]
        Their own.

    Returns
    -------
    tuple of int
        Numbers of scores: the sum with the greatest mean AUC over the sections; of equals, the shortest.
    """
    true = section.cpu().numpy()

    def mean_auc(some: Sum) -> float:
        sums = [sum_of(list(scores.T), some) for scores in as_sections]
        return float(np.mean([auc(own[true == number], own[true != number]) for number, own in enumerate(sums)]))

    return max(sums_among(as_sections[0].shape[1]), key=mean_auc)  # max: the first of equals


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
    of_training, of_test = ([table.scores[name] for name in names] for table in (training, test))
    best = max(sums_among(len(names)), key=lambda some: _mean_auc(test.clips, sum_of(of_test, some)))
    return sum_of(of_training, best), sum_of(of_test, best)


def _mean_auc(clips: pd.DataFrame, scores: Array) -> float:
    """Mean over sections of the AUC of all their test clips; of those alone whose condition is known."""
    aucs = []
    for _, own in clips.assign(score=scores).groupby("section"):
        normal, anomaly = (own.loc[own["condition"] == name, "score"].to_numpy() for name in ("normal", "anomaly"))
        if len(normal) and len(anomaly):
            aucs.append(auc(normal, anomaly))
    return float(np.mean(aucs)) if aucs else 0.5  # where nothing is known, all sums are alike
