"""The leaderboard: its numbers against scores computed anew from the score files, and what it refuses or says."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import hmean
from sklearn.metrics import roc_auc_score

from mimiidg_build import ClipDataset, Detector, read_leaderboard, write_leaderboard
from mimiidg_build.benchmark.compare import compare_runs
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.cli.leaderboard import leaderboard
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.evaluation.score_files import read_scores
from mimiidg_build.models import base
from mimiidg_build.models.base import ScoreTable
from mimiidg_build.models.nearest_neighbour import NearestNeighbour
from mimiidg_build.schemas.leaderboards import Leaderboard, LeaderboardSystem
from mimiidg_build.store.store import Store
from tests import small_store
from tests.plain_store import make_plain_store
from tests.report_case import Page
from tests.small_store import make_store

pytestmark = pytest.mark.usefixtures("one_thread")

OWN = "tests.report.test_leaderboard:Oracular"
OPTIONS: dict[str, Any] = {"profile": "smoke", "device": "cpu"}
SKILL = {OWN.replace(":", "."): 1.4, "nearest_neighbour": 1.5, "autoencoder": -0.4}  # anomalies above normal clips
CELLS = tuple((*cell, 6 if cell[0] == "train" else 10) for *cell, _ in small_store.CELLS)


class Oracular(NearestNeighbour):
    """A model with a further score that knows the answers."""

    def derived_scores(self, training: ScoreTable, test: ScoreTable) -> Any:
        """The labels themselves."""
        return {"oracle": training.scores[base.MAIN]}, {
            "oracle": (test.clips["condition"] == "anomaly").to_numpy(np.float64)
        }


def draw_scores(run: Path, skill: float) -> None:
    """Put scores of a detector of some skill in the place of a run's own: on made-up features all are perfect."""
    draws = np.random.default_rng(sum(run.name.encode()))
    for path in sorted(run.glob("anomaly_score_*.csv")):
        names = read_scores(path)["file_name"]
        values = [draws.normal(skill if "anomaly" in name else 0.0) for name in names]
        path.write_text("".join(f"{name},{value}\n" for name, value in zip(names, values, strict=True)))


def make_case(root: Path) -> Store:
    """Systems on a small store, some much alike, one worse; two seeds of what trains."""
    counts = {f"{domain}_{split}_{condition}": n for split, domain, condition, n in CELLS}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(small_store, "CELLS", CELLS)
        patched.setattr(small_store, "N_CLIPS", sum(counts.values()))
        patched.setattr(small_store, "SUMMARY", small_store.SUMMARY | {"n_clips": 52, "counts": counts})
        store = make_store(root, sections=("fan/00", "fan/01", "valve/00"), variant={"name": "small", "mixing": "none"})
    runs, untrained = root / "runs/small/small", {"backends": ["kmeans"], **OPTIONS}
    for _ in range(2):  # the second time evaluates anew
        benchmark_models(store, root, ["autoencoder"], epochs=1, seeds=2, **OPTIONS)
        benchmark_models(store, root, ["nearest_neighbour", OWN], **untrained)
        for name, skill in SKILL.items():
            for run in runs.glob(f"{name}-smoke*"):
                draw_scores(run, skill)
                draw_scores(run / "backend_kmeans", skill - 0.2)
    return store


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Store, Leaderboard]:
    root = tmp_path_factory.mktemp("root")
    store = make_case(root)
    return root, store, read_leaderboard(write_leaderboard(store, root).parent)


@pytest.fixture
def own(made: tuple[Path, Store, Leaderboard], tmp_path: Path) -> tuple[Path, Store, Path]:
    """A copy of one's own: root, store, folder of the runs."""
    shutil.copytree(made[0], tmp_path / "root")
    return (
        tmp_path / "root",
        Store(tmp_path / "root/variants/small/small.zarr", made[1].attributes),
        tmp_path / ("root/runs/small/small"),
    )


def test_in_a_notebook_objects_show_as_a_line(made: tuple[Path, Store, Leaderboard]) -> None:
    root, store, _ = made
    found = benchmark_models(store, root, ["nearest_neighbour"], **OPTIONS)
    (model,) = found.models
    shown = [store, found, model, model.runs[0].evaluation, ClipDataset(store, machine_types="fan")]
    shown.append(Detector.load(root / "runs/small/small/nearest_neighbour-smoke-0"))
    assert not [text for text in map(repr, shown) if len(text) > 200 + 2 * len(str(root)) or "\n" in text]
    assert "small.zarr: 156 clips of 3 sections" in repr(store) and "104 clips of 2 sections" in repr(shown[4])


