"""Rendering: y = attenuation (x + sum of gain times noise clip), rounded to 16 bits. A pure function of its arguments.

Samples are int16 [shape=(n_samples,)] at full scale 32768, noise float32 at full scale 1. Nothing ever wraps: what
passes full scale (only under ``full_scale = "saturate"``) is clipped and counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mimiidg_build.audio.wav import FULL_SCALE, Float32, Int16

VERSION = "render-3"


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
        Two at most.
    attenuation : float in (0, 1]

    Returns
    -------
    Mixed
        ``added_power`` is the mean square of y / attenuation - x, quantisation included.
    """
    if not layers and attenuation == 1:
        return Mixed(clip, 0.0, 0)
    if len(layers) > 2 or any(noise.shape != clip.shape for noise, _ in layers):
        found = ", ".join(str(noise.shape) for noise, _ in layers)
        raise ValueError(f"expected at most two layers of noise of shape {clip.shape}, as the clip is, got {found}")
    from mimiidg_build.kernels import kernels  # half a second of import that deciding upon a build does without

    scales = [attenuation * (1 if noise.dtype == np.int16 else FULL_SCALE) for noise, _ in layers]
    gains = [np.float32(gain * scale) for (_, gain), scale in zip(layers, scales, strict=True)]
    gains += [np.float32(0)] * (2 - len(gains))  # a layer that is not there
    dtype = np.result_type(np.int16, *(noise.dtype for noise, _ in layers))
    noises = [np.ascontiguousarray(noise, dtype) for noise, _ in layers] or [clip]
    samples = np.empty_like(clip)
    n_saturated, clip_clip, clip_mixed, mixed_mixed = kernels.mix(
        np.ascontiguousarray(clip),
        np.float32(attenuation),
        noises[0],
        gains[0],
        noises[-1],
        gains[1],
        samples,
    )
    added = mixed_mixed / attenuation**2 - 2 * clip_mixed / attenuation + clip_clip
    return Mixed(samples, max(0.0, added) / len(clip) / FULL_SCALE**2, n_saturated)


def added_noise_snr_db(a: float, added_power: float) -> float:
    """10 log10(a / b); infinite where nothing was added.

    >>> added_noise_snr_db(1.0, 0.1)
    10.0
    """
    return 10 * math.log10(a / added_power) if added_power > 0 else math.inf
