"""Features of any settings: librosa's, in shape and value, for clips of any length, rate and number of channels."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import scipy.signal
import soundfile as sf

from mimiidg_build import features
from mimiidg_build.features import clip_features, mistake, spectra, versions
from mimiidg_build.features.mel import empty_bands
from mimiidg_build.schemas.variants import FeatureSettings

TOLERANCE_DB = 1e-3
NOISE = np.random.default_rng(0).normal(size=160_000)

# (settings, sample rate in Hz, samples): other rates, odd and large FFTs, windows, scales, ranges, lengths
SETTINGS: dict[str, tuple[dict[str, Any], int, int]] = {
    "64 bands": ({"n_mels": 64}, 16_000, 160_000),
    "DCASE 2024's FFT": ({"n_fft": 2048, "n_mels": 224, "f_min_hz": 200.0, "f_max_hz": 8000.0}, 16_000, 96_000),
    "speech": ({"n_fft": 400, "hop_length": 160, "n_mels": 40, "mel_scale": "htk"}, 16_000, 160_000),
    "HTK, unit peak": ({"n_mels": 80, "mel_scale": "htk", "mel_norm": "none"}, 16_000, 64_000),
    "magnitude": ({"power": 1}, 16_000, 160_000),
    "magnitude, HTK, 44.1 kHz": ({"n_fft": 4096, "power": 1, "mel_scale": "htk"}, 44_100, 88_200),
    "an odd FFT": ({"n_fft": 1023, "n_mels": 40}, 16_000, 160_000),
    "an odd FFT, 11 s": ({"n_fft": 1025, "hop_length": 400}, 16_000, 176_000),
    "an FFT of a prime": ({"n_fft": 2003, "n_mels": 60, "window": "hamming"}, 22_050, 50_000),
    "a short window": ({"n_fft": 2048, "window_length": 1201, "window": "hamming"}, 48_000, 96_000),
    "an odd window in an odd FFT": ({"n_fft": 513, "window_length": 400, "n_mels": 20}, 8000, 40_000),
    "Blackman, a band of frequencies": (
        {"window": "blackman", "f_min_hz": 1000.0, "f_max_hz": 3500.0, "n_mels": 32},
        16_000,
        160_000,
    ),
    "long frames": ({"n_fft": 16_384, "hop_length": 8192, "n_mels": 512}, 48_000, 288_000),
    "a hop longer than the FFT": ({"n_fft": 512, "hop_length": 1000, "n_mels": 40}, 16_000, 160_000),
    "a clip shorter than the FFT": ({"n_fft": 4096, "n_mels": 64}, 16_000, 3000),
    "one band": ({"n_mels": 1}, 16_000, 20_000),
    "10 s at 48 kHz, compiled": ({}, 48_000, 480_000),
    "at 96 kHz": ({"n_mels": 64}, 96_000, 96_000),
}


def with_librosa(samples: np.ndarray, settings: FeatureSettings, sample_rate: int) -> np.ndarray:
    """[shape=(n_frames, n_mels)], dB, in double precision, as the DCASE baselines take the logarithm."""
    mel = librosa.feature.melspectrogram(
        y=samples / 32768,
        sr=sample_rate,
        n_fft=settings.n_fft,
        hop_length=settings.hop_length,
        win_length=settings.window_length,
        window=settings.window,
        n_mels=settings.n_mels,
        fmin=settings.f_min_hz,
        fmax=settings.f_max_hz,
        power=float(settings.power),
        htk=settings.mel_scale == "htk",
        norm=None if settings.mel_norm == "none" else settings.mel_norm,
        pad_mode="constant",
    )
    return np.asarray(20 / settings.power * np.log10(np.maximum(mel, np.finfo(np.float64).eps)).T)


def clip(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), -32768, 32767).astype(np.int16)


def noise(n_samples: int, scale: float = 3000) -> np.ndarray:
    return clip(scale * np.resize(NOISE, n_samples))


@pytest.mark.filterwarnings("ignore:n_fft=4096 is too large")  # librosa's, of the clip that is shorter
@pytest.mark.parametrize(("settings", "sample_rate", "n_samples"), SETTINGS.values(), ids=list(SETTINGS))
def test_log_mel_is_librosas(settings: dict[str, Any], sample_rate: int, n_samples: int) -> None:
    chosen, samples = FeatureSettings(**settings), noise(n_samples)
    assert mistake(chosen, sample_rate) is None
    found = clip_features(samples, chosen, sample_rate)
    assert list(found) == ["logmel"]
    assert found["logmel"].dtype == np.float32
    assert found["logmel"].shape == chosen.clip_shape("logmel", n_samples)
    expected = with_librosa(samples, chosen, sample_rate)
    np.testing.assert_allclose(found["logmel"], expected, rtol=0, atol=TOLERANCE_DB)


@pytest.mark.parametrize("settings", [{"n_mels": 64}, {"n_fft": 2048, "power": 1, "mel_scale": "htk"}])
def test_beside_a_strong_tone_every_band_is_librosas(settings: dict[str, Any]) -> None:
    """Bands 100 dB below the tone, too, where single precision holds rounding alone."""
    chosen = FeatureSettings(**settings)
    samples = clip(30_000 * np.sin(2 * np.pi * 1000 * np.arange(160_000) / 16_000) + 0.5 * NOISE)
    expected = with_librosa(samples, chosen, 16_000)
    assert np.ptp(expected) > 100
    np.testing.assert_allclose(clip_features(samples, chosen)["logmel"], expected, rtol=0, atol=TOLERANCE_DB)


@pytest.mark.parametrize("first", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 4))])
def test_log_mel_of_real_clips_is_librosas(real: Path, first: int) -> None:
    chosen = FeatureSettings(n_fft=2048, n_mels=64, mel_scale="htk")
    for path in sorted((real / "audio").rglob("*.wav"))[first::4]:
        samples, _ = sf.read(path, dtype="int16")
        found = clip_features(samples, chosen)["logmel"]
        expected = with_librosa(samples, chosen, 16_000)
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE_DB, err_msg=path.name)


def test_the_default_settings_are_compiled_whatever_the_rate() -> None:
    samples = noise(160_000)
    np.testing.assert_array_equal(clip_features(samples)["logmel"], features.logmel(samples))
    for rate in (8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000):
        assert versions(FeatureSettings(stft=True, dtype="float16"), rate) == ["logmel-3", "stft-1"]
    assert versions(FeatureSettings(n_fft=2048), 96_000) == ["logmel-general-1"]


@pytest.mark.parametrize("n_fft", [1024, 1023, 512])
@pytest.mark.parametrize("window", ["hann", "hamming", "blackman"])
def test_stft_is_librosas(n_fft: int, window: str) -> None:
    chosen, samples = FeatureSettings(n_fft=n_fft, n_mels=40, window=window, stft=True), noise(48_000)
    found = clip_features(samples, chosen)
    assert list(found) == ["logmel", "stft"]
    assert found["stft"].dtype == np.float32
    assert found["stft"].shape == chosen.clip_shape("stft", 48_000)
    stft = librosa.stft(samples / 32768, n_fft=n_fft, hop_length=512, window=window, pad_mode="constant")
    np.testing.assert_allclose(found["stft"], np.abs(stft).T, rtol=1e-6, atol=1e-9)


def test_stft_beside_the_compiled_log_mel() -> None:
    """A full-scale tone in the middle of a bin: half of the window's sum."""
    samples = clip(32767 * np.cos(2 * np.pi * 100 / 1024 * np.arange(16_000)))
    found = clip_features(samples, FeatureSettings(stft=True))
    np.testing.assert_array_equal(found["logmel"], features.logmel(samples))
    assert found["stft"][10].argmax() == 100
    assert found["stft"][10].max() == pytest.approx(256, rel=1e-3)


