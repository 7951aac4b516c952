"""The report: its numbers against the store and the results, what it says when something is missing, hostile names."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from matplotlib import rc_context

from mimiidg_build.audio.level import level
from mimiidg_build.benchmark.compare import compare_runs
from mimiidg_build.benchmark.finished_runs import read_runs
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.build.variant import build_variant
from mimiidg_build.cli.report import report
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.evaluation.decisions import precision_recall_f1
from mimiidg_build.evaluation.evaluate import evaluate_scores
from mimiidg_build.evaluation.paired import MEAN
from mimiidg_build.progress import Reporter
from mimiidg_build.report import data_charts, gallery, result_tables, score_charts, svg
from mimiidg_build.report.headline import ranked, weakest
from mimiidg_build.report.page import CHART_BYTES, PAGE_BYTES, _result_content, render_page, report_path, write_report
from mimiidg_build.report.sweeps import differences, read_others
from mimiidg_build.schemas.attributes import attributes_text
from mimiidg_build.storage.places import place as at
from mimiidg_build.store.store import Store, open_store
from tests.conftest import DATASET
from tests.report_case import Page, reported_case

pytestmark = pytest.mark.usefixtures("one_thread")

SECTIONS = "Sections: clips, mean power before mixing, attenuation and SNR"
MEANS = "Means over all sections in %, with 95 % intervals"
SWEEP = "AUC against SNR, means over sections in %, with 95 % intervals"
AUTOENCODER = "autoencoder, smoke-2epochs profile: AUC in %, with 95 % intervals"
OTHERS = "Other variants: means over sections in %, with 95 % intervals; change in percentage points"
HEAT = "AUC by system and section in %"
VALUES = "AUC by attribute value and system in %"
CSV_LINK = "data:text/csv;charset=utf-8;base64,"
DECIDED = [f"{metric}_{domain}" for metric in ("precision", "recall", "f1") for domain in ("source", "target")]
HOSTILE = "<script>alert(1)</script>\"'&amp;{{ 7 * 7 }}$x^2$"


@pytest.fixture(scope="module")
def reported(synthetic_archives: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    return reported_case(tmp_path_factory, synthetic_archives)


@pytest.fixture(scope="module")
def case(reported: tuple[Path, dict[str, Any]]) -> tuple[Store, Path]:
    """A store with runs, and its root. Not to be changed."""
    return open_store(reported[0] / "variants/case"), reported[0]


@pytest.fixture(scope="module")
def told(reported: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    """What ``mimiidg report`` says to a program."""
    return reported[1]


@pytest.fixture(scope="module")
def html(told: dict[str, Any]) -> str:
    return Path(told["path"]).read_text()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts are left out: half of the time that a page takes, where a test looks at words alone."""
    for module in (data_charts, score_charts):
        monkeypatch.setattr(module, "inline", lambda *_, **__: Markup())


def changed(store: Store, **attributes: object) -> Store:
    """The store with other attributes, in memory; its tables are read already."""
    other = replace(store, attributes=store.attributes.model_copy(update=attributes))
    other.__dict__.update({"clips": store.clips, "mix_plan": store.mix_plan})
    return other


def run_directory(case: tuple[Store, Path], name: str) -> Path:
    return case[1] / "runs" / "case" / case[0].fingerprint / name


# ---- The dataset -----------------------------------------------------------------------------------------------------


def test_title_says_synthetic(html: str, page: Page) -> None:
    assert "<title>case (synthetic data, for trying only) – mimiidg report</title>" in html
    assert re.search(r"<h1[^>]*>case <span[^>]*>synthetic data, for trying only</span></h1>", html)


def test_sections_are_the_stores(case: tuple[Store, Path], page: Page) -> None:
    store = case[0]
    texts = {row["Section"]: row for row in page.tables[SECTIONS]}
    assert list(texts) == list(store.sections)
    for name, section in store.sections.items():
        row = page.numbers[SECTIONS][list(texts).index(name)]
        own = store.clips[(store.clips["machine_type"] + "/" + store.clips["section"]) == name]
        assert int(row["Clips"]) == len(own)
        assert int(row["Train target"]) == ((own["split"] == "train") & (own["domain"] == "target")).sum()
        assert int(row["Test"]) == (own["split"] == "test").sum()
        assert float(row["Power a [dB]"]) == pytest.approx(10 * np.log10(own["power"].mean()), abs=1e-6)
        assert float(row["Attenuation [dB]"]) == pytest.approx(20 * np.log10(section.attenuation), abs=1e-5)
    assert texts["fan/00"]["Planned SNR [dB]"] == "−6.0" and texts["fan/00"]["Measured SNR [dB]"] == "−6.000"
    assert texts["fan/02"]["Planned SNR [dB]"] == "−15.0 .. 3.0"
    assert texts["fan/01"]["Domain shift"] == "Mixing of different factory noise"


