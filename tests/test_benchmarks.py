"""The benchmark programs run, at tiny size, and say what they compared. No time is asserted."""

from __future__ import annotations

import contextlib
import io
import json
import re
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from mimiidg_build import cli
from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.synthetic import SyntheticSpec
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.storage.places import ObjectPath
from mimiidg_build.store.store import variant_dir
from mimiidg_build.synthesis.contents import ClipEntry, TableEntry
from tests.benchmarks import (
    Ratio,
    build,
    commands,
    coverage,
    features,
    memory,
    million,
    object_requests,
    own_work,
    peers,
    picture,
    read,
    scale,
    startup,
    synthetic_ranking,
    training,
    two_channels,
    whole_run,
)
from tests.conftest import DATASET, link_archives


@pytest.fixture(scope="module")
def small_root(synthetic_archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root with 1 % archives and the paper's variant built."""
    root = tmp_path_factory.mktemp("benchmarks")
    link_archives(synthetic_archives, root)
    variant = derive_variant(load_variant("paper"), dataset=DATASET).model_copy(update={"name": "paper"})
    build_variant(variant, root)
    yield root
    shutil.rmtree(root)


class HereAndNow(Executor):
    """Stands for a pool of processes, each of which imports torch or librosa: calls run in this process, at once."""

    def __init__(self, *_: object, initializer: Callable[..., None] = id, initargs: tuple[Any, ...] = (0,), **__: Any):
        initializer(*initargs)

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        """Call it."""
        called = Future[Any]()
        called.set_result(function(*arguments, **options))
        return called


@pytest.fixture(params=[HereAndNow, pytest.param(None, marks=pytest.mark.slow)], ids=["here", "processes"])
def pools(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the programs' processes are: by default none."""
    monkeypatch.setattr(training, "_work", None)  # of the process that measures
    for program in (features, training):
        monkeypatch.setattr(program, "CORES", 1)
        monkeypatch.setattr(program, "ProcessPoolExecutor", request.param or ProcessPoolExecutor)


# what librosa.load imports of the standard library
OF_LIBROSA = pytest.mark.filterwarnings("ignore:'(aifc|audioop|sunau)' is deprecated:DeprecationWarning")


@OF_LIBROSA
@pytest.mark.usefixtures("pools")
def test_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    *rates, error = features.main(["--clips", "2", "--rounds", "1", "--save", str(tmp_path)])
    assert all(ratio.value > 0 and ratio.at_least for ratio in rates)
    assert error.holds and error.value > 0, "equal to librosa, computed otherwise"
    assert "librosa, from a file, all cores" in capsys.readouterr().out
    kept = json.loads((tmp_path / "features.json").read_text())
    assert [Ratio(**ratio) for ratio in kept["ratios"]] == [*rates, error]


def test_build(small_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ratios = build.main(["--root", str(small_root), "--percent", "1", "--rounds", "1"])
    assert all(ratio.value > 0 for ratio in ratios)
    out = capsys.readouterr().out
    assert "a build of 180 clips" in out
    assert all(f"floor: {floor}" in out for floor in build.FLOORS)
    assert not list((small_root / "variants").glob("benchmark-*/*.zarr")), "what it built is deleted"


@pytest.mark.slow  # a dozen builds in processes of their own
def test_memory_and_scale(small_root: Path) -> None:
    sizes = ["--root", str(small_root), "--percents", "1", "--workers", "2"]
    *peaks, growth = memory.main(sizes)
    assert [peak.what for peak in peaks if not 50 < peak.value < 1000] == [], "MB"
    assert growth.value == 1
    (second,) = scale.main([*sizes, "--rounds", "1"])
    assert second.value > 0


def test_memory_is_of_a_process_and_its_children() -> None:
    child = "import time; held = bytearray(60_000_000); time.sleep(0.3)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    assert 65 < commands.run("-c", parent, watched=True).tree_mb < 150


def in_process(program: str, *arguments: str, python: str = sys.executable, **_: Any) -> commands.Took:
    """What ``commands.run`` says of a program, run here."""
    assert python == sys.executable, "nothing is installed"
    begun = time.process_time()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as said:
        patch.setattr(sys, "argv", [program, *arguments])
        runpy.run_path(program)
    return commands.Took(0.0, time.process_time() - begun, "", said.getvalue())


def built_in_process(*arguments: str, **_: Any) -> commands.Took:
    """What ``commands.mimiidg`` says of a command, run here."""
    begun = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        assert cli.main([*arguments]) == 0
    return commands.Took(0.0, time.process_time() - begun, "")


@OF_LIBROSA
def test_peers(small_root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that must be installed cannot be: pip's reason stands in their place."""
    why = "In file included:\n  sox.cpp:4:10: fatal error: sox.h: No such file\nERROR: Failed building wheel"
    failed = subprocess.CompletedProcess([], 1, "", why)
    monkeypatch.setattr(peers.subprocess, "run", lambda command, **_: failed)
    monkeypatch.setattr(peers, "run", in_process)
    monkeypatch.setattr(peers, "mimiidg", built_in_process)
    sizes = ["--root", str(small_root), "--section", "fan/00", "--rounds", "1"]
    (ratio,) = peers.main([*sizes, "--peers", "librosa, file by file (official loader)", "scaper"])
    assert ratio.what == "clips a processor second, ours / librosa, file by file (official loader)" and ratio.value > 0
    out = capsys.readouterr().out
    assert "12 clips to stored log-mels" in out and "ASDKit" in out
    assert "pip cannot install scaper librosa numpy<2: sox.cpp:4:10: fatal error: sox.h: No such file" in out
    assert not list((small_root / "variants").glob("benchmark-*/*.zarr")), "what it built is deleted"


def test_peers_must_do_all_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "run", lambda *_, **__: commands.Took(1, 1, "", "12\n"))
    with pytest.raises(RuntimeError, match="librosa_loop did not store the log-mels of 12 clips"):
        peers.run_peer(peers.Peer("librosa_loop"), sys.executable, (tmp_path, tmp_path), 12, {})


def test_million(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def in_process(*arguments: str) -> commands.Took:
        assert arguments[:2] == ("-m", "tests.benchmarks.million")
        with contextlib.redirect_stdout(io.StringIO()) as said:
            million.main(arguments[2:])
        return commands.Took(0, 0, "", said.getvalue())

    monkeypatch.setattr(million, "run", in_process)
    monkeypatch.setattr(million, "SMALL_S", 0.0)
    *exponents, peak = million.main(["--sections", "6", "--clips", "40", "--shares", "0.5", "1"])
    assert [ratio.what for ratio in exponents if "ClipDataset" in ratio.what] == ["exponent, ClipDataset, opened"]
    assert len(exponents) == 13 and peak.value > 50, "MB"
    out = capsys.readouterr().out
    assert "120 clips" in out and "240 clips" in out and "peak memory of 6 sections" in out


def test_requests_to_object_storage_are_counted(bucket: ObjectPath, tmp_path: Path) -> None:
    """Whatever is put, with its bytes: some, a file, pieces of a shard."""
    (tmp_path / "file").write_bytes(b"of a file")
    with object_requests.counting() as (requests, n_bytes):
        (bucket / "bytes").write(b"bytes")
        with (tmp_path / "file").open("rb") as file:
            (bucket / "file").write(file)
        (bucket / "pieces").write(piece for piece in (b"two ", b"pieces"))
        assert (bucket / "file").read_at(3, 6) == b"a file" and (bucket / "pieces").read_bytes() == b"two pieces"
    assert requests.items() >= {"put": 3, "get_range": 1}.items()
    assert n_bytes == {"written": 5 + 9 + 10, "read": 6}


@pytest.mark.slow  # seven sections through a server in Python
def test_object_requests(small_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts, not times: those that are documented hold here."""
    reads, others = object_requests.main(["--root", str(small_root)])
    assert reads.value > 1 and reads.holds, "a clip and its noise: a range each"
    assert others.value > 3 and others.holds
    assert re.search(r"put +[1-9]", capsys.readouterr().out)


def test_a_million_clips_are_of_a_release_that_can_be_read(tmp_path: Path) -> None:
    """Of 120 archives: lines of a manifest as long as that are refused."""
    variant = load_variant(str(million.simulate(tmp_path, 360, 8)))
    assert len(load_dataset(variant.dataset).records[0].files) == 120


def test_exponents_are_of_the_largest_sizes() -> None:
    took = [commands.Took(0.0, seconds, "", tree_mb=100.0) for seconds in (5.0, 1.0, 8.0)]
    found = {n_clips: {"export": one} for n_clips, one in zip((100, 1000, 4000), took, strict=True)}
    assert memory.exponents(found) == {"export": pytest.approx(1.5)}
    assert memory.exponents({100: found[100]}) == {}


@OF_LIBROSA
@pytest.mark.usefixtures("one_thread", "pools")
def test_read_training_and_whole_runs(small_root: Path) -> None:
    store = str(variant_dir(small_root, "paper"))
    ratios = read.main([store, "--rounds", "1", "--wav-clips", "4"])
    assert len(ratios) == 8 and all(ratio.value > 0 for ratio in ratios)
    assert all(ratio.value > 0 for ratio in training.main([store, "--rounds", "1", "--processes", "1"]))
    sizes = ["--clips", "6", "--epochs", "1", "--rounds", "1", "--parts", "run", "score", "evaluate"]
    ratios = whole_run.main([store, *sizes])
    assert [ratio.what for ratio in ratios] == [
        "whole run, 6 clips, 1 epochs, ours / official",
        "whole run, 3000 clips, 100 epochs, extrapolated",
        "scoring from the store, per core",
        "scoring from the store / matrix products alone",
    ], "no benchmark was run on the store: nothing to evaluate"
    assert all(ratio.value > 0 and ratio.at_least for ratio in ratios)


def test_what_a_full_run_takes_is_extrapolated_part_by_part() -> None:
    """Ten times the clips: ten times what comes once, and what comes every epoch for each epoch of the paper's."""
    times = {"features": 3.0, "load": 1.0, "score": 0.5, "evaluate": 0.5, "train": 4.0}
    assert whole_run.full(times, n_clips=300, epochs=2) == 10 * (5 + 100 * 2)
    assert whole_run.full({"features": 1.0, "train": 1.0}, n_clips=3000, epochs=1) == 101


def test_startup() -> None:
    options = ["--parts", "imports", "nothing to do", "--percent", "1", "--rounds", "1"]
    found = {ratio.what: ratio.value for ratio in startup.main(options)}
    assert list(found)[-1] == "mimiidg build, 180 clips, nothing to do"
    assert 0.01 < found["mimiidg --help"] < 60


@pytest.mark.slow  # three processes, two of which build
def test_startup_to_the_first_clips(synthetic_archives: Path, tmp_path: Path) -> None:
    root = link_archives(synthetic_archives, tmp_path / "root")
    (found,) = startup.main(["--parts", "first clips", "--rounds", "1", "--root", str(root)])
    assert found.what == "build, processor time to its first clips" and 0.01 < found.value < 60


def test_coverage(capsys: pytest.CaptureFixture[str]) -> None:
    ratios = coverage.main(["--draws", "20", "--only", "official score 2022, 1 section"])
    assert [ratio.what.rpartition(", ")[2] for ratio in ratios] == [f"{n} clips a cell" for n in coverage.SIZES]
    (row,) = (line for line in capsys.readouterr().out.splitlines() if "official score 2022, 1 section" in line)
    assert all(75 <= float(share) <= 100 for share in row.split()[-3:])


def test_coverage_knows_the_truth() -> None:
    """AUCs of normal distributions in closed form, pAUC of one at chance, and a large test set."""
    shape = coverage.shape_of(0.7, 0.6)
    truth = shape.truth()
    assert (truth["auc_source"], truth["auc_target"]) == pytest.approx((0.7, 0.6), abs=1e-4)
    assert coverage.shape_of(0.5, 0.5, (1.0, 1.0, 1.0)).truth()["pauc"] == pytest.approx(0.5, abs=1e-4)
    drawn = coverage.section_influence(coverage.Cells(*shape.draw(20_000, np.random.default_rng(0))))
    for name in ("auc_all", "pauc", "pauc_source_within", "auc_target_within"):
        assert drawn.metrics[name].value == pytest.approx(truth[name], abs=0.015), name


def test_own_work_is_the_librarys(small_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = own_work.run(["verify", "paper", "--deep", "--root", str(small_root), "--quiet"])
    assert 0 < found["own"] <= found["seconds"], "it renders 180 clips"
    assert own_work.run(["--help"])["own"] == 0
    assert "all as recorded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ratio", "holds", "times", "row"),
    [
        (Ratio("rate", 10, 5, unit=" clips/s"), True, 2, ["rate", "10 clips/s", "≥ 5 clips/s", "yes"]),
        (Ratio("rate", 4, 5), False, 0.8, ["rate", "4", "≥ 5", "NO"]),
        (Ratio("time", 1.5, 3, at_least=False, unit=" s"), True, 2, ["time", "1.5 s", "≤ 3 s", "yes"]),
        (Ratio("time", 6, 3, at_least=False, unit=" s"), False, 0.5, ["time", "6 s", "≤ 3 s", "NO"]),
    ],
    ids=["more is better", "too little", "less is better", "too much"],
)
def test_figures_against_their_bars(ratio: Ratio, holds: bool, times: float, row: list[str]) -> None:
    assert ratio.holds is holds
    assert picture.better(ratio) == pytest.approx(times)
    assert list(ratio.row().values()) == row


def test_a_thinned_release_keeps_every_cell_and_its_share_of_target_clips() -> None:
    kept = synthetic_ranking.thinned(SyntheticSpec(100), "fan.zip", cell=3, train=100)
    clips = [entry for entry in kept if isinstance(entry, ClipEntry) and entry.section == "01"]
    counts = {
        (domain, split): sum((clip.domain, clip.split) == (domain, split) for clip in clips)
        for domain in ("source", "target")
        for split in ("train", "test")
    }
    assert counts == {
        ("source", "train"): 99,
        ("target", "train"): 1,
        ("source", "test"): 6,
        ("target", "test"): 6,
    }
    (table,) = [entry for entry in kept if isinstance(entry, TableEntry) and entry.member.endswith("_01.csv")]
    assert len(table.text.splitlines()) == 1 + len(clips)


def test_rankings_are_held_against_table_3() -> None:
    sections = ["fan/00", "fan/01", "gearbox/00"]
    table = synthetic_ranking.table3("autoencoder", sections)
    assert table.tolist() == [[84.69, 39.35], [71.69, 44.74], [64.63, 64.79]]
    seeds = np.arange(5)[:, None, None]
    found = {
        "autoencoder": table + 0.1 * seeds,
        "mobilenetv2": table + 6 + 0.1 * seeds,
        "nearest_neighbour": table[None],
    }
    assert synthetic_ranking.above(found["mobilenetv2"], found["autoencoder"]) == pytest.approx((6, 0), abs=1e-9)
    ratios = {ratio.what: ratio.value for ratio in synthetic_ranking.bars(found, sections)}
    assert ratios["autoencoder, source AUC: rank correlation with Table 3"] == pytest.approx(1)
    assert ratios["mobilenetv2 - autoencoder (± 0.0)"] == pytest.approx(6)
    assert ratios["best of all - nearest neighbour"] == pytest.approx(6.2)
    assert ratios["autoencoder, source AUC: distance from 67"] == pytest.approx(abs(table[:, 0].mean() + 0.2 - 67))
    *_, mean = synthetic_ranking.rows_of(found, sections)
    assert mean["nearest_neighbour"] == "73.7 / 49.6"


def test_rankings_are_told_seed_by_seed_and_of_what_is_not_trained_once() -> None:
    table = synthetic_ranking.table3("autoencoder", ["fan/00", "fan/01"])
    found = {"autoencoder": table + np.arange(2)[:, None, None], "nearest_neighbour": table[None]}
    rows = {row["section"]: row for row in synthetic_ranking.rows_of(found, ["fan/00", "fan/01"])}
    assert list(rows) == ["fan/00", "fan/01", "seed 0", "seed 1", "mean"]
    assert [rows[f"seed {n}"]["autoencoder"] for n in (0, 1)] == ["78.2 / 42.0", "79.2 / 43.0"]
    assert {rows[f"seed {n}"]["nearest_neighbour"] for n in (0, 1)} == {"78.2 / 42.0"}


@pytest.fixture(scope="module")
def paired_results() -> dict[str, ModelResult]:
    """Systems on the same clips: one, one that scores all the same, and one that is right more often."""
    whole = product(["fan"], ["00", "01"], ["source", "target"], ["normal", "anomaly"])
    cells = pd.DataFrame(whole, columns=["machine_type", "section", "domain", "condition"])
    clips = cells.loc[cells.index.repeat(10)].reset_index(drop=True)
    clips["file_name"] = [f"{number:04d}.wav" for number in clips.index]
    hard = np.random.default_rng(0).normal(size=len(clips)) + (clips["condition"] == "anomaly")

    def result(name: str, scores: pd.Series) -> ModelResult:
        store = SimpleNamespace(attributes=SimpleNamespace(protocol="2022"))
        scored = clips.assign(score=scores)
        by_seed = [{f"fan/{section}": scored[scored["section"] == section] for section in ("00", "01")}]
        return cast(ModelResult, SimpleNamespace(name=name, n_parameters=1, scored_by_seed=by_seed, store=store))

    return {
        "autoencoder": result("autoencoder", hard),
        "better": result("better", hard + 3.0 * (clips["condition"] == "anomaly")),
        "same": result("same", 2.0 * hard),
    }


def test_rankings_have_the_intervals_of_a_paired_comparison(paired_results: dict[str, ModelResult]) -> None:
    """On the same clips: a system that ranks alike is no better, one that is right more often is."""
    rows = {row["section"]: row for row in synthetic_ranking.paired_rows(synthetic_ranking.paired(paired_results))}
    source = rows["less autoencoder: auc_source"]
    assert set(source) == {"section", "better", "same"}
    assert re.fullmatch(r"\+0\.0 \(-[0-9.]+ \.\. \+[0-9.]+\)", source["same"])
    assert re.fullmatch(r"\+[0-9.]+ \(\+[0-9.]+ \.\. \+[0-9.]+\)", source["better"])
    assert "less autoencoder: official_score" in rows


def test_two_branch_is_held_against_every_system_of_the_papers(paired_results: dict[str, ModelResult]) -> None:
    better, hard = paired_results["better"], paired_results["autoencoder"]
    results = {"autoencoder": hard, "two_branch": hard, "attention": better, "two_branch/fusion": better}
    found = synthetic_ranking.paired(results)
    rows = {row["section"]: row for row in synthetic_ranking.paired_rows(found)}
    own = rows["two_branch less it: official_score"]
    assert own.keys() == {"section", "autoencoder", "attention"} and own["attention"].startswith("-")
    assert rows["two_branch/fusion less it: official_score"]["autoencoder"].startswith("+")
    above_autoencoder, above_attention = synthetic_ranking.beyond_papers(found)
    assert above_autoencoder.holds and not above_attention.holds  # alike is not above
    without_fusion = synthetic_ranking.paired({"autoencoder": hard, "two_branch": better})
    assert list(synthetic_ranking.beyond_papers(without_fusion)) == []


@pytest.mark.slow  # 480 recordings of noise
def test_synthetic_ranking(tmp_path: Path) -> None:
    sizes = ["--machines", "fan", "--cell", "2", "--train", "4", "--seeds", "1", "--profile", "smoke"]
    models = ["nearest_neighbour", "mobilenetv2", "two_branch"]
    ratios = synthetic_ranking.main([*sizes, "--models", *models, "--root", str(tmp_path)])
    firsts = [ratio.what.split(",")[0].split(" ")[0] for ratio in ratios]
    assert firsts == ["autoencoder"] * 3 + ["mobilenetv2", "best"] + ["two_branch/fusion"] * 2


def test_two_channels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--machines", "fan", "--cell", "1", "--train", "2", "--profile", "smoke", "--workers", "1"]
    what = ["--models", "nearest_neighbour", "--references", "subtract", "--save", str(tmp_path)]
    assert two_channels.main([*sizes, *what]) == []
    none, subtract = json.loads((tmp_path / "two_channels.json").read_text())["rows"]
    assert (none["reference"], none["less none: auc_target"]) == ("none", "")
    assert subtract["reference"] == "subtract"
    assert re.fullmatch(r"[+-][0-9.]+ \(.*\)", subtract["less none: auc_target"])
    assert "1 test clips a cell" in capsys.readouterr().out


def test_picture_and_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ratios = [{"what": "rate", "value": 4, "bar": 5, "at_least": True, "unit": ""}]
    (tmp_path / "read.json").write_text(json.dumps({"machine": "a machine", "ratios": ratios}))
    picture.main([str(tmp_path), str(tmp_path / "speed.png")])
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| `read` | rate | 4 (missed) | ≥ 5 |",
        "",
        "Measured on a machine.",
    ]
