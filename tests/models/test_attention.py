"""The attention family: exact sizes, features against librosa, ArcFace and Noisy-ArcMix by hand, and that it learns."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import librosa
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.models import ABLATIONS, MODELS, PROFILES, create, model_class
from mimiidg_build.models.arcface import arcface, cross_entropy
from mimiidg_build.models.attention import Attention, AttentionSettings
from mimiidg_build.models.attention.inputs import LogMel, Wavegram, mel_filters
from mimiidg_build.models.attention.layers import Filters, Pointwise, PReLU
from mimiidg_build.models.attention.model import waves_of
from mimiidg_build.models.base import Epoch, Labels

pytestmark = pytest.mark.usefixtures("one_thread")
N_SAMPLES = 160_000


def audio(n_clips: int, seed: int = 0) -> Tensor:
    """Noise of 10 s."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-3000, 3000, (n_clips, N_SAMPLES), generator=generator, dtype=torch.int16)


def labels(sections: list[int], training: bool = True) -> Labels:
    return Labels.of(sections, [False] * len(sections), training)


# ---- Sizes and settings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [15, 41])
def test_parameters_of_the_paper(n_classes: int) -> None:
    model = create("attention", "paper", n_classes, 0)
    assert model.n_trainable() == 873_839 + 128 * n_classes
    assert sum(p.numel() for p in model.wavegram.parameters()) == 1_539
    assert sum(p.numel() for p in model.attention.parameters()) == 1_964


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("attention", 884_376),  # the paper's 884k
        ("attention_no_attention", 882_412),  # 882k
        ("attention_plain", 1_022_123),  # 1 M
        ("attention_plain_no_attention", 1_012_329),  # 1 M
        ("attention_dense", 884_376 - 1_539 + 128 * 1024 + 3 * 128),
        # Last convolution, its batch norm, classes and unused head are 512, 2, 41 and 41 numbers an embedding number.
        ("attention_64", 884_376 - 64 * (512 + 2 + 41 + 41)),
        ("attention_256", 884_376 + 128 * (512 + 2 + 41 + 41)),
    ],
)
def test_parameters_of_the_released_model_and_of_ablations(name: str, expected: int) -> None:
    assert create(name, "released", 41, 0).n_trainable() == expected


@pytest.mark.parametrize("name", ["attention", *ABLATIONS])
def test_every_variation_has_every_profile_and_differs_in_its_own_settings_alone(name: str) -> None:
    cls = model_class(name)
    assert set(cls.profiles) == set(PROFILES)
    base = Attention.profiles
    changed = {
        "attention": {},
        "attention_no_attention": {"attention": "none"},
        "attention_plain": {"attention": "plain", "wavegram": "dense"},
        "attention_plain_no_attention": {"attention": "none", "wavegram": "dense"},
        "attention_mel": {"wavegram": "none"},
        "attention_wavegram": {"logmel": False},
        "attention_64": {"embedding": 64},
        "attention_256": {"embedding": 256},
        "attention_dense": {"wavegram": "dense"},
    }[name]
    assert cls.profiles == {profile: replace(base[profile], **changed) for profile in PROFILES}


def test_ablations_are_not_among_all_models() -> None:
    assert "attention" in MODELS
    assert not set(ABLATIONS) & set(MODELS)


def test_profiles_are_the_published_ones() -> None:
    expected = AttentionSettings(epochs=300, learning_rate=1e-4, batch_size=64, batch_norm_momentum=0.1)
    assert Attention.profiles["paper"] == expected
    assert (expected.scale, expected.margin, expected.mixing, expected.embedding) == (40.0, 0.7, 0.2, 128)
    assert Attention.profiles["released"] == replace(
        expected, last_learning_rate=0.1, unused_head=True, held_out=0.05, held_out_from="anywhere"
    )
    optimizer = create("attention", "paper", 3, 0).optimizer()
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["lr"] == 1e-4


def test_learning_rate_is_constant_in_the_paper_and_half_a_cosine_in_the_released_code() -> None:
    paper, released = (create("attention", profile, 3, 0) for profile in ("paper", "released"))
    assert {paper.learning_rate_factor(Epoch(n, 300)) for n in range(300)} == {1.0}
    found = [released.learning_rate_factor(Epoch(n, 300)) for n in (0, 100, 150, 300)]
    assert found == pytest.approx([1.0, 0.775, 0.55, 0.1])


# ---- Layers ----------------------------------------------------------------------------------------------------------