def test_attribute_values_are_counted(case: tuple[Store, Path], page: Page) -> None:
    clips = case[0].clips
    expected: Counter[tuple[str, ...]] = Counter()
    for clip in clips.to_dict("records"):
        group = (
            "Train"
            if clip["split"] == "train"
            else f"Test, {'normal' if clip['condition'] == 'normal' else 'anomalous'}"
        )
        for name, value in json.loads(clip["attributes"]).items():
            expected[f"{clip['machine_type']}/{clip['section']}", name, value, clip["domain"], group] += 1
    found: Counter[tuple[str, ...]] = Counter()
    for row in page.tables["Clips per attribute value"]:
        for group in ("Train", "Test, normal", "Test, anomalous"):
            found[row["Section"], row["Attribute"], row["Value"], row["Domain"], group] += int(row[group])
    assert +found == expected


def test_findings_are_validations(case: tuple[Store, Path], page: Page) -> None:
    from mimiidg_build.datasets.findings import summarise
    from mimiidg_build.datasets.manifest import load_dataset
    from mimiidg_build.fetch.dataset import validate_dataset

    found = summarise(validate_dataset(load_dataset(DATASET), case[1], {"fan", "valve"}.__contains__).findings)
    rows = page.tables["Validation findings"]
    assert [(row["Where"], row["First one"]) for row in rows] == list(
        zip(found["table"], found["example"], strict=True)
    )
    assert len(rows) > 0


# ---- The gallery -----------------------------------------------------------------------------------------------------


def test_parts_make_the_mixture(case: tuple[Store, Path]) -> None:
    """Machine and noise add up to what is stored, at the level and the SNR of the plan."""
    store, root = case
    reader = gallery.ClipReader(store, root, 160_000)
    for name, section in store.sections.items():
        rows = list(reader.chosen(*name.split("/")))
        assert [(row["domain"], row["condition"]) for row in rows] == list(gallery.CELLS)
        for row in rows:
            parts = reader.samples(row)
            stored = store.audio(row["machine_type"], row["section"])[int(row["row"])]
            np.testing.assert_array_equal(parts["mixture"], stored)
            np.testing.assert_array_equal(parts["machine"].astype(int) + parts["noise"], stored)
            assert level(parts["machine"])[0] == pytest.approx(row["attenuation"] ** 2 * row["power"], rel=1e-3)
            ratio = section.a * row["attenuation"] ** 2 / level(parts["noise"])[0]
            assert 10 * np.log10(ratio) == pytest.approx(row["added_noise_snr_db"], abs=0.01)


def test_every_section_is_seen_and_heard(case: tuple[Store, Path], page: Page) -> None:
    """Four clips a section, three parts each; a sound is the clip at the gain that is told."""
    n_parts = 12 * len(case[0].sections)
    images, sounds = page.all("img"), page.all("audio")
    assert len(images) == len(sounds) == n_parts
    assert all(image["alt"].startswith("Log-mel spectrogram: ") for image in images)
    assert len({image["alt"] for image in images}) == n_parts, "each is told apart"
    kind, _, data = sounds[0]["src"].partition(";base64,")
    assert kind == "data:audio/ogg"
    heard, rate = sf.read(io.BytesIO(base64.b64decode(data)))
    reader = gallery.ClipReader(case[0], case[1], 160_000)
    row = next(iter(reader.chosen("fan", "00")))
    clip = case[0].audio("fan", "00")[int(row["row"])] / 32768
    assert (rate, len(heard)) == (16_000, 160_000)
    assert np.corrcoef(heard, clip)[0, 1] > 0.9
    gain_db = float(re.search(r"sound ([+-][0-9.]+) dB", "".join(page.text)).group(1))  # type: ignore[union-attr]
    assert 10 * np.log10(np.mean(heard**2) / np.mean(clip**2)) == pytest.approx(gain_db, abs=0.5)


@pytest.mark.usefixtures("undrawn")
def test_without_the_archives(case: tuple[Store, Path], tmp_path: Path) -> None:
    """The mixture is in the store; its parts are not, and the page says how to get them."""
    text = write_report(case[0], tmp_path, tmp_path / "page.html").read_text()
    shown = Page(text)
    assert len(shown.all("img")) == 4 * len(case[0].sections)
    told = " ".join(shown.text)
    assert "is not there: `mimiidg fetch synthetic-1pct-seed0` brings it back" in told
    assert "cannot be validated now" in told
    assert "No detector has been benchmarked on this store yet." in told and "mimiidg benchmark case --model" in told
    assert "There is one SNR only." in told


