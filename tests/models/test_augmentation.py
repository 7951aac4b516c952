"""Augmentation of training inputs: each against its formula in numpy, and what it means for each family's loss."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mimiidg_build.errors import UsageError
from mimiidg_build.models import ABLATIONS, MODELS, check_models, create, model_class
from mimiidg_build.models.augmentation import Augmentation, Noise, draw_mixup, masked, with_noise
from mimiidg_build.models.base import Detector, Labels, Settings
from mimiidg_build.models.settings import AUGMENTATIONS, changed

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = Settings(epochs=1)
SHAPE = (6, 9, 8)  # clips, frames, bands


def logmels(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(-40, 10, shape).astype(np.float32))


def labels_of(sections: list[int], **more: Any) -> Labels:
    return Labels.of(sections, [False] * len(sections), True, **more)


def noise_of(clips: Tensor, gain_db: float = 0.0) -> Noise:
    """Two clips for the first section, a third for the second."""
    return Noise(clips, torch.arange(3), torch.full((3,), gain_db), torch.tensor([0, 2]), torch.tensor([2, 1]))


# ---- Off -------------------------------------------------------------------------------------------------------------


def test_nothing_is_drawn_or_changed_where_nothing_is_asked_for() -> None:
    for name in ("autoencoder", "attention", "two_branch"):  # the last mixes in its own loss
        augmentation = Augmentation(create(name, "smoke", 3, 0), noise_of(logmels((3, 9, 8))))
        batch, before = logmels(), torch.get_rng_state()
        found, mixup = augmentation(batch, labels_of([0] * 6))
        assert found is batch and mixup is None
        assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", [*MODELS, *ABLATIONS])
def test_no_profile_augments_but_two_branch_mixes(name: str) -> None:
    switches = [switch for kind in AUGMENTATIONS.values() for switch in kind]
    for settings in model_class(name).profiles.values():
        on = [switch for switch in switches if getattr(settings, switch)]
        assert on == (["mixup"] if name.startswith("two_branch") else [])


# ---- Mixup -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [SHAPE, (6, 50)])
def test_mixup_is_the_weighted_sum_of_two_inputs(shape: tuple[int, ...]) -> None:
    model = create("mobilenetv2", "smoke", 3, 0, changes={"mixup": 0.6})
    batch = logmels(shape)
    torch.manual_seed(1)
    found, mixup = Augmentation(model)(batch, labels_of([0] * 6))
    assert mixup is not None
    torch.manual_seed(1)
    other, is_mixed, share = torch.randperm(6).numpy(), torch.rand(6).numpy() < 0.6, torch.rand(6).numpy()
    share = np.where(is_mixed, share, 1.0)
    assert 0 < is_mixed.sum() < 6
    x = batch.double().numpy().reshape(6, -1)
    expected = share[:, None] * x + (1 - share[:, None]) * x[other]
    np.testing.assert_allclose(found.numpy().reshape(6, -1), expected, atol=1e-4)
    assert np.array_equal(mixup.other, other) and np.array_equal(mixup.share, share.astype(np.float32))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_are_of_a_beta_distribution(alpha: float) -> None:
    torch.manual_seed(0)
    _, share = draw_mixup(20_000, replace(SETTINGS, mixup=1.0, mixup_alpha=alpha))
    assert share.mean().item() == pytest.approx(0.5, abs=0.01)
    assert share.std().item() == pytest.approx((4 * (2 * alpha + 1)) ** -0.5, abs=0.01)


FAMILIES = ("autoencoder", "mobilenetv2", "bce", "dsad", "ddcsad", "bce_ddcsad", "conformer")


def family(name: str) -> tuple[Detector, Tensor, Labels, Labels]:
    """A model in training, clips, and two sets of labels of which one is a permutation of the other."""
    model = create(name, "smoke", 2, 0)
    outliers = model.uses_outliers
    sections = [0, -1, 0, 1, -1, 1] if outliers else [0, 1, 0, 1, 0, 1]
    labels = labels_of([0, -1, 0, 0, -1, 0] if model.scope == "section" else sections, origin=[0, 1, 0, 1, 1, 1])
    if model.scope == "section":
        model.centroids.copy_(torch.randn(model.centroids.shape, generator=torch.Generator().manual_seed(2)))  # type: ignore[union-attr,operator,arg-type]
    if name == "conformer":
        model._in_second_stage = True  # type: ignore[assignment]
    batch = logmels((6, model.width or 129, 128))
    return model, batch, labels, labels.take(torch.tensor([1, 0, 3, 4, 5, 2]))


def loss(model: Detector, *arguments: Any, mixed: bool = False) -> float:
    torch.manual_seed(5)  # windows and kinds of augmentation are drawn
    with torch.no_grad():
        return float((model.mixed_loss if mixed else model.loss)(*arguments))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_mixed_inputs_loss_is_of_both_its_labels(name: str) -> None:
    model, batch, labels, others = family(name)
    both = [loss(model, batch, each) for each in (labels, others)]
    for share in (1.0, 0.0, 0.3):
        found = loss(model, batch, labels, others, torch.full((6,), share), mixed=True)
        assert found == pytest.approx(share * both[0] + (1 - share) * both[1], rel=1e-5)
    assert (both[0] == both[1]) == (name == "autoencoder"), "which reconstructs what it is given"


@pytest.mark.parametrize("name", FAMILIES)
def test_each_input_has_a_share_of_its_own(name: str) -> None:
    """Shares of 1 and 0 choose one of the two labels, clip by clip."""
    model, batch, labels, others = family(name)
    share = torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    chosen = Labels(
        *(torch.where(share.bool(), getattr(labels, key), getattr(others, key)) for key in labels.__dataclass_fields__)
    )
    found = loss(model, batch, labels, others, share, mixed=True)
    assert found == pytest.approx(loss(model, batch, chosen), rel=1e-5)


def test_cross_entropy_of_mixed_windows_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    model = create("mobilenetv2", "smoke", 3, 0)
    rng = np.random.default_rng(0)
    logits, a, b, share = rng.normal(size=(5, 3)), rng.integers(3, size=5), rng.integers(3, size=5), rng.random(5)
    monkeypatch.setattr(model, "forward", lambda batch: torch.from_numpy(logits))
    log_p, rows = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), np.arange(5)
    expected = -(share * log_p[rows, a] + (1 - share) * log_p[rows, b]).mean()
    given = labels_of(a.tolist()), labels_of(b.tolist()), torch.from_numpy(share)
    assert float(model.mixed_loss(torch.zeros(5, 64, 128), *given)) == pytest.approx(expected)


def test_levels_of_machines_are_mixed_with_their_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each clip had been standardised before: share (x - l) + (1 - share) (y - m) is of level share l + ..."""
    model: Any = create("bce", "smoke", 1, 0)
    model._training_level_db = torch.tensor([-20.0, -40.0])
    heard: list[Tensor] = []

    def embed(windows: Tensor, level_db: Tensor) -> Tensor:
        heard.append(level_db)
        return torch.zeros(len(windows), model.encoder.size)

    monkeypatch.setattr(model, "_embed", embed)
    own, other = labels_of([0, -1], origin=[0, 1]), labels_of([-1, -1], origin=[1, 1])
    model.mixed_loss(logmels((2, 129, 128)), own, other, torch.tensor([0.75, 0.5]))
    assert heard[0].tolist() == [-25.0, -40.0]


