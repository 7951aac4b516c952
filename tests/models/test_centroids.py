"""BCE, DSAD, DDCSAD and their sums: exact sizes, losses by hand, centroids, batches, windows, scores."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.io.wavfile
import torch
from torch import nn

from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.errors import DataError
from mimiidg_build.features import HOP, N_FFT, logmel, mel_filter_bank
from mimiidg_build.models import create, model_class
from mimiidg_build.models.base import MAIN, Epoch, Labels, ScoreTable
from mimiidg_build.models.centroids.distances import EPSILON, distance_loss, squared_distances
from mimiidg_build.models.centroids.levels import level_db_by_origin
from mimiidg_build.models.centroids.model import first_frames
from mimiidg_build.models.centroids.resnet38 import ResidualBlock, ResNet38
from mimiidg_build.models.centroids.settings import PAPER, PROFILES
from mimiidg_build.training.clip_dataset import ClipDataset
from tests.small_store import make_store

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ("bce", "dsad", "ddcsad", "bce_dsad", "bce_ddcsad")


def pool(n_normal: int, n_outliers: int, n_known: int = 0, origins: int = 2) -> Labels:
    """Labels of normal clips, outliers of some sections, known anomalies."""
    n = n_normal + n_outliers + n_known
    section = [0] * n_normal + [-1] * n_outliers + [0] * n_known
    origin = [0] * n_normal + [1 + i % (origins - 1) for i in range(n_outliers)] + [0] * n_known
    known = [False] * (n_normal + n_outliers) + [True] * n_known
    return Labels.of(section, [False] * n, training=True, known_anomaly=known, origin=origin)


def clips(n: int, n_frames: int = 70, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, n_frames, 128, generator=generator) * 3 - torch.linspace(20, 60, 128)


def small(name: str, **changes: Any) -> Any:
    """A model of the smoke profile's size, with other settings."""
    settings = replace(model_class(name).profiles["smoke"], frames=64, frames_averaged=1)
    return model_class(name)(replace(settings, **changes), 1, 0)


class Spy(nn.Module):
    """Stands for the encoder: keeps the windows that it is given, and gives set embeddings, or zeros."""

    def __init__(self, z: torch.Tensor | None = None) -> None:
        super().__init__()
        self.z, self.seen = z, []

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        self.seen.append(windows)
        return torch.zeros(len(windows), 64) if self.z is None else self.z


# ---- Network ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_width", "expected"),
    [pytest.param(64, 21_313_601, marks=pytest.mark.slow), (32, 5_333_153), (16, 1_335_761), (8, 335_273)],
)
def test_parameter_counts_are_exact(base_width: int, expected: int) -> None:
    for name in NAMES:
        model = small(name, base_width=base_width)
        linear = 8 * base_width + 1
        assert model.n_trainable() == expected - (0 if "bce" in name else linear)


def test_the_papers_network_has_the_papers_size() -> None:
    model = create("bce_ddcsad", "paper", 1, seed=0)
    assert model.n_trainable() == 21_313_601
    assert model.centroids.shape == (2, 512)


def convolutions_of(network: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]


def test_resnet38_is_panns() -> None:
    network = ResNet38(8)
    blocks = [block for block in network.modules() if isinstance(block, ResidualBlock)]
    convolutions = [block.layers[-2] for block in blocks]
    assert [layer.out_channels for layer in convolutions] == [8] * 3 + [16] * 4 + [32] * 6 + [64] * 3
    weighted = [layer for layer in convolutions_of(network) if layer.kernel_size == (3, 3)]
    assert len(weighted) == 34 and not any(layer.bias is not None for layer in weighted)
    assert {layer.stride for layer in convolutions_of(network)} == {(1, 1)}
    dropouts = Counter(layer.p for layer in network.modules() if isinstance(layer, nn.Dropout))
    assert dropouts == {0.2: 1, 0.1: 16}
    shortcuts = [[type(layer) for layer in block.shortcut] for block in blocks if len(block.shortcut)]
    assert shortcuts == [[nn.AvgPool2d, nn.Conv2d, nn.BatchNorm2d]] * 3
    images = network.stem(torch.zeros(2, 1, 256, 128))
    assert images.shape == (2, 8, 128, 64)
    assert network.stages(images).shape == (2, 64, 16, 8), "stages 2 to 4 halve"
    assert network(torch.zeros(2, 256, 128)).shape == (2, 64)


