"""The two-branch network: exact sizes, spectra, loss and score by hand, classes, mixup; and that it learns."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mimiidg_build.benchmark.planning import plan_runs
from mimiidg_build.benchmark.train_network import train_and_score
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.models import create, model_class
from mimiidg_build.models.adacos import fixed_scale, log_probabilities
from mimiidg_build.models.base import Epoch, Labels
from mimiidg_build.models.two_branch import TwoBranch
from mimiidg_build.models.two_branch.branches import SpectrogramBranch, magnitudes
from mimiidg_build.training.clip_dataset import ClipDataset
from tests.plain_store import make_plain_store
from tests.small_store import make_store

pytestmark = pytest.mark.usefixtures("one_thread")
MODELS = ("two_branch", "two_branch_multiresolution")
SECOND = 16_000


def audio(n_clips: int, n_samples: int = SECOND, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-3000, 3000, (n_clips, n_samples), generator=generator, dtype=torch.int16)


def small(n_classes: int = 3, name: str = "two_branch", **changes: Any) -> Any:
    """A small network for clips of one second."""
    return create(name, "smoke", 3, seed=0, clip_length=SECOND, n_classes=n_classes, changes=changes)


# ---- Sizes -----------------------------------------------------------------------------------------------------------

# kernel x inputs x outputs, and the three squeeze-excitations, 128 -> 8 -> 128
CONVOLUTIONS_OF_SPECTRUM = 256 * 1 * 128 + 64 * 128 * 128 + 16 * 128 * 128 + 3 * 2 * 128 * 8
BEHIND = 5 * 128 * 128  # linear layers behind the first
RESIDUAL = (
    49 * 16
    + 4 * 9 * 16 * 16 + 2 * 2 * 16 * 1  # two blocks of two convolutions, a squeeze-excitation each
    + 9 * 16 * 32 + 3 * 9 * 32 * 32 + 16 * 32 + 2 * 2 * 32 * 2  # and a projection
    + 9 * 32 * 64 + 3 * 9 * 64 * 64 + 32 * 64 + 2 * 2 * 64 * 4
    + 9 * 64 * 128 + 3 * 9 * 128 * 128 + 64 * 128 + 2 * 2 * 128 * 8
)  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "left"),
    [(6, 6), (10, 10), (12, 12), (16, 16), (18, 18)],  # 80,001 bins: 1,251, 40, 10 after strides of 64, 32 and 4
)
def test_parameters_of_the_branch_of_the_spectrum(seconds: int, left: int) -> None:
    model: Any = create("two_branch", "paper", 15, 0, clip_length=seconds * SECOND)
    expected = CONVOLUTIONS_OF_SPECTRUM + left * 128 * 128 + BEHIND
    assert sum(p.numel() for p in model.spectrum.parameters()) == expected
    assert expected == 1_595_392 or seconds != 10


# bins from 200 Hz on: 4 to 128, 13 to 512, 52 to 2,048; five strides of 2 leave so many
LEFT = {256: (125, 4), 1024: (500, 16), 4096: (1997, 63)}


@pytest.mark.parametrize(
    ("name", "n_ffts"), [("two_branch", (1024,)), ("two_branch_multiresolution", (256, 1024, 4096))]
)
@pytest.mark.parametrize("n_classes", [15, 100])
def test_parameters_of_whole_networks(name: str, n_ffts: tuple[int, ...], n_classes: int) -> None:
    model: Any = create(name, "paper", 15, 0, n_classes=n_classes)
    of_branches = {n_fft: RESIDUAL + LEFT[n_fft][1] * 128 * 128 for n_fft in n_ffts}
    for branch, n_fft in zip(model.spectrograms, n_ffts, strict=True):
        assert sum(p.numel() for p in branch.parameters()) == of_branches[n_fft]
        assert branch.norm.num_features == LEFT[n_fft][0]
    centres = 16 * n_classes * 128 * (1 + len(n_ffts))
    assert model.n_trainable() == 1_595_392 + sum(of_branches.values()) + centres
    totals = {"two_branch": 2_561_104 + 4_096 * n_classes, MODELS[1]: 5_065_968 + 8_192 * n_classes}
    assert model.n_trainable() == totals[name], "as the documents say"


def test_layers_have_no_biases_and_norms_nothing_to_learn() -> None:
    model = create("two_branch_multiresolution", "paper", 3, 0)
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)]
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert len(layers) > 60 and all(layer.bias is None for layer in layers)
    assert len(norms) > 50 and not any(norm.affine for norm in norms)
    first = model.spectrum.layers[1]  # type: ignore[union-attr,index]
    bound = math.sqrt(6 / (256 * (1 + 128)))  # Glorot-uniform
    assert 0.99 * bound < first.weight.abs().max() <= bound
    assert {type(model.optimizer()).__name__, model.optimizer().param_groups[0]["lr"]} == {"AdamW", 1e-3}


def test_the_recipe() -> None:
    for name in MODELS:
        paper: Any = model_class(name).profiles["paper"]
        assert (paper.epochs, paper.batch_size, paper.learning_rate) == (16, 64, 1e-3)
        assert (paper.n_centres, paper.mixup, paper.filters, paper.channels) == (16, 0.5, 128, 16)
        assert paper.most_batches is None and paper.bank == "machine_type" and model_class(name).scope == "all"


# ---- Inputs ----------------------------------------------------------------------------------------------------------


def test_magnitudes_are_numpys() -> None:
    waves = audio(2) / 32768
    found = magnitudes(waves).numpy()
    assert found.shape == (2, 8001)
    np.testing.assert_allclose(found, np.abs(np.fft.rfft(waves.double().numpy())), atol=1e-4)


@pytest.mark.parametrize(("n_fft", "first", "n_frames"), [(256, 4, 124), (1024, 13, 30), (4096, 52, 6)])
def test_spectrograms_are_numpys(n_fft: int, first: int, n_frames: int) -> None:
    waves = audio(1) / 32768
    branch = SpectrogramBranch(n_fft, small().settings)
    found = branch.spectrogram(waves)[0].numpy()
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    starts = range(0, SECOND - n_fft + 1, n_fft // 2)
    frames = [waves[0, start : start + n_fft].double().numpy() * window for start in starts]
    expected = np.abs(np.fft.rfft(frames)).T
    assert np.fft.rfftfreq(n_fft, 1 / 16_000)[first - 1] < 200 <= np.fft.rfftfreq(n_fft, 1 / 16_000)[first]
    assert found.shape == (n_fft // 2 + 1 - first, n_frames)
    np.testing.assert_allclose(found, expected[first:], atol=1e-4)


@pytest.mark.parametrize(("name", "least"), [(MODELS[0], 1024), (MODELS[1], 4096)])
def test_the_shortest_clip(name: str, least: int) -> None:
    cls = model_class(name)
    assert cls.min_length(cls.profiles["paper"]) == least
    model = create(name, "smoke", 3, 0, clip_length=least)
    known = Labels.of([0, 1], [False] * 2, training=False)
    assert model.embed(audio(2, least), known).isfinite().all()
    with pytest.raises(RuntimeError):
        create(name, "smoke", 3, 0, clip_length=least - 1).embed(audio(2, least - 1), known)


def test_other_lengths_are_refused() -> None:
    known = Labels.of([0], [False], training=False)
    with pytest.raises(DataError, match=r"takes clips of 16,000 samples \(1 s at 16 kHz\).*\(1, 16001\)"):
        small().embed(audio(1, SECOND + 1), known)


def test_one_class_cannot_be_told_apart() -> None:
    with pytest.raises(UsageError, match="two of them or more, found 1"):
        create("two_branch", "smoke", 1, 0)


# ---- Loss by hand ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 41, 342])
def test_the_scale_is_fixed(n_classes: int) -> None:
    assert fixed_scale(n_classes, 16) == pytest.approx(2**0.5 * np.log(16 * n_classes - 1), rel=1e-12)


def by_numpy(cosine: np.ndarray, scale: float) -> np.ndarray:
    """Probabilities of classes: a softmax over all centres, written out."""
    found = np.zeros(cosine.shape[:2])
    for clip, of_clip in enumerate(cosine):
        total = sum(math.exp(scale * value) for value in of_clip.flatten())
        for number, of_class in enumerate(of_clip):
            found[clip, number] = sum(math.exp(scale * value) for value in of_class) / total
    return found


def test_sub_cluster_adacos() -> None:
    cosine = np.random.default_rng(0).uniform(-1, 1, (4, 5, 16))
    found = log_probabilities(torch.from_numpy(cosine), fixed_scale(5, 16)).exp().numpy()
    np.testing.assert_allclose(found, by_numpy(cosine, 2**0.5 * math.log(79)), rtol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_cosines_are_of_embeddings_and_all_centres() -> None:
    model = small().eval()
    clips, known = audio(2), Labels.of([0, 1], [False] * 2, training=True)
    z, centres = model.embed(clips, known).numpy(), model.centres.detach().double().numpy()
    found = model.cosines(clips / 32768).detach().numpy()
    assert found.shape == (2, 3, 16)
    for clip, of_class, centre in ((0, 0, 0), (1, 2, 15)):
        a, b = z[clip], centres[of_class, centre]
        assert found[clip, of_class, centre] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)
    assert not np.array_equal(centres[0, 0], centres[0, 1]) and model.centres.requires_grad, "centres are learnt"


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_loss_of_clips_that_are_mixed(monkeypatch: pytest.MonkeyPatch, probability: float) -> None:
    """Waves and classes in the same shares, each clip with its own lambda, half of them not mixed at all."""
    model, n = small(4, mixup=probability), 64
    rng = np.random.default_rng(1)
    cosine, heard = rng.uniform(-1, 1, (n, 4, 16)), []

    def cosines(waves: Tensor) -> Tensor:
        heard.append(waves)
        return torch.from_numpy(cosine)

    monkeypatch.setattr(model, "cosines", cosines)
    clips, classes = audio(n, 200), rng.integers(4, size=n)
    model.clip_length = 200
    known = Labels.of([0] * n, [False] * n, True, training_class=classes.tolist())
    torch.manual_seed(3)
    other, is_mixed = torch.randperm(n), torch.rand(n) < probability
    share = torch.where(is_mixed, torch.rand(n), 1.0).double().numpy()
    torch.manual_seed(3)
    loss = float(model.loss(clips, known))
    waves = clips.double().numpy() / 32768
    mixed = share[:, None] * waves + (1 - share[:, None]) * waves[other]
    np.testing.assert_allclose(heard[0].numpy(), mixed, atol=1e-6)
    p, rows = by_numpy(cosine, 2**0.5 * math.log(63)), np.arange(n)
    expected = -(share * np.log(p[rows, classes]) + (1 - share) * np.log(p[rows, classes[other]]))
    assert loss == pytest.approx(expected.mean(), rel=1e-6)
    assert abs((share < 1).mean() - probability) < 0.15
    if probability:
        assert share[share < 1].std() == pytest.approx(12**-0.5, abs=0.08), "uniform in [0, 1]"


# ---- Classes ---------------------------------------------------------------------------------------------------------


def test_a_class_for_each_section_attribute_and_domain(tmp_path: Path) -> None:
    """In the small store source clips have W or X, target clips Y, in each of three sections."""
    store = make_store(tmp_path)
    training = ClipDataset(store, split="train", features="audio")
    known = training.labels()
    assert training.n_classes == 9
    attributes = [json.loads(text)["m-n"] for text in training.clips["attributes"]]
    meant = list(zip(training.clips["machine_type"], training.clips["section"], attributes, strict=True))
    assert len(set(zip(meant, known.training_class.tolist(), strict=True))) == len(set(meant)) == 9
    assert known.machine_type.tolist() == [0] * 18 + [1] * 9, "fan and valve"
    test = ClipDataset(store, split="test", features="audio")
    assert set(test.labels().training_class.tolist()) == {-1} and test.n_classes == 0
    one = ClipDataset(store, sections="valve/00", split="train", features="audio")
    assert one.n_classes == 3 and set(one.labels().machine_type.tolist()) == {0}


def test_domains_are_classes_of_their_own(tmp_path: Path) -> None:
    """Also where attributes are the same, and where there are none."""
    store = make_store(tmp_path)
    store.clips["attributes"] = "{}"
    assert ClipDataset(store, split="train", features="audio").n_classes == 6


def test_without_domains_and_attributes_sections_are_classes(tmp_path: Path) -> None:
    store = make_plain_store(tmp_path, {"fan/id_00": 0.2, "fan/id_02": 0.2, "pump/id_00": 0.2})
    training = ClipDataset(store, split="train", features="audio")
    known = training.labels()
    assert training.n_classes == 3 and torch.equal(known.training_class, known.section)


def test_outliers_and_known_anomalies_are_of_no_class(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    known_anomalies = store.clips[(store.clips["condition"] == "anomaly") & (store.clips["section"] == "01")]
    pool = ClipDataset.training_pool(store, sections="fan/01", outliers=True, known_anomalies=known_anomalies)
    known = pool.labels()
    assert torch.equal(known.training_class >= 0, known.is_normal) and not known.is_normal.all()
    assert pool.n_classes == 3


# ---- Score by hand ---------------------------------------------------------------------------------------------------


def density_scaled(test: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """The smallest distance, each divided by the mean distance of the training clip to 4 others."""
    unit = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (test, bank)]
    among = np.sort(1 - unit[1] @ unit[1].T, axis=1)[:, 1:5].mean(axis=1)
    found: np.ndarray = ((1 - unit[0] @ unit[1].T) / among).min(axis=1)
    return found


@pytest.mark.parametrize("bank", ["machine_type", "section"])
def test_score_is_density_scaled_within_the_bank(monkeypatch: pytest.MonkeyPatch, bank: str) -> None:
    """Sections 0 and 1 are of one type, and find their neighbours in each other or not; section 2 is of another."""
    rng, n = np.random.default_rng(0), 60
    z = rng.normal(size=(n + 6, 8)) + 1
    model = small(bank=bank)
    monkeypatch.setattr(model, "_embed_clips", lambda features, labels: torch.from_numpy(z[features.long()[:, 0]]))
    section, is_target = np.arange(n) % 3, np.arange(n) % 5 == 0
    types = np.where(section == 2, 1, 0)
    known = Labels.of(section.tolist(), is_target.tolist(), True, machine_type=types.tolist())
    numbers = torch.arange(n + 6)[:, None]
    model.fit_after([(numbers[:25], known.take(slice(0, 25))), (numbers[25:n], known.take(slice(25, n)))])
    test = Labels.of([0, 1, 2] * 2, [False] * 6, training=False)  # of which type they are, the network knows
    found = model.score(numbers[n:], test).numpy()
    for number in range(6):
        own = types == (number % 3 == 2) if bank == "machine_type" else section == number % 3
        expected = density_scaled(z[n + number : n + number + 1], z[:n][own])
        assert found[number] == pytest.approx(expected[0], rel=1e-9)
    of_training = model.score(numbers[:n], known).numpy()
    as_test = Labels.of(section.tolist(), is_target.tolist(), training=False)
    assert (model.score(numbers[:n], as_test).numpy() < 1e-9).all(), "they find themselves"
    assert (of_training > 0.05).all(), "scored by fits that have not seen them"
    assert np.array_equal(model.score(numbers[10:20], known.take(slice(10, 20))).numpy(), of_training[10:20])


def test_no_score_before_it_is_fitted() -> None:
    with pytest.raises(DataError, match="no score before fit_after"):
        small().score(audio(1), Labels.of([0], [False], training=False))


# ---- Training --------------------------------------------------------------------------------------------------------


def test_the_learning_rate_falls_where_it_is_set_to() -> None:
    assert TwoBranch.profiles["paper"].last_learning_rate == 1
    constant, falling = (small(last_learning_rate=last) for last in (1.0, 0.01))
    assert {constant.learning_rate_factor(Epoch(number, 8)) for number in range(8)} == {1.0}
    factors = [falling.learning_rate_factor(Epoch(number, 8)) for number in range(8)]
    assert factors[0] == 1 and factors == sorted(factors, reverse=True) and factors[7] < 0.06


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_store(tmp_path_factory.mktemp("root"), n_samples=2048)


def test_training_is_decided_by_the_seed(store: Any, tmp_path: Path) -> None:
    """Twice the same bits, another seed's are others; a network for as many classes as its training clips have."""
    weights = []
    for place, seed in (("first", 0), ("again", 0), ("other", 1)):
        run = plan_runs(store, tmp_path / place, ["two_branch"], "smoke", 2)[seed]
        (network,) = run.networks()
        train_and_score(run, network, "cpu")
        weights.append(torch.load(run.directory / f"weights_{network.name}.pt", weights_only=True))
    first, again, other = weights
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["centres"], other["centres"])
    assert first["centres"].shape[:2] == (9, 16) and len(first["reference"]) == 27
    assert first["section_bank"].tolist() == [0, 1, 2]


