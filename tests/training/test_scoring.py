"""Scores, thresholds and files of a model over a store's clips."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mimiidg_build.errors import DataError
from mimiidg_build.evaluation.decisions import decision_threshold
from mimiidg_build.evaluation.score_files import read_decisions, read_scores
from mimiidg_build.evaluation.scored_clips import read_with_clip_table
from mimiidg_build.models import create
from mimiidg_build.models.base import MAIN, Chunks, Detector, Labels, Settings
from mimiidg_build.store.store import Store
from mimiidg_build.training import scoring
from mimiidg_build.training.clip_dataset import ClipDataset
from mimiidg_build.training.train import train
from tests.small_store import make_store

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


class Loudest(Detector):
    """Scores a clip by its highest value, and notes what it is given."""

    width = 1
    profiles = {"smoke": Settings(epochs=0)}

    def __init__(self) -> None:
        super().__init__(Settings(epochs=0), 2, 0)
        self.fitted: list[tuple[Tensor, Labels]] = []

    def loss(self, batch: Tensor, labels: Labels) -> Tensor:
        return batch.mean()

    def fit_after(self, chunks: Chunks) -> None:
        self.fitted = list(chunks)

    def _score(self, logmel: Tensor, labels: Labels) -> Tensor:
        return logmel.amax(dim=(1, 2))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("root"))


def test_scores_stand_in_the_clips_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = ClipDataset(store, split="test")
    done: list[int] = []
    expected = clips.read(range(len(clips))).amax(dim=(1, 2)).double().numpy()
    np.testing.assert_array_equal(scoring.clip_scores(Loudest(), clips, CPU, done.append)[MAIN], expected)
    assert done == [len(clips)]
    monkeypatch.setattr(scoring, "SCORED_BYTES", 5 * clips.clip_bytes)
    np.testing.assert_array_equal(scoring.clip_scores(Loudest(), clips, CPU, done.append)[MAIN], expected)
    assert max(done[1:]) == 5 and sum(done[1:]) == len(clips), "some clips at a time"


@pytest.mark.parametrize("name", ["autoencoder", "mobilenetv2", "nearest_neighbour", "autoencoder_mahalanobis"])
def test_a_clip_scores_alike_in_any_company(
    store: Store, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = ClipDataset(store, machine_types="fan", split="train")
    test = ClipDataset(store, machine_types="fan", split="test", memory_budget_bytes=0)
    model = create(name, "smoke", 2, 0)
    train(model, training, tmp_path, "fan", epochs=2)
    scoring.fit(model, training, CPU)
    together = scoring.clip_scores(model, test, CPU)[MAIN]
    monkeypatch.setattr(scoring, "SCORED_BYTES", 1)
    np.testing.assert_allclose(scoring.clip_scores(model, test, CPU)[MAIN], together, rtol=1e-4)
    assert together.dtype == np.float64 and len(set(together)) > len(test) / 2


def test_fit_sees_every_training_clip_once_in_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    training = ClipDataset(store, machine_types="fan", split="train")
    monkeypatch.setattr(scoring, "SCORED_BYTES", 4 * training.clip_bytes)
    model = Loudest()
    scoring.fit(model, training, CPU)
    assert torch.cat([labels.training_row for _, labels in model.fitted]).tolist() == list(range(18))
    assert torch.equal(torch.cat([logmel for logmel, _ in model.fitted]), training.read(range(18)))
    with pytest.raises(ValueError, match="fitted to training clips only"):
        scoring.fit(model, ClipDataset(store, split="test"), CPU)


def test_a_training_clip_is_no_neighbour_of_itself(store: Store) -> None:
    training = ClipDataset(store, machine_types="fan", split="train")
    model = create("nearest_neighbour", "smoke", 2, 0)
    scoring.fit(model, training, CPU)
    assert scoring.clip_scores(model, training, CPU)[MAIN].min() > 0


def test_what_is_not_finite_is_named(store: Store) -> None:
    clips = ClipDataset(store, machine_types="valve", split="test")
    assert clips.resident is not None
    clips.resident[2, 0, 0] = math.inf
    with pytest.raises(DataError, match=r"the score of valve/section_00_source_test_anomaly_0002_m-n_W is inf"):
        scoring.clip_scores(Loudest(), clips, CPU)


def test_thresholds_are_per_machine_type(store: Store) -> None:
    training = ClipDataset(store, split="train")
    scores = np.random.default_rng(0).gamma(2.0, 1.0, len(training)) + 50 * (training.clips["machine_type"] == "valve")
    found = scoring.thresholds(training, scores.to_numpy())
    for machine_type in ("fan", "valve"):
        own = scores[training.clips["machine_type"] == machine_type]
        assert found[machine_type] == decision_threshold(own)
    assert found["fan"] < 20 < found["valve"]
    with pytest.raises(DataError, match="fan: decision threshold: all 18 training scores equal"):
        scoring.thresholds(training, np.ones(len(training)))


@pytest.fixture
def scored(store: Store, tmp_path: Path) -> tuple[Path, np.ndarray]:
    test = ClipDataset(store, split="test")
    scores = scoring.clip_scores(Loudest(), test, CPU)[MAIN]
    scoring.write_score_files(tmp_path, test, scores, {"fan": float(np.median(scores)), "valve": math.inf})
    return tmp_path, scores


def test_files_and_back(store: Store, scored: tuple[Path, np.ndarray]) -> None:
    directory, scores = scored
    names = {path.name for path in directory.iterdir()}
    assert names == {
        f"{kind}_{machine}_section_{section}_test.csv"
        for kind in ("anomaly_score", "decision_result")
        for machine, section in (("fan", "00"), ("fan", "01"), ("valve", "00"))
    }
    test = store.clips[store.clips["split"] == "test"]
    written = read_scores(directory / "anomaly_score_fan_section_01_test.csv")
    clips = test[(test["machine_type"] == "fan") & (test["section"] == "01")]["clip"]
    assert written["file_name"].tolist() == [f"{clip}.wav" for clip in clips]
    np.testing.assert_array_equal(written["score"], scores[12:24])
    decided = read_decisions(directory / "decision_result_fan_section_01_test.csv")["decision"]
    np.testing.assert_array_equal(decided, scores[12:24] > np.median(scores))
    table = read_with_clip_table(directory, test)
    np.testing.assert_array_equal(table["score"], scores)
    assert table["attributes"].tolist() == test["attributes"].tolist()
    for column in ("machine_type", "section", "domain", "condition"):
        assert table[column].tolist() == test[column].tolist()
    assert set(table.loc[table["machine_type"] == "valve", "decision"]) == {0}