def test_other_archives_are_not_taken_for_the_stores(case: tuple[Store, Path]) -> None:
    louder = changed(case[0])
    louder.__dict__["clips"] = louder.clips.assign(power=louder.clips["power"] * 1.01)
    shown = gallery.make_gallery(louder, case[1], PAGE_BYTES)
    assert {len(example.signals) for section in shown.sections for example in section.examples} == {1}
    assert "is not the archive that the store was built from" in shown.unknown


@given(st.integers(1, 30), st.sampled_from([1, 3]), st.integers(0, 10))
def test_gallery_leaves_room_for_the_charts(n_sections: int, n_parts: int, n_systems: int) -> None:
    """Ten systems on all sections of development and evaluation still make a page below 15 MB."""
    n_shown, charts_bytes = len(gallery.CELLS) * n_sections * n_parts, CHART_BYTES * n_sections * (1 + n_systems)
    seconds = gallery.shown_duration_s(n_shown, PAGE_BYTES - charts_bytes, 10.0)
    page_bytes = n_shown * (gallery.IMAGE_BYTES + seconds * gallery.SOUND_BYTES_PER_S * 4 / 3) + charts_bytes
    assert gallery.SHORTEST_S <= seconds <= 10 and page_bytes < 15e6
    assert seconds == 10 or page_bytes > 0.9 * PAGE_BYTES, "clips are as long as there is room for"


def test_a_sound_takes_no_more_than_is_reckoned() -> None:
    """White noise at full level takes most."""
    noise = np.random.default_rng(0).normal(0, 9000, 160_000).clip(-32768, 32767).astype(np.int16)
    assert len(gallery.encode_sound(noise, 0.0)) <= 10 * gallery.SOUND_BYTES_PER_S * 4 / 3


@pytest.mark.usefixtures("undrawn")
def test_a_variant_without_noise(root: Path) -> None:
    variant = derive_variant(load_variant("demo"), dataset=DATASET, sections=["valve/00"], mixing="none")
    store = build_variant(variant, root).store
    shown = Page(render_page(store, root, Reporter()))
    assert "This variant adds no noise" in "".join(shown.text)
    assert [image["alt"].split(",")[0] for image in shown.all("img")] == ["Log-mel spectrogram: recording"] * 4


def test_clips_have_their_names_and_all_kinds_are_there(case: tuple[Store, Path], page: Page) -> None:
    told = set(page.text)
    reader = gallery.ClipReader(case[0], case[1], 160_000)
    for name in case[0].sections:
        clips = [row["clip"] for row in reader.chosen(*name.split("/"))]
        assert any("target_test_anomaly" in clip for clip in clips) and told.issuperset(clips)


def test_a_gallery_can_be_stopped(case: tuple[Store, Path]) -> None:
    """From another thread, before it reads or encodes anything more."""
    stopped = Event()
    stopped.set()
    with pytest.raises(CancelledError):
        gallery.make_gallery(case[0], case[1], PAGE_BYTES, stopped=stopped)


# ---- The benchmark ---------------------------------------------------------------------------------------------------


def test_benchmark_is_what_the_runs_say(case: tuple[Store, Path], page: Page) -> None:
    """Two seeds: their mean, and an interval around it."""
    told = [
        json.loads((run_directory(case, f"autoencoder-smoke-2epochs-{seed}") / "results.json").read_text())
        for seed in (0, 1)
    ]
    rows, texts = page.numbers[AUTOENCODER], page.tables[AUTOENCODER]
    titles = {"AUC source": "auc_source", "AUC target": "auc_target", "AUC all": "auc_all", "pAUC": "pauc"}
    for place, sections in enumerate(zip(*(entry["sections"] for entry in told), strict=True)):
        assert texts[place]["Section"] == f"{sections[0]['machine_type']}/{sections[0]['section']}"
        for title, metric in titles.items():
            mean = np.mean([entry[metric] for entry in sections])
            assert float(rows[place][title]) == pytest.approx(mean)
            # one clip of a kind at this size, so no interval
            assert texts[place][title] == f"{100 * mean:.2f}"
    mean, official = rows[-2], rows[-1]
    assert float(mean["AUC target"]) == pytest.approx(
        np.mean([entry["means"]["arithmetic"]["auc_target"] for entry in told])
    )
    assert float(official["AUC source"]) == pytest.approx(np.mean([entry["official_score"] for entry in told]))
    compared = {row["System"]: row for row in page.tables[MEANS]}
    assert compared["autoencoder"]["Seeds"] == "2" and compared["nearest_neighbour"]["Seeds"] == "1"
    assert compared["autoencoder"]["Official score"] == texts[-1]["AUC source"]