def test_trained_weights_say_how_many_classes_there_are() -> None:
    trained, other = small(9), small()
    chunks = [(audio(9), Labels.of([0, 1, 2] * 3, [False] * 9, training=True))]
    trained.fit_after(chunks)
    other.load_state_dict(trained.state_dict())
    test = audio(2, seed=1), Labels.of([0, 2], [False] * 2, training=False)
    assert torch.equal(other.score(*test), trained.score(*test))
    assert other.centres.shape == (9, 16, 256) and isinstance(other.centres, nn.Parameter)


def test_it_learns_its_classes_and_scores_the_wrong_one_high() -> None:
    """Machines that whine at pitches of their own, each clip at another level."""
    rng, time_s = np.random.default_rng(0), np.arange(SECOND) / SECOND

    def whines(tones_hz: list[int]) -> Tensor:
        waves = [np.sin(2 * np.pi * hz * time_s) * rng.uniform(500, 2000) for hz in tones_hz]
        return torch.from_numpy((np.stack(waves) + rng.normal(0, 100, (len(waves), SECOND))).astype(np.int16))

    tones_hz, sections = [600, 1200, 2400], [0, 1, 2]
    training = whines(tones_hz * 8)
    known = Labels.of(sections * 8, [False] * 24, training=True, machine_type=sections * 8)
    model = small(learning_rate=3e-3, mixup=0.0)
    optimizer, losses = model.optimizer(), []
    torch.manual_seed(0)
    for _ in range(20):
        loss = model.loss(training, known)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    model.fit_after([(training, known)])
    test = Labels.of(sections, [False] * 3, training=False)
    right, wrong = model.score(whines(tones_hz), test), model.score(whines([*tones_hz[1:], tones_hz[0]]), test)
    assert wrong.min() > 2 * right.max()
