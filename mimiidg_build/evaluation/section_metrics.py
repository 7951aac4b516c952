"""The AUCs of one section, as the papers and the organisers' scripts of every year compute them.

Conventions
-----------
A *section* is (machine type, section number or machine ID). Its test clips fall into four cells, domain (source,
target) times condition (normal, anomaly); a cell is a 1-d array of scores, in any order. All values are in [0, 1].

=====================  =============================================================================================
``auc_source``         normal clips of source against ALL anomalous clips of the section; Eq. (1) of the paper
``auc_target``         normal clips of target against ALL anomalous clips of the section
``auc_all``            all normal against all anomalous clips; with equal counts, the mean of the two above
``auc_source_within``  normal against anomalous clips of source alone: another number, so another name
``pauc``               all clips, false positive rate up to p = 0.1, normalised after McClish: chance = 0.5
``pauc_raw``           the same area, divided by p: chance = 0.05
``pauc_source_within`` the normalised area of the clips of source alone, as DCASE 2021 prints it
=====================  =============================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mimiidg_build.evaluation.roc import Floats, auc, finite_scores, pauc, pauc_raw

SECTION_AUCS = (
    "auc_source",
    "auc_target",
    "auc_all",
    "auc_source_within",
    "auc_target_within",
    "pauc",
    "pauc_raw",
    "pauc_source_within",
    "pauc_target_within",
)
DOMAINLESS_AUCS = ("auc_all", "pauc", "pauc_raw")


@dataclass(frozen=True)
class Cells:
    """The scores of one section's test clips, by domain and condition.

    Parameters
    ----------
    source_normal, source_anomaly, target_normal, target_anomaly : array_like [shape=(n,)]
        At least one score each, all finite, larger = more anomalous.

    Raises
    ------
    ValueError
        A cell is empty, or a score is not finite.
    """

    source_normal: Floats
    source_anomaly: Floats
    target_normal: Floats
    target_anomaly: Floats

    def __post_init__(self) -> None:
        for name in ("source_normal", "source_anomaly", "target_normal", "target_anomaly"):
            # a frozen dataclass refuses plain assignment, in its own __post_init__, too
            object.__setattr__(self, name, finite_scores(getattr(self, name), name.replace("_", " ")))

    def __iter__(self) -> Iterator[Floats]:
        return iter((self.source_normal, self.source_anomaly, self.target_normal, self.target_anomaly))

    @classmethod
    def of(cls, scores: ArrayLike, domains: Sequence[str], conditions: Sequence[str]) -> Cells:
        """Sort clips into cells.

        Parameters
        ----------
        scores : array_like [shape=(n_clips,)]
        domains : sequence of {"source", "target"} [length=n_clips]
        conditions : sequence of {"normal", "anomaly"} [length=n_clips]

        Raises
        ------
        ValueError
            A cell is empty, or a score is not finite.
        """
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
        "pauc_source_within": pauc(cells.source_normal, cells.source_anomaly),
        "pauc_target_within": pauc(cells.target_normal, cells.target_anomaly),
        **domainless_metrics(normal, anomaly),
    }


def domainless_metrics(normal: ArrayLike, anomaly: ArrayLike) -> dict[str, float]:
    """The metrics that need no domains (of a DCASE 2020 machine ID, say): ``auc_all``, ``pauc`` and ``pauc_raw``.

    Raises
    ------
    ValueError
        One of the two is empty, or a score is not finite.
    """
    return {"auc_all": auc(normal, anomaly), "pauc": pauc(normal, anomaly), "pauc_raw": pauc_raw(normal, anomaly)}


def auc_by_value(scores: ArrayLike, conditions: Sequence[str], values: Sequence[str]) -> dict[str, float]:
    """AUC per attribute value: normal clips that carry the value against ALL anomalous clips given.

    Parameters
    ----------
    scores : array_like [shape=(n_clips,)]
    conditions : sequence of {"normal", "anomaly"} [length=n_clips]
    values : sequence of str [length=n_clips]
        The value that each clip carries, ``""`` for none.

    Returns
    -------
    dict of value to float in [0, 1]
        Sorted by value; without the values that no normal clip carries, and without ``""``.

    Raises
    ------
    ValueError
        There is no anomalous clip, or a score is not finite.

    Examples
    --------
    >>> auc_by_value([1.0, 4.0, 3.0], ["normal", "normal", "anomaly"], ["W", "Y", "W"])
    {'W': 1.0, 'Y': 0.0}
    """
    score, normal, value = np.asarray(scores, np.float64), np.asarray(conditions) == "normal", np.asarray(values)
    carried = sorted(set(value[normal].tolist()) - {""})
    return {v: auc(score[normal & (value == v)], score[~normal]) for v in carried}


def pooled(normal: Sequence[ArrayLike], anomaly: Sequence[ArrayLike]) -> dict[str, float]:
    """One AUC and pAUC over the pooled clips of several sections, as some papers report a machine type.

    This is not the mean of the sections' values (DCASE 2020 and later): it also depends on how their scores are scaled
    relative to each other.

    Raises
    ------
    ValueError
        There is no normal or no anomalous clip, or a score is not finite.
    """
    every_normal = np.concatenate([np.asarray(scores, np.float64) for scores in normal])
    every_anomaly = np.concatenate([np.asarray(scores, np.float64) for scores in anomaly])
    return {"auc_pooled": auc(every_normal, every_anomaly), "pauc_pooled": pauc(every_normal, every_anomaly)}