def test_systems_are_compared_on_the_same_clips(case: tuple[Store, Path], page: Page) -> None:
    """A row for each system but the best, as ``compare`` has it; few clips are marked, in the CSV as well."""
    store, root = case
    best, other = ranked(read_runs(store, at(root)).models)
    names = [f"{store.attributes.variant.name}/{result.model}-{result.label}" for result in (other, best)]
    expected = {one.metric: one.value for one in compare_runs(*names, root).differences if one.place == MEAN}
    (caption,) = (title for title in page.tables if title.startswith(f"Less the best system, {best.name},"))
    (row,) = page.tables[caption]
    assert row["System"] == other.name and row["Interval over"] == "clips"
    for column, metric in (("AUC source", "auc_source"), ("AUC target", "auc_target")):
        assert row[column] == f"{100 * expected[metric]:+.2f}*".replace("-", "\N{MINUS SIGN}")
    assert any(text.startswith("* Few test clips: ") for text in page.text)
    (link,) = (entry for entry in page.all("a") if entry.get("aria-label") == f"CSV of the table: {caption}")
    text = base64.b64decode(link["href"].removeprefix(CSV_LINK)).decode("utf-8-sig")
    assert {row["Few test clips"] for row in csv.DictReader(io.StringIO(text))} == {"yes"}


def test_roc_curves_are_of_the_scores(case: tuple[Store, Path], html: str) -> None:
    """The AUC beside a curve is the evaluation's."""
    directory = run_directory(case, "nearest_neighbour-smoke-0")
    for row in evaluate_scores(directory, interval="none").sections.to_dict("records"):
        note = f"source {100 * row['auc_source']:.1f} · target {100 * row['auc_target']:.1f}"
        assert (
            f"ROC curves of {row['machine_type']}/{row['section']}, nearest_neighbour. AUC in percent: {note}" in html
        )


def test_histograms_tell_the_decisions(case: tuple[Store, Path], html: str) -> None:
    """What lies above the drawn threshold is what the run called anomalous."""
    store, root = case
    (result,) = [model for model in read_runs(store, root).models if model.model == "nearest_neighbour"]
    scored = evaluate_scores(result.runs[0].directory, interval="none")
    for row in scored.sections.to_dict("records"):
        name = f"{row['machine_type']}/{row['section']}"
        clips = result.scored[name]
        cell = clips[(clips["domain"] == "source")]
        expected = precision_recall_f1(cell["condition"] == "anomaly", cell["score"] > result.thresholds[name])
        assert row["recall_source"] == expected["recall"]
        anomalous = cell[cell["condition"] == "anomaly"]
        above = int((anomalous["score"] > result.thresholds[name]).sum())
        assert f"source anomaly {above} of {len(anomalous)}" in html


def test_per_value_and_losses(case: tuple[Store, Path], page: Page, html: str) -> None:
    values = page.tables["nearest_neighbour: AUC per attribute value"]
    told = json.loads((run_directory(case, "nearest_neighbour-smoke-0") / "results.json").read_text())["values"]
    assert [(row["Value"], row["AUC [%]"]) for row in values] == [
        (entry["value"], f"{100 * entry['auc']:.2f}") for entry in told
    ]
    last = (run_directory(case, "autoencoder-smoke-2epochs-0") / "loss_fan.csv").read_text().split()[-1].split(",")[1]
    assert f"Training loss of autoencoder, fan, over 2 epochs. Last: {float(last):.4g}" in html
    assert "This system trains nothing." in html


def test_the_papers_results_stand_beside(case: tuple[Store, Path], page: Page, html: str) -> None:
    """Only where data and profile are the paper's: here of a store and of runs that say so."""
    assert not any("Paper source" in row for rows in page.tables.values() for row in rows)
    found = read_runs(changed(case[0], dataset="mimii_dg", synthetic=False), case[1]).models
    assert not any(model.published for model in found), "neither smoke nor other epochs are the paper's"
    renamed = tuple(replace(model, profile="released", epochs=None) for model in found)
    assert not any(model.published for model in renamed), "nor are settings by another profile's name"
    found = tuple(replace(model, settings={}) for model in renamed)
    (autoencoder,) = [model for model in found if model.model == "autoencoder"]
    table = result_tables.benchmark(autoencoder)
    rows = {cells[0].text: dict(zip(table.columns, cells, strict=True)) for cells in (*table.rows, *table.foot)}
    assert (rows["fan/00"]["Paper source"].text, rows["fan/00"]["Paper target"].number) == ("84.69", 39.35)
    assert (rows["mean"]["Paper source"].text, rows["mean"]["Paper target"].text) == ("", ""), "not of all its sections"
    assert rows["official score"]["Paper source"].text == ""
    compared = result_tables.comparison(found)
    papers = {
        cells[0].text: dict(zip(compared.columns, cells, strict=True))["Paper source"].text for cells in compared.rows
    }
    assert papers == {"autoencoder": "", "nearest_neighbour": ""}
    (note,) = autoencoder.papers_notes
    content = _result_content(found)
    assert content["papers_notes"] == [note] and "within 0.9 (source) and 0.8 (target) points" in note
    assert note not in html and _result_content(read_runs(case[0], case[1]).models)["papers_notes"] == []
    with rc_context(svg.style()):  # type: ignore[arg-type]
        assert "fan/00, source, paper: 84.69" in score_charts.section_chart(0, autoencoder).svg


