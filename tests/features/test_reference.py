"""Log-mel with a second channel as a reference of the noise: the formulas, computed independently with librosa."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mimiidg_build.features import clip_features, logmel, samples_mistake, versions
from mimiidg_build.features.parameters import BASELINE
from mimiidg_build.schemas.variants import FeatureSettings, Variant
from tests.features.test_settings import TOLERANCE_DB, noise, with_librosa

SPECTROGRAMS: dict[str, tuple[dict[str, Any], int]] = {
    "compiled": ({}, 16_000),
    "an FFT of 2048": ({"n_fft": 2048, "n_mels": 64, "mel_scale": "htk"}, 16_000),
    "magnitude at 44.1 kHz": ({"n_fft": 4096, "power": 1}, 44_100),
}


def channels(n_samples: int = 48_000) -> np.ndarray:
    """Three channels of noise, the second 6 dB below the first, and silent for a while."""
    found = np.stack([noise(n_samples), np.roll(noise(n_samples, 1500), 999), noise(n_samples, 30)])
    found[1, : n_samples // 8] = 0
    return found


def mel(samples: np.ndarray, settings: FeatureSettings, sample_rate: int) -> np.ndarray:
    """Mel bands by librosa, double precision, floored as a log-mel is."""
    plain = FeatureSettings(**settings.spectrogram)
    return 10 ** (with_librosa(samples, plain, sample_rate) * settings.power / 20)


def expected_db(samples: np.ndarray, settings: FeatureSettings, sample_rate: int) -> np.ndarray:
    near = mel(samples[settings.primary_channel], settings, sample_rate)
    far = mel(samples[settings.reference_channel], settings, sample_rate)
    factor = 20 / settings.power
    if settings.reference == "log_ratio":
        return factor * np.log10(near / far)
    left = near - settings.over_subtraction * far
    return factor * np.log10(np.where(left > settings.spectral_floor * far, left, settings.spectral_floor * far))


@pytest.mark.parametrize(("plain", "sample_rate"), SPECTROGRAMS.values(), ids=list(SPECTROGRAMS))
@pytest.mark.parametrize(
    "reference",
    [
        {"reference": "log_ratio"},
        {"reference": "subtract"},
        {"reference": "subtract", "over_subtraction": 2.5, "spectral_floor": 0.01},
        {"reference": "subtract", "primary_channel": 1, "reference_channel": 2},
    ],
    ids=["log ratio", "subtraction", "over-subtraction", "other channels"],
)
def test_it_is_the_formula(plain: dict[str, Any], sample_rate: int, reference: dict[str, Any]) -> None:
    settings, samples = FeatureSettings(**plain, **reference), channels()
    found = clip_features(samples, settings, sample_rate)
    assert list(found) == ["logmel"] and found["logmel"].dtype == np.float32
    assert found["logmel"].shape == settings.clip_shape("logmel", samples.shape[1])
    expected = expected_db(samples, settings, sample_rate)
    assert np.ptp(expected) > 20
    np.testing.assert_allclose(found["logmel"], expected, rtol=0, atol=TOLERANCE_DB)


def test_a_log_ratio_is_the_difference_of_two_log_mels_to_the_bit() -> None:
    samples = channels()
    found = clip_features(samples, FeatureSettings(reference="log_ratio"))["logmel"]
    np.testing.assert_array_equal(found, logmel(samples[0]) - logmel(samples[1]))


def test_noise_that_both_hear_goes_and_what_one_hears_stays() -> None:
    """A tone near the machine, 20 dB below noise that reaches both microphones alike."""
    time = np.arange(48_000) / 16_000
    hall = noise(48_000, 1000).astype(float)
    tone = 1000 * np.sin(2 * np.pi * 1000 * time)
    samples = np.stack([hall + tone, hall]).round().astype(np.int16)
    plain, settings = logmel(samples[0]), FeatureSettings(reference="subtract", spectral_floor=1e-3)
    left = clip_features(samples, settings)["logmel"]
    band = int(plain.mean(0).argmax())
    assert np.abs(left[:, band] - plain[:, band]).mean() < 1, "dB, of the tone"
    away = np.abs(np.arange(128) - band) > 6
    assert (plain - left)[:, away].mean() > 20, "dB, of the noise"


def test_stft_keeps_every_channel() -> None:
    samples = channels(16_000)
    found = clip_features(samples, FeatureSettings(reference="subtract", stft=True))
    alone = clip_features(samples, FeatureSettings(stft=True))
    assert found["logmel"].ndim == 2
    np.testing.assert_array_equal(found["stft"], alone["stft"])


def test_without_a_reference_nothing_is_said_or_changed() -> None:
    """What stands in stores and fingerprints: the bytes that they had."""
    assert FeatureSettings().model_dump() == {"dtype": "float32"}
    assert FeatureSettings(reference="none", reference_channel=1).model_dump() == {"dtype": "float32"}
    assert versions(FeatureSettings()) == ["logmel-3"]
    assert versions(FeatureSettings(reference="log_ratio", stft=True)) == ["logmel-3-reference-1", "stft-1"]
    assert BASELINE["reference"] == "none", "a model of the baselines' features takes no others"
    written = FeatureSettings(reference="subtract", over_subtraction=2.0).model_dump()
    assert written == {"dtype": "float32", "reference": "subtract", "over_subtraction": 2.0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reference": "subtract", "reference_channel": 0}, "are both 0: expected two"),
        ({"over_subtraction": 2.0}, 'over_subtraction decides nothing with reference = "none"'),
        ({"reference_channel": 2}, 'reference_channel decides nothing with reference = "none"'),
        ({"reference": "log_ratio", "spectral_floor": 0.5}, 'spectral_floor decides nothing with .* "log_ratio"'),
        ({"reference": "subtract", "spectral_floor": 0.0}, "greater than or equal to 0.0001"),
        ({"reference": "wiener"}, "'none', 'log_ratio' or 'subtract'"),
    ],
)
def test_settings_that_are_none(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FeatureSettings(**settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixing": "none"}, 'reference = "subtract" takes two channels .*: expected channels = "all"'),
        (
            {"channels": "all"},
            'reference = "subtract": expected mixing = "none". Noise is added to every channel alike',
        ),
    ],
)
def test_variants_that_record_no_reference(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Variant(name="v", features={"reference": "subtract"}, **changes)


def test_clips_without_a_reference() -> None:
    settings = FeatureSettings(reference="subtract")
    one = noise(16_000)
    expected = 'has 1 channel, and features.reference = "subtract" takes channels 0 and 1, counted from 0'
    assert samples_mistake(one, settings) == samples_mistake(one[None], settings) == expected
    copied = samples_mistake(np.stack([one, one, one + 1]), settings)
    assert copied and re.search("channels 0 and 1 hold the same samples; expected two microphones", copied)
    assert samples_mistake(np.stack([one, one]), FeatureSettings()) is None
    with pytest.raises(ValueError, match="has 1 channel, and"):
        clip_features(one, settings)