def test_log_mel_is_torchaudios() -> None:
    """Reflect padding, HTK's scale, Slaney's norm, 1e-8: with librosa's parts, in double precision."""
    samples = audio(1)[0].numpy() / 32768
    samples[:40_000] = 0
    filters = librosa.filters.mel(sr=16_000, n_fft=1024, n_mels=128, htk=True, norm="slaney", dtype=np.float64)
    np.testing.assert_allclose(mel_filters().numpy().T, filters, atol=1e-7)
    spectrum = librosa.stft(samples, n_fft=1024, hop_length=512, window="hann", center=True, pad_mode="reflect")
    expected = 10 * np.log10(filters @ np.abs(spectrum) ** 2 + 1e-8)
    found = LogMel()(torch.from_numpy(samples).float()[None])[0].numpy()
    assert found.shape == expected.shape == (128, 313)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert found[:, 10].max() == pytest.approx(-80.0), "silence"


def test_wavegram_has_one_filter_and_dense_has_128() -> None:
    waves = waves_of(audio(2))
    torch.manual_seed(0)
    wavegram = Wavegram(dense=False)
    first = wavegram.layers[0]
    assert (first.weight.shape, first.stride, first.padding) == ((1, 1, 1024), (512,), (512,))
    frames = F.pad(waves, (512, 512)).unfold(1, 1024, 512)
    torch.testing.assert_close(first(waves[:, None])[:, 0], frames @ first.weight[0, 0] + first.bias, atol=1e-5, rtol=0)
    rows = wavegram(waves)
    assert rows.shape == (2, 128, 313)
    assert rows.min() == 0
    for row in rows[0]:  # where it is not cut off, a row is another one scaled and shifted
        heard = wavegram.layers[:3](waves[:, None])[0, 0][row > 0]
        assert len(heard) < 3 or abs(np.corrcoef(heard.detach(), row[row > 0].detach())[0, 1]) > 0.99
    assert Wavegram(dense=True)(waves).shape == (2, 128, 313)


def test_separable_convolution_is_depthwise_norm_relu_pointwise_norm_relu() -> None:
    layers = create("attention", "paper", 3, 0).attention.layers
    kinds = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, Pointwise, nn.BatchNorm2d, nn.ReLU]
    for number, n_in, n_out in ((0, 2, 16), (3, 16, 64)):
        assert [type(layer) for layer in layers[number]] == kinds
        depthwise, pointwise = layers[number][0], layers[number][3]
        assert (depthwise.groups, depthwise.kernel_size, depthwise.bias) == (n_in, (3, 3), None)
        assert (pointwise.in_channels, pointwise.out_channels, pointwise.kernel_size) == (n_in, n_out, (1, 1))
        assert [type(layer) for layer in layers[number + 1 : number + 3]] == [nn.BatchNorm2d, nn.ELU]
    assert [type(layer) for layer in layers[6][1:]] == kinds[1:]
    assert isinstance(layers[7], nn.Sigmoid)
    last, images = layers[6][0], torch.randn(2, 64, 5, 7)
    convolution = nn.Conv2d(64, 64, 1, groups=64)
    convolution.load_state_dict(last.state_dict())
    torch.testing.assert_close(last(images), convolution(images))


LAYERS = {
    "1 x 1": (Pointwise(6, 10), nn.Conv2d(6, 10, 1, bias=False), (3, 6, 5, 7)),
    "1 x 1 with bias": (Pointwise(6, 2, bias=True), nn.Conv2d(6, 2, 1), (3, 6, 5, 7)),
    "PReLU": (PReLU(6), nn.PReLU(6), (3, 6, 5, 7)),
    "filters": (Filters(1, 4, 64, 32, 32), nn.Conv1d(1, 4, 64, 32, 32), (3, 1, 640)),
}


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_faster_layers_are_torchs_own(name: str, channels_last: bool) -> None:
    """In results and in all gradients, where channels are last in memory and where they are first."""
    ours, torchs, shape = LAYERS[name]
    generator = torch.Generator().manual_seed(1)
    for parameter in torchs.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    ours.load_state_dict(torchs.state_dict())  # of the same names and shapes
    values = torch.randn(shape, generator=generator)
    if channels_last and values.ndim == 4:
        values = values.contiguous(memory_format=torch.channels_last)
    found = []
    for layer in (ours, torchs):
        given = values.clone().requires_grad_()
        result = layer(given)
        result.square().sum().backward()
        found.append([result, given.grad, *(parameter.grad for parameter in layer.parameters())])
        layer.zero_grad()
    for own, expected in zip(*found, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-5, atol=2e-4)
    with torch.no_grad():
        torch.testing.assert_close(ours(values), torchs(values), rtol=1e-5, atol=1e-5)


def test_channels_stay_last_through_mobilefacenet() -> None:
    """A layer that puts them first makes each one after it twice as slow."""
    model = create("attention", "paper", 3, 0)
    formats: list[bool] = []
    for module in model.encoder.modules():
        if not isinstance(module, nn.Sequential) and not list(module.children()):
            module.register_forward_hook(
                lambda _, given, found: formats.append(found.is_contiguous(memory_format=torch.channels_last))
            )
    with torch.no_grad():
        model(waves_of(audio(2)))
    assert len(formats) > 40 and all(formats)