def test_snr_sweep(case: tuple[Store, Path], page: Page) -> None:
    """The other variant's results come from its own runs."""
    louder = open_store(case[1] / "variants" / "case-snr+6dB")
    (result,) = read_runs(louder, case[1]).models
    rows = page.tables[SWEEP]
    assert [(row["Model"], row["SNR offset [dB]"], row["Variant"]) for row in rows] == [
        ("nearest_neighbour", "0", "case"),
        ("nearest_neighbour", "+6", "case-snr+6dB"),
    ]
    assert rows[1]["Mean AUC target"] == f"{100 * result.mean('auc_target').value:.2f}*"


def test_other_variants_stand_beside(case: tuple[Store, Path], page: Page) -> None:
    """With what they differ in, and how far their scores lie from this store's."""
    rows = page.tables[OTHERS]
    assert [(row["System"], row["Variant"], row["Differs in"]) for row in rows] == [
        ("nearest_neighbour", "case", "this report's"),
        ("nearest_neighbour", "case-snr+6dB", "SNR offset +6 dB"),
    ]
    own, louder = (float(row["Official score"]) for row in page.numbers[OTHERS])
    assert rows[0]["Change"] == "" and float(page.numbers[OTHERS][1]["Change"]) == pytest.approx(100 * (louder - own))


def test_variants_of_other_data_do_not_stand_beside(case: tuple[Store, Path]) -> None:
    store, root = case
    assert [result.snr_offset_db for result in read_others(store, at(root))] == [6.0]
    assert read_others(changed(store, dataset="synthetic-1pct-seed1"), at(root)) == []
    fewer = {name: section for name, section in store.sections.items() if name != "valve/01"}
    assert read_others(changed(store, sections=fewer), at(root)) == []
    variant = store.attributes.variant.model_copy(update={"seed": 1, "mixing": "none"})
    assert differences(store, changed(store, variant=variant)) == ["mixing none", "seed 1"]


def test_heat_maps_show_every_system_and_section(case: tuple[Store, Path], page: Page, html: str) -> None:
    texts = page.tables[HEAT]
    assert len(texts) == 4 and texts[0]["Domain"] == "source"
    scored = evaluate_scores(run_directory(case, "nearest_neighbour-smoke-0"), interval="none")
    shown = {
        domain: row
        for text, row in zip(texts, page.numbers[HEAT], strict=True)
        for domain in ("source", "target")
        if text["System"].startswith("nearest_neighbour") and text["Domain"] == domain
    }
    for row in scored.sections.to_dict("records"):
        for domain, cells in shown.items():
            assert float(cells[f"{row['machine_type']}/{row['section']}"]) == row[f"auc_{domain}"]
    coloured = re.findall(r'class="n heat (above|below)" style="--far:([0-9]+)%" data-number="([0-9.]+)"', html)
    assert len(coloured) > 4 * 5
    for side, far, auc in coloured:
        assert (side == "above") == (float(auc) >= 0.5) and int(far) == pytest.approx(
            100 * abs(float(auc) - 0.5), abs=0.51
        )
    told = json.loads((run_directory(case, "nearest_neighbour-smoke-0") / "results.json").read_text())["values"]
    values = {
        (text["Section"], text["Attribute"], text["Value"]): row
        for text, row in zip(page.tables[VALUES], page.numbers[VALUES], strict=True)
    }
    for entry in told:
        row = values[f"{entry['machine_type']}/{entry['section']}", entry["attribute"], entry["value"]]
        (title,) = [title for title in row if title.startswith("nearest_neighbour")]
        assert float(row[title]) == entry["auc"]


