"""Metrics: values by hand, properties, scikit-learn, and the official run."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from mimiidg_build.evaluation import metrics
from tests.conftest import REAL

GOLDEN = REAL / "baseline_ae_results"
MACHINE_TYPES = ("bearing", "fan", "gearbox", "slider", "valve")
COLUMNS = (
    "auc_source",
    "auc_target",
    "pauc",
    "precision_source",
    "precision_target",
    "recall_source",
    "recall_target",
    "f1_source",
    "f1_target",
)

# Few distinct scores, so that ties are the rule.
scores = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=12)


# ---- By hand ---------------------------------------------------------------------------------------------------------


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
    assert metrics.auc(normal, anomaly) == pytest.approx(expected, abs=1e-15), reason
    area = metrics.partial_area(*metrics.roc_curve(normal, anomaly))
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
    found = metrics.partial_area(*metrics.roc_curve(list(normal), anomaly), p)
    assert found == pytest.approx(area, abs=1e-15), reason
    assert metrics.pauc_raw(list(normal), anomaly, p) == pytest.approx(area / p), reason


@pytest.mark.parametrize(
    ("area", "expected"),
    [(0.005, 0.5), (0.1, 1.0), (0.0, 0.5 * (1 - 0.005 / 0.095)), (0.05, 0.5 * (1 + 0.045 / 0.095))],
)
def test_mcclish_takes_chance_to_one_half_and_perfection_to_one(area, expected):
    assert metrics.mcclish(np.array(area), 0.1) == pytest.approx(expected)


def test_auc_source_is_against_all_anomalies_and_within_is_another_number():
    # Source normal 1, 2; source anomaly 3; target normal 5; target anomaly 0: one score decides each.
    cells = metrics.Cells(*map(np.array, ([1.0, 2.0], [3.0], [5.0], [0.0])))
    found = metrics.section_metrics(cells)
    assert found == {
        "auc_source": 0.5,  # 3 beats both, 0 beats none
        "auc_target": 0.0,  # 5 beats both anomalies
        "auc_source_within": 1.0,
        "auc_target_within": 0.0,
        "auc_all": pytest.approx(2 / 6),
        "pauc": pytest.approx(metrics.mcclish(np.array(0.0), 0.1)),
        "pauc_raw": 0.0,
    }
    assert set(found) == set(metrics.SECTION_AUCS)


def test_cells_sort_clips_by_domain_and_condition():
    cells = metrics.Cells.of(
        [1.0, 2.0, 3.0, 4.0, 5.0],
        ["target", "source", "source", "target", "source"],
        ["anomaly", "normal", "anomaly", "normal", "normal"],
    )
    assert [cell.tolist() for cell in cells] == [[2.0, 5.0], [3.0], [4.0], [1.0]]


def test_auc_by_value_takes_the_normals_of_the_value_against_all_anomalies():
    found = metrics.auc_by_value(
        [1.0, 5.0, 3.0, 4.0, 2.0], ["normal", "normal", "anomaly", "anomaly", "normal"], ["W", "X", "W", "Y", ""]
    )
    assert found == {"W": 1.0, "X": 0.0}, "Y has no normal clip, and a clip without the attribute belongs to no value"


def test_pooled_is_not_the_mean_of_sections():
    # Each section is perfect by itself; the second one's scores are all larger.
    assert metrics.pooled([[0.0], [10.0]], [[1.0], [11.0]])["auc_pooled"] == 0.75


@pytest.mark.parametrize(
    ("truth", "said", "expected", "reason"),
    [
        ([1, 1, 0, 0], [1, 0, 1, 0], (0.5, 0.5, 0.5), "one hit, one false alarm, one miss"),
        ([1, 1, 0, 0], [0, 0, 0, 0], (0.0, 0.0, 0.0), "no decision: floored denominators"),
        ([0, 0], [1, 0], (0.0, 0.0, 0.0), "no anomaly at all"),
        ([1, 1, 0, 0], [1, 1, 1, 1], (0.5, 1.0, 2 / 3), "everything is called anomalous"),
    ],
)
def test_precision_recall_f1_by_hand(truth, said, expected, reason):
    found = metrics.precision_recall_f1(truth, said)
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx(expected), reason


def test_means_are_over_sections_and_where_no_domain_is_named_over_domains():
    sections = [
        {"auc_source": 0.5, "auc_target": 1.0, "pauc": 0.0},
        {"auc_source": 1.0, "auc_target": 0.5, "pauc": 1.0},
    ]
    found = metrics.means(sections)
    assert found["arithmetic"] == {"auc_source": 0.75, "auc_target": 0.75, "pauc": 0.5, "auc": 0.75}
    assert found["harmonic"]["auc"] == pytest.approx(2 / 3)
    assert found["harmonic"]["pauc"] == pytest.approx(2 * metrics.FLOOR), "zero is floored, not divided by"


def test_official_score_is_the_harmonic_mean_of_three_values_a_section():
    sections = [
        {"auc_source": 0.5, "auc_target": 1.0, "pauc": 1.0, "auc_all": 0.1},
        {"auc_source": 1.0, "auc_target": 1.0, "pauc": 0.5, "auc_all": 0.1},
    ]
    assert metrics.official_score(sections) == pytest.approx(6 / 8)


# ---- Threshold -------------------------------------------------------------------------------------------------------


def test_threshold_is_the_quantile_of_a_gamma_with_location():
    # A gamma far from zero: a fit that fixed the location at 0 would miss the tail.
    law = scipy.stats.gamma(2.0, loc=10.0, scale=3.0)
    sample = law.rvs(size=4000, random_state=np.random.default_rng(0))
    assert metrics.decision_threshold(sample) == pytest.approx(law.ppf(0.9), rel=0.02)
    assert metrics.decision_threshold(sample, 0.5) == pytest.approx(law.ppf(0.5), rel=0.02)


@pytest.mark.parametrize(
    ("shift", "scale", "reason"),
    [
        (100.0, 5.0, "scores like reconstruction errors"),
        (0.0, 1e-6, "scores like cosine distances, below the fit's absolute tolerances"),
        (-50.0, 1.0, "negative scores, like log odds"),
        (1e8, 1.0, "a spread small against the scores"),
    ],
)
def test_threshold_follows_shift_and_scale_of_the_scores(shift, scale, reason):
    sample = np.random.default_rng(1).gamma(3.0, 2.0, size=100)
    expected = shift + scale * metrics.decision_threshold(sample)
    assert metrics.decision_threshold(shift + scale * sample) == pytest.approx(expected, abs=0.02 * scale), reason


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
        metrics.decision_threshold(values)


@pytest.mark.parametrize(
    ("normal", "anomaly", "match"),
    [
        ([], [1.0], r"normal scores: expected .* at least one score, found shape \(0,\)"),
        ([1.0], [], "anomaly scores"),
        ([1.0, float("inf")], [1.0], "normal scores: expected finite numbers, found inf"),
        ([[1.0]], [1.0], r"found shape \(1, 1\)"),
    ],
)
@pytest.mark.parametrize("metric", [metrics.auc, metrics.pauc, metrics.pauc_raw])
def test_metrics_refuse_scores_that_rank_nothing(metric, normal, anomaly, match):
    with pytest.raises(ValueError, match=match):
        metric(normal, anomaly)


def test_cells_name_the_empty_cell():
    with pytest.raises(ValueError, match="target anomaly scores"):
        metrics.Cells.of([1.0, 2.0, 3.0], ["source", "source", "target"], ["normal", "anomaly", "normal"])


# ---- Properties ------------------------------------------------------------------------------------------------------


@given(scores, scores)
def test_auc_of_swapped_sides_is_the_complement(normal, anomaly):
    assert metrics.auc(normal, anomaly) == pytest.approx(1 - metrics.auc(anomaly, normal), abs=1e-12)


@given(scores, scores)
def test_ranking_alone_counts(normal, anomaly):
    def stretched(values):
        return [np.exp(value) - 100.0 for value in values]  # increasing, and exact enough to keep ties

    for metric in (metrics.auc, metrics.pauc, metrics.pauc_raw):
        assert metric(normal, anomaly) == metric(stretched(normal), stretched(anomaly))


@given(scores, scores, st.randoms(use_true_random=False))
def test_order_of_clips_does_not_count(normal, anomaly, random):
    shuffled = random.sample(normal, len(normal)), random.sample(anomaly, len(anomaly))
    assert metrics.auc(*shuffled) == metrics.auc(normal, anomaly)
    assert metrics.pauc(*shuffled) == metrics.pauc(normal, anomaly)


@given(scores, scores)
def test_auc_is_the_share_of_pairs_ranked_right(normal, anomaly):
    pairs = [1.0 if a > n else 0.5 if a == n else 0.0 for n in normal for a in anomaly]
    assert metrics.auc(normal, anomaly) == pytest.approx(np.mean(pairs), abs=1e-12)


@given(scores, scores)
def test_curves_and_areas_agree_with_scikit_learn(normal, anomaly):
    truth, score = [0] * len(normal) + [1] * len(anomaly), normal + anomaly
    assert metrics.auc(normal, anomaly) == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    assert metrics.pauc(normal, anomaly) == pytest.approx(roc_auc_score(truth, score, max_fpr=0.1), abs=1e-12)
    fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
    found = metrics.roc_curve(normal, anomaly)
    np.testing.assert_allclose(found, (fpr, tpr), atol=1e-12)


@given(st.lists(st.tuples(scores, scores), min_size=2, max_size=2))
def test_auc_all_is_the_mean_of_source_and_target_when_counts_agree(domains):
    n = min(len(normal) for normal, _ in domains)
    cells = metrics.Cells(*(np.array(values) for normal, anomaly in domains for values in (normal[:n], anomaly)))
    found = metrics.section_metrics(cells)
    assert found["auc_all"] == pytest.approx((found["auc_source"] + found["auc_target"]) / 2, abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_harmonic_mean_is_scipys_and_never_above_the_arithmetic(values):
    harmonic = metrics.harmonic_mean(values)
    assert harmonic == pytest.approx(scipy.stats.hmean(np.maximum(values, metrics.FLOOR)), rel=1e-12)
    assert harmonic <= metrics.arithmetic_mean(values) * (1 + 1e-12) + metrics.FLOOR


# ---- The official run ------------------------------------------------------------------------------------------------

golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"the official run is not at {GOLDEN} (see its README)")


def golden_table() -> dict[tuple[str, str], dict[str, float]]:
    """result.csv as {(machine type, row): {metric: value}}; the last two rows belong to machine type ''."""
    table, machine_type = {}, ""
    with (GOLDEN / "result.csv").open(newline="") as file:
        for row in csv.reader(file):
            if len(row) == 1:
                machine_type = row[0]
            elif row and row[0] == "":
                machine_type = ""
            elif row and row[0] != "section":
                table[machine_type, row[0]] = dict(zip(COLUMNS, map(float, row[1:]), strict=True))
    return table


def golden_section(machine_type: str, section: str) -> dict[str, float]:
    """Our metrics of one section of the official run, read here without the package's own reader."""
    columns = {}
    for kind in ("anomaly_score", "decision_result"):
        with (GOLDEN / f"{kind}_{machine_type}_section_{section}_test.csv").open(newline="") as file:
            columns[kind] = list(csv.reader(file))
    names = [name.split("_") for name, _ in columns["anomaly_score"]]
    assert [name for name, _ in columns["decision_result"]] == ["_".join(name) for name in names]
    domains, conditions = [name[2] for name in names], [name[4] for name in names]
    found = metrics.section_metrics(
        metrics.Cells.of([float(value) for _, value in columns["anomaly_score"]], domains, conditions)
    )
    anomalous = np.array(conditions) == "anomaly"
    decided = np.array([value == "1" for _, value in columns["decision_result"]])
    for domain in ("source", "target"):
        here = np.array(domains) == domain
        measured = metrics.precision_recall_f1(anomalous[here], decided[here])
        found |= {f"{name}_{domain}": value for name, value in measured.items()}
    return found