def again(root: Path, store: Store, **options: Any) -> Leaderboard:
    return read_leaderboard(write_leaderboard(store, root, **options))


def row_of(found: Leaderboard, name: str) -> LeaderboardSystem:
    (row,) = [one for one in found.systems if one.name == name]
    return row


def official(folder: Path, machine_type: str = "") -> float:
    """The official score since 2022, by scikit-learn and scipy."""
    values = []
    for path in sorted(folder.glob(f"anomaly_score_{machine_type}*.csv")):
        rows = read_scores(path)
        is_anomaly, scores = rows["file_name"].str.contains("_anomaly_"), rows["score"]
        for domain in ("source", "target"):
            own = is_anomaly | rows["file_name"].str.contains(f"_{domain}_")
            values.append(roc_auc_score(is_anomaly[own], scores[own]))
        values.append(roc_auc_score(is_anomaly, scores, max_fpr=0.1))
    return float(hmean(np.maximum(values, np.finfo(float).eps)))


# ---- Numbers ---------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_score_files(made: tuple[Path, Store, Leaderboard]) -> None:
    """Of every seed, all sections, and each machine type's."""
    _, _, found = made
    runs = made[0] / "runs/small/small"
    assert {one.name for one in found.systems} == {
        *("autoencoder", "nearest_neighbour", OWN, f"{OWN} (oracle)", "nearest_neighbour/kmeans", f"{OWN}/kmeans")
    }  # fmt: skip
    for row in found.systems:
        folders = [runs / name / row.score for name in row.runs]
        assert len(folders) == len(row.seeds) == (2 if row.model == "autoencoder" else 1)
        assert row.value == pytest.approx(np.mean([official(folder) for folder in folders]), abs=1e-12), row.name
        assert list(row.machine_types) == ["fan", "valve"]
        for machine_type, value in row.machine_types.items():
            expected = np.mean([official(folder, machine_type) for folder in folders])
            assert value == pytest.approx(expected, abs=1e-12), (row.name, machine_type)
        assert row.low is not None and row.high is not None and row.low <= row.value <= row.high
        assert row.few_clips
    values = [row.value for row in found.systems if row.value is not None]
    assert values == sorted(values, reverse=True) and len(set(values)) == 6


def test_differences_are_those_of_compare(made: tuple[Path, Store, Leaderboard]) -> None:
    root, _, found = made
    best = next(one for one in found.systems if one.rank == 1)
    folder = {"nearest_neighbour": "small/nearest_neighbour-smoke", "autoencoder": "small/autoencoder-smoke-1epochs"}
    row = row_of(found, "nearest_neighbour")
    expected = compare_runs(folder["nearest_neighbour"], folder["autoencoder"], root).official_score
    pair = row.less_baseline
    assert pair is not None and (pair.than, pair.than_profile) == ("autoencoder", "smoke-1epochs")
    assert (pair.value, pair.low, pair.high) == pytest.approx((expected.value, expected.low, expected.high), abs=1e-12)
    assert best.less_best is None and row_of(found, "autoencoder").less_baseline is None
    for other in found.systems:
        if other is not best:
            assert other.less_best is not None and other.value is not None and best.value is not None
            assert other.less_best.value == pytest.approx(other.value - best.value, abs=1e-12)


def test_a_score_that_knows_the_answers_has_no_rank(made: tuple[Path, Store, Leaderboard]) -> None:
    _, _, found = made
    oracle = row_of(found, f"{OWN} (oracle)")
    assert oracle.value == 1 and oracle.rank is None and "sees the labels" in oracle.not_ranked
    ranks = [one.rank for one in found.systems if one.rank is not None]
    assert ranks[0] == 1 and ranks == sorted(ranks) and len(ranks) == 5
    assert any(f"Without a rank (sees the labels of the test clips): {OWN} (oracle)" in n for n in found.notes)


