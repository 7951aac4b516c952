"""Levels are exact, whatever the samples."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mimiidg_build.audio.level import level
from tests.audio.sounds import CLIP


@pytest.mark.parametrize(
    ("samples", "power", "peak", "why"),
    [
        ([0, 0], 0.0, 0.0, "silence"),
        ([-32768], 1.0, 1.0, "the most negative sample is full scale, though its absolute value is no int16"),
        ([32767], (32767 / 32768) ** 2, 32767 / 32768, "the most positive sample is not quite full scale"),
        ([1, 0, 0, 0], 0.25 / 2**30, 1 / 32768, "the smallest step"),
        ([-32768] * 3 + [32767], (3 + (32767 / 32768) ** 2) / 4, 1.0, "squares beyond int16 and int32 do not wrap"),
    ],
)
def test_level_of_known_clips(samples: list[int], power: float, peak: float, why: str) -> None:
    assert level(np.array(samples, np.int16)) == (power, peak), why


@given(hnp.arrays(np.int16, st.integers(1, 300)))
def test_level_of_integers_is_exact(samples: np.ndarray) -> None:
    exact = Fraction(sum(int(s) ** 2 for s in samples), len(samples) * 2**30)
    assert level(samples) == (float(exact), max(abs(int(s)) for s in samples) / 32768)


def test_level_of_a_whole_clip_is_exact() -> None:
    assert level(CLIP)[0] == float(Fraction(int((CLIP.astype(np.int64) ** 2).sum()), 160_000 * 2**30))


def test_level_of_floats_is_summed_in_double() -> None:
    # in single precision the sum of a whole clip's small squares stands still long before its end
    assert level(np.full(160_000, 0.1, np.float32)) == pytest.approx(
        (float(np.float32(0.1)) ** 2, np.float32(0.1)), 1e-12
    )


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_level_of_several_channels_is_that_of_all_their_samples(dtype: type) -> None:
    channels = CLIP[:6000].reshape(3, 2000) if dtype is np.int16 else (CLIP[:6000] / 32768).reshape(3, 2000)
    channels = channels.astype(dtype)
    assert level(channels) == level(channels.reshape(-1))
    assert level(channels)[0] == pytest.approx(np.mean([level(channel)[0] for channel in channels]), rel=1e-12)