@golden
@pytest.mark.parametrize("machine_type", MACHINE_TYPES)
def test_official_run_every_section_and_mean(machine_type):
    table = golden_table()
    sections = [golden_section(machine_type, section) for section in ("00", "01", "02")]
    for section, found in zip(("00", "01", "02"), sections, strict=True):
        for name, value in table[machine_type, section].items():
            assert found[name] == pytest.approx(value, abs=1e-12, rel=0), (machine_type, section, name)
    for kind, found in metrics.means(sections).items():
        for name, value in table[machine_type, f"{kind} mean"].items():
            assert found[name] == pytest.approx(value, abs=1e-12, rel=0), (machine_type, kind, name)


@golden
def test_official_run_grand_means_over_all_seven_machine_types():
    # Scores of ToyCar and ToyTrain are not there: their rows are taken as printed.
    table = golden_table()
    sections = [row for (_, name), row in table.items() if name in ("00", "01", "02")]
    assert len(sections) == 21
    for kind, found in metrics.means(sections).items():
        row = table["", f"{kind} mean over all machine types, sections, and domains"]
        for name, value in row.items():
            assert found[name] == pytest.approx(value, rel=1e-12, abs=0), (kind, name)


@golden
def test_official_run_has_135_golden_values_and_within_domain_auc_differs():
    table = golden_table()
    assert sum(len(table[m, s]) for m in MACHINE_TYPES for s in ("00", "01", "02")) == 135
    fan = golden_section("fan", "00")
    assert (round(fan["auc_source"], 4), round(fan["auc_source_within"], 4)) == (0.8474, 0.6992)