def test_decisions_are_the_evaluations(case: tuple[Store, Path], page: Page) -> None:
    """Precision, recall and F1 at the threshold, by section and domain."""
    rows = page.numbers["nearest_neighbour, smoke profile: precision, recall and F1 at the threshold in %"]
    sections = evaluate_scores(run_directory(case, "nearest_neighbour-smoke-0"), interval="none").sections
    for shown, row in zip(rows, sections.to_dict("records"), strict=False):
        for metric in ("precision", "recall", "f1"):
            for domain in ("source", "target"):
                title = f"{metric.capitalize()} {domain}"
                assert float(shown[title]) == pytest.approx(100 * row[f"{metric}_{domain}"])
    assert float(rows[-1]["F1 target"]) == pytest.approx(100 * sections["f1_target"].mean())
    (found,) = [model for model in read_runs(case[0], at(case[1])).models if model.model == "nearest_neighbour"]
    found.__dict__["sections"] = found.sections.assign(**dict.fromkeys(DECIDED, np.nan))
    assert result_tables.decisions(found) is None


def test_every_table_is_there_as_csv(case: tuple[Store, Path], page: Page) -> None:
    """As a link to the data itself, of which the page has no other copy to fetch."""
    links = [entry for entry in page.all("a") if entry.get("class") == "csv"]
    assert len(links) == len(page.all("table")) == len({entry["download"] for entry in links})
    contents = {
        entry["aria-label"].removeprefix("CSV of the table: "): entry["href"].removeprefix(CSV_LINK) for entry in links
    }
    assert list(contents) == list(page.tables)
    for caption, content in contents.items():
        rows = list(csv.DictReader(io.StringIO(base64.b64decode(content).decode("utf-8-sig"))))
        assert len(rows) == len(page.tables[caption])
        assert [next(iter(row.values())) for row in rows] == [next(iter(row.values())) for row in page.tables[caption]]
        if caption == MEANS:
            (found,) = [model for model in read_runs(case[0], at(case[1])).models if model.model == "autoencoder"]
            official = found.official_score
            (row,) = [row for row in rows if row["System"] == "autoencoder"]
            assert float(row["Official score"]) == pytest.approx(100 * official.value, abs=1e-12)
            assert row["Official score low"] == row["Official score high"] == "", "one clip of a kind"
            assert row["Few test clips"] == "yes"


def test_the_page_says_when_where_and_with_what(page: Page) -> None:
    told = "\n".join(page.text)
    assert re.search(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2} UTC", told)
    assert f"Python {platform.python_version()}" in told and f"numpy {np.__version__}" in told
    assert f"{os.cpu_count()} cores" in told
    assert len(platform.node()) < 4 or platform.node() not in told, "which machine it is, is nobody's business"


def test_the_first_screen_names_the_best_system(case: tuple[Store, Path], page: Page) -> None:
    (best, *_) = ranked([model for model in read_runs(case[0], at(case[1])).models if model.is_plain])
    told = " ".join("".join(page.text).split())
    first = told[told.index("Best system") : told.index("AUC by system and section in %")]
    assert best.name in first and f"{100 * best.official_score.value:.2f} %" in first
    assert weakest(best)[0] in first
    assert page.tables[MEANS][0]["System"] == best.name, "tables begin with it, too"


def test_unfinished_runs_are_named(page: Page) -> None:
    assert "autoencoder-smoke-5epochs-0" in "".join(page.text)
    assert not any("5epochs" in row.get("Profile", "") for row in page.tables[MEANS])


def copied_run(case: tuple[Store, Path], root: Path, name: str, **config: object) -> Path:
    """The nearest neighbour's run under another root and name, with another configuration."""
    target = root / "runs" / "case" / case[0].fingerprint / name
    shutil.copytree(run_directory(case, "nearest_neighbour-smoke-0"), target)
    path = target / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return target


@pytest.mark.usefixtures("undrawn")
def test_scores_seeds_and_known_anomalies_are_told_apart(case: tuple[Store, Path], tmp_path: Path) -> None:
    copied_run(case, tmp_path, "nearest_neighbour-smoke-0")
    copied_run(case, tmp_path, "nearest_neighbour-smoke-1", seed=1)
    known = copied_run(case, tmp_path, "nearest_neighbour-smoke-k2-0", known_anomalies=2)
    shutil.copytree(known, known / "oracle", ignore=shutil.ignore_patterns("config.json"))
    found = read_runs(case[0], tmp_path).models
    assert [(model.name, model.label, len(model.runs)) for model in found] == [
        ("nearest_neighbour", "smoke", 2),
        ("nearest_neighbour, k = 2", "smoke", 1),
        ("nearest_neighbour (oracle), k = 2", "smoke", 1),
    ]
    shown = Page(render_page(case[0], tmp_path, Reporter()))
    rows = shown.tables["AUC against known anomalies, means over sections in %, with 95 % intervals"]
    assert [(row["System"], row["Known anomalies k"]) for row in rows] == [
        ("nearest_neighbour", "0"),
        ("nearest_neighbour", "2"),
    ]


