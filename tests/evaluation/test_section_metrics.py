"""The AUCs of one section: against all anomalies, within a domain, per attribute value, pooled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimiidg_build.evaluation.roc import mcclish
from mimiidg_build.evaluation.section_metrics import SECTION_AUCS, Cells, auc_by_value, pooled, section_metrics

# Few distinct scores, so that ties are the rule.
scores = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=12)


def test_auc_source_is_against_all_anomalies_and_within_is_another_number():
    # Source normal 1, 2; source anomaly 3; target normal 5; target anomaly 0: one score decides each.
    cells = Cells(*map(np.array, ([1.0, 2.0], [3.0], [5.0], [0.0])))
    found = section_metrics(cells)
    assert found == {
        "auc_source": 0.5,  # 3 beats both, 0 beats none
        "auc_target": 0.0,  # 5 beats both anomalies
        "auc_source_within": 1.0,
        "auc_target_within": 0.0,
        "auc_all": pytest.approx(2 / 6),
        "pauc": pytest.approx(mcclish(np.array(0.0), 0.1)),
        "pauc_raw": 0.0,
        "pauc_source_within": 1.0,
        "pauc_target_within": pytest.approx(mcclish(np.array(0.0), 0.1)),
    }
    assert set(found) == set(SECTION_AUCS)


def test_cells_sort_clips_by_domain_and_condition():
    cells = Cells.of(
        [1.0, 2.0, 3.0, 4.0, 5.0],
        ["target", "source", "source", "target", "source"],
        ["anomaly", "normal", "anomaly", "normal", "normal"],
    )
    assert [cell.tolist() for cell in cells] == [[2.0, 5.0], [3.0], [4.0], [1.0]]


def test_auc_by_value_takes_the_normals_of_the_value_against_all_anomalies():
    found = auc_by_value(
        [1.0, 5.0, 3.0, 4.0, 2.0], ["normal", "normal", "anomaly", "anomaly", "normal"], ["W", "X", "W", "Y", ""]
    )
    assert found == {"W": 1.0, "X": 0.0}, "Y has no normal clip, and a clip without the attribute belongs to no value"


def test_pooled_is_not_the_mean_of_sections():
    # Each section is perfect by itself; the second one's scores are all larger.
    assert pooled([[0.0], [10.0]], [[1.0], [11.0]])["auc_pooled"] == 0.75


def test_cells_name_the_empty_cell():
    with pytest.raises(ValueError, match="target anomaly scores"):
        Cells.of([1.0, 2.0, 3.0], ["source", "source", "target"], ["normal", "anomaly", "normal"])


@given(st.lists(st.tuples(scores, scores), min_size=2, max_size=2))
def test_auc_all_is_the_mean_of_source_and_target_when_counts_agree(domains):
    n = min(len(normal) for normal, _ in domains)
    cells = Cells(*(np.array(values) for normal, anomaly in domains for values in (normal[:n], anomaly)))
    found = section_metrics(cells)
    assert found["auc_all"] == pytest.approx((found["auc_source"] + found["auc_target"]) / 2, abs=1e-12)
