"""The multitask conformer: exact size, stages and batches, losses and scores by hand, augmentations one by one."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.features import hz_from_mel, logmel, mel_from_hz
from mimiidg_build.models import create
from mimiidg_build.models.base import MAIN, Epoch, Labels, ScoreTable
from mimiidg_build.models.conformer import SCORES, Conformer, ConformerSettings, augmentations
from mimiidg_build.models.conformer.augmentations import KINDS, augment
from mimiidg_build.models.conformer.combinations import oracle_scores, selected_sum
from mimiidg_build.models.conformer.model import mean_and_whitener
from mimiidg_build.models.conformer.network import AttentivePooling, Block
from mimiidg_build.models.conformer.settings import in_second_stage
from mimiidg_build.training import train
from mimiidg_build.training.clip_dataset import ClipDataset
from tests.small_store import make_store

pytestmark = pytest.mark.usefixtures("one_thread")

FIRST, SECOND = Epoch(0, 3), Epoch(2, 3)
SECTIONS = ("fan/00", "fan/01", "valve/00", "valve/01")


def small(n_sections: int = 3, **changes: Any) -> Conformer:
    return Conformer(replace(Conformer.profiles["smoke"], **changes), n_sections, 0)


def clips(n: int, n_frames: int = 60, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, n_frames, 128, generator=generator) * 3 - torch.linspace(20, 60, 128)


def pool(*per_section: int, others: int = 0) -> Labels:
    """Labels of training clips of sections 0, 1, ..., and of other machine types."""
    section = [number for number, n in enumerate(per_section) for _ in range(n)] + [-1] * others
    origin = [len(per_section) if number < 0 else number for number in section]
    return Labels.of(section, [False] * len(section), training=True, origin=origin)


# ---- Network ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_sections", [3, 4, 6])
def test_parameter_counts_are_exact(n_sections: int) -> None:
    model = create("conformer", "paper", n_sections, seed=0)
    encoder = sum(weight.numel() for weight in model.encoder.parameters())
    assert encoder == 1_854_912, "the encoder alone"
    assert model.n_trainable() == encoder + 64 * n_sections + 65 + 8 * 65


def test_the_parts_have_their_sizes() -> None:
    encoder = create("conformer", "paper", 3, seed=0).encoder
    sizes = {name: sum(weight.numel() for weight in part.parameters()) for name, part in encoder.named_children()}
    assert sizes == {
        "front": 148_864,
        "linear": 508_032,
        "blocks": 1_147_776,
        "pooling": 33_280,
        "norm": 512,
        "embedding": 16_448,
    }


def test_313_frames_become_77() -> None:
    model = create("conformer", "paper", 3, seed=0).eval()
    with torch.no_grad():
        assert model.encoder.front(torch.zeros(1, 1, 313, 128)).shape == (1, 128, 77, 31)
        assert model.encoder.frames(torch.zeros(1, 313, 128)).shape == (1, 77, 128)
        assert model(torch.zeros(1, 313, 128)).shape == (1, 64)


def test_a_block_adds_its_parts_in_the_published_order() -> None:
    block = Block(128, 4, 512, 15).eval()
    kinds = [type(module) for module in block.convolution.modules()][1:]
    assert kinds == [nn.LayerNorm, nn.Linear, nn.Conv1d, nn.BatchNorm1d, nn.Linear]
    assert (block.convolution.depthwise.kernel_size, block.convolution.depthwise.groups) == ((15,), 128)
    x = torch.randn(2, 20, 128, generator=torch.Generator().manual_seed(0))
    y = x + 0.5 * block.first(x)
    y = y + block.attention(y)
    y = y + block.convolution(y)
    y = y + 0.5 * block.second(y)
    torch.testing.assert_close(block(x), F.layer_norm(y, (128,)))


def test_attention_is_pytorchs() -> None:
    ours = Block(128, 4, 512, 15).attention
    theirs = nn.MultiheadAttention(128, 4, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.queries_keys_values.weight)
        theirs.in_proj_bias.copy_(ours.queries_keys_values.bias)
        theirs.out_proj.weight.copy_(ours.out.weight)
        theirs.out_proj.bias.copy_(ours.out.bias)
    x = torch.randn(2, 20, 128, generator=torch.Generator().manual_seed(0))
    normed = F.layer_norm(x, (128,))
    expected, _ = theirs(normed, normed, normed)
    torch.testing.assert_close(ours(x), expected)
    turned = torch.randperm(20)
    torch.testing.assert_close(ours(x[:, turned]), ours(x)[:, turned], msg="it knows no positions")


def test_pooling_by_hand() -> None:
    pooling = AttentivePooling(2)
    with torch.no_grad():
        pooling.weights.weight.zero_()  # equal weights, whatever the frames hold
    x = torch.tensor([[[1.0, 5.0], [3.0, 5.0], [5.0, 8.0]]])
    expected = torch.tensor([[3.0, 6.0, math.sqrt(8 / 3), math.sqrt(2)]])
    torch.testing.assert_close(pooling(x), expected)
    pooling.weights.register_forward_hook(lambda *_: torch.tensor([[[0.0, 0], [0, 0], [99, 99]]]))
    torch.testing.assert_close(pooling(x)[:, :2], x[:, 2], msg="all weight on the last frame")


def test_profiles() -> None:
    assert Conformer.profiles["paper"] == ConformerSettings(
        epochs=120, learning_rate=1e-3, batch_size=30, batch_norm_momentum=0.1, channels=128, n_blocks=3
    )
    paper = Conformer.profiles["paper"]
    assert (paper.kernel, paper.scale, paper.margin) == (15, 16.0, 1.28)
    assert {paper.section_weight, paper.binary_weight, paper.augmentation_weight} == {1.0}
    model = small(batch_norm_momentum=0.1)
    assert {module.momentum for module in model.modules() if isinstance(module, nn.BatchNorm1d)} == {0.1}


def test_it_needs_two_sections() -> None:
    with pytest.raises(UsageError, match="conformer learns .* two or more, found 1"):
        create("conformer", "paper", 1, seed=0)


# ---- Stages and batches ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("total", "first"), [(120, 80), (60, 40), (3, 2), (2, 1), (1, 0), (100, 66)])
def test_two_thirds_of_the_epochs_are_the_first_stage(total: int, first: int) -> None:
    assert [in_second_stage(Epoch(n, total)) for n in range(total)] == [False] * first + [True] * (total - first)


@pytest.mark.parametrize(
    ("sections", "batch_size", "first", "second", "why"),
    [
        (3, 30, (10, 10, 10), (5, 5, 5, 15), "the page's"),
        (4, 30, (7, 7, 7, 7), (3, 3, 3, 3, 12), "28 in the first stage, the paper's batch"),
        (4, 28, (7, 7, 7, 7), (3, 3, 3, 3, 12), "the paper's"),
        (6, 30, (5,) * 6, (2,) * 6 + (12,), "halves still hold as many of each section"),
        (2, 30, (15, 15), (7, 7, 14), ""),
        (4, 6, (1, 1, 1, 1), (1, 1, 1, 1, 4), "at least one of each"),
    ],
)
def test_batches_hold_as_many_of_each_section(
    sections: int, batch_size: int, first: tuple[int, ...], second: tuple[int, ...], why: str
) -> None:
    labels = pool(*[40] * sections, others=60)
    model = small(sections, batch_size=batch_size)
    for epoch, expected in ((FIRST, first), (SECOND, second)):
        drawn = model.batches(labels, epoch)
        for numbers in drawn:
            assert tuple(labels.origin[numbers].bincount().tolist()) == expected, why
        assert len(drawn) == math.ceil(40 / expected[0])


def test_an_epoch_goes_through_the_longest_section_and_short_ones_begin_again() -> None:
    labels = pool(40, 12, 40, others=17)
    for epoch, others in ((FIRST, 0), (SECOND, 120)):
        seen = Counter(torch.cat(list(small().batches(labels, epoch))).tolist())
        assert {seen[number] for number in range(40)} == {1}
        assert {seen[number] for number in range(40, 52)} == {3, 4} and sum(seen[n] for n in range(40, 52)) == 40
        assert sum(seen[number] for number in range(92, 109)) == others
    torch.manual_seed(0)
    one, two = (torch.cat(list(small().batches(labels, FIRST))) for _ in range(2))
    assert not torch.equal(one, two), "in another order each time"


def test_no_known_anomaly_is_taken_for_a_normal_clip() -> None:
    labels = pool(8, 8, 8, others=8)
    known = replace(labels, known_anomaly=torch.arange(32) == 3)
    assert all(3 not in numbers for epoch in (FIRST, SECOND) for numbers in small().batches(known, epoch))


def test_the_second_stage_needs_other_machine_types() -> None:
    small().batches(pool(4, 4, 4), FIRST)
    with pytest.raises(DataError, match="training clips of other machine types for its second stage; the store has no"):
        small().batches(pool(4, 4, 4), SECOND)


def test_the_binary_head_is_frozen_in_the_first_stage(tmp_path: Path) -> None:
    store = make_store(tmp_path, sections=SECTIONS)
    clips = ClipDataset.training_pool(store, machine_types="fan", outliers=True)
    model = small(2, batch_size=8)
    seen = [{key: value.clone() for key, value in model.state_dict().items()}]

    def on_epoch(_: Any) -> None:
        seen.append({key: value.clone() for key, value in model.state_dict().items()})

    train.train(model, clips, tmp_path, "fan", epochs=3, on_epoch=on_epoch)

    def same(before: int, after: int, key: str) -> bool:
        return torch.equal(seen[before][key], seen[after][key])

    for key in ("binary.weight", "binary.bias"):
        assert same(0, 1, key) and same(1, 2, key), "bit by bit through the first stage"
        assert not same(2, 3, key), "and trained in the second"
    for key in ("sections", "augmentation.weight", "encoder.embedding.weight"):
        assert not same(0, 1, key) and not same(2, 3, key)


def test_a_training_that_was_stopped_in_the_first_stage_ends_the_same(tmp_path: Path) -> None:
    store = make_store(tmp_path, sections=SECTIONS)
    clips = ClipDataset.training_pool(store, machine_types="fan", outliers=True)
    whole, stopped = small(2, batch_size=8), small(2, batch_size=8)
    train.train(whole, clips, tmp_path / "whole", "fan", epochs=3)

    class Stop(Exception):
        pass

    def stop(_: Any) -> None:
        raise Stop("after the first epoch")

    with pytest.raises(Stop, match="after the first epoch"):
        train.train(stopped, clips, tmp_path / "stopped", "fan", epochs=3, on_epoch=stop)
    again = small(2, batch_size=8)
    train.train(again, clips, tmp_path / "stopped", "fan", epochs=3)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]) or value.isnan().all(), key


# ---- Standardisation and loss ----------------------------------------------------------------------------------------


def test_log_mels_are_standardised_by_the_types_normal_clips() -> None:
    model, labels = small(2), pool(3, 3, others=4)
    logmels = clips(10)
    logmels[6:] += 30.0  # of other types: not counted
    model.begin_epoch(FIRST, [(logmels[:4], labels.take(slice(0, 4))), (logmels[4:], labels.take(slice(4, 10)))])
    rows = logmels[:6].flatten(0, 1)
    torch.testing.assert_close(model.level_mean, rows.mean(dim=0))
    torch.testing.assert_close(model.level_deviation, rows.std(dim=0, correction=0))
    given_to = []
    model.encoder.register_forward_pre_hook(lambda _, given: given_to.append(given[0]))
    model(logmels[:6])
    torch.testing.assert_close(given_to[0].mean(dim=(0, 1)), torch.zeros(128), rtol=0, atol=1e-4)
    model.begin_epoch(Epoch(1, 3), [(logmels + 9, labels)])
    torch.testing.assert_close(model.level_mean, rows.mean(dim=0), msg="once, before the first epoch")


def test_the_loss_is_the_sum_of_three_by_hand() -> None:
    model = small(2, section_weight=1.0, binary_weight=0.5, augmentation_weight=2.0)
    z = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    z[0] = 3 * model.sections[0].detach() + 0.1 * z[0]  # theta near 0
    z[1] = -2 * model.sections[1].detach() + 0.1 * z[1]  # theta near pi: beyond pi - m
    labels = Labels.of([0, 1, -1, -1], [False] * 4, training=True, origin=[0, 1, 2, 3])
    kinds = torch.tensor([0, 7, 3, 3])

    def by_hand(binary_weight: float) -> float:
        of_section, of_binary, of_kind = [], [], []
        with torch.no_grad():
            anchors = model.sections.double()
            for vector, section, kind in zip(z.double(), labels.section.tolist(), kinds.tolist(), strict=True):
                if section >= 0:
                    cosines = [float(vector @ anchor / vector.norm() / anchor.norm()) for anchor in anchors]
                    logits = [16 * cosine for cosine in cosines]
                    theta = math.acos(cosines[section])
                    beyond = theta > math.pi - 1.28
                    logits[section] = 16 * (
                        cosines[section] - 1.28 * math.sin(1.28) if beyond else math.cos(theta + 1.28)
                    )
                    of_section.append(math.log(sum(map(math.exp, logits))) - logits[section])
                logit = float(model.binary.weight.double()[0] @ vector + model.binary.bias.double())
                p = 1 / (1 + math.exp(-logit))
                of_binary.append(-math.log(p if section >= 0 else 1 - p))
                scores = (model.augmentation.weight.double() @ vector + model.augmentation.bias.double()).tolist()
                of_kind.append(math.log(sum(map(math.exp, scores))) - scores[kind])
        mean = np.mean
        return float(mean(of_section) + binary_weight * mean(of_binary) + 2.0 * mean(of_kind))

    for epoch, weight in ((SECOND, 0.5), (FIRST, 0.0)):
        model.begin_epoch(replace(epoch, number=max(1, epoch.number)), [])
        found = model._heads_loss(z, labels, kinds)
        assert found.item() == pytest.approx(by_hand(weight), rel=1e-5)


def test_other_types_take_no_part_in_the_sections_loss() -> None:
    model = small(2, augmentation_weight=0.0, binary_weight=0.0)
    model.begin_epoch(Epoch(1, 2), [])
    z = torch.randn(4, 64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = Labels.of([0, 1, -1, -1], [False] * 4, training=True, origin=[0, 1, 2, 3])
    model._heads_loss(z, labels, torch.zeros(4, dtype=torch.int64)).backward()
    assert z.grad is not None
    assert z.grad.abs().sum(dim=1).gt(0).tolist() == [True, True, False, False]


def test_the_label_is_the_augmentation_that_was_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(2)
    heard: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(model, "_heads_loss", lambda z, labels, kinds: heard.setdefault("kinds", kinds).sum())
    model.encoder.register_forward_pre_hook(lambda _, given: heard.update(given=given[0]))
    torch.manual_seed(5)
    model.loss(clips(40), pool(20, 20))
    torch.manual_seed(5)
    changed, kinds = augment(clips(40), torch.zeros(128))
    torch.testing.assert_close(heard["given"], changed)
    assert torch.equal(heard["kinds"], kinds) and kinds.unique().tolist() == list(range(8))


def test_mixed_precision_changes_the_encoder_alone() -> None:
    model, given, labels = small(2), clips(16, 20), pool(8, 8)
    heard: list[torch.Tensor] = []
    model.encoder.register_forward_pre_hook(lambda _, given: heard.append(given[0]))
    losses = []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = model.loss(given, labels)
        assert loss.dtype == torch.float32
        losses.append(loss.item())
    assert torch.equal(*heard), "noise and its filters stay in single precision"
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.05)


def test_it_learns_its_sections_its_type_and_the_augmentations() -> None:
    made, labels = clips(48), pool(12, 12, others=24)
    made[labels.section == 1, :, 60:80] += 10.0
    made[labels.section == -1, :, 20:40] += 10.0
    model, losses = small(2, batch_size=16), []
    torch.manual_seed(0)
    optimizer = model.optimizer()
    for number in range(12):
        model.begin_epoch(Epoch(number, 12), [(made, labels)])
        model.train()
        for numbers in model.batches(labels, Epoch(number, 12)):
            optimizer.zero_grad()
            loss = model.loss(made[numbers], labels.take(numbers))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    model.fit_after([(made[:24], labels.take(slice(0, 24)))])
    right = Labels.of([0, 1], [False] * 2, training=False)
    wrong = Labels.of([1, 0], [False] * 2, training=False)
    normal = made[[0, 12]]
    assert (model.scores(normal, wrong)["id"] > model.scores(normal, right)["id"] + 3).all()
    foreign = model.scores(made[24:26], right)
    assert (foreign["binary"] > model.scores(normal, right)["binary"] + 3).all()
    assert (foreign[MAIN] > model.scores(normal, right)[MAIN]).all()


# ---- Scores ----------------------------------------------------------------------------------------------------------


def test_mahalanobis_by_hand_with_fewer_clips_than_dimensions() -> None:
    z = torch.randn(20, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean, whitener = mean_and_whitener(z)
    covariance = np.cov(z.numpy(), rowvar=False)
    inverse = np.linalg.inv(covariance + 1e-3 * np.trace(covariance) / 64 * np.eye(64))
    torch.testing.assert_close(mean, z.mean(dim=0))
    np.testing.assert_allclose((whitener @ whitener.T).numpy(), inverse, rtol=1e-8, atol=1e-8)


def test_scores_by_hand() -> None:
    model = small(2)
    training, labels = clips(12), pool(6, 6)
    training[6:] += 5.0
    model.begin_epoch(FIRST, [(training, labels)])
    model.fit_after([(training[:5], labels.take(slice(0, 5))), (training[5:], labels.take(slice(5, 12)))])
    test, known = clips(3, seed=1), Labels.of([0, 1, 1], [False] * 3, training=False)
    found = model.scores(test, known)

    def raw(logmels: torch.Tensor, section: int) -> np.ndarray:
        """``SCORES`` of each clip [shape=(n, 3)]."""
        with torch.no_grad():
            z_training, z = (
                model.eval()(clips).double() for clips in (training[6 * section : 6 * section + 6], logmels)
            )
            p = (16 * F.normalize(z) @ F.normalize(model.sections.double()).T).softmax(dim=1)[:, section]
            q = torch.sigmoid(z @ model.binary.weight.double()[0] + model.binary.bias.double())
        covariance = np.cov(z_training.numpy(), rowvar=False)
        inverse = np.linalg.inv(covariance + 1e-3 * np.trace(covariance) / 64 * np.eye(64))
        away = (z - z_training.mean(dim=0)).numpy()
        distance = np.sqrt(np.einsum("ni,ij,nj->n", away, inverse, away))
        return np.stack([-np.log(p.numpy()), -np.log(q.numpy()), distance], axis=1)

    for clip, section, row in zip(test, known.section.tolist(), range(3), strict=True):
        of_training = raw(training[6 * section : 6 * section + 6], section)
        expected = (raw(clip[None], section)[0] - of_training.mean(axis=0)) / of_training.std(axis=0)
        assert [found[name][row].item() for name in SCORES] == pytest.approx(expected, rel=1e-4, abs=1e-4)
        assert found[MAIN][row].item() == pytest.approx(expected.sum(), rel=1e-4, abs=1e-4)
    of_training = model.scores(training, labels)
    for name in SCORES:
        for rows in (slice(0, 6), slice(6, 12)):
            assert of_training[name][rows].mean().item() == pytest.approx(0.0, abs=1e-4)
            assert of_training[name][rows].std(correction=0).item() == pytest.approx(1.0, rel=1e-3)


def test_no_score_before_it_is_fitted() -> None:
    with pytest.raises(ValueError, match="need fit_after first"):
        small().score(clips(1), pool(1))


@pytest.mark.parametrize(
    ("training", "labels", "match"),
    [
        (clips(4), pool(3, 1), "1 training clips of a section cannot give a covariance"),
        (clips(1).expand(4, -1, -1), pool(2, 2), "training clips of a section all have the same embedding"),
    ],
)
def test_a_section_needs_clips_that_differ(training: torch.Tensor, labels: Labels, match: str) -> None:
    with pytest.raises(DataError, match=match):
        small(2).fit_after([(training, labels)])


def test_oracle_is_the_best_sum_over_the_types_sections() -> None:
    test = pd.DataFrame(
        {"section": ["00"] * 4 + ["01"] * 4, "condition": ["normal", "normal", "anomaly", "anomaly"] * 2},
        index=range(10, 18),
    )
    of_test = {
        "id": np.array([0.0, 3, 2, 4, 0, 3, 2, 4]),  # mean AUC 0.75
        "binary": np.array([3.0, 0, 4, 2, 3, 0, 4, 2]),  # 0.75; with id 1.0
        "mahalanobis": np.array([9.0, 9, 0, 0, 9, 9, 0, 0]),  # 0
    }
    of_training = {name: np.array([1.0 + number]) for number, name in enumerate(SCORES)}
    tables = ScoreTable(test.iloc[:1], of_training), ScoreTable(test, of_test)
    training, found = small().derived_scores(*tables)
    assert list(training) == list(found) == ["selected", "oracle"]
    np.testing.assert_array_equal(found["oracle"], of_test["id"] + of_test["binary"])
    np.testing.assert_array_equal(training["oracle"], [3.0])
    alone = of_test | {"binary": np.zeros(8)}
    _, found = small().derived_scores(tables[0], ScoreTable(test, alone))
    np.testing.assert_array_equal(found["oracle"], of_test["id"])


def test_the_selected_sum_is_best_on_training_clips() -> None:
    """Clips of the other section, scored as if they were of this one, are what the sum has to tell apart."""
    section = torch.tensor([0, 0, 1, 1])
    as_0 = np.array([[0.0, 3, 9], [3, 0, 9], [2, 4, 0], [4, 2, 0]])  # AUCs 0.75, 0.75, 0; of the first two's sum 1
    as_1 = as_0[[2, 3, 0, 1]]
    assert selected_sum([as_0, as_1], section) == (0, 1)
    assert selected_sum([as_0 * [1, 0, 1], as_1 * [1, 0, 1]], section) == (0,), "of equals, the shortest"
    assert selected_sum([as_0 * [1, 1, -1], as_1 * [1, 1, -1]], section) == (2,)


@torch.no_grad()
def test_selected_is_fitted_to_training_clips_alone() -> None:
    """The same sum whatever the test set, its labels included; what the three scores add up to."""
    model, training = small(2), clips(6)
    model.fit_after([(training, pool(3, 3))])
    of_training = {name: np.arange(6.0) * 10**number for number, name in enumerate(SCORES)}
    of_test = {name: np.array([1.0, 2.0]) * 10**number for number, name in enumerate(SCORES)}
    table = pd.DataFrame({"section": ["00", "00"], "condition": ["normal", "anomaly"]})
    swapped = table.assign(condition=["anomaly", "normal"])
    found = [
        model.derived_scores(ScoreTable(table, of_training), ScoreTable(clips_table, of_test))[1]["selected"]
        for clips_table in (table, swapped)
    ]
    np.testing.assert_array_equal(*found)
    sections = torch.tensor([0, 0, 0, 1, 1, 1])
    raw = model._raw_scores(model._embeddings(training), sections)
    for number in range(2):  # standardised with each section's own training clips
        as_section = model._as_section(model._embeddings(training), number)
        own = (raw[sections == number] - model.score_mean[number]) / model.score_deviation[number]
        np.testing.assert_allclose(as_section[sections == number], own.numpy(), rtol=1e-6)
    chosen = selected_sum([model._as_section(model._embeddings(training), number) for number in range(2)], sections)
    np.testing.assert_array_equal(found[0], sum(of_test[SCORES[number]] for number in chosen))


def test_a_whole_run_reports_every_score_and_oracle_is_never_the_models_own(tmp_path: Path) -> None:
    store = make_store(tmp_path, sections=SECTIONS)
    found = benchmark_models(store, tmp_path, ["conformer"], profile="smoke", device="cpu", workers=1)
    assert [result.score for result in found.models] == ["", *SCORES, "selected", "oracle"]
    run = found.models[0].runs[0]
    assert [summary.n_outlier_clips for summary in run.summaries] == [18, 18]

    def read(name: str) -> np.ndarray:
        path = next((run.directory / name).glob("anomaly_score_fan_section_00*"))
        return pd.read_csv(path, header=None)[1].to_numpy()

    np.testing.assert_allclose(read(""), sum(read(name) for name in SCORES), rtol=1e-6)


# ---- Augmentations ---------------------------------------------------------------------------------------------------


def test_there_are_eight_kinds_and_none_is_one() -> None:
    assert len(KINDS) == len(set(KINDS)) == 8 and KINDS[0] == "none"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_each_clip_is_changed_as_its_number_says(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    given, fill = clips(400, 100).to(dtype), torch.full((128,), 7.0)
    before = given.clone()
    changed, kinds = augment(given, fill)
    assert torch.equal(given, before) and changed.dtype == torch.float32 and changed.isfinite().all()
    shares = kinds.bincount(minlength=8) / 400
    assert (shares - 1 / 8).abs().max() < 0.06, "as often as each other"
    before = given.float()
    for kind, clip, original in zip(kinds.tolist(), changed, before, strict=True):
        filled = clip == 7.0
        n_frames, n_mels = int(filled.all(dim=1).sum()), int(filled.all(dim=0).sum())
        assert (n_frames, n_mels) == {"time_mask": (40, 0), "frequency_mask": (0, 16)}.get(KINDS[kind], (0, 0))
        assert torch.equal(clip, original) == (KINDS[kind] == "none")
        if KINDS[kind] == "time_shift":
            assert torch.equal(clip.sort(dim=0).values, original.sort(dim=0).values)
        if KINDS[kind] == "white_noise":
            assert (clip >= original - 1e-4).all()
        if KINDS[kind] == "fade":
            assert (clip <= original).all()


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no augmentation is named 'reverb'; expected one of pitch_shift, time_shift"):
        augmentations.apply("reverb", clips(1), torch.zeros(128))


CENTRES_MEL = np.linspace(0, float(mel_from_hz(8000)), 130)[1:-1]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=3))
def test_pitch_shift_is_interpolation_on_the_mel_scale(semitones: list[float]) -> None:
    given = clips(len(semitones), 5)
    found = augmentations.pitch_shift(given, torch.tensor(semitones))
    for clip, shift, shifted in zip(given.numpy(), semitones, found.numpy(), strict=True):
        wanted = mel_from_hz(hz_from_mel(CENTRES_MEL) / 2 ** (shift / 12))
        expected = [np.interp(wanted, CENTRES_MEL, frame) for frame in clip]
        np.testing.assert_allclose(shifted, expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("semitones", [-3.0, -1.0, 2.0, 3.0])
def test_pitch_shift_moves_a_tone_where_it_would_sound(semitones: float) -> None:
    seconds = np.arange(32_000) / 16_000

    def tone(hz: float) -> torch.Tensor:
        return torch.from_numpy(logmel(np.rint(8000 * np.sin(2 * np.pi * hz * seconds)).astype(np.int16)))

    for hz in (500.0, 3000.0):
        found = augmentations.pitch_shift(tone(hz)[None], torch.tensor([semitones]))[0, 20]
        assert abs(int(found.argmax()) - int(tone(hz * 2 ** (semitones / 12))[20].argmax())) <= 1


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-30, 30), min_size=1, max_size=3))
def test_time_shift_is_a_roll(frames: list[int]) -> None:
    given = clips(len(frames))
    found = augmentations.time_shift(given, torch.tensor(frames))
    for clip, shift, shifted in zip(given.numpy(), frames, found.numpy(), strict=True):
        np.testing.assert_array_equal(shifted, np.roll(clip, shift, axis=0))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.8, 1.25), min_size=1, max_size=3))
def test_time_stretch_is_interpolation_and_goes_round(rates: list[float]) -> None:
    given = clips(len(rates))
    found = augmentations.time_stretch(given, torch.tensor(rates))
    assert found.shape == given.shape
    for clip, rate, stretched in zip(given.numpy(), rates, found.numpy(), strict=True):
        twice = np.concatenate([clip, clip])
        expected = np.stack([np.interp(np.arange(60) * rate, np.arange(120), band) for band in twice.T], axis=1)
        np.testing.assert_allclose(stretched, expected, rtol=0, atol=1e-2)


def test_fade_by_hand() -> None:
    given = clips(2, 100)
    window = np.hanning(1025)[:-1] ** 2
    std = math.sqrt(window @ (np.arange(1024) - 512) ** 2 / window.sum())  # of a frame's samples, in samples
    found = augmentations.fade(given, torch.tensor([1.0, 0.5]), torch.tensor([False, True]))
    for clip, seconds, is_out, faded in zip(given.numpy(), (1.0, 0.5), (False, True), found.numpy(), strict=True):
        gains = [math.hypot(frame * 512, std) / 16_000 / seconds for frame in range(100)]
        gain_db = [20 * math.log10(min(1.0, gain)) for gain in gains]
        expected = clip + np.array(gain_db[::-1] if is_out else gain_db)[:, None]
        np.testing.assert_allclose(faded, expected, rtol=0, atol=1e-4)
    assert (found[0, 32:] == given[0, 32:]).all() and (found[1, :84] == given[1, :84]).all()
    silence = torch.full((1, 100, 128), -156.0)
    assert augmentations.fade(silence, torch.tensor([1.0]), torch.tensor([False])).min() >= -156.54


def test_fade_is_that_of_the_samples() -> None:
    samples = np.random.default_rng(0).normal(0, 3000, 64_000)
    ramp = np.minimum(1.0, np.arange(64_000) / 32_000)
    given, expected = (torch.from_numpy(logmel(np.rint(wave).astype(np.int16))) for wave in (samples, ramp * samples))
    found = augmentations.fade(given[None], torch.tensor([2.0]), torch.tensor([False]))[0]
    difference = (found - expected).mean(dim=1)
    assert difference.abs().max() < 0.6


@pytest.mark.parametrize("snr_db", [5.0, 20.0])
def test_white_noise_is_that_of_the_samples(snr_db: float) -> None:
    rng = np.random.default_rng(0)
    seconds = np.arange(160_000) / 16_000
    samples = 3000 * np.sin(2 * np.pi * 700 * seconds) + 1000 * np.sin(2 * np.pi * 3000 * seconds)
    noise = rng.normal(0, np.sqrt(np.mean(samples**2) / 10 ** (snr_db / 10)), samples.shape)
    clean, mixed = (torch.from_numpy(logmel(np.rint(wave).astype(np.int16))) for wave in (samples, samples + noise))
    torch.manual_seed(0)
    found = augmentations.white_noise(clean[None], torch.tensor([snr_db]))[0]
    quiet = clean[20:-20].mean(dim=0) < found[20:-20].mean(dim=0) - 20  # bands that hold noise alone
    assert quiet.sum() > 60
    level = (found - mixed)[20:-20, quiet].mean(dim=0)
    assert level.abs().max() < 1.5 and abs(level.mean()) < 0.2, "as loud in every band"
    scatter = found[20:-20, quiet].std(dim=0) / mixed[20:-20, quiet].std(dim=0)
    assert scatter.min() > 0.8 and scatter.max() < 1.25, "and as unsteady"


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(5, 20), min_size=1, max_size=3))
def test_white_noise_has_its_snr(snr_db: list[float]) -> None:
    given = clips(len(snr_db)) + torch.randn(len(snr_db), 1, 1) * 10
    found = augmentations.white_noise(given, torch.tensor(snr_db))
    edges_hz = hz_from_mel(np.linspace(0, float(mel_from_hz(8000)), 130))
    widths = (edges_hz[2:] - edges_hz[:-2]) / 2
    clean, noisy = (10 ** (logmels.double().numpy() / 10) for logmels in (given, found))
    measured = 10 * np.log10((clean @ widths).sum(axis=1) / ((noisy - clean) @ widths).sum(axis=1))
    np.testing.assert_allclose(measured, snr_db, rtol=0, atol=0.05)


def test_masks_by_hand() -> None:
    given, fill = clips(2), torch.arange(128.0)
    expected = given.clone()
    expected[0, 0:40], expected[1, 20:60] = fill, fill
    assert torch.equal(augmentations.time_mask(given, torch.tensor([0, 20]), 40, fill), expected)
    expected = given.clone()
    expected[0, :, 3:19], expected[1, :, 112:] = fill[3:19], fill[112:]
    assert torch.equal(augmentations.frequency_mask(given, torch.tensor([3, 112]), 16, fill), expected)


def test_oracle_goes_by_clips_whose_condition_is_known() -> None:
    """Sections that lack one of the two have no say; without any truth all sums are alike, and the first is taken."""
    clips = pd.DataFrame({"section": ["00"] * 5 + ["01"] * 2, "condition": ["normal"] * 2 + ["anomaly"] * 2 + [""] * 3})
    scores = {"a": np.array([3.0, 2, 1, 0, 9, 9, 9]), "b": np.array([0.0, 1, 2, 3, 0, 0, 0])}
    table = ScoreTable(clips, scores)
    assert oracle_scores(["a", "b"], table, table)[1].tolist() == scores["b"].tolist()
    hidden = ScoreTable(clips.assign(condition=""), scores)
    assert oracle_scores(["a", "b"], hidden, hidden)[1].tolist() == scores["a"].tolist()
