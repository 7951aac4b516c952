"""Runs with settings in place of the profile's: a directory of their own, what is written and read of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mimiidg_build.benchmark.finished_runs import read_runs
from mimiidg_build.benchmark.planning import plan_runs
from mimiidg_build.benchmark.results import Benchmark
from mimiidg_build.benchmark.rows import result_rows
from mimiidg_build.benchmark.run_files import label_of, profile_label, run_name
from mimiidg_build.benchmark.runs import Run
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.errors import UsageError
from mimiidg_build.report.result_tables import comparison
from mimiidg_build.schemas.runs import RunConfig
from mimiidg_build.store.store import Store
from tests.small_store import make_store

pytestmark = pytest.mark.usefixtures("one_thread")

CHANGES = {"batch_size": 64, "learning_rate": 2e-3}
LABEL = "smoke-batch_size=64-learning_rate=0.002"


def run_models(store: Store, root: Path, models: list[str], **options: Any) -> Benchmark:
    return benchmark_models(store, root, models, profile="smoke", epochs=1, device="cpu", **options)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with runs of the profile and with changed settings, two models."""
    root = tmp_path_factory.mktemp("root")
    store = make_store(root)
    run_models(store, root, ["autoencoder"])
    run_models(store, root, ["autoencoder", "nearest_neighbour"], changes=CHANGES)
    return root


@pytest.fixture(scope="module")
def store(root: Path) -> Store:
    from mimiidg_build.store.store import open_store

    return open_store(root / "variants/small")


def files(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (root / "runs").rglob("*") if path.is_file()}


def test_each_has_a_directory_of_its_own(root: Path, store: Store) -> None:
    names = sorted(path.parent.name for path in (root / "runs").rglob("config.json"))
    changed = LABEL.replace("smoke", "smoke-1epochs")
    assert names == ["autoencoder-smoke-1epochs-0", f"autoencoder-{changed}-0", "nearest_neighbour-smoke-0"]
    plain, other = (
        json.loads(next((root / "runs").rglob(f"autoencoder-{label}-0/config.json")).read_text())
        for label in ("smoke-1epochs", changed)
    )
    assert "changes" not in plain and other["changes"] == CHANGES
    assert other["settings"] == plain["settings"] | CHANGES
    assert label_of(RunConfig.model_validate(other)) == changed, "what a page of detections calls it, too"
    assert other["settings"]["precision"] == "fp32" and list(other)[-1] == "changes"
    scores = [next((root / "runs").rglob(f"{name}/anomaly_score_fan_*")).read_bytes() for name in names[:2]]
    assert scores[0] != scores[1], "it was trained with them"


def test_finished_runs_are_reused_setting_by_setting(root: Path, store: Store) -> None:
    before = files(root)
    run_models(store, root, ["autoencoder"])
    again = run_models(store, root, ["autoencoder", "nearest_neighbour"], changes=CHANGES)
    assert files(root) == before
    # the profile's own value by hand is no change; nor is the order in which settings are named
    (run,) = plan_runs(store, root, ["autoencoder"], "smoke", 1, 1, changes={"batch_size": 128})
    assert run.directory.name == "autoencoder-smoke-1epochs-0" and not run.changes
    (run,) = plan_runs(store, root, ["autoencoder"], "smoke", 1, 1, changes=dict(reversed(CHANGES.items())))
    assert run.directory == again.models[0].runs[0].directory