def test_equal_scores_share_a_rank(own: tuple[Path, Store, Path]) -> None:
    root, store, runs = own
    for path in (runs / "nearest_neighbour-smoke-0").glob("*.*"):
        if path.name.startswith(("anomaly_score", "results")):
            shutil.copy(path, runs / f"{OWN.replace(':', '.')}-smoke-0")
    found = again(root, store)
    one, other = (row_of(found, name) for name in ("nearest_neighbour", OWN))
    assert one.rank == other.rank
    after = next(row for row in found.systems if row.rank is not None and one.rank is not None and row.rank > one.rank)
    assert one.rank is not None and after.rank == one.rank + 2


def test_costs_are_measured(made: tuple[Path, Store, Leaderboard]) -> None:
    """From the summaries; of a back end with the embeddings that it takes."""
    _, _, found = made
    runs = made[0] / "runs/small/small"
    summaries = [json.loads(path.read_text()) for path in runs.glob("autoencoder-smoke-1epochs-*/summary_*.json")]
    row = row_of(found, "autoencoder")
    assert len(summaries) == 4 and (row.n_parameters, row.n_networks) == (267_928, 2)
    assert row.training_s == pytest.approx(sum(one["training_s"] for one in summaries) / 2) and row.training_s > 0
    n_clips = sum(one["n_training_clips"] + one["n_test_clips"] for one in summaries)
    assert row.scoring_clips_per_s == pytest.approx(n_clips / sum(one["scoring_s"] for one in summaries))
    assert row.devices == [f"{summaries[0]['device_name']} (cpu)"] and summaries[0]["device_name"]
    backend = row_of(found, "nearest_neighbour/kmeans")
    seconds = n_test = 0.0
    for path in (runs / "nearest_neighbour-smoke-0/backend_kmeans").glob("summary_*.json"):
        one, network = (json.loads(p.read_text()) for p in (path, path.parent.parent / path.name))
        n_every = network["n_training_clips"] + network["n_test_clips"]
        assert (
            one["embedding_s"] > 0
            and one["scoring_s"] > 0
            and n_every == network["n_test_clips"] + sum(map(len, one["training_scores"].values()))
        )
        seconds += one["embedding_s"] * network["n_test_clips"] / n_every + one["scoring_s"]
        n_test += network["n_test_clips"]
    assert backend.scoring_clips_per_s == pytest.approx(n_test / seconds, rel=0.05)
    assert row_of(found, "nearest_neighbour").training_s == 0 and row_of(found, "nearest_neighbour").n_parameters == 0


def test_what_early_runs_do_not_say_is_a_dash(own: tuple[Path, Store, Path]) -> None:
    """No zero and no guess, in any of the three files. Seeds that versions of other settings trained are named."""
    root, store, runs = own
    path = runs / "autoencoder-smoke-1epochs-1/config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"settings": config["settings"] | {"learning_rate": 0.5}}))
    for path in runs.glob("nearest_neighbour-smoke-0/**/summary_*.json"):
        content = json.loads(path.read_text())
        early = {"scoring_s", "device_name", "embedding_s"}
        path.write_text(json.dumps({key: value for key, value in content.items() if key not in early}))
    found = again(root, store)
    for name in ("nearest_neighbour", "nearest_neighbour/kmeans"):
        assert row_of(found, name).scoring_clips_per_s is None and row_of(found, name).devices == ["cpu"]
        assert page_rows(runs)[name]["Scored clips/s"] == "–" and csv_rows(runs)[name]["scoring_clips_per_s"] == ""
    assert row_of(found, "autoencoder").scoring_clips_per_s
    assert any("different devices, and do not compare" in note for note in found.notes)
    assert any("seed 1 was trained with other settings than seed 0 (learning_rate 0.5, not" in n for n in found.notes)


# ---- The three files -------------------------------------------------------------------------------------------------


def csv_rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "leaderboard.csv").open() as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def page_rows(folder: Path) -> dict[str, dict[str, str]]:
    page = Page((folder / "leaderboard.html").read_text())
    (rows,) = (rows for caption, rows in page.tables.items() if caption.startswith("Systems on small"))
    return {row["System"]: row for row in rows}