@pytest.mark.parametrize("name", ["hann", "hamming", "blackman"])
@pytest.mark.parametrize(("n_fft", "length"), [(1024, None), (1023, None), (1024, 801), (11, 4)])
def test_windows_are_scipys(name: str, n_fft: int, length: int | None) -> None:
    expected = librosa.util.pad_center(scipy.signal.get_window(name, length or n_fft), size=n_fft)
    found = spectra.window(FeatureSettings(n_fft=n_fft, window=name, window_length=length))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("settings", [{}, {"n_mels": 64, "stft": True}])
def test_channels_are_the_first_axis(settings: dict[str, Any]) -> None:
    chosen = FeatureSettings(**settings)
    channels = np.stack([noise(48_000), noise(48_000, 30), np.zeros(48_000, np.int16)])
    found = clip_features(channels, chosen)
    assert found["logmel"].shape == (3, *chosen.clip_shape("logmel", 48_000))
    for number, channel in enumerate(channels):
        for name, expected in clip_features(channel, chosen).items():
            np.testing.assert_array_equal(found[name][number], expected)
    np.testing.assert_array_equal(clip_features(channels.T.copy().T, chosen)["logmel"], found["logmel"])


@pytest.mark.parametrize("samples", [np.zeros(1000, np.float32), np.zeros((2, 2, 1000), np.int16)])
def test_other_samples_are_refused(samples: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected one clip of int16 samples, of one or several channels"):
        clip_features(samples, FeatureSettings(n_mels=64))


def test_threads_give_the_same_bits() -> None:
    chosen = [FeatureSettings(n_mels=64, stft=True), FeatureSettings(n_fft=1023, power=1)] * 6
    clips = [clip(3000 * NOISE[i : i + 48_000 + 512 * (i % 3)]) for i in range(12)]
    alone = [clip_features(*each) for each in zip(clips, chosen, strict=True)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(clip_features, clips * 3, chosen * 3))
    for expected, found in zip(alone * 3, together, strict=True):
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values)


