"""Rendering one clip: y = attenuation (x + sum of gain times noise), rounded, never wrapped, the SNR as planned."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mimiidg_build.audio.level import level
from mimiidg_build.kernels.mixing import BLOCK
from mimiidg_build.mixing.mix import added_noise_snr_db, mix
from mimiidg_build.mixing.mix_plan import LARGEST_SAMPLE, gains

CLIP = np.array([0, 1, -1, 1000, -32768, 32767], np.int16)
clips = hnp.arrays(np.int16, 64)
noises = hnp.arrays(np.float32, 64, elements=st.floats(-2, 2, width=32))
layer_lists = st.lists(st.tuples(noises, st.floats(0, 30)), max_size=2)


def reference(clip: np.ndarray, layers: list[tuple[np.ndarray, float]], attenuation: float) -> np.ndarray:
    """The formula in double precision, at full scale 32768, before rounding."""
    total = clip.astype(np.float64)
    for noise, gain in layers:
        total = total + 32768 * gain * noise.astype(np.float64)
    return attenuation * total


@settings(max_examples=150, deadline=None)
@given(clips, layer_lists, st.floats(0.01, 1))
def test_it_is_the_formula_and_never_wraps(
    clip: np.ndarray, layers: list[tuple[np.ndarray, float]], attenuation: float
) -> None:
    exact = reference(clip, layers, attenuation)
    mixed = mix(clip, layers, attenuation)
    assert mixed.samples.dtype == np.int16
    assert np.abs(mixed.samples - np.clip(exact, -32768, 32767)).max() <= 1  # half a step, and single precision
    sure = np.count_nonzero((exact > 32769) | (exact < -32770))
    possible = np.count_nonzero((exact > 32766) | (exact < -32767))
    assert sure <= mixed.n_saturated <= possible


@given(clips, clips, st.floats(0, 4), st.floats(0.01, 1))
def test_noise_as_it_lies_in_a_bank_is_the_same_noise(
    clip: np.ndarray, noise: np.ndarray, gain: float, attenuation: float
) -> None:
    noise = np.resize(noise, len(clip))
    as_stored = mix(clip, [(noise, gain)], attenuation)
    as_float = mix(clip, [(noise * np.float32(1 / 32768), gain)], attenuation)
    np.testing.assert_array_equal(as_stored.samples, as_float.samples)
    assert as_stored[1:] == as_float[1:]


def test_what_lies_in_the_same_memory_is_mixed_anew() -> None:
    """Its address is looked up once, whatever lies there next, and whichever memory comes in between."""
    rng, layer, other, out = np.random.default_rng(0), *np.empty((3, 64), np.int16)
    for number in range(6):
        noise = (layer, other)[number % 3 == 1]
        noise[:] = rng.integers(-900, 900, 64)
        clip = rng.integers(-900, 900, 64).astype(np.int16)
        expected = np.rint(clip + 0.5 * noise)
        found = mix(clip, [(noise, 0.5)], 1.0, out if number % 2 else None)
        np.testing.assert_array_equal(found.samples, expected)
        np.testing.assert_allclose(found.added_power, np.mean((expected - clip) ** 2) / 32768**2)


def test_the_mix_is_written_where_it_is_wanted() -> None:
    expected, out = mix(CLIP, [(CLIP, 0.5)], 0.5), np.empty_like(CLIP)
    mixed = mix(CLIP, [(CLIP, 0.5)], 0.5, out)
    assert mixed.samples is out
    np.testing.assert_array_equal(out, expected.samples)
    assert mixed[1:] == expected[1:]


@pytest.mark.parametrize("n_samples", [BLOCK - 1, BLOCK, 2 * BLOCK + 1])
def test_sums_over_several_blocks_are_exact(n_samples: int) -> None:
    """What is added is measured over all of the clip, and every saturated sample counts."""
    clip = np.random.default_rng(0).integers(-32768, 32768, n_samples).astype(np.int16)
    mixed = mix(clip, [(clip, 1.0)])
    twice = 2 * clip.astype(np.int64)
    np.testing.assert_array_equal(mixed.samples, np.clip(twice, -32768, 32767))
    assert mixed.n_saturated == np.count_nonzero((twice < -32768) | (twice > 32767))
    added = mixed.samples.astype(np.int64) - clip
    assert mixed.added_power == (added @ added) / n_samples / 32768**2


@given(clips)
def test_no_noise_leaves_the_samples_alone(clip: np.ndarray) -> None:
    mixed = mix(clip, [])
    np.testing.assert_array_equal(mixed.samples, clip)
    assert (mixed.added_power, mixed.n_saturated) == (0.0, 0)


def test_a_clip_without_noise_is_attenuated_with_its_section() -> None:
    # a plan that a user gives may add noise to some clips of a section only: their level relations must hold
    mixed = mix(CLIP, [], attenuation=0.5)
    np.testing.assert_array_equal(mixed.samples, [0, 0, 0, 500, -16384, 16384])
    assert mixed.n_saturated == 0


@pytest.mark.parametrize(
    ("noise", "gain", "attenuation", "expected", "n_saturated", "why"),
    [
        (1.0, 0.0, 1.0, [0, 1, -1, 1000, -32768, 32767], 0, "a gain of zero adds nothing, full scale is not saturated"),
        (1.0, 1 / 32768, 1.0, [1, 2, 0, 1001, -32767, 32767], 1, "one step beyond the largest sample is clipped"),
        (-1.0, 1 / 32768, 1.0, [-1, 0, -2, 999, -32768, 32766], 1, "and one beyond the smallest"),
        (1.0, 2.0, 1.0, [32767] * 6, 6, "twice full scale lifts even -32768 beyond the largest sample"),
        (-1.0, 100.0, 1.0, [-32768] * 6, 6, "nothing wraps, however loud"),
        (1.0, 1 / 32768, 0.5, [0, 1, 0, 500, -16384, 16384], 0, "attenuation takes machine and noise; ties go to even"),
        (0.5, 1.0, 0.5, [8192, 8192, 8192, 8692, -8192, 24576], 0, "noise is at full scale 1"),
    ],
)
def test_known_mixes(
    noise: float, gain: float, attenuation: float, expected: list[int], n_saturated: int, why: str
) -> None:
    mixed = mix(CLIP, [(np.full(6, noise, np.float32), gain)], attenuation)
    assert mixed.samples.tolist() == expected, why
    assert mixed.n_saturated == n_saturated, why


def test_the_arguments_are_left_as_they_are() -> None:
    noise = np.full(6, 0.25, np.float32)
    clip = CLIP.copy()
    mix(clip, [(noise, 0.5), (noise, 0.5)], 0.5)
    np.testing.assert_array_equal(clip, CLIP)
    np.testing.assert_array_equal(noise, 0.25)


@settings(max_examples=80, deadline=None)
@given(st.floats(-20, 20), st.floats(0.003, 0.2), st.floats(0.003, 0.2), st.integers(1, 2), st.integers(0, 2**32 - 1))
def test_the_measured_snr_is_the_planned_one(
    snr: float, machine_rms: float, noise_rms: float, n_layers: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    clip = np.clip(32768 * machine_rms * rng.normal(size=16_000), -32768, 32767).astype(np.int16)
    layers = [(noise_rms * rng.normal(size=16_000)).astype(np.float32) for _ in range(n_layers)]
    a, peak = level(clip)
    cross = float(np.mean(layers[0].astype(float) * layers[-1])) if n_layers == 2 else 0.0
    found = gains(a, snr, [level(layer)[0] for layer in layers], cross)
    bound = peak + sum(gain * level(layer)[1] for gain, layer in zip(found, layers, strict=True))
    attenuation = min(1.0, LARGEST_SAMPLE / bound)
    mixed = mix(clip, list(zip(layers, found, strict=True)), attenuation)
    assert mixed.n_saturated == 0  # that is what the bound is for
    assert added_noise_snr_db(a, mixed.added_power) == pytest.approx(snr, abs=0.05)


def test_the_added_power_is_measured_from_the_stored_samples() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 6).astype(np.float32)
    mixed = mix(CLIP, [(noise, 2.0)], 0.5)
    expected = np.mean((mixed.samples / 0.5 - CLIP.astype(float)) ** 2) / 32768**2
    assert mixed.added_power == pytest.approx(expected, rel=1e-6)
    clipped = mix(CLIP, [(np.full(6, 1.0, np.float32), 4.0)])  # what was clipped away was not added
    assert clipped.added_power == pytest.approx(np.mean((32767 - CLIP.astype(float)) ** 2) / 32768**2, rel=1e-6)


@pytest.mark.parametrize(
    ("a", "added", "expected", "why"),
    [
        (1.0, 0.0, math.inf, "nothing was added"),
        (0.01, 0.01, 0.0, "as loud as the machine"),
        (0.01, 0.1, -10.0, "noise louder than the machine"),
        (0.01, 0.01 / 2, 10 * math.log10(2), "half the power"),
    ],
)
def test_added_noise_snr(a: float, added: float, expected: float, why: str) -> None:
    assert added_noise_snr_db(a, added) == pytest.approx(expected), why


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int16, (3, 64)), layer_lists, st.floats(0.01, 1))
def test_every_channel_gets_the_same_noise(
    clip: np.ndarray, layers: list[tuple[np.ndarray, float]], attenuation: float
) -> None:
    """What is measured is the mean over all channels, what is counted their sum."""
    mixed, alone = mix(clip, layers, attenuation), [mix(channel, layers, attenuation) for channel in clip]
    np.testing.assert_array_equal(mixed.samples, [one.samples for one in alone])
    assert mixed.added_power == pytest.approx(np.mean([one.added_power for one in alone]), rel=1e-9, abs=1e-12)
    assert mixed.n_saturated == sum(one.n_saturated for one in alone)


def test_noise_of_several_channels_is_refused() -> None:
    clip = np.zeros((2, 6), np.int16)
    with pytest.raises(ValueError, match=r"noise of shape \(6,\), as the clip is, got \(2, 6\)"):
        mix(clip, [(clip, 1.0)])
