"""The mix of one clip: y = attenuation (x + sum of gain n), rounded to 16 bits. A pure function of its arguments.

x is the clip, n a noise clip. A noise clip has one channel, which is added alike to every channel of the clip. Powers
are means over all channels and samples: so the noise as added has the power of its one channel, and an SNR is that of
the section's mean power over it. Samples are int16 at full scale 32768, noise int16 as well or float32 at full scale 1.
Nothing ever wraps: what passes full scale (only under ``full_scale = "saturate"``) is saturated and counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mimiidg_build.audio.level import FULL_SCALE, Float32, Int16

RENDER_VERSION = "render-3"  # part of a store's fingerprint: a change of one bit of any mix is a new version
INT16, FLOAT32 = np.dtype(np.int16), np.dtype(np.float32)


class Mixed(NamedTuple):
    """A rendered clip.

    Attributes
    ----------
    samples : np.ndarray [shape of the clip], int16
    added_power : float
        Mean square, at full scale 1, of y / attenuation - x over all channels and samples: of the noise as it is in the
        stored samples, rounding and saturation included.
    n_saturated : int
        Samples that passed full scale.
    """

    samples: Int16
    added_power: float
    n_saturated: int


def mix(
    clip: Int16,
    layers: Sequence[tuple[Int16 | Float32, float]],
    attenuation: float = 1.0,
    out: Int16 | None = None,
) -> Mixed:
    """Mix one clip.

    Parameters
    ----------
    clip : np.ndarray [shape=(n_samples,) or (n_channels, n_samples)], int16
    layers : sequence of (noise clip [shape=(n_samples,)], int16 or float32; gain)
        Two at most; each is added to every channel.
    attenuation : float in (0, 1]
    out : np.ndarray [shape of the clip], int16, optional
        Contiguous memory that the mix is written to, if anything is mixed.

    Returns
    -------
    Mixed

    Raises
    ------
    ValueError
        More than two layers, or one that is not as long as the clip.
    """
    if not layers and attenuation == 1:
        return Mixed(clip, 0.0, 0)
    if len(layers) > 2 or [noise for noise, _ in layers if noise.shape != clip.shape[-1:]]:
        found = ", ".join(str(noise.shape) for noise, _ in layers)
        raise ValueError(
            f"expected at most two layers of noise of shape {clip.shape[-1:]}, as the clip is, got {found}"
        )
    # half a second of import, which deciding what to build does without
    from mimiidg_build.kernels import entries

    clip = np.ascontiguousarray(clip)
    samples = np.empty_like(clip) if out is None else out
    channels, mixes = ([clip], [samples]) if clip.ndim == 1 else (clip, samples)
    (first, first_gain), (second, second_gain) = _two_layers(channels[0], layers, attenuation)
    n_saturated = clip_clip = clip_mixed = mixed_mixed = 0
    for channel, mixed in zip(channels, mixes, strict=True):
        sums = entries.mix(channel, attenuation, first, first_gain, second, second_gain, mixed)
        n_saturated, clip_clip = n_saturated + sums[0], clip_clip + sums[1]
        clip_mixed, mixed_mixed = clip_mixed + sums[2], mixed_mixed + sums[3]
    # sum of (y / attenuation - x)^2, multiplied out: the three sums are exact, so nothing is lost in the difference
    added = mixed_mixed / attenuation**2 - 2 * clip_mixed / attenuation + clip_clip
    # never negative but for rounding, where next to nothing was added
    return Mixed(samples, max(0.0, added) / clip.size / FULL_SCALE**2, n_saturated)


def _two_layers(
    clip: Int16, layers: Sequence[tuple[Int16 | Float32, float]], attenuation: float
) -> list[tuple[Int16 | Float32, float]]:
    """The layers as the compiled code takes them: exactly two, of one type, gains in 16-bit steps and attenuated."""
    dtype: Any = FLOAT32 if [noise for noise, _ in layers if noise.dtype != INT16] else INT16
    two = []
    for noise, gain in layers:
        # by the layer's own type: int16 noise that becomes float32 beside the other layer is still in 16-bit steps
        scale = attenuation * (1 if noise.dtype == INT16 else FULL_SCALE)
        two.append((np.ascontiguousarray(noise, dtype), gain * scale))
    while len(two) < 2:  # a layer that is not there is any samples at a gain of 0
        two.append((two[0][0] if two else clip, 0.0))
    return two


def added_noise_snr_db(a: float, added_power: float) -> float:
    """10 log10(a / b); infinite where nothing was added.

    >>> added_noise_snr_db(1.0, 0.1)
    10.0
    """
    return 10 * math.log10(a / added_power) if added_power > 0 else math.inf
