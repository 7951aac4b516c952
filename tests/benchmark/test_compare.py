"""``compare``: which runs a name means, and what is refused; the numbers are those of ``evaluation.paired``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mimiidg_build import compare_runs, open_store
from mimiidg_build.cli.compare import compare
from mimiidg_build.errors import DataError, UsageError
from tests.report_case import case_root

AE, NN = "case/autoencoder-smoke-2epochs", "case/nearest_neighbour-smoke"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, synthetic_archives: Path) -> Path:
    return case_root(tmp_path_factory, synthetic_archives)


def runs_of(root: Path, variant: str = "case") -> Path:
    return root / "runs" / variant / open_store(root / "variants" / variant).fingerprint


def run(*arguments: object) -> Result:
    return CliRunner().invoke(compare, [str(a) for a in arguments], catch_exceptions=False)


def test_all_seeds_of_two_models(root: Path) -> None:
    found = compare_runs(AE, NN, root)
    assert found.seeds == (2, 1) and not found.over_seeds
    assert "case/autoencoder-smoke-2epochs has 2 of the 5 seeds" in found.notes[0]
    assert "nearest" not in found.notes[0], "it trains nothing"
    places = list(dict.fromkeys(one.place for one in found.differences))
    assert places == ["fan/00", "fan/01", "fan/02", "valve/01", "fan", "valve", "mean"]
    results = [json.loads((runs_of(root) / f"{AE[5:]}-{seed}" / "results.json").read_text()) for seed in (0, 1)]
    expected = sum(result["official_score"] for result in results) / 2
    assert found.official_score.first == pytest.approx(expected)


def test_names_and_paths_mean_the_same(root: Path) -> None:
    folder = runs_of(root) / "autoencoder-smoke-2epochs-1"
    by_path = compare_runs(folder, NN, root)
    assert by_path.seeds == (1, 1)
    assert by_path.differences == compare_runs(f"{AE}-1", NN, root).differences
    scores = compare_runs(f"{AE}-1", runs_of(root) / "nearest_neighbour-smoke-0", root)
    assert scores.differences == by_path.differences


def test_a_folder_of_score_files_of_any_system(root: Path, tmp_path: Path) -> None:
    for path in (runs_of(root) / "nearest_neighbour-smoke-0").glob("anomaly_score_*"):
        shutil.copy(path, tmp_path)
    assert compare_runs(AE, tmp_path, root).differences == compare_runs(AE, NN, root).differences
    (path,) = tmp_path.glob("*valve*")
    path.unlink()
    with pytest.raises(UsageError, match="do not score the same clips: .* are not in the other .valve/01 "):
        compare_runs(AE, tmp_path, root)


def test_the_command(root: Path) -> None:
    lines = run(AE, NN, "--root", root).stdout.splitlines()
    assert f"{AE} less {NN}" in lines[0]
    for place in ("fan/00", "valve/01", "fan", "mean", "official score"):
        assert any(line.split("  ")[0].strip() == place for line in lines), place
    assert any(line.startswith("* Few test clips") for line in lines), "one per cent of a release"
    content = json.loads(run(AE, NN, "--root", root, "--json").stdout)
    expected = compare_runs(AE, NN, root)
    assert content == json.loads(json.dumps(expected.to_dict()))
    (official,) = (row for row in content["differences"] if row["metric"] == "official_score")
    assert official["difference"] == pytest.approx(official["first"] - official["second"])


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (AE, AE, "is compared with itself"),
        (
            AE,
            "case/nearest_neighbor-smoke",
            "no finished run 'nearest_neighbor-smoke' on the store case .*Did you mean",
        ),
        (AE, "case/autoencoder-smoke-5epochs", "no finished run"),
        (AE, "nowhere/else", "there is no run 'nowhere/else', neither VARIANT/MODEL-PROFILE"),
        (NN, "case-snr+6dB/nearest_neighbour-smoke", "case/.* is a run on the store case .*: only runs on the same"),
    ],
    ids=["itself", "misspelt", "unfinished", "nothing", "another store"],
)
def test_what_does_not_compare_is_refused_by_name(root: Path, first: str, second: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        compare_runs(first, second, root)


def test_other_protocols_are_refused(root: Path, tmp_path: Path) -> None:
    lines = [f"{c}_id_00_0000000{n}.wav,{n}\n" for c in ("normal", "anomaly") for n in range(3)]
    (tmp_path / "anomaly_score_fan_id_00.csv").write_text("".join(lines))
    with pytest.raises(UsageError, match="judged by the protocol 2022, .* by 2020"):
        compare_runs(NN, tmp_path, root)


def test_a_run_whose_store_is_gone(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="which is not there"):
        compare_runs(runs_of(root) / "nearest_neighbour-smoke-0", NN, tmp_path)
