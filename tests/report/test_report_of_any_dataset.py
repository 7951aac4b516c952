"""The report of a store of machine IDs: no domains, clips of unknown condition, a section without test clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mimiidg_build.benchmark.finished_runs import read_runs
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.progress import Reporter
from mimiidg_build.report.headline import headline
from mimiidg_build.report.page import render_page
from mimiidg_build.storage.places import place
from mimiidg_build.store.store import Store
from tests.plain_store import CELLS, TRAIN, UNKNOWN, make_plain_store
from tests.report_case import Page

pytestmark = pytest.mark.usefixtures("one_thread")

SECTIONS = {
    "ToyCar/id_01": 1.5,
    "fan/id_00": (1.0, CELLS | {UNKNOWN: 2}),
    "fan/id_01": (1.0, {TRAIN: 6}),
    "fan/id_02": (1.0, {TRAIN: 6, UNKNOWN: 3}),
}
EVALUATED = ["ToyCar/id_01", "fan/id_00"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def store(root: Path) -> Store:
    store = make_plain_store(root, SECTIONS, variant={"name": "plain", "mixing": "none"})
    options: dict[str, Any] = {"profile": "smoke", "device": "cpu"}
    benchmark_models(store, root, ["autoencoder"], **options)
    benchmark_models(store, root, ["nearest_neighbour"], backends=["kmeans"], **options)
    return store


@pytest.fixture(scope="module")
def html(store: Store, root: Path) -> str:
    return render_page(store, place(root), Reporter())


def test_tables_have_no_columns_for_domains(html: str) -> None:
    page = Page(html)
    means = page.tables["Means over all sections in %, with 95 % intervals"]
    assert list(means[0])[3:6] == ["Mean AUC", "Mean pAUC", "Official score"]
    assert {row["System"] for row in means} == {"autoencoder", "nearest_neighbour", "nearest_neighbour/kmeans"}
    assert all(row["Mean AUC"] and row["Official score"] for row in means)
    own = page.tables["nearest_neighbour, smoke profile: AUC in %, with 95 % intervals"]
    assert [row["Section"] for row in own] == [*EVALUATED, "mean", "official score"]
    assert all(row["AUC"] for row in own)
    heat = page.tables["AUC by system and section in %"]
    assert list(heat[0]) == ["System", "Domain", *EVALUATED, "Mean"] and heat[0]["Domain"] == "all"


def test_models_stand_by_back_ends(store: Store, root: Path, html: str) -> None:
    """Those that a back end scored; with charts of the back end's own threshold."""
    table = Page(html).tables["Models by back ends in %, means over sections"]
    assert [(row["Model"], row["Metric"]) for row in table] == [
        ("nearest_neighbour", metric) for metric in ("AUC", "pAUC", "official score")
    ]
    found = {result.name: result for result in read_runs(store, place(root)).models}
    for column, name in (("own score", "nearest_neighbour"), ("kmeans", "nearest_neighbour/kmeans")):
        assert table[0][column] == f"{100 * found[name].mean('auc_all').value:.1f}"
    assert "Score histogram of fan/id_00, nearest_neighbour/kmeans. Above the threshold" in html


def test_charts_draw_all_clips(html: str) -> None:
    assert "AUC in percent by section of nearest_neighbour: ToyCar/id_01" in html
    assert "ROC curves of fan/id_00, nearest_neighbour. AUC in percent: " in html
    assert "Score histogram of fan/id_00, nearest_neighbour. Above the threshold" in html
    assert "ROC curves of fan/id_02" not in html, "nobody knows"


def test_what_is_not_evaluated_is_said(html: str) -> None:
    assert "5 of 21 test clips are scored and not evaluated: nobody told their condition." in html
    assert "fan/id_01: trained on and not tested, for want of test clips." in html
    assert "condition unknown" in html, "the gallery has an example"


def test_headline_names_the_weakest_section(store: Store, root: Path) -> None:
    found = headline(read_runs(store, place(root)).models)
    assert found is not None and found.weakest in EVALUATED and found.score_title == "official score"


def test_without_any_truth_the_page_says_so(tmp_path: Path) -> None:
    sections = {"fan/00": (1.0, {TRAIN: 6, UNKNOWN: 3})}
    store = make_plain_store(tmp_path, sections, variant={"name": "plain", "mixing": "none"})
    benchmark_models(store, tmp_path, ["nearest_neighbour"], profile="smoke", device="cpu")
    html = render_page(store, place(tmp_path), Reporter())
    assert "3 of 3 test clips are scored and not evaluated" in html and "Not finished, so not shown" not in html
