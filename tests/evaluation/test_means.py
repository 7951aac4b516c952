"""Means over sections and the official score: by hand, numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from mimiidg_build.evaluation import means


def test_means_are_over_sections_and_where_no_domain_is_named_over_domains():
    sections = [
        {"auc_source": 0.5, "auc_target": 1.0, "pauc": 0.0},
        {"auc_source": 1.0, "auc_target": 0.5, "pauc": 1.0},
    ]
    found = means.means(sections)
    assert found["arithmetic"] == {"auc_source": 0.75, "auc_target": 0.75, "pauc": 0.5, "auc": 0.75}
    assert found["harmonic"]["auc"] == pytest.approx(2 / 3)
    assert found["harmonic"]["pauc"] == pytest.approx(2 * means.FLOOR), "zero is floored, not divided by"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_harmonic_mean_is_scipys_and_never_above_the_arithmetic(values):
    harmonic = means.harmonic_mean(values)
    assert harmonic == pytest.approx(scipy.stats.hmean(np.maximum(values, means.FLOOR)), rel=1e-12)
    assert harmonic <= means.arithmetic_mean(values) * (1 + 1e-12) + means.FLOOR


@given(st.integers(1, 5), st.integers(1, 4), st.randoms(use_true_random=False))
def test_means_along_an_axis_are_those_of_numpy_and_scipy(n_rows, n_columns, random):
    """Means of many sets of values at once, along the last axis."""
    values = np.array([[random.uniform(0.01, 1) for _ in range(n_columns)] for _ in range(n_rows)])
    for axis in (0, 1, -1):
        np.testing.assert_allclose(means.arithmetic_mean(values, axis), values.mean(axis=axis), rtol=1e-12)
        np.testing.assert_allclose(means.harmonic_mean(values, axis), scipy.stats.hmean(values, axis=axis), rtol=1e-12)


def test_unknown_metrics_make_their_mean_unknown():
    found = means.means([{"auc_source": 0.5, "auc_target": float("nan")}, {"auc_source": 1.0, "auc_target": 1.0}])
    assert found["arithmetic"]["auc_source"] == 0.75
    for kind in ("arithmetic", "harmonic"):
        assert np.isnan([found[kind]["auc_target"], found[kind]["auc"]]).all()