def test_a_narrower_network() -> None:
    """``channels`` and ``map_channels`` scale every layer's width with them, and nothing else."""
    wide, narrow = (create("attention", "paper", 3, 0, changes=c) for c in ({}, {"channels": 32, "map_channels": 8}))
    shapes = [{name: values.shape for name, values in model.named_parameters()} for model in (wide, narrow)]
    assert shapes[0].keys() == shapes[1].keys()
    assert shapes[1]["encoder.layers.0.0.weight"] == (16, 2, 3, 3)
    assert shapes[1]["encoder.layers.9.weight"] == (128, 1, 8, 20)
    assert shapes[1]["encoder.layers.11.weight"] == (128, 128, 1, 1), "the embedding's size is its own setting"
    assert shapes[1]["attention.layers.3.3.weight"] == (8, 2, 1, 1)
    assert {name for name in shapes[0] if name.startswith("wavegram") and shapes[0][name] != shapes[1][name]} == set()
    with pytest.raises(UsageError, match="channels"):
        create("attention", "paper", 3, 0, changes={"channels": 33})


@pytest.mark.parametrize(("name", "low"), [("attention", 0.5), ("attention_plain", 0.0), ("attention_mel", 0.5)])
def test_maps_of_clips(name: str, low: float) -> None:
    model = create(name, "smoke", 3, 0)
    images, maps = model.maps(audio(2))
    assert images.shape == maps.shape == (2, len(model.channels), 128, 313)
    with torch.no_grad():
        maps = model.attention(images)  # in training mode, where the layers norm what they hear, not what they heard
    assert maps.min() >= low
    assert maps.max() < 1
    assert maps.std() > 0
    if name == "attention":
        assert maps.min() == 0.5, "the last ReLU cuts off"
    assert model.training, "as it was before"


def test_mixed_precision_reaches_mobilefacenet_and_spares_the_angles() -> None:
    model = create("attention", "smoke", 2, 0).eval()
    seen: list[torch.dtype] = []
    model.encoder.layers[-2].register_forward_hook(lambda module, given, found: seen.append(found.dtype))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        mixed = model(waves_of(audio(2)))
    with torch.no_grad():
        whole = model(waves_of(audio(2)))
    assert seen == [torch.bfloat16, torch.float32]
    assert mixed.dtype == whole.dtype == torch.float32 and torch.allclose(mixed, whole, atol=0.05)


def test_mobilefacenet_starts_from_its_normal_distribution() -> None:
    model = create("attention", "paper", 3, 0)
    for module in model.encoder.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 10_000:
            std = math.sqrt(2 / (math.prod(module.kernel_size) * module.out_channels))
            assert module.weight.std().item() == pytest.approx(std, rel=0.05)


@pytest.mark.parametrize("n_samples", [159_743, 160_256, 80_000])
def test_other_lengths_are_refused(n_samples: int) -> None:
    with pytest.raises(DataError, match=f"takes clips of 313 frames, 159,744 to 160,255 samples.*{n_samples}"):
        create("attention", "smoke", 3, 0).score(torch.zeros(1, n_samples, dtype=torch.int16), labels([0]))


@pytest.mark.parametrize(("n_samples", "left"), [(96_000, 12), (160_000, 20), (288_000, 36)])
def test_a_network_for_clips_of_another_length(n_samples: int, left: int) -> None:
    """Only the last depthwise convolution differs: 512 filters that span what the strides leave."""
    model: Any = create("attention", "paper", 3, 0, clip_length=n_samples)
    assert model.n_trainable() == create("attention", "paper", 3, 0).n_trainable() + 512 * 8 * (left - 20)
    clips = torch.randint(-999, 999, (2, n_samples), dtype=torch.int16)
    assert torch.isfinite(model.score(clips, labels([0, 1]))).all()
    with pytest.raises(DataError, match=f"takes clips of {1 + n_samples // 512} frames"):
        model.score(clips[:, :-1024], labels([0, 1]))


def test_one_section_cannot_be_classified() -> None:
    with pytest.raises(UsageError, match="needs two or more, found 1"):
        create("attention", "paper", 1, 0)


# ---- Loss and score by hand ------------------------------------------------------------------------------------------