def test_what_is_printed_and_what_a_report_reads(root: Path, store: Store) -> None:
    found = run_models(store, root, ["nearest_neighbour", "autoencoder"], changes=CHANGES)
    changed = LABEL.replace("smoke", "smoke-1epochs")
    assert f": {changed} profile, 1 seed" in found.title
    assert found.notes[0] == (
        "nearest_neighbour has no batch_size and no learning_rate, and ran as its profile says otherwise"
    )
    content = found.to_dict()["models"]
    assert [(model["profile"], model.get("changes")) for model in content] == [("smoke", None), (changed, CHANGES)]
    assert not any("paper source" in row for row in result_rows(found))
    read = read_runs(store, root)
    labels = sorted((model.model, model.label, dict(model.changes)) for model in read.models)
    assert [(model, label) for model, label, _ in labels] == [
        ("autoencoder", "smoke-1epochs"),
        ("autoencoder", changed),
        ("nearest_neighbour", "smoke"),
    ]
    assert labels[1][2] == CHANGES and not labels[0][2]
    assert {row[1].text for row in comparison(read.models).rows} == {"smoke", "smoke-1epochs", changed}


def test_a_run_of_an_early_version_goes_on(root: Path, store: Store, tmp_path: Path) -> None:
    """Its file lacks settings that came later: their defaults are what it did. Another value is another run's."""
    store = make_store(tmp_path)
    (run,) = plan_runs(store, tmp_path, ["autoencoder"], "smoke", 1, 1)
    run_models(store, tmp_path, ["autoencoder"])
    path = run.directory / "config.json"
    content = json.loads(path.read_text())
    for name in ("precision", "held_out_from", "threads"):
        del content["settings"][name]
    path.write_text(json.dumps(content))
    run_models(store, tmp_path, ["autoencoder"])
    assert json.loads(path.read_text()) == content, "read, and left as it is"
    path.write_text(json.dumps(content | {"settings": content["settings"] | {"precision": "bf16"}}))
    with pytest.raises(UsageError, match="holds a run of other settings: precision 'bf16', expected 'fp32'"):
        run_models(store, tmp_path, ["autoencoder"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 3}, "autoencoder: no setting 'batch' to change; there are batch_norm_momentum, batch_size"),
        ({"batch_size": "many"}, "autoencoder: the setting batch_size cannot be 'many'"),
        ({"precision": "fp16"}, "a CPU trains in fp32 or bf16"),
    ],
)
def test_what_is_refused_before_any_work(
    store: Store, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        benchmark_models(store, tmp_path, ["autoencoder"], profile="smoke", device="cpu", changes=changes)
    assert not (tmp_path / "runs").exists()


def test_clips_that_changed_settings_need_longer(store: Store, tmp_path: Path) -> None:
    """What a store does not suit depends on the settings."""
    with pytest.raises(UsageError, match=r"bce, profile smoke: the clips of fan/00 have 66 frames.* needs 512 or more"):
        changes = {"frames": 600, "frames_averaged": 32}
        benchmark_models(store, tmp_path, ["bce"], profile="smoke", device="cpu", changes=changes)


def test_names_of_runs_stay_names_of_files(store: Store) -> None:
    assert profile_label("cpu", None, 2, {"alpha": 0.25}) == "cpu-alpha=0.25-k2"
    alphas = {name: profile_label("paper", None, 0, {"oracle_alpha": {name: 0.5}}) for name in ("fan", "pump")}
    assert alphas["fan"] != alphas["pump"] and all("/" not in label and "{" not in label for label in alphas.values())
    many = {f"a_setting_with_a_long_name_{number}": number for number in range(50)}
    long, other = profile_label("paper", None, 0, many), profile_label("paper", None, 0, many | {"x": 1})
    assert long != other and long.startswith("paper-settings=")
    assert len(run_name("m" * 100, profile_label("released", 9999, 64, many), 99)) < 200


def test_a_run_with_known_anomalies_starts_from_one_of_the_same_settings(store: Store, tmp_path: Path) -> None:
    runs = plan_runs(store, tmp_path, ["bce"], "smoke", 1, known_anomalies=[1], changes={"base_width": 4})
    assert runs[0].directory.name == "bce-smoke-base_width=4-k1-0"
    base: Run = runs[0].base
    assert base.directory.name == "bce-smoke-base_width=4-0" and base.settings.base_width == 4