def of_an_early_version(directory: Path) -> None:
    """What early versions wrote: the epochs that were asked for stand in the folder's name alone."""
    path = directory / "config.json"
    content = json.loads(path.read_text())
    del content["epochs"]
    path.write_text(json.dumps(content))


def test_runs_of_an_early_version_are_read(case: tuple[Store, Path], tmp_path: Path) -> None:
    """With the epochs that their folders' names say; a folder that was renamed says nothing, and is named."""
    store, root = case
    runs = tmp_path / "runs" / "case" / store.fingerprint
    shutil.copytree(root / "runs" / "case" / store.fingerprint, runs)
    written = read_runs(store, tmp_path)
    for directory in runs.iterdir():
        of_an_early_version(directory)
    early = read_runs(store, tmp_path)
    assert [(model.name, model.label, model.epochs) for model in early.models] == [
        ("nearest_neighbour", "smoke", None),
        ("autoencoder", "smoke-2epochs", 2),
    ]
    assert [model.to_dict() for model in early.models] == [model.to_dict() for model in written.models]
    (runs / "autoencoder-smoke-2epochs-1").rename(runs / "autoencoder-smoke-mine-1")
    with pytest.raises(DataError, match="autoencoder-smoke-mine-1/config.json is of an early version.*was renamed"):
        read_runs(store, tmp_path)


def test_results_from_files_are_those_of_the_benchmark(case: tuple[Store, Path], tmp_path: Path) -> None:
    """One class, made from runs just finished or from their files."""
    store, root = case
    shutil.copytree(root / "runs", tmp_path / "runs")
    models = ["autoencoder", "nearest_neighbour"]
    made = benchmark_models(store, str(tmp_path), models, profile="smoke", epochs=2, seeds=2, device="cpu")
    by_name = {model.name: model.to_dict() for model in read_runs(store, tmp_path).models}
    assert by_name == {model.name: model.to_dict() for model in made.models}


@pytest.mark.usefixtures("undrawn")
def test_damaged_runs_are_named(case: tuple[Store, Path], tmp_path: Path) -> None:
    target = copied_run(case, tmp_path, "nearest_neighbour-smoke-0")
    scores = target / "anomaly_score_fan_section_00_test.csv"
    first = scores.read_text()
    scores.write_text(first.replace("section_00_source_test_normal_0000", "section_00_source_test_normal_9999"))
    with pytest.raises(DataError, match="scores section_00_source_test_normal_9999.*which is not a test clip"):
        write_report(case[0], tmp_path)
    scores.unlink()
    (target / "decision_result_fan_section_00_test.csv").unlink()
    with pytest.raises(DataError, match="holds no scores of fan/00"):
        write_report(case[0], tmp_path)
    summary = target / "summary_fan.json"
    content = summary.read_text()
    summary.write_text(content.replace('"n_parameters": 0', '"n_parameters": -1'))
    with pytest.raises(DataError, match=r"summary_fan.json is damaged, or not of this version: n_parameters: "):
        write_report(case[0], tmp_path)
    summary.unlink()
    with pytest.raises(DataError, match=r"summaries in .*nearest_neighbour-smoke-0 are of the sections valve/01"):
        write_report(case[0], tmp_path)
    summary.write_text(content)
    results = target / "results.json"
    content = json.loads(results.read_text())
    results.write_text(json.dumps(content | {"sections": content["sections"][1:]}))
    with pytest.raises(DataError, match="is of other sections than"):
        write_report(case[0], tmp_path)
    results.write_text("{}")
    with pytest.raises(DataError, match=r"results.json: not a results file of this version"):
        write_report(case[0], tmp_path)
    assert not list(tmp_path.rglob("*.html*")), "no page appears that is not whole"


# ---- The page --------------------------------------------------------------------------------------------------------


def test_hostile_names_are_text(case: tuple[Store, Path], tmp_path: Path) -> None:
    """Whatever data says is shown as it is, and never becomes part of the page."""
    store, root = case
    variant = store.attributes.variant.model_copy(update={"title": HOSTILE})
    provenance = store.attributes.provenance.model_copy(update={"noise": {HOSTILE: {HOSTILE: HOSTILE}}})
    hostile = changed(store, variant=variant, dataset_title=HOSTILE, citation=HOSTILE, provenance=provenance)
    first = store.clips["attributes"] == store.clips["attributes"].iloc[0]
    named = [attributes_text([(HOSTILE, HOSTILE if is_first else "W")]) for is_first in first]
    hostile.__dict__["clips"] = store.clips.assign(attributes=named)
    hostile.__dict__["mix_plan"] = store.mix_plan.assign(noise_1_kind=HOSTILE)
    runs = tmp_path / "runs" / "case" / store.fingerprint
    shutil.copytree(root / "runs" / "case" / store.fingerprint, runs)
    (runs / "autoencoder-smoke-5epochs-0").rename(runs / "<img src=x onerror=alert(1)>")
    text = render_page(hostile, tmp_path, Reporter())
    shown = Page(text)
    assert "<script>alert" not in text and "<img src=x" not in text
    assert len(shown.all("script")) == 2
    assert not [given for _, given in shown.elements if any(name.startswith("on") for name in given)]
    assert "".join(shown.text).count(HOSTILE) > 10, "as it was written, {{ and $ included"
    assert {row["Attribute"] for row in shown.tables["Clips per attribute value"]} == {HOSTILE}