# ---- Masks -----------------------------------------------------------------------------------------------------------


def test_masks_hold_the_batchs_mean_of_each_band() -> None:
    """Drawn once more and written out: two of bands, one of frames, each with a width and a place of its own."""
    settings = replace(SETTINGS, frequency_masks=2, frequency_mask_width=3, time_masks=1, time_mask_width=4)
    batch = logmels()
    torch.manual_seed(2)
    found = masked(batch, settings).numpy()
    torch.manual_seed(2)
    expected, mean = batch.numpy().copy(), batch.double().numpy().mean(axis=(0, 1))
    for axis, greatest, n_masks in ((2, 3, 2), (1, 4, 1)):
        for _ in range(n_masks):
            widths, places = torch.randint(greatest + 1, (6, 1))[:, 0].tolist(), torch.rand(6, 1)[:, 0].tolist()
            for clip, (width, place) in enumerate(zip(widths, places, strict=True)):
                first = int(place * (SHAPE[axis] - width + 1))
                rows, bands = (
                    (slice(None), slice(first, first + width))
                    if axis == 2
                    else (slice(first, first + width), slice(None))
                )
                expected[clip, rows, bands] = mean[bands]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert 0.1 < (found != batch.numpy()).mean() < 0.9


def test_masks_are_of_all_widths_and_at_all_places() -> None:
    settings = replace(SETTINGS, time_masks=1, time_mask_width=3)
    torch.manual_seed(0)
    batch = logmels((4000, 5, 2))
    hidden = (masked(batch, settings) != batch).numpy()
    assert (hidden[..., 0] == hidden[..., 1]).all(), "whole frames"
    widths = np.bincount(hidden[..., 0].sum(axis=1)) / 4000
    np.testing.assert_allclose(widths, [0.25] * 4, atol=0.03)
    assert set(map(tuple, hidden[..., 0][hidden[..., 0].sum(axis=1) == 3])) == {
        (True, True, True, False, False),
        (False, True, True, True, False),
        (False, False, True, True, True),
    }