def flat(row: Mapping[str, Any]) -> dict[str, str]:
    """A row of the JSON as the CSV has it."""
    cells = {"changes": json.dumps(row["changes"]) if row["changes"] else "", "devices": "; ".join(row["devices"])}
    cells |= {name: " ".join(map(str, row[name])) for name in ("seeds", "runs")}
    cells |= {f"value_{name}": value for name, value in row["machine_types"].items()}
    for name in ("less_best", "less_baseline"):
        pair = row[name] or dict.fromkeys(("than", "than_profile", "value", "low", "high", "over_seeds"))
        cells |= {f"{name}_{key}": value for key, value in pair.items()}
    plain = {k: v for k, v in row.items() if k not in ("machine_types", "less_best", "less_baseline")}
    return {name: "" if value is None else str(value) for name, value in (plain | cells).items()}


def test_json_csv_and_page_say_the_same(made: tuple[Path, Store, Leaderboard]) -> None:
    root, store, found = made
    folder = root / "runs/small/small"
    content = json.loads((folder / "leaderboard.json").read_text())
    assert Leaderboard.model_validate_json(json.dumps(content)) == found and content["format_version"] == 1
    assert (content["variant"], content["fingerprint"], content["n_test_clips"]) == ("small", store.fingerprint, 120)
    said = {name: str(content[name]) for name in ("format_version", "variant", "fingerprint", "dataset", "protocol")}
    assert csv_rows(folder) == {row["name"]: said | flat(row) for row in content["systems"]}
    shown = page_rows(folder)
    assert list(shown) == [row.name for row in found.systems], "the best first"
    for row in found.systems:
        cells = shown[row.name]
        assert row.value is not None and row.low is not None and row.high is not None
        assert cells["Official score"] == f"{100 * row.value:.2f}* {100 * row.low:.1f}–{100 * row.high:.1f}"
        assert cells["Rank"] == ("–" if row.rank is None else str(row.rank))
        assert cells["Profile"] == row.profile and cells["Seeds"] == str(len(row.seeds))
        assert all(cells[name] == f"{100 * (value or 0):.1f}" for name, value in row.machine_types.items())
        assert cells["Parameters"] == f"{row.n_parameters:,}" and cells["Training [s]"] == f"{row.training_s:,.1f}"
        pair = row.less_best
        if pair is not None and pair.low is not None and pair.high is not None:
            text = f"{100 * pair.value:+.2f}* {100 * pair.low:+.1f} .. {100 * pair.high:+.1f}"
            assert cells["Less the best"] == text.replace("-", "−")
    assert [cells["Less the best"] for cells in shown.values()].count("best") == 1
    assert shown["autoencoder"]["Less autoencoder"] == "baseline"


def test_the_page_needs_no_network_and_says_the_notes(made: tuple[Path, Store, Leaderboard]) -> None:
    text = (made[0] / "runs/small/small/leaderboard.html").read_text()
    page = Page(text)
    assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text
    assert all(link.get("href", "").startswith(("#", "data:")) for link in page.all("a"))
    words = " ".join(" ".join(page.text).split())
    assert all(" ".join(note.split()) in words for note in made[2].notes) and len(made[2].notes) >= 4
    assert "synthetic data" in words


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c | {"format_version": 2}, "format_version: Input should be 1"),
        (lambda c: {k: v for k, v in c.items() if k != "systems"}, "systems: Field required"),
        (lambda c: c | {"mine": 1}, "mine: unknown key"),
        (lambda c: c | {"systems": [c["systems"][0] | {"value": "0.5"}]}, r"systems.0.value: .* valid number"),
        (lambda c: c | {"systems": [c["systems"][0] | {"rank": None}]}, "expected a rank, or why there is none"),
        (
            lambda c: c | {"systems": [*c["systems"], c["systems"][0] | {"machine_types": {"fan": 0.5}}]},
            "machine_types: expected",
        ),
    ],
)
def test_a_damaged_leaderboard_is_refused(own: tuple[Path, Store, Path], change: Any, message: str) -> None:
    path = own[2] / "leaderboard.json"
    content = json.loads(path.read_text())
    content["systems"] = [row for row in content["systems"] if row["rank"]]
    path.write_text(json.dumps(change(content)))
    with pytest.raises(DataError, match=f"leaderboard.json is damaged, or not of this version: .*{message}.*writes it"):
        read_leaderboard(path)


