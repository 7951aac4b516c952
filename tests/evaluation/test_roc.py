"""ROC curves and their areas: values by hand, properties, scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from mimiidg_build.evaluation import roc

# Few distinct scores, so that ties are the rule.
scores = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("normal", "anomaly", "expected", "reason"),
    [
        ([1.0, 2.0], [3.0, 4.0], 1.0, "every anomaly above every normal clip"),
        ([3.0, 4.0], [1.0, 2.0], 0.0, "the wrong way round"),
        ([1.0, 1.0], [1.0], 0.5, "a tie counts one half"),
        ([1.0, 2.0], [2.0, 3.0], 0.875, "pairs 1, 1, 1/2, 1"),
        ([0.0, 2.0, 2.0], [2.0, 1.0], 0.5, "pairs 1, 1/2, 1/2 and 1, 0, 0"),
    ],
)
def test_auc_by_hand(normal, anomaly, expected, reason):
    assert roc.auc(normal, anomaly) == pytest.approx(expected, abs=1e-15), reason
    area = roc.partial_area(*roc.roc_curve(normal, anomaly))
    assert area == pytest.approx(expected, abs=1e-15), f"area under the curve: {reason}"


@pytest.mark.parametrize(
    ("normal", "anomaly", "p", "area", "reason"),
    [
        (range(10), [20.0], 0.1, 0.1, "perfect: the whole strip"),
        (range(10), [-1.0], 0.1, 0.0, "no anomaly found before all normals are"),
        ([0.0], [0.0], 0.1, 0.005, "all tied: the diagonal, p^2 / 2"),
        (range(10), [20.0, -1.0], 0.1, 0.05, "half found at once, the other half never"),
        (range(10), [8.5], 0.1, 0.0, "found exactly at a false positive rate of 0.1"),
        ([1.0, 0.0], [1.0, 0.0], 0.5, 0.125, "two ties: the diagonal again"),
        ([2.0, 0.0, 0.0, 0.0], [2.0, 1.0], 0.5, 0.125 * 0.5 + 0.25, "diagonal to (1/4, 1/2), then 1 to 1/2"),
    ],
)
def test_partial_area_by_hand(normal, anomaly, p, area, reason):
    found = roc.partial_area(*roc.roc_curve(list(normal), anomaly), p)
    assert found == pytest.approx(area, abs=1e-15), reason
    assert roc.pauc_raw(list(normal), anomaly, p) == pytest.approx(area / p), reason


@pytest.mark.parametrize(
    ("area", "expected"),
    [(0.005, 0.5), (0.1, 1.0), (0.0, 0.5 * (1 - 0.005 / 0.095)), (0.05, 0.5 * (1 + 0.045 / 0.095))],
)
def test_mcclish_takes_chance_to_one_half_and_perfection_to_one(area, expected):
    assert roc.mcclish(np.array(area), 0.1) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("normal", "anomaly", "match"),
    [
        ([], [1.0], r"normal scores: expected .* at least one score, found shape \(0,\)"),
        ([1.0], [], "anomaly scores"),
        ([1.0, float("inf")], [1.0], "normal scores: expected finite numbers, found inf"),
        ([[1.0]], [1.0], r"found shape \(1, 1\)"),
    ],
)
@pytest.mark.parametrize("metric", [roc.auc, roc.pauc, roc.pauc_raw])
def test_metrics_refuse_scores_that_rank_nothing(metric, normal, anomaly, match):
    with pytest.raises(ValueError, match=match):
        metric(normal, anomaly)


# ---- Properties ------------------------------------------------------------------------------------------------------


@given(scores, scores)
def test_auc_of_swapped_sides_is_the_complement(normal, anomaly):
    assert roc.auc(normal, anomaly) == pytest.approx(1 - roc.auc(anomaly, normal), abs=1e-12)


@given(scores, scores)
def test_ranking_alone_counts(normal, anomaly):
    def stretched(values):
        return [np.exp(value) - 100.0 for value in values]  # increasing, and exact enough to keep ties

    for metric in (roc.auc, roc.pauc, roc.pauc_raw):
        assert metric(normal, anomaly) == metric(stretched(normal), stretched(anomaly))


@given(scores, scores, st.randoms(use_true_random=False))
def test_order_of_clips_does_not_count(normal, anomaly, random):
    shuffled = random.sample(normal, len(normal)), random.sample(anomaly, len(anomaly))
    assert roc.auc(*shuffled) == roc.auc(normal, anomaly)
    assert roc.pauc(*shuffled) == roc.pauc(normal, anomaly)


@given(scores, scores)
def test_auc_is_the_share_of_pairs_ranked_right(normal, anomaly):
    pairs = [1.0 if a > n else 0.5 if a == n else 0.0 for n in normal for a in anomaly]
    assert roc.auc(normal, anomaly) == pytest.approx(np.mean(pairs), abs=1e-12)


# ---- scikit-learn ----------------------------------------------------------------------------------------------------


@settings(deadline=None)  # scikit-learn's first call takes its time
@given(scores, scores, st.floats(0.05, 1.0))
def test_curves_and_areas_agree_with_scikit_learn(normal, anomaly, p):
    """AUC, the partial AUC with McClish's normalisation (``max_fpr``), the raw one, and the curve itself."""
    truth, score = [0] * len(normal) + [1] * len(anomaly), normal + anomaly
    assert roc.auc(normal, anomaly) == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    for max_fpr in (roc.MAX_FPR, p):
        # At p = 1 scikit-learn gives the plain AUC; McClish's normalisation of it is (1 + 2 A - 1) / 2 = A as well.
        expected = roc_auc_score(truth, score, max_fpr=max_fpr)
        assert roc.pauc(normal, anomaly, max_fpr) == pytest.approx(expected, abs=1e-12)
        chance = max_fpr / 2
        raw = (2 * expected - 1) * (1 - chance) + chance  # McClish's normalisation undone, over p
        assert roc.pauc_raw(normal, anomaly, max_fpr) == pytest.approx(raw, abs=1e-12)
    fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
    np.testing.assert_allclose(roc.roc_curve(normal, anomaly), (fpr, tpr), atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_scores_without_ties_agree_with_scikit_learn_too(seed):
    rng = np.random.default_rng(seed)
    normal, anomaly = rng.normal(0, 1, 100), rng.normal(1, 2, 60)
    truth, score = [0] * 100 + [1] * 60, np.concatenate([normal, anomaly])
    assert roc.auc(normal, anomaly) == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    assert roc.pauc(normal, anomaly) == pytest.approx(roc_auc_score(truth, score, max_fpr=0.1), abs=1e-12)


@given(scores, scores)
def test_equal_rankings_give_the_same_bits(normal, anomaly):
    """Why ours stands: a ratio of two integers, whichever way the clips are ordered and scaled."""
    pairs = sum(2 * (n < a) + (n == a) for n in normal for a in anomaly)
    assert roc.auc(normal, anomaly) == pairs / (2 * len(normal) * len(anomaly))