def test_a_model_of_audio_has_its_log_mel_masked_in_training_alone() -> None:
    model: Any = create("attention", "smoke", 2, 0, clip_length=65_600, changes={"frequency_masks": 1, "mixing": 0.5})
    augmentation, waves = Augmentation(model), torch.rand(3, 65_600, generator=torch.Generator().manual_seed(0))
    plain = model.logmel(waves)
    batch = torch.zeros(2, 65_600, dtype=torch.int16)
    assert augmentation(batch, labels_of([0, 1]))[0] is batch, "audio itself is not masked"
    with augmentation.masks_within():
        assert torch.equal(model.eval().logmel(waves), plain)
        torch.manual_seed(1)
        found = model.train().logmel(waves)
    assert torch.equal(model.logmel(waves), plain), "afterwards as before"
    torch.manual_seed(1)
    assert torch.equal(found.mT, masked(plain.mT, model.settings)) and not torch.equal(found, plain)
    assert model.mask_shape(model.settings, 65_600, 1) == plain.shape[:0:-1]


# ---- Noise -----------------------------------------------------------------------------------------------------------

NOISY = replace(SETTINGS, noise=0.7, noise_snr_low=-3.0, noise_snr_high=9.0)


def drawn(n: int, seed: int) -> tuple[np.ndarray, ...]:
    torch.manual_seed(seed)
    is_noisy, which, place, snr = torch.rand(4, n).double().numpy()
    return is_noisy < 0.7, which, place, -3 + 12 * snr


def test_powers_of_log_mels_are_added() -> None:
    """Noise of the clip's own section, from a random place, at a random SNR."""
    clips, batch = logmels((3, 12, 8), seed=1), logmels()
    sections = [0, 1, 0, 1, 0, 0]
    is_noisy, which, place, snr = drawn(6, 5)
    torch.manual_seed(5)
    found = with_noise(batch, torch.tensor(sections), noise_of(clips, 5.0), NOISY).numpy()
    expected = batch.double().numpy()
    for clip, section in enumerate(sections):
        if is_noisy[clip]:
            noise = clips[[int(2 * which[clip]), 2][section]].double().numpy()
            first = int(place[clip] * (12 - 9 + 1))
            added = 10 ** ((noise[first : first + 9] + 5 - snr[clip]) / 10)
            expected[clip] = 10 * np.log10(10 ** (expected[clip] / 10) + added)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert 0 < is_noisy.sum() < 6 and np.array_equal(found[~is_noisy], batch.numpy()[~is_noisy])


def test_noise_is_added_to_audio_at_the_snr() -> None:
    """10 log10(a / b), b of what was added; in 16-bit steps, beyond full scale too."""
    rng = np.random.default_rng(0)
    clips = torch.from_numpy(rng.integers(-32767, 32767, (3, 400)).astype(np.int16))
    batch = torch.from_numpy(rng.integers(-9999, 9999, (6, 400)).astype(np.int16))
    a, powers = 1.0, clips.double().square().mean(dim=1) / 32768**2
    noise = Noise(clips, torch.arange(3), 10 * torch.log10(a / powers).float(), torch.tensor([0]), torch.tensor([3]))
    is_noisy, which, _, snr = drawn(6, 5)
    torch.manual_seed(5)
    found = with_noise(batch, torch.zeros(6, dtype=torch.int64), noise, NOISY)
    added = found.double().numpy() - batch.numpy()
    assert not added[~is_noisy].any() and 0 < is_noisy.sum() < 6
    b = np.square(added[is_noisy] / 32768).mean(axis=1)
    np.testing.assert_allclose(10 * np.log10(a / b), snr[is_noisy], atol=1e-3)
    for row in np.flatnonzero(is_noisy):
        direction = clips[int(3 * which[row])].double().numpy()
        assert np.corrcoef(direction, added[row])[0, 1] == pytest.approx(1, abs=1e-6)
    assert found.abs().max() > 32767 and found.dtype == torch.float32


def test_noise_that_is_asked_for_must_be_given() -> None:
    model = create("autoencoder", "smoke", 2, 0, changes={"noise": 0.5})
    with pytest.raises(ValueError, match=r"noise = 0\.5 needs noise clips to add"):
        Augmentation(model)


# ---- Together --------------------------------------------------------------------------------------------------------

