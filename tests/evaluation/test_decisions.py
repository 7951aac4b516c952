"""Threshold, precision, recall and F1: by hand, properties, scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from mimiidg_build.evaluation import decisions


@pytest.mark.parametrize(
    ("truth", "decided", "expected", "reason"),
    [
        ([1, 1, 0, 0], [1, 0, 1, 0], (0.5, 0.5, 0.5), "one hit, one false alarm, one miss"),
        ([1, 1, 0, 0], [0, 0, 0, 0], (0.0, 0.0, 0.0), "no decision: floored denominators"),
        ([0, 0], [1, 0], (0.0, 0.0, 0.0), "no anomaly at all"),
        ([1, 1, 0, 0], [1, 1, 1, 1], (0.5, 1.0, 2 / 3), "everything is called anomalous"),
    ],
)
def test_precision_recall_f1_by_hand(truth, decided, expected, reason):
    found = decisions.precision_recall_f1(truth, decided)
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx(expected), reason


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_precision_recall_f1_agree_with_scikit_learn(clips):
    """The floor under empty denominators is scikit-learn's ``zero_division=0``."""
    truth, decided = zip(*clips, strict=True)
    expected = precision_recall_fscore_support(truth, decided, average="binary", zero_division=0)[:3]
    found = decisions.precision_recall_f1(truth, decided)
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx(expected, abs=1e-12)


# ---- Threshold -------------------------------------------------------------------------------------------------------


def test_threshold_is_the_quantile_of_a_gamma_with_location():
    # A gamma far from zero: a fit that fixed the location at 0 would miss the tail.
    law = scipy.stats.gamma(2.0, loc=10.0, scale=3.0)
    sample = law.rvs(size=4000, random_state=np.random.default_rng(0))
    assert decisions.decision_threshold(sample) == pytest.approx(law.ppf(0.9), rel=0.02)
    assert decisions.decision_threshold(sample, 0.5) == pytest.approx(law.ppf(0.5), rel=0.02)


@pytest.mark.parametrize(
    ("shift", "scale", "reason"),
    [
        (100.0, 5.0, "scores like reconstruction errors"),
        (0.0, 1e-6, "scores like cosine distances, below the fit's absolute tolerances"),
        (-50.0, 1.0, "negative scores, like log odds"),
        (1e8, 1.0, "a standard deviation that is small against the scores"),
    ],
)
def test_threshold_follows_shift_and_scale_of_the_scores(shift, scale, reason):
    sample = np.random.default_rng(1).gamma(3.0, 2.0, size=100)
    expected = shift + scale * decisions.decision_threshold(sample)
    assert decisions.decision_threshold(shift + scale * sample) == pytest.approx(expected, abs=0.02 * scale), reason


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([], "at least one score"),
        ([1.0, 1.0, 1.0], "all 3 training scores equal 1.0"),
        ([1.0, float("nan")], "finite numbers, found nan"),
    ],
)
def test_threshold_refuses_what_it_cannot_fit(values, match):
    with pytest.raises(ValueError, match=match):
        decisions.decision_threshold(values)