def test_the_first_batch_norm_is_over_mel_bands() -> None:
    network = ResNet38(8).train()
    loud = clips(4)
    moved = loud + torch.linspace(-30, 30, 128)  # another level in each band
    torch.manual_seed(0)
    z = network(loud)
    torch.manual_seed(0)
    torch.testing.assert_close(network(moved), z, rtol=1e-3, atol=1e-4)


def test_an_untrained_block_passes_its_input_on() -> None:
    block = ResidualBlock(8, 8, halves=False).train()
    images = torch.rand(2, 8, 6, 4)
    torch.testing.assert_close(block(images), images)


# ---- Losses ----------------------------------------------------------------------------------------------------------

Z = torch.tensor([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]])  # a normal clip, an outlier, a known anomaly
CENTROIDS = torch.tensor([[1.0, 0.0], [0.0, 0.0]])  # c_p, c_n
D_P, D_N = (4.0, 5.0, 1.0), (9.0, 4.0, 2.0)  # squared, from each
P = (0.9, 0.2, 0.4)  # that they are normal
BCE_BY_HAND = (-math.log(0.9), -math.log(0.8), -math.log(0.6))
DSAD_BY_HAND = (2 * 4.0, 1 / 5, 2 / 1)
DDCSAD_BY_HAND = (2 * (4 + 1 / 9), 1 / 5 + 4, 2 * (1 + 2))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bce", BCE_BY_HAND),
        ("dsad", DSAD_BY_HAND),
        ("ddcsad", DDCSAD_BY_HAND),
        ("bce_dsad", tuple(a + b for a, b in zip(BCE_BY_HAND, DSAD_BY_HAND, strict=True))),
        ("bce_ddcsad", tuple(a + b for a, b in zip(BCE_BY_HAND, DDCSAD_BY_HAND, strict=True))),
    ],
)
def test_losses_by_hand(name: str, expected: tuple[float, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell of the table, and the mean over all clips of a batch."""
    model, labels = small(name), pool(1, 1, 1)
    assert (model.settings.eta, model.settings.distance_weight) == (2.0, 1.0)
    model.centroids = CENTROIDS[: model.n_centroids]
    logits = torch.tensor(P).logit()
    monkeypatch.setattr(model, "_logits", lambda z: logits[[Z.tolist().index(row) for row in z.tolist()]])
    found = model._losses(Z, labels)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-5)
    model.encoder = Spy(Z)
    assert model.loss(clips(3), replace(labels, origin=torch.zeros(3, dtype=torch.int64))).item() == pytest.approx(
        sum(expected) / 3, rel=1e-5
    )


@pytest.mark.parametrize(("setting", "factor"), [("distance_weight", 3.0), ("eta", 5.0)])
def test_weights_of_the_losses(setting: str, factor: float) -> None:
    model, other = small("bce_dsad"), small("bce_dsad", **{setting: factor})
    labels = pool(1, 1, 1)
    z = torch.rand(3, 64, generator=torch.Generator().manual_seed(0))
    squared = squared_distances(z, model.centroids)
    more = other._losses(z, labels) - model._losses(z, labels)
    if setting == "distance_weight":
        expected = 2 * distance_loss(squared, labels, 2.0)
    else:  # an outlier has no part in eta
        expected = 3 * distance_loss(squared, labels, 1.0) * torch.tensor([1.0, 0.0, 1.0])
    torch.testing.assert_close(more, expected, rtol=1e-4, atol=1e-5)


def test_lambda_weighs_nothing_where_there_is_no_bce() -> None:
    z, labels = torch.rand(3, 64), pool(1, 1, 1)
    torch.testing.assert_close(small("dsad")._losses(z, labels), small("dsad", distance_weight=9.0)._losses(z, labels))


def test_an_inverse_is_finite_at_the_centroid() -> None:
    found = distance_loss(torch.tensor([[0.0, 0.0]] * 3), pool(1, 1, 1), 2.0)
    torch.testing.assert_close(found, torch.tensor([2.0, 1.0, 2.0]) / EPSILON)


# ---- Centroids -------------------------------------------------------------------------------------------------------


def by_hand(model: Any, logmel: torch.Tensor, labels: Labels, wanted: torch.Tensor) -> torch.Tensor:
    """Mean embedding of the middle windows in evaluation mode, one clip at a time."""
    level = level_db_by_origin([(logmel, labels)])
    first, frames = (logmel.shape[1] - model.settings.frames) // 2, model.settings.frames
    was, z = model.training, []
    model.eval()
    for clip, origin in zip(logmel[wanted], labels.origin[wanted], strict=True):
        z.append(model.encoder((clip[first : first + frames] - level[origin])[None])[0].detach())
    model.train(was)
    return torch.stack(z).mean(dim=0)


def step(model: Any, logmel: torch.Tensor, labels: Labels) -> None:
    """One batch of training at a high rate."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    optimizer.zero_grad()
    model.loss(logmel, labels).backward()
    optimizer.step()


@pytest.mark.parametrize("name", ["ddcsad", "bce_ddcsad"])
def test_ddcsads_centroids_follow_the_network(name: str) -> None:
    model, labels = small(name), pool(5, 7, 2)
    logmel = clips(14, n_frames=80)
    chunks = [(logmel[part], labels.take(part)) for part in (slice(0, 6), slice(6, 14))]
    seen = []
    for number, tuning in ((0, False), (1, False), (0, True)):
        model.begin_epoch(Epoch(number, 2, tuning), chunks)
        normal, outliers = (by_hand(model, logmel, labels, chosen) for chosen in (labels.is_normal, labels.section < 0))
        torch.testing.assert_close(model.centroids, torch.stack([normal, outliers]), rtol=1e-4, atol=1e-4)
        assert not model.centroids.requires_grad
        seen.append(model.centroids.clone())
        step(model, logmel, labels)
    assert not torch.allclose(seen[0], seen[1]) and not torch.allclose(seen[1], seen[2])


@pytest.mark.parametrize("name", ["dsad", "bce_dsad"])
def test_dsads_centroid_is_the_untrained_networks(name: str) -> None:
    model, labels = small(name), pool(5, 7, 2)
    logmel = clips(14, n_frames=80)
    expected = by_hand(model, logmel, labels, labels.is_normal)
    model.begin_epoch(Epoch(0, 2), [(logmel, labels)])
    torch.testing.assert_close(model.centroids[0], expected, rtol=1e-4, atol=1e-4)
    before = model.centroids.clone()
    step(model, logmel, labels)
    for epoch in (Epoch(1, 2), Epoch(0, 1, tuning=True)):
        model.begin_epoch(epoch, [(logmel, labels)])
        assert torch.equal(model.centroids, before)
    again = small(name)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.centroids, before), "it is saved"


def test_no_outlier_moves_no_normal_centroid() -> None:
    model = small("ddcsad")
    model.begin_epoch(Epoch(0, 1), [(clips(4), pool(4, 0))])
    assert model.centroids[0].any() and not model.centroids[1].any()


# ---- Standardised waveforms ------------------------------------------------------------------------------------------


def made_up() -> list[np.ndarray]:
    """Clips of a machine: a hum, harmonics and noise, at levels of their own."""
    rng, t = np.random.default_rng(0), np.arange(160_000) / 16_000
    clips = []
    for gain in (900, 1200, 700, 1100):
        tones = sum(np.sin(2 * np.pi * f * t + rng.uniform(0, 6)) / n for n, f in enumerate((50, 120, 360, 2400), 1))
        clips.append(np.round(gain * (tones + rng.normal(0, 0.8, t.size))).astype(np.int16))
    return clips


def real_clips(real: Path, kind: str) -> list[np.ndarray]:
    return [scipy.io.wavfile.read(path)[1] for path in sorted((real / "audio" / kind).glob("*.wav"))[:8]]


def standardised_logmel(samples: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Log-mel of (waveform - mean) / std, with no use of features.logmel."""
    padded = np.pad((samples / 32768 - mean) / std, N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(N_FFT + 1)[:-1])) ** 2
    return 10 * np.log10(np.maximum(power @ mel_filter_bank().T.astype(np.float64), 2.22e-16))


@pytest.mark.parametrize("kind", ["made up", "fan", "valve", "pump"])
def test_shifted_logmels_are_those_of_standardised_waveforms(kind: str, request: pytest.FixtureRequest) -> None:
    samples = made_up() if kind == "made up" else real_clips(request.getfixturevalue("real"), kind)
    every = np.concatenate(samples) / 32768
    stored = torch.from_numpy(np.stack([logmel(clip) for clip in samples]))
    labels = Labels.of([0] * len(samples), [False] * len(samples), training=True)
    level_db = level_db_by_origin([(stored[:3], labels.take(slice(0, 3))), (stored[3:], labels.take(slice(3, None)))])
    assert level_db.item() == pytest.approx(20 * math.log10(every.std()), abs=0.1)
    exact = standardised_logmel(samples[0], every.mean(), every.std())
    np.testing.assert_allclose(stored[0].numpy() - level_db.item(), exact, rtol=0, atol=0.12)


def test_every_machine_is_standardised_by_its_own_training_clips() -> None:
    """The same sound at other levels is the same input; a known anomaly has no say in the level."""
    model, labels = small("bce"), pool(3, 6, 1, origins=3)
    logmel = clips(1).expand(10, -1, -1).clone()
    logmel += (labels.origin * 7.0)[:, None, None] + 20.0 * labels.known_anomaly[:, None, None]
    model.begin_epoch(Epoch(0, 1), [(logmel, labels)])
    model.encoder = Spy()
    seen = model.encoder.seen
    model.settings = replace(model.settings, frames=70)
    model.loss(logmel, labels)
    torch.testing.assert_close(seen[0][:9], seen[0][:1].expand(9, -1, -1), rtol=0, atol=1e-3)
    torch.testing.assert_close(seen[0][9], seen[0][0] + 20.0, rtol=0, atol=1e-3)
    model.scores(logmel[:1], Labels.of([0], [False], training=False))
    torch.testing.assert_close(seen[1][0], seen[0][0], rtol=0, atol=1e-3)


# ---- Batches, schedule, windows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tuning", "composition"), [(False, (32, 32, 0)), (True, (32, 31, 1))])
def test_composition_of_a_batch(tuning: bool, composition: tuple[int, int, int]) -> None:
    model, labels = small("bce", batch_size=64, batches_per_epoch=250), pool(50, 700, 4)
    batches = model.batches(labels, Epoch(0, 1, tuning))
    assert len(batches) == 250
    times: Counter[int] = Counter()
    for numbers in batches:
        batch = labels.take(numbers)
        known = int(batch.known_anomaly.sum())
        assert (int(batch.is_normal.sum()), int((batch.section < 0).sum()), known) == composition
        times.update(numbers.tolist())
    assert sorted(times[number] for number in range(750, 754)) == ([62, 62, 63, 63] if tuning else [0] * 4)
    normal, outliers = ([times[number] for number in numbers] for numbers in (range(50), range(50, 750)))
    assert set(normal) == {250 * 32 // 50}, "every clip as often"
    assert max(outliers) - min(outliers) <= 1
    other = model.batches(labels, Epoch(0, 1, tuning))
    assert not all(torch.equal(a, b) for a, b in zip(batches, other, strict=True)), "the order is random"


@pytest.mark.parametrize(
    ("labels", "tuning", "message"),
    [
        (pool(4, 0), False, "need outliers, the training clips of other sections, to train on"),
        (pool(4, 4), True, "need known anomalies to train on"),
    ],
)
def test_a_class_without_clips_is_an_error(labels: Labels, tuning: bool, message: str) -> None:
    with pytest.raises(DataError, match=message):
        small("bce").batches(labels, Epoch(0, 1, tuning))


def test_the_papers_schedule() -> None:
    model = small("bce_ddcsad")
    model.settings = PAPER
    n = PAPER.batches_per_epoch
    assert (PAPER.epochs * n, PAPER.tuning_epochs * n, PAPER.batch_size) == (4000, 2000, 64)
    factors = [model.learning_rate_factor(Epoch(number, 16)) for number in range(16)]
    assert factors == [1.0] * 4 + [0.5] * 4 + [0.25] * 4 + [0.125] * 4
    assert model.learning_rate_factor(Epoch(0, 8, tuning=True)) == 1.0
    encoder, linear = model.optimizer().param_groups
    assert (encoder["lr"], linear["lr"], linear["eps"]) == (1e-4, 1e-3, 1e-8)
    assert [weight.numel() for weight in linear["params"]] == [64, 1]
    (only,) = small("ddcsad").optimizer().param_groups
    assert len(only["params"]) == len(encoder["params"])


@pytest.mark.parametrize(
    ("n_frames", "frames", "n", "expected"),
    [
        (313, 256, 10, [0, 6, 13, 19, 25, 32, 38, 44, 51, 57]),  # the paper's: 57 / 9 apart, the last one ends the clip
        (313, 256, 2, [0, 57]),
        (313, 256, 1, [28]),
        (256, 256, 3, [0, 0, 0]),
    ],
)
def test_window_positions(n_frames: int, frames: int, n: int, expected: list[int]) -> None:
    assert first_frames(n_frames, frames, n) == expected


def numbered(n: int, n_frames: int, n_mels: int = 128) -> torch.Tensor:
    """Clips whose values are their frames' numbers."""
    return torch.arange(float(n_frames))[None, :, None].expand(n, -1, n_mels).contiguous()


def test_training_windows_lie_anywhere() -> None:
    model = small("bce", frames=256)
    model.encoder = Spy()
    torch.manual_seed(0)
    for _ in range(40):
        model.loss(numbered(64, 313, n_mels=2), replace(pool(32, 32), origin=torch.zeros(64, dtype=torch.int64)))
    windows = torch.cat(model.encoder.seen)
    first = windows[:, :1, :1]
    torch.testing.assert_close(windows, first + torch.arange(256.0)[None, :, None].expand_as(windows))
    firsts = Counter(first.flatten().int().tolist())
    assert set(firsts) == set(range(58))
    assert max(firsts.values()) < 3 * min(firsts.values()), "every place as likely"


def test_a_score_is_the_mean_over_ten_windows() -> None:
    model = small("bce_dsad", frames=256, score_windows=10).eval()
    model.level_db.fill_(-10.0)
    model.centroids.copy_(torch.rand(1, 64))
    logmel = clips(2, n_frames=313)
    found = model.scores(logmel, Labels.of([0, 0], [False] * 2, training=False))
    with torch.no_grad():
        for number, clip in enumerate(logmel):
            windows = torch.stack([clip[f : f + 256] for f in (0, 6, 13, 19, 25, 32, 38, 44, 51, 57)]) + 10.0
            z = model.encoder(windows)
            probability = 1 - torch.sigmoid(model.linear(z))[:, 0]
            assert found["probability"][number].item() == pytest.approx(probability.mean().item(), abs=1e-5)
            distance = (z - model.centroids).square().sum(dim=1).mean().item()
            assert found["distance"][number].item() == pytest.approx(distance, rel=1e-5)


def test_frames_may_be_averaged() -> None:
    model = small("bce", frames=32, frames_averaged=4)
    model.encoder = Spy()
    model.scores(numbered(1, 32), Labels.of([0], [False], training=False))
    (windows,) = model.encoder.seen
    assert windows.shape[1:] == (8, 128)
    assert windows[0, :, 5].tolist() == [1.5, 5.5, 9.5, 13.5, 17.5, 21.5, 25.5, 29.5]


# ---- Scores ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("bce", {MAIN}),
        ("dsad", {MAIN}),
        ("ddcsad", {MAIN}),
        ("bce_dsad", {MAIN, "probability", "distance"}),
        ("bce_ddcsad", {MAIN, "probability", "distance"}),
    ],
)
def test_scores_by_hand(name: str, names: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """1 - p; the distance; or half of one and half of the other, scaled by the training clips."""
    model = small(name)
    p, d = {0.0: 0.9, 1.0: 0.5, 2.0: 0.2}, {0.0: 2.0, 1.0: 6.0, 2.0: 12.0}

    def means(logmel: torch.Tensor, labels: Labels) -> dict[str, torch.Tensor]:
        which = [float(clip[0, 0]) for clip in logmel]
        both = {"probability": [1 - p[clip] for clip in which], "distance": [d[clip] for clip in which]}
        wanted = ["probability"] * model.classifies + ["distance"] * bool(model.n_centroids)
        return {key: torch.tensor(both[key], dtype=torch.float64) for key in wanted}

    monkeypatch.setattr(model, "_means", means)
    logmel = torch.arange(3.0)[:, None, None].expand(3, 70, 128)
    training = Labels.of([0, 0], [False] * 2, training=True)
    model.fit_after([(logmel[:1], training.take(slice(0, 1))), (logmel[1:2], training.take(slice(1, 2)))])
    found = model.scores(logmel, Labels.of([0] * 3, [False] * 3, training=False))
    assert set(found) == names
    if len(names) > 1:
        # Training distances are 2 and 6, so 12 is at 2.5: unlike the training clips it need not be within [0, 1].
        expected = [0.5 * 0.1 + 0.5 * 0, 0.5 * 0.5 + 0.5 * 1, 0.5 * 0.8 + 0.5 * 2.5]
    else:
        expected = [0.1, 0.5, 0.8] if name == "bce" else [2.0, 6.0, 12.0]
    torch.testing.assert_close(found[MAIN], torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "machine_type", "alpha"),
    [
        ("bce_dsad", "fan", 0.1),
        ("bce_dsad", "slider", 0.0),
        ("bce_dsad", "valve", 0.0),
        ("bce_ddcsad", "fan", 0.1),
        ("bce_ddcsad", "slider", 1.0),
        ("bce_ddcsad", "valve", 1.0),
        ("bce_ddcsad", "gearbox", 0.5),  # the paper has none
        ("bce_dsad", "bearing", 0.5),
    ],
)
def test_transductive_and_oracle(name: str, machine_type: str, alpha: float) -> None:
    """Distances scaled over the test clips: 4 to 8; with alpha 0.5, and with the paper's."""
    table = pd.DataFrame({"machine_type": [machine_type] * 3})
    test = {"probability": np.array([0.2, 0.6, 1.0]), "distance": np.array([4.0, 8.0, 5.0])}
    training = {"probability": np.array([0.0, 0.1, 0.2]), "distance": np.array([2.0, 4.0, 6.0])}
    of_training, of_test = small(name).derived_scores(ScoreTable(table, training), ScoreTable(table, test))
    assert set(of_training) == set(of_test) == {"transductive", "oracle"}
    for key, a in (("transductive", 0.5), ("oracle", alpha)):
        assert of_test[key] == pytest.approx(a * test["probability"] + (1 - a) * np.array([0, 1, 0.25]))
        assert of_training[key] == pytest.approx(a * training["probability"] + (1 - a) * np.array([-0.5, 0, 0.5]))


