"""A metric over several seeds: its mean and a 95 % interval.

The interval holds two sources of spread: the test clips (the mean reach of the seeds' bootstrap intervals) and, with
two seeds or more, training (Student's t on the seeds' values); both are taken as independent and added in quadrature.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from mimiidg_build.evaluation.confidence import LEVEL
from mimiidg_build.evaluation.results import Interval


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its 95 % interval; all in [0, 1], NaN where unknown."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return ""
        if math.isnan(self.low):
            return f"{100 * self.value:.2f}"
        return f"{100 * self.value:.2f} ({100 * self.low:.1f} .. {100 * self.high:.1f})"

    def to_dict(self) -> dict[str, float]:
        """Plain data."""
        return {"value": self.value, "low": self.low, "high": self.high}


def combine(values: Sequence[float], intervals: Sequence[Interval]) -> Estimate:
    """Combine seeds: the value and the bootstrap interval over clips of each.

    Examples
    --------
    >>> combine([0.7], [(0.6, 0.75)])  # one seed: its own interval
    Estimate(value=0.7, low=0.6, high=0.75)
    >>> str(combine([0.6, 0.7, 0.8], [(0.6, 0.6), (0.7, 0.7), (0.8, 0.8)]))  # t of 2 degrees of freedom: 4.30
    '70.00 (45.2 .. 94.8)'
    """
    if len(values) == 1:
        return Estimate(values[0], *intervals[0])
    seeds, (low, high) = np.asarray(values, np.float64), np.asarray(intervals, np.float64).T
    quantile = float(scipy.stats.t.ppf((1 + LEVEL) / 2, len(seeds) - 1))
    spread, mean = quantile * float(seeds.std(ddof=1)) / math.sqrt(len(seeds)), float(seeds.mean())
    if np.isnan([low, high]).any():  # max and min would make a bound of it
        return Estimate(mean, math.nan, math.nan)
    # below and above apart: bootstrap intervals of AUCs near 1 reach further down than up
    below, above = math.hypot(float((seeds - low).mean()), spread), math.hypot(float((high - seeds).mean()), spread)
    return Estimate(mean, max(0.0, mean - below), min(1.0, mean + above))
