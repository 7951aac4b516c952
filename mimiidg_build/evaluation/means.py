"""Means of metrics over sections. Official scores: :mod:`.protocols`.

Metrics are in [0, 1]; NaN stands for a metric that a section does not have, and makes every mean over it NaN. Harmonic
means floor their values at 2.2e-16, as the DCASE 2022 Task 2 evaluator does: ``scipy.stats.hmean`` has no such floor,
and gives 0 where a single value is 0.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from mimiidg_build.evaluation.roc import Floats
from mimiidg_build.evaluation.section_metrics import SECTION_AUCS

# The evaluator's floor of denominators, and of values under a harmonic mean: one zero pulls the mean to about zero.
FLOOR = sys.float_info.epsilon
_DECISION_METRICS = tuple(
    f"{name}_{domain}" for name in ("precision", "recall", "f1") for domain in ("source", "target")
)


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
    # maximum passes NaN on, where fmax would turn it into the floor
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
        ``auc``, ``precision``, ``recall`` and ``f1`` without a domain are over sections and both domains, and so are
        ``auc_within`` and ``pauc_within``.

    Examples
    --------
    >>> means([{"auc_source": 0.5, "auc_target": 1.0}])["arithmetic"]
    {'auc_source': 0.5, 'auc_target': 1.0, 'auc': 0.75}
    """
    groups: dict[str, tuple[str, ...]] = {name: (name,) for name in (*SECTION_AUCS, *_DECISION_METRICS)}
    groups |= {name: (f"{name}_source", f"{name}_target") for name in ("auc", "precision", "recall", "f1")}
    groups |= {f"{name}_within": (f"{name}_source_within", f"{name}_target_within") for name in ("auc", "pauc")}
    averaged = {
        mean: [section[name] for name in names for section in sections]
        for mean, names in groups.items()
        if all(name in section for name in names for section in sections)
    }
    return {
        "arithmetic": {mean: float(arithmetic_mean(values)) for mean, values in averaged.items()},
        "harmonic": {mean: float(harmonic_mean(values)) for mean, values in averaged.items()},
    }
