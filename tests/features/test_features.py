"""Log-mel equals librosa's, whoever computes it, wherever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from mimiidg_build.features import (
    FLOOR,
    BandSums,
    band_sums,
    clip_features,
    features_of,
    hz_from_mel,
    logmel,
    mel_filter_bank,
    mel_from_hz,
    n_frames,
    sample_memory,
)
from mimiidg_build.schemas.variants import FeatureSettings

TOLERANCE_DB = 1e-3
SECONDS = np.arange(160_000) / 16_000
NOISE = np.random.default_rng(0).normal(size=160_000)


def clip(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), -32768, 32767).astype(np.int16)


def with_librosa(samples: np.ndarray) -> np.ndarray:
    """[shape=(n_frames, 128)], dB, as the DCASE baselines compute it, in double precision."""
    mel = librosa.feature.melspectrogram(
        y=samples / 32768, sr=16_000, n_fft=1024, hop_length=512, n_mels=128, power=2.0, pad_mode="constant"
    )
    return np.asarray(10 * np.log10(np.maximum(mel, np.finfo(np.float64).eps)).T)


NOISY = {
    "noise": clip(3000 * NOISE),
    "noise of three steps": clip(3 * NOISE),
    "rounding noise": clip(0.5 * NOISE),
    "full scale": clip(1e6 * NOISE),
    "impulses": clip(30_000.0 * (np.arange(160_000) % 3000 == 0)),
    "one sample more than a frame": clip(300 * NOISE[:1025]),
    "a third of a clip": clip(300 * NOISE[:53_333]),
}
TONAL = {
    "tone": clip(20_000 * np.sin(2 * np.pi * 1000 * SECONDS)),
    "tone in noise": clip(20_000 * np.sin(2 * np.pi * 1000 * SECONDS) + 30 * NOISE),
    "sweep": clip(10_000 * np.sin(2 * np.pi * 400 * SECONDS**2)),
    "full-scale step": clip(np.where(SECONDS < 5, -32768, 0)),
}


@pytest.mark.parametrize("samples", [pytest.param(samples, id=name) for name, samples in NOISY.items()])
def test_equal_to_librosa(samples: np.ndarray) -> None:
    found = logmel(samples)
    assert found.dtype == np.float32
    assert found.shape == (n_frames(len(samples)), 128)
    np.testing.assert_allclose(found, with_librosa(samples), rtol=0, atol=TOLERANCE_DB)


@pytest.mark.parametrize("samples", [pytest.param(samples, id=name) for name, samples in TONAL.items()])
def test_equal_to_librosa_beside_a_strong_tone(samples: np.ndarray) -> None:
    # single precision: bands far below the frame's strongest hold the rounding of the strong ones
    found, expected = logmel(samples), with_librosa(samples)
    within = expected > expected.max(axis=1, keepdims=True) - 70
    assert within.any(axis=1).all()
    np.testing.assert_allclose(found[within], expected[within], rtol=0, atol=TOLERANCE_DB)


@pytest.mark.parametrize("first", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 4))])
def test_equal_to_librosa_on_real_clips(real: Path, first: int) -> None:
    paths = sorted((real / "audio").rglob("*.wav"))
    assert len(paths) == 52
    for path in paths[first::4]:
        samples, _ = sf.read(path, dtype="int16")
        np.testing.assert_allclose(logmel(samples), with_librosa(samples), rtol=0, atol=TOLERANCE_DB, err_msg=path.name)


@pytest.mark.parametrize(
    ("sample_rate", "n_fft", "n_mels"), [(16_000, 1024, 128), (16_000, 512, 64), (44_100, 2048, 40), (8000, 1024, 20)]
)
def test_filter_bank_is_librosas(sample_rate: int, n_fft: int, n_mels: int) -> None:
    found = mel_filter_bank(FeatureSettings(n_fft=n_fft, n_mels=n_mels), sample_rate)
    expected = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)


@given(st.floats(0, 96_000), st.sampled_from(["slaney", "htk"]))
def test_the_mel_scale_is_librosas_and_invertible(frequency_hz: float, scale: str) -> None:
    mel = mel_from_hz(frequency_hz, scale)
    np.testing.assert_allclose(mel, librosa.hz_to_mel(frequency_hz, htk=scale == "htk"), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(hz_from_mel(mel, scale), frequency_hz, rtol=1e-12, atol=1e-9)


def test_silence_is_the_floor() -> None:
    silent = logmel(np.zeros(160_000, np.int16))
    assert silent.shape == (313, 128)
    assert (silent == silent[0, 0]).all()
    # to the last bit but one: what numpy's own log10 gives here depends on the processor
    np.testing.assert_array_max_ulp(silent[0, 0], np.float32(10 * np.log10(FLOOR)), maxulp=1)
    assert silent[0, 0] == pytest.approx(-156.5356)


def test_level_is_information() -> None:
    # no per-clip normalisation: a clip 20 dB quieter has a log-mel 20 dB lower
    loud = logmel(clip(3000 * NOISE))
    assert np.mean(loud - logmel(clip(300 * NOISE))) == pytest.approx(20, abs=0.01)


def test_clips_leave_nothing_to_those_that_follow() -> None:
    # buffers are reused: neither another clip nor another length may shine through
    samples = NOISY["noise"]
    first = logmel(samples)
    kept = first.copy()
    logmel(NOISY["full scale"])
    np.testing.assert_array_equal(first, kept)  # a result is the caller's own
    logmel(NOISY["a third of a clip"])
    np.testing.assert_array_equal(logmel(samples), kept)


def test_what_lies_in_the_transforms_memory_is_not_copied() -> None:
    """A mix is written there, and stored from there."""
    for n_samples in (160_000, 16_000, 160_000):
        samples, memory = NOISY["noise"][:n_samples], sample_memory(n_samples, 16_000)
        assert memory is not None
        memory[:] = samples
        assert sample_memory(n_samples, 16_000) is memory
        np.testing.assert_array_equal(logmel(memory), logmel(samples.copy()))
    assert sample_memory(16_000, 96_000) is None, "nothing is compiled for that rate"


@pytest.mark.parametrize(
    ("shape", "dtype"), [((313, 128), "float32"), ((1, 128), "float32"), ((40, 64), "float16"), ((2, 9, 40), "float32")]
)
def test_sums_of_bands_are_those_of_doubles_frame_after_frame(shape: tuple[int, ...], dtype: str) -> None:
    logmel = np.random.default_rng(0).normal(-60, 20, shape).astype(dtype)
    values = logmel.astype(np.float64)
    totals, squares = np.zeros((2, *shape[:-2], shape[-1]))
    for frame in range(shape[-2]):
        totals += values[..., frame, :]
        squares += values[..., frame, :] ** 2
    for found, expected in zip(band_sums(logmel), (totals, squares), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_sums_of_several_clips_are_those_of_each_added_in_their_order() -> None:
    clips = np.random.default_rng(1).normal(-60, 20, (5, 2, 40, 8)).astype(np.float32)
    sums, totals, squares = BandSums(clips.shape[1:]), np.zeros((2, 8)), np.zeros((2, 8))
    for number, one in enumerate(clips, start=1):
        sums.add(one)
        of_one = band_sums(one)
        totals, squares = totals + of_one[0], squares + of_one[1]
        for found, expected in zip(sums.sums, (totals, squares), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert sums.n_clips == number
    with pytest.raises(ValueError, match=r"expected a log-mel of shape \(2, 40, 8\), got \(40, 8\)"):
        sums.add(clips[0, 0])


@pytest.mark.parametrize("asked", [{}, {"stft": True}, {"n_mels": 64}], ids=str)
@pytest.mark.parametrize("shape", [(16_000,), (2, 16_000)], ids=str)
def test_features_chosen_once_for_many_clips_are_those_of_each(asked: dict[str, Any], shape: tuple[int, ...]) -> None:
    settings = FeatureSettings(**asked)
    samples = np.random.default_rng(2).integers(-9000, 9000, shape).astype(np.int16)
    found, expected = features_of(settings, 16_000, shape)(samples), clip_features(samples, settings)
    assert list(found) == list(expected)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


def test_threads_give_the_same_bits() -> None:
    clips = [clip(3000 * NOISE[i : i + 48_000 + 512 * (i % 3)]) for i in range(48)]
    alone = [logmel(samples) for samples in clips]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(logmel, clips * 3))
    for expected, found in zip(alone * 3, together, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        (np.zeros(1000, np.float32), r"float32 of shape \(1000,\)"),
        (np.zeros((2, 1000), np.int16), r"int16 of shape \(2, 1000\)"),
    ],
    ids=["floats, whose full scale is another", "two clips"],
)
def test_other_samples_are_refused(samples: np.ndarray, found: str) -> None:
    with pytest.raises(ValueError, match=f"expected one clip of int16 samples, got {found}"):
        logmel(samples)