def test_a_leaderboard_that_is_cut_off_or_missing_is_refused(own: tuple[Path, Store, Path]) -> None:
    path = own[2] / "leaderboard.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"leaderboard.json is damaged.*Invalid JSON"):
        read_leaderboard(own[2])
    path.unlink()
    with pytest.raises(DataError, match=r"leaderboard.json cannot be read: No such file"):
        read_leaderboard(path)


# ---- The order is not over-claimed -----------------------------------------------------------------------------------


def test_systems_that_cannot_be_told_apart_are_named(made: tuple[Path, Store, Leaderboard]) -> None:
    _, _, found = made
    competing = [one for one in found.systems if one.rank is not None]
    level = [one.name for one in competing[1:] if one.less_best and one.less_best.low is not None and
             one.less_best.high is not None and one.less_best.low <= 0 <= one.less_best.high]  # fmt: skip
    behind = {one.name for one in competing[1:]} - set(level)
    assert level and "autoencoder" in behind
    several = len({one.profile for one in found.systems}) > 1
    (said,) = [note for note in found.notes if note.startswith("Not distinguishable from the best, ")]
    named = said.split(": ", 1)[1].split(". The 95 %")[0].split(", ")
    assert several and [name.removesuffix(" smoke").removesuffix(" smoke-1epochs") for name in named] == level
    assert any("The best of 5 systems was chosen on the clips that it is judged by, which flatters it" in note
               for note in found.notes)  # fmt: skip
    assert any("over test clips alone" in note for note in found.notes)


def test_a_clear_order_is_said_to_be_one(own: tuple[Path, Store, Path]) -> None:
    root, store, runs = own
    for path in runs.iterdir():
        if path.is_dir() and not path.name.startswith(("nearest_neighbour-", "autoencoder-")):
            shutil.rmtree(path)
    for path in runs.glob("*/backend_kmeans"):
        shutil.rmtree(path)
    found = again(root, store)
    assert [one.name for one in found.systems] == ["nearest_neighbour", "autoencoder"]
    clear = "Every other system is behind the best, nearest_neighbour smoke: no 95 % interval of a paired difference"
    assert found.notes[0] == f"{clear} holds 0."


# ---- No wrong comparison without a word ------------------------------------------------------------------------------


def test_rows_of_other_profiles_settings_and_seeds_are_labelled(made: tuple[Path, Store, Leaderboard]) -> None:
    _, _, found = made
    assert any("Systems of several profiles or settings stand side by side: smoke" in note for note in found.notes)
    assert row_of(found, "autoencoder").profile == "smoke-1epochs"
    assert row_of(found, "autoencoder").seeds == [0, 1]


def test_changed_settings_are_labelled_and_the_baseline_is_of_the_profile(own: tuple[Path, Store, Path]) -> None:
    root, store, runs = own
    for label, settings in (("smoke", {}), ("smoke-batch_size=64", {"batch_size": 64})):
        copy = shutil.copytree(runs / "autoencoder-smoke-1epochs-0", runs / f"autoencoder-{label}-0")
        config = json.loads((copy / "config.json").read_text())
        config |= {"epochs": None, "settings": config["settings"] | settings}
        (copy / "config.json").write_text(json.dumps(config | ({"changes": settings} if settings else {})))
    found = again(root, store)
    changed = [one for one in found.systems if one.changes]
    assert {(one.profile, one.changes["batch_size"]) for one in changed} == {("smoke-batch_size=64", 64)}
    assert row_of(found, "nearest_neighbour").less_baseline.than_profile == "smoke"  # type: ignore[union-attr]
    note = next(note for note in found.notes if "different numbers of seeds" in note)
    assert "(2, 1)" in note or "(1, 2)" in note


def test_clips_that_differ_are_not_paired(own: tuple[Path, Store, Path]) -> None:
    root, store, runs = own
    path = runs / "nearest_neighbour-smoke-0/backend_kmeans/anomaly_score_fan_section_00_test.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    found = again(root, store)
    row = row_of(found, "nearest_neighbour/kmeans")
    assert row.less_baseline is None and row.less_best is None and row.rank != 1
    assert any(note.startswith("Not paired: ") and "do not score the same clips" in note for note in found.notes)


