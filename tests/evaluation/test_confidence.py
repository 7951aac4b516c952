"""Intervals: against the plain way of doing it, coverage, and the exact cases."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
import scipy.stats

from mimiidg_build.evaluation import confidence
from mimiidg_build.evaluation.protocols import PROTOCOLS, official_mean, official_score
from mimiidg_build.evaluation.roc import auc
from mimiidg_build.evaluation.section_metrics import DOMAINLESS_AUCS, SECTION_AUCS, Cells, section_metrics
from mimiidg_build.schemas.sections import SectionId


def official_samples(samples, protocol, machine_types=("fan",)):
    values = np.stack([samples[name] for name in PROTOCOLS[protocol].official])
    return official_mean(values, machine_types, protocol)


def section(seed: int = 0, n: int = 50, shift: float = 1.0) -> Cells:
    """Scores rounded to one digit, so that there are ties."""
    rng = np.random.default_rng(seed)
    return Cells(*(rng.normal(mean, 1.0, n).round(1) for mean in (0.0, shift, 0.5, shift)))


def test_a_resample_that_draws_every_clip_once_gives_the_metrics_themselves():
    class Identity:
        """Draws each level as often as it is there."""

        def multinomial(self, n, shares, size):
            return np.tile(np.rint(n * shares), (size, 1))

    cells = section()
    found = confidence.resample(cells, 2, Identity())
    expected = section_metrics(cells)
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], [value, value], atol=1e-12, err_msg=name)


def test_bootstrap_agrees_with_resampling_clips_one_by_one():
    cells, rng = section(), np.random.default_rng(1)
    plain = [section_metrics(Cells(*(rng.choice(cell, cell.size) for cell in cells))) for _ in range(1500)]
    fast = confidence.bootstrap({SectionId("fan", "00"): cells}, n_resamples=1500)
    for name in SECTION_AUCS:
        slow = np.array([row[name] for row in plain])
        assert fast[name].mean() == pytest.approx(slow.mean(), abs=4 * slow.std() / 1500**0.5 * 1.5), name
        assert fast[name].std() == pytest.approx(slow.std(), rel=0.15), name


def test_percentile_interval_agrees_with_scipys_bootstrap():
    """Of the AUC of two independent samples; both estimate the same quantiles, so they differ by their own noise."""
    rng = np.random.default_rng(3)
    normal, anomaly = rng.normal(0, 1, 60), rng.normal(1, 1, 40)
    reference = scipy.stats.bootstrap(
        (normal, anomaly), auc, vectorized=False, method="percentile", n_resamples=4000, rng=np.random.default_rng(4)
    ).confidence_interval
    samples = confidence.resample(Cells(normal, anomaly, normal, anomaly), 4000, rng)["auc_source_within"]
    assert confidence.interval(samples) == pytest.approx((reference.low, reference.high), abs=0.01)


def test_draws_of_a_section_depend_on_seed_and_section_alone():
    fan, valve = section(0), section(1)
    both = confidence.bootstrap({SectionId("fan", "00"): fan, SectionId("valve", "00"): valve}, 20, seed=5)
    turned = confidence.bootstrap({SectionId("valve", "00"): valve, SectionId("fan", "00"): fan}, 20, seed=5)
    alone = confidence.bootstrap({SectionId("fan", "00"): fan}, 20, seed=5)
    for name in SECTION_AUCS:
        np.testing.assert_array_equal(both[name], turned[name][:, ::-1])
        np.testing.assert_array_equal(both[name][:, :1], alone[name])
    other = confidence.bootstrap({SectionId("fan", "00"): fan}, 20, seed=6)
    twin = confidence.bootstrap({SectionId("fan", "01"): fan}, 20, seed=5)
    assert not np.array_equal(alone["auc_all"], other["auc_all"]), "another seed draws anew"
    assert not np.array_equal(alone["auc_all"], twin["auc_all"]), "two sections with the same scores draw apart"


def test_a_perfect_section_has_no_variance():
    cells = Cells(*map(np.array, ([0.0, 1.0], [5.0, 6.0], [2.0, 3.0], [7.0, 8.0])))
    samples = confidence.bootstrap({SectionId("fan", "00"): cells}, 50)
    assert all((values == 1.0).all() for values in samples.values())
    assert confidence.interval(official_samples(samples, "2022")) == (1.0, 1.0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_official_score_samples_are_official_scores_over_sections(protocol):
    ids = [SectionId("fan", "00"), SectionId("fan", "01"), SectionId("pump", "00")]
    samples = confidence.bootstrap({key: section(number) for number, key in enumerate(ids)}, 10)
    rows = [
        {"machine_type": key.machine_type, **{name: values[3, column] for name, values in samples.items()}}
        for column, key in enumerate(ids)
    ]
    found = official_samples(samples, protocol, [key.machine_type for key in ids])
    assert found.shape == (10,) and found[3] == pytest.approx(official_score(rows, protocol))


def test_without_domains_what_needs_none_is_resampled():
    normal, anomaly = section().source_normal, section().source_anomaly
    samples = confidence.resample((normal, anomaly), 400, np.random.default_rng(0))
    assert set(samples) == set(DOMAINLESS_AUCS)
    low, high = confidence.interval(samples["auc_all"])
    assert low < auc(normal, anomaly) < high < low + 0.3


def test_intervals_cover_the_true_auc_about_as_often_as_they_say():
    truth = NormalDist().cdf(1 / 2**0.5)  # of N(0, 1) against N(1, 1)
    hits = {"bootstrap": 0, "hanley": 0}
    for seed in range(200):
        rng = np.random.default_rng([7, seed])
        normal, anomaly = rng.normal(0, 1, 50), rng.normal(1, 1, 50)
        cells = Cells(normal, anomaly, normal, anomaly)
        samples = confidence.resample(cells, 300, rng)["auc_source_within"]
        low, high = confidence.interval(samples)
        hits["bootstrap"] += low <= truth <= high
        low, high = confidence.hanley_mcneil_interval(auc(normal, anomaly), 50, 50)
        hits["hanley"] += low <= truth <= high
    assert all(175 <= count <= 199 for count in hits.values()), hits


@pytest.mark.parametrize(("n_normal", "n_anomaly"), [(1, 1), (50, 50), (50, 100), (3, 200)])
def test_hanley_mcneil_at_chance_is_the_mann_whitney_error(n_normal, n_anomaly):
    exact = ((n_normal + n_anomaly + 1) / (12 * n_normal * n_anomaly)) ** 0.5
    assert confidence.hanley_mcneil_error(0.5, n_normal, n_anomaly) == pytest.approx(exact)


def test_hanley_mcneil_by_hand():
    # A = 0.9, Q1 = 9/11, Q2 = 162/190; more anomalies and more normals weigh differently.
    variance = (0.09 + 99 * (9 / 11 - 0.81) + 49 * (162 / 190 - 0.81)) / 5000
    assert confidence.hanley_mcneil_error(0.9, n_normal=50, n_anomaly=100) == pytest.approx(variance**0.5)
    assert confidence.hanley_mcneil_interval(1.0, 50, 50) == (1.0, 1.0)
    assert confidence.hanley_mcneil_interval(0.99, 5, 5)[1] == 1.0, "cut at 1"


@pytest.mark.parametrize("arguments", [(1.5, 5, 5), (-0.1, 5, 5), (0.5, 0, 5), (0.5, 5, 0)])
def test_hanley_mcneil_refuses_impossible_input(arguments):
    with pytest.raises(ValueError, match=r"expected an AUC in \[0, 1\]"):
        confidence.hanley_mcneil_error(*arguments)


def test_bootstrap_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one section"):
        confidence.bootstrap({})