def test_page_stands_alone(html: str, page: Page) -> None:
    """Nothing is loaded, from nowhere; references lead to what is there; ids are unique."""
    ids = [entry["id"] for _, entry in page.elements if "id" in entry]
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    for tag, entry in page.elements:
        for name in ("src", "href", "xlink:href", "poster", "action"):
            if name in entry:
                assert entry[name].startswith("data:") or entry[name][1:] in ids, f"<{tag} {name}={entry[name][:80]}>"
        assert entry.get("aria-labelledby", ids[0]) in ids
    assert {name for name in re.findall(r"url\(([^)]*)\)", html) if name[1:] not in ids} == set()
    assert "default-src 'none'" in next(entry["content"] for entry in page.all("meta") if "http-equiv" in entry)
    assert "@import" not in html
    assert len(html.encode()) < 15e6
    charts = re.sub(r'"data:[^"]*"', "", html)
    assert len(charts) < CHART_BYTES * 4 * 3 + 100_000, "what is left free for charts is what they take"


def test_page_can_be_read_without_seeing(page: Page) -> None:
    """Landmarks, one first heading, no level left out, names for whatever is an image or a control."""
    tags = Counter(tag for tag, _ in page.elements)
    assert tags["main"] == tags["nav"] == tags["h1"] == 1
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert all(below <= above + 1 for above, below in zip(levels, levels[1:], strict=False))
    assert all(given.get("aria-label") and given["role"] == "img" for given in page.all("svg"))
    assert all(given.get("scope") for given in page.all("th"))
    assert tags["caption"] == tags["table"]
    assert all(given.get("aria-label") for given in page.all("button") if given.get("class") == "play")
    assert dict(page.elements)["html"]["lang"] == "en"
    assert ("a", {"class": "skip", "href": "#main"}) in page.elements


def test_drawings_take_the_pages_colours() -> None:
    """A colour that the themes do not have would be right in one of them at most."""
    with rc_context(svg.style()):  # type: ignore[arg-type]
        figure, axes = svg.canvas(100, 80)
        axes.plot([0, 1], [0, 1], color=svg.colour("source"), gid="line")
        axes.set_xlabel("$x$ <b>")
        drawn = str(svg.inline(figure, "one", 'a "label"', {"line": "<tip>"}))
        assert "var(--source)" in drawn and "#" not in re.sub(r'(href="|url\()#', "", drawn)
        assert "$x$ &lt;b&gt;" in drawn and "<title>&lt;tip&gt;</title>" in drawn
        assert 'aria-label="a &quot;label&quot;"' in drawn and "<style" not in drawn and "font-family" not in drawn
        axes.plot([0, 1], [1, 0], color="#123456")
        with pytest.raises(ValueError, match="drawn with #123456, which is not in the page's palette"):
            svg.inline(figure, "two", "")


# ---- The command -----------------------------------------------------------------------------------------------------


def test_command(case: tuple[Store, Path], told: dict[str, Any]) -> None:
    store, root = case
    path = root / "reports" / "case" / f"{store.fingerprint}.html"
    assert told["path"] == str(path) == str(report_path(store, root))
    assert (told["size_bytes"], told["store"]) == (path.stat().st_size, str(store.path))
    with pytest.raises(UsageError, match="there is no store 'cse'.* Did you mean 'case'?"):
        CliRunner().invoke(report, ["cse", "--root", str(root)], catch_exceptions=False)


def test_command_needs_no_torch(case: tuple[Store, Path], tmp_path: Path) -> None:
    """By the store's path, to a place of one's own, with progress."""
    page = tmp_path / "new" / "page.html"
    arguments = ["report", str(case[0].path), "--root", str(tmp_path), "--output", str(page)]
    code = (
        "import sys; from mimiidg_build.cli import main; assert main(sys.argv[1:]) == 0; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(page), "False"] and page.is_file()
    assert "report: 4 of 4 sections" in done.stderr