def test_a_run_of_another_store_is_refused(own: tuple[Path, Store, Path]) -> None:
    root, store, runs = own
    path = runs / "nearest_neighbour-smoke-0/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fingerprint": "other"}))
    with pytest.raises(DataError, match=r"nearest_neighbour-smoke-0 is a run on the store small \(other\), and lies"):
        write_leaderboard(store, root)


def test_without_a_finished_run_there_is_none(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    with pytest.raises(
        UsageError, match=r"no run on the store demo .*is finished.*`mimiidg benchmark demo --model all`"
    ):
        write_leaderboard(make_store(tmp_path, "demo"), tmp_path)
    assert not (tmp_path / "runs").exists() and store


def test_one_profile_alone(own: tuple[Path, Store, Path], tmp_path: Path) -> None:
    root, store, runs = own
    copy = shutil.copytree(runs / "nearest_neighbour-smoke-0", runs / "nearest_neighbour-cpu-0")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"profile": "cpu"}))
    found = again(root, store, profiles=["cpu"], output=tmp_path / "cpu")
    assert {one.profile for one in found.systems} == {"cpu"} and len(found.systems) == 2
    assert "Runs of other profiles are not shown: smoke, smoke-1epochs." in found.notes
    assert {one.profile for one in found.absent} == {"cpu"}
    with pytest.raises(UsageError, match="is finished with the profile paper"):
        write_leaderboard(store, root, profiles=["paper"])


# ---- Years before 2022 -----------------------------------------------------------------------------------------------


def test_a_machine_types_score_is_its_protocols(tmp_path: Path) -> None:
    """In 2020 the average of AUC and pAUC, over machine IDs."""
    sections = {"fan/id_00": 0.5, "fan/id_02": 0.5, "pump/id_00": 0.5}
    store = make_plain_store(tmp_path, sections, name="plain", variant={"name": "plain", "mixing": "none"})
    for _ in range(2):
        benchmark_models(store, tmp_path, ["nearest_neighbour"], **OPTIONS)
        run = tmp_path / "runs/plain/plain/nearest_neighbour-smoke-0"
        for number, path in enumerate(sorted(run.glob("anomaly_score_*.csv"))):
            names = list(read_scores(path)["file_name"])
            values = np.random.default_rng(number).normal(size=len(names))
            path.write_text("".join(f"{name},{value}\n" for name, value in zip(names, values, strict=True)))
    (row,) = again(tmp_path, store).systems
    expected: dict[str, list[float]] = {}
    for path in sorted(run.glob("anomaly_score_*.csv")):
        rows = read_scores(path)
        labels = rows["file_name"].str.startswith("anomaly")
        both = [roc_auc_score(labels, rows["score"]), roc_auc_score(labels, rows["score"], max_fpr=0.1)]
        expected.setdefault(path.stem.split("_")[2], []).append(float(np.mean(both)))
    assert row.machine_types == pytest.approx({name: float(np.mean(of)) for name, of in expected.items()}, abs=1e-12)
    assert row.value == pytest.approx(float(np.mean([np.mean(of) for of in expected.values()])), abs=1e-12)


# ---- The command -----------------------------------------------------------------------------------------------------


def test_the_command(own: tuple[Path, Store, Path], tmp_path: Path) -> None:
    root, _, runs = own
    arguments = ["small", "--root", str(root)]
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file() and "leaderboard" not in path.name}
    (runs / "leaderboard.html").unlink()
    done = CliRunner().invoke(leaderboard, arguments, catch_exceptions=False)
    assert done.stdout.splitlines()[-1] == str(runs / "leaderboard.html") and (runs / "leaderboard.html").is_file()
    assert "nearest_neighbour/kmeans" in done.stdout and "Not distinguishable from the best" in done.stdout
    assert "conformer (smoke) " in done.stdout, "what is not on it is named"
    done = CliRunner().invoke(
        leaderboard, [*arguments, "--json", "--output", str(tmp_path / "x")], catch_exceptions=False
    )
    content = json.loads(done.stdout)
    assert content.pop("path") == str(tmp_path / "x/leaderboard.html")
    assert content == json.loads((tmp_path / "x/leaderboard.json").read_text())
    assert not math.isnan(content["systems"][0]["value"])
    after = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file() and "leaderboard" not in path.name}
    assert after == before, "no run is touched"
    assert CliRunner().invoke(leaderboard, [*arguments, "--profile", "big"]).exit_code == 2