def test_arcface_in_both_branches() -> None:
    s, m = 40.0, 0.7
    angles = [0.3, 2.4, 2.5]  # pi - 0.7 is 2.4416
    cosine = torch.tensor([[math.cos(angle), 0.2, -0.4] for angle in angles], dtype=torch.float64)
    found = arcface(cosine, torch.zeros(3, dtype=torch.int64), s, m)
    own = [s * math.cos(0.3 + m), s * math.cos(2.4 + m), s * (math.cos(2.5) - m * math.sin(m))]
    expected = torch.tensor([[logit, 8.0, -16.0] for logit in own], dtype=torch.float64)
    torch.testing.assert_close(found, expected)
    other = arcface(cosine, torch.full((3,), 2), s, m)
    torch.testing.assert_close(other[:, :2], s * cosine[:, :2])
    assert other[0, 2].item() == pytest.approx(s * math.cos(math.acos(-0.4) + m))


def test_arcface_has_a_gradient_where_the_angle_is_0() -> None:
    cosine = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    arcface(cosine, torch.tensor([0, 0]), 40.0, 0.7).sum().backward()
    assert cosine.grad.isfinite().all()


def test_noisy_arcmix_has_the_margin_on_the_first_clip_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = create("attention", "paper", 3, 0)
    heard = []
    cosine = torch.tensor([[0.6, 0.1, -0.2], [0.3, 0.5, 0.0], [-0.1, 0.2, 0.4]])

    def forward(waves: Tensor) -> Tensor:
        heard.append(waves)
        return cosine

    monkeypatch.setattr(model, "forward", forward)
    clips, sections = audio(3), [2, 0, 1]
    torch.manual_seed(5)
    share = float(torch.distributions.Beta(torch.tensor(0.2), torch.tensor(0.2)).sample())
    other = torch.randperm(3).tolist()
    assert other != [0, 1, 2]
    assert 0 < share < 1
    torch.manual_seed(5)
    loss = model.loss(clips, labels(sections)).item()
    waves = clips / 32768
    torch.testing.assert_close(heard[0], share * waves + (1 - share) * waves[other], atol=1e-6, rtol=0)
    expected = []
    for i, j in enumerate(other):
        logits = [40.0 * value for value in cosine[i].tolist()]
        logits[sections[i]] = 40.0 * math.cos(math.acos(cosine[i, sections[i]].item()) + 0.7)
        total = math.log(sum(map(math.exp, logits)))
        expected.append(share * (total - logits[sections[i]]) + (1 - share) * (total - logits[sections[j]]))
    assert loss == pytest.approx(np.mean(expected), rel=1e-5)


def test_score_is_the_cross_entropy_with_the_margin() -> None:
    model = create("attention", "smoke", 3, 0).eval()
    clips, known = audio(3), labels([0, 2, 1], training=False)
    with torch.no_grad():
        cosine = model(waves_of(clips)).double()
    expected = F.cross_entropy(arcface(cosine, known.section, 40.0, 0.7), known.section, reduction="none")
    torch.testing.assert_close(model.score(clips, known), expected, rtol=1e-4, atol=1e-5)
    sure = torch.tensor([[40.0, 0.0, -1.0], [45.0, 0.0, -1.0]], dtype=torch.float64)
    small = cross_entropy(sure, torch.tensor([0, 0]))
    assert small[0] > small[1] > 0, "the surest clips differ, too"


# ---- Learning --------------------------------------------------------------------------------------------------------


@pytest.mark.slow  # a second an iteration
def test_it_learns_its_sections_and_scores_the_wrong_one_high() -> None:
    """Two machines that whine at pitches of their own, each clip at another level."""
    time_s, rng = np.arange(N_SAMPLES) / 16_000, np.random.default_rng(0)
    clips = []
    for number in range(8):
        whine = np.sin(2 * np.pi * (600, 2400)[number % 2] * time_s) * rng.uniform(500, 2000)
        clips.append((whine + rng.normal(0, 300, N_SAMPLES)).astype(np.int16))
    heard, known = torch.from_numpy(np.stack(clips)), labels([0, 1] * 4)
    model = create("attention", "smoke", 2, seed=0)
    optimizer = model.optimizer()
    torch.manual_seed(0)
    losses = []
    for _ in range(24):
        loss = model.loss(heard[:4], known.take(slice(0, 4)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.median(losses[-4:]) < 0.6 * losses[0]
    right = model.score(heard[4:], labels([0, 1, 0, 1], training=False))
    wrong = model.score(heard[4:], labels([1, 0, 1, 0], training=False))
    assert (wrong > right + 5).all(), "clips that training did not hear"


def test_smoke_trains_on_some_batches_of_all_clips():
    known = Labels.of([0] * 1000, [False] * 1000, training=True)
    torch.manual_seed(0)
    some, every = (create("attention", profile, 3, 0).batches(known, Epoch(0, 1)) for profile in ("smoke", "cpu"))
    assert [len(batch) for batch in some] == [16] * 12 and len(set(torch.cat(list(some)).tolist())) == 192
    assert sorted(torch.cat(list(every)).tolist()) == list(range(1000))