EVERY = {"mixup": 0.5, "mixup_alpha": 0.4, "frequency_masks": 1, "time_masks": 1, "time_mask_width": 2, "noise": 0.5}


def test_the_same_draws_give_the_same_inputs_and_do_not_change_what_is_given() -> None:
    model = create("autoencoder", "smoke", 2, 0, changes=EVERY)
    augmentation, batch = Augmentation(model, noise_of(logmels((3, 9, 8)))), logmels()
    kept, found = batch.clone(), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(augmentation(batch, labels_of([0, 1, 0, 1, 0, 1]))[0])
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    assert torch.equal(batch, kept)


def test_everything_stays_on_the_batchs_device() -> None:
    """A device that holds no numbers will not do with those of another; log-mels are as stored, of half precision."""
    device = torch.device("meta")
    noise = noise_of(logmels((3, 9, 8))).to(device)
    augmentation = Augmentation(create("autoencoder", "smoke", 2, 0, changes=EVERY), noise)
    batch, mixup = augmentation(logmels().to(device, torch.float16), labels_of([0] * 6).to(device))
    assert mixup is not None
    assert {batch.device, mixup.other.device, mixup.share.device, noise.clip_of.device} == {device}
    assert batch.shape == SHAPE and batch.dtype == torch.float32


# ---- Settings --------------------------------------------------------------------------------------------------------


class OwnClassifier(Detector):
    """Somebody's own, of before there was mixup."""

    profiles = {"smoke": Settings(epochs=1)}
    width = None
    takes = "audio"

    def loss(self, batch: Tensor, labels: Labels) -> Tensor:
        return batch.sum()

    def _score(self, features: Tensor, labels: Labels) -> Tensor:
        return features.sum(dim=1)


OWN = f"{__name__}:OwnClassifier"


@pytest.mark.parametrize(
    ("model", "key", "why"),
    [
        ("attention", "mixup", "attention: it mixes the waveforms of every batch, .* change mixing"),
        ("nearest_neighbour", "noise", "nearest_neighbour: nothing of it is trained"),
        ("nearest_neighbour_max", "time_mask_width", "nearest_neighbour_max: nothing of it is trained"),
        ("beats@1a2b3c4d", "frequency_masks", "beats@1a2b3c4d: nothing of it is trained"),
        ("two_branch", "time_masks", "two_branch: the spectrum of the whole clip holds what a mask"),
        ("conformer", "frequency_masks", "conformer: it masks clips itself, and learns to tell which"),
        (OWN, "mixup_alpha", r"it defines no mixed_loss\(batch, labels, others, share\)"),
        (OWN, "time_masks", r"it takes audio, and names no spectrogram of its own \(mask_layer\)"),
    ],
)
def test_what_a_model_does_not_take_is_refused_with_the_reason(model: str, key: str, why: str) -> None:
    profile = "smoke"
    with pytest.raises(UsageError, match=f"no setting '{key}' to change; .*{why}"):
        check_models([model], profile, {key: 1})
    if ":" not in model and "@" not in model:
        check_models([model, "autoencoder"], profile, {key: 1} if key == "mixup" else {})  # others may have it


def test_a_model_without_mixup_says_so() -> None:
    model = OwnClassifier(Settings(epochs=1), 2, 0)
    with pytest.raises(UsageError, match="OwnClassifier takes no mixup: it defines no mixed_loss"):
        model.mixed_loss(logmels(), labels_of([0] * 6), labels_of([0] * 6), torch.ones(6))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixup": 1.5}, "the setting mixup cannot be 1.5: .* less than or equal to 1"),
        ({"mixup": 0.5, "mixup_alpha": 0}, "mixup_alpha cannot be 0: .* greater than 0"),
        ({"mixup_alpha": 2.0}, "mixup_alpha changes nothing while mixup is 0: set mixup, too"),
        ({"time_masks": -1}, "time_masks cannot be -1"),
        ({"time_masks": 1, "time_mask_width": 0}, "time_mask_width cannot be 0"),
        ({"time_mask_width": 3}, "time_mask_width changes nothing while time_masks is 0"),
        ({"time_masks": 1, "frequency_mask_width": 3}, "frequency_mask_width changes nothing while frequency_masks"),
        ({"noise": 0.5, "noise_snr_low": 21.0}, "noise_snr_low = 21 is above noise_snr_high = 20"),
        ({"noise": 0.5, "noise_snr_high": 61.0}, "noise_snr_high cannot be 61.0: .* less than or equal to 60"),
        ({"noise_snr_high": 3.0}, "noise_snr_high changes nothing while noise is 0"),
    ],
)
def test_what_the_settings_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        changed(SETTINGS, changes)