def test_a_frame_depends_on_its_samples_alone() -> None:
    """Not on how many frames are transformed at once, which is what the length of a clip decides."""
    chosen = FeatureSettings(n_mels=64)
    long, short = noise(160_000), noise(160_000)[:20_480]
    inner = slice(0, 38)  # the last two of the short clip see its end
    found = clip_features(short, chosen)["logmel"][inner]
    np.testing.assert_array_equal(found, clip_features(long, chosen)["logmel"][inner])


def test_silence_is_the_floor() -> None:
    for power in (1, 2):
        silent = clip_features(np.zeros(48_000, np.int16), FeatureSettings(n_mels=64, power=power))["logmel"]
        assert (silent == silent[0, 0]).all()
        assert silent[0, 0] == pytest.approx(-156.5356 * 2 / power, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "sample_rate", "message"),
    [
        (
            {"n_mels": 512},
            16_000,
            "n_mels = 512: 47 of the mel bands hold no bin of the FFT, first band 0, since with n_fft = 1024 at "
            "16000 Hz bins lie 15.6 Hz apart; expected n_mels = 369 or fewer, or n_fft = 2048 or more",
        ),
        ({"n_fft": 64}, 16_000, "expected n_mels = 22 or fewer, or n_fft = 512 or more"),
        ({"n_mels": 2048, "f_max_hz": 100.0}, 48_000, "n_mels = 2048: .*; expected n_mels = \\d+ or fewer$"),
        ({"f_max_hz": 8001.0}, 16_000, "f_max_hz = 8001: expected at most 8000 Hz, half of the sample rate"),
        ({"f_min_hz": 8000.0}, 16_000, "f_min_hz = 8000: expected less than 8000 Hz, half of the sample rate"),
        ({}, 96_000, "n_mels = 128: 7 of the mel bands hold no bin .* 93.8 Hz apart"),
    ],
)
def test_settings_that_do_not_fit_a_rate(settings: dict[str, Any], sample_rate: int, message: str) -> None:
    found = mistake(FeatureSettings(**settings), sample_rate)
    assert found is not None
    assert re.search(message, found), found


def test_advice_is_good() -> None:
    assert mistake(FeatureSettings(n_mels=369), 16_000) is None
    assert mistake(FeatureSettings(n_mels=512, n_fft=2048), 16_000) is None
    assert mistake(FeatureSettings(n_fft=64, n_mels=22), 16_000) is None


@pytest.mark.parametrize("n_fft", [64, 127, 256, 1024])
@pytest.mark.parametrize("settings", [{}, {"mel_scale": "htk"}, {"f_min_hz": 500.0, "n_mels": 300}])
def test_empty_bands_are_those_without_a_weight(n_fft: int, settings: dict[str, Any]) -> None:
    chosen = FeatureSettings(n_fft=n_fft, **settings)
    expected = np.flatnonzero(~features.mel_filter_bank(chosen).any(axis=1))
    np.testing.assert_array_equal(empty_bands(chosen, 16_000), expected)
