"""Rendering: y = attenuation (x + sum of gain times noise clip), rounded to 16 bits. A pure function of its arguments.

Samples are int16 [shape=(n_samples,)] at full scale 32768, noise float32 at full scale 1. Nothing ever wraps: what
passes full scale (only under ``full_scale = "saturate"``) is clipped and counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mimiidg_build.audio import FULL_SCALE, Float32, Int16

VERSION = "render-2"


class Mixed(NamedTuple):
    """A rendered clip, the power of the noise in it as measured from the stored samples, and its clipped samples."""

    samples: Int16
    added_power: float
    n_saturated: int


def mix(clip: Int16, layers: Sequence[tuple[Int16 | Float32, float]], attenuation: float = 1.0) -> Mixed:
    """Mix one clip.

    Parameters
    ----------
    clip : np.ndarray [shape=(n_samples,)], int16
    layers : sequence of (noise clip [shape=(n_samples,)], int16 or float32 at full scale 1; gain)
    attenuation : float in (0, 1]

    Returns
    -------
    Mixed
        ``added_power`` is the mean square of y / attenuation - x, quantisation included.
    """
    if not layers and attenuation == 1:
        return Mixed(clip, 0.0, 0)
    machine = clip.astype(np.float32)
    mixed = machine * np.float32(attenuation)
    for noise, gain in layers:
        full_scale = 1 if noise.dtype == np.int16 else FULL_SCALE
        mixed += noise * np.float32(gain * attenuation * full_scale)
    np.rint(mixed, out=mixed)
    n_saturated = 0
    if mixed.max() > 32767 or mixed.min() < -32768:  # rare, and counting takes five times as long
        n_saturated = int(np.count_nonzero((mixed > 32767) | (mixed < -32768)))
        np.clip(mixed, -32768, 32767, out=mixed)
    samples = mixed.astype(np.int16)
    mixed *= np.float32(1 / attenuation)
    mixed -= machine
    # summed in single precision, pairwise: right to some 1e-7, an eighth of a double sum's time
    np.square(mixed, out=mixed)
    return Mixed(samples, float(mixed.mean(dtype=np.float32)) / FULL_SCALE**2, n_saturated)


def added_noise_snr_db(a: float, added_power: float) -> float:
    """10 log10(a / b); infinite where nothing was added.

    >>> added_noise_snr_db(1.0, 0.1)
    10.0
    """
    return 10 * math.log10(a / added_power) if added_power > 0 else math.inf