@pytest.mark.parametrize(("name", "machine_type"), [("bce_dsad", "fan"), ("bce_ddcsad", "gearbox")])
def test_alphas_of_oracle_are_a_setting(name: str, machine_type: str) -> None:
    table = pd.DataFrame({"machine_type": [machine_type] * 2})
    scores = {"probability": np.array([0.2, 0.6]), "distance": np.array([4.0, 8.0])}
    changed = small(name, oracle_alpha={machine_type: 0.25})
    found = changed.derived_scores(ScoreTable(table, scores), ScoreTable(table, scores))[1]["oracle"]
    assert found == pytest.approx([0.25 * 0.2, 0.25 * 0.6 + 0.75])


@pytest.mark.parametrize("name", ["bce", "dsad", "ddcsad"])
def test_one_score_alone_needs_no_others(name: str) -> None:
    table = ScoreTable(pd.DataFrame({"machine_type": ["fan"]}), {MAIN: np.zeros(1)})
    assert small(name).derived_scores(table, table) == ({}, {})


# ---- Whole runs ------------------------------------------------------------------------------------------------------


def test_outliers_are_distinguished_by_origin(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    labels = ClipDataset.training_pool(store, sections="valve/00", outliers=True).labels()
    assert labels.section.tolist() == [0] * 9 + [-1] * 18
    assert labels.origin.tolist() == [0] * 9 + [1] * 9 + [2] * 9
    of_fan = ClipDataset(store, machine_types="fan", split="test").labels()
    assert torch.equal(of_fan.origin, of_fan.section)


def test_one_section_alone_has_no_outliers(tmp_path: Path) -> None:
    store = make_store(tmp_path, sections=["fan/00"], n_frames=130)
    with pytest.raises(DataError, match="need outliers, the training clips of other sections"):
        benchmark_models(store, tmp_path, ["dsad"], profile="smoke", device="cpu")


def test_semi_supervised_from_end_to_end(tmp_path: Path) -> None:
    store = make_store(tmp_path, sections=["fan/00", "valve/00"], n_frames=130)
    options = {"profile": "smoke", "device": "cpu", "workers": 1}
    found = benchmark_models(store, tmp_path, ["bce_ddcsad"], known_anomalies=[0, 2], **options)
    scores = ["", "probability", "distance", "transductive", "oracle"]
    assert [(result.score, result.known_anomalies) for result in found.models] == [
        (score, k) for k in (0, 2) for score in scores
    ]
    without, with_two = (found.models[number].runs[0].summaries[0] for number in (0, 5))
    assert (without.n_training_clips, without.n_outlier_clips) == (9, 9)
    assert (without.n_test_clips, with_two.n_test_clips) == (12, 10)
    assert without.epochs == PROFILES["smoke"].epochs and with_two.epochs == PROFILES["smoke"].tuning_epochs


def test_known_anomalies_are_learnt() -> None:
    """Anomalies that differ from normal clips as no outlier does: unseen ones are found once some are known."""
    generator = torch.Generator().manual_seed(0)

    def made(n: int, band: int) -> torch.Tensor:
        logmel = torch.randn(n, 32, 128, generator=generator) - 40
        logmel[:, :, band : band + 8] += 12
        return logmel

    def normal(n: int) -> torch.Tensor:
        return made(n, 60)

    def anomalous(n: int) -> torch.Tensor:
        logmel = normal(n)
        logmel[:, :, 70:74] += 6
        return logmel

    labels = pool(16, 16, 4)
    logmel = torch.cat([normal(16), made(16, 20), anomalous(4)])
    test = torch.cat([normal(10), anomalous(10)])
    model = small("bce_ddcsad", batch_size=16, batches_per_epoch=15, base_width=4, frames=32)
    auc = []
    for tuning in (False, True):
        optimizer = model.optimizer()
        torch.manual_seed(0)
        for number in range(2):
            epoch = Epoch(number, 2, tuning)
            model.begin_epoch(epoch, [(logmel, labels)])
            model.train()
            for numbers in model.batches(labels, epoch):
                optimizer.zero_grad()
                model.loss(logmel[numbers], labels.take(numbers)).backward()
                optimizer.step()
        found = model.score(test, Labels.of([0] * 20, [False] * 20, training=False))
        auc.append((found[10:, None] > found[None, :10]).double().mean().item())
    assert auc[1] > max(0.9, auc[0] + 0.1)
