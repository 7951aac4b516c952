"""A metric over several seeds: its mean and a 95 % interval.

The interval holds two sources of spread: the test clips (the mean reach of the seeds' intervals over clips) and, with
two seeds or more, training (Student's t on the seeds' values); both are taken as independent and added in quadrature.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mimiidg_build.evaluation.confidence import quantile
from mimiidg_build.evaluation.results import Interval
from mimiidg_build.evaluation.small_cells import MARK


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its 95 % interval; all in [0, 1], NaN where unknown.

    ``few_clips`` marks a mean over sections, or an official score, of too few test clips to say much.
    """

    value: float
    low: float
    high: float
    few_clips: bool = False

    @property
    def mark(self) -> str:
        """What stands behind the value."""
        return MARK if self.few_clips else ""

    def __str__(self) -> str:
        if math.isnan(self.value):
            return ""
        if math.isnan(self.low):
            return f"{100 * self.value:.2f}{self.mark}"
        return f"{100 * self.value:.2f}{self.mark} ({100 * self.low:.1f} .. {100 * self.high:.1f})"

    def to_dict(self) -> dict[str, float]:
        """Plain data."""
        return {"value": self.value, "low": self.low, "high": self.high, "few_clips": self.few_clips}


def combine(values: Sequence[float], intervals: Sequence[Interval], *, few_clips: bool = False) -> Estimate:
    """Combine seeds.

    Parameters
    ----------
    values : sequence of float
        Of each seed.
    intervals : sequence of (low, high)
        Of each, over clips.
    few_clips : bool
        Whether the test clips are too few to say much.

    Returns
    -------
    Estimate

    Examples
    --------
    >>> combine([0.7], [(0.6, 0.75)])  # one seed: its own interval
    Estimate(value=0.7, low=0.6, high=0.75, few_clips=False)
    >>> str(combine([0.6, 0.7, 0.8], [(0.6, 0.6), (0.7, 0.7), (0.8, 0.8)]))  # t of 2 degrees of freedom: 4.30
    '70.00 (45.2 .. 94.8)'
    """
    if len(values) == 1:
        return Estimate(values[0], *intervals[0], few_clips)
    seeds, (low, high) = np.asarray(values, np.float64), np.asarray(intervals, np.float64).T
    spread, mean = quantile(len(seeds) - 1) * float(seeds.std(ddof=1)) / math.sqrt(len(seeds)), float(seeds.mean())
    if np.isnan([low, high]).any():  # max and min would make a bound of it
        return Estimate(mean, math.nan, math.nan, few_clips)
    # below and above apart: intervals of AUCs near 1 reach further down than up
    below, above = math.hypot(float((seeds - low).mean()), spread), math.hypot(float((high - seeds).mean()), spread)
    return Estimate(mean, max(0.0, mean - below), min(1.0, mean + above), few_clips)
