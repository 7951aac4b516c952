"""Level of a clip: power and peak, both at full scale 1.

A clip is int16 [shape=(n_samples,) or (n_channels, n_samples)]. Its power is the mean square and its peak the largest
absolute value of samples / 32768, over all of its channels. Samples that were never 16-bit (noise that was resampled,
or recorded as floats) are float32, and full scale is 1 there.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FULL_SCALE = 32768  # what full scale 1 is in 16-bit samples; the largest of them is one less

Int16 = npt.NDArray[np.int16]
Float32 = npt.NDArray[np.float32]


def level(samples: Int16 | Float32) -> tuple[float, float]:
    """Power and peak of a clip.

    Integer samples are summed exactly, floating ones in float64.

    Parameters
    ----------
    samples : np.ndarray [shape=(n_samples,) or (n_channels, n_samples)], int16, or float32 at full scale 1

    Returns
    -------
    power : float
        Mean square over all channels and samples.
    peak : float
        Largest absolute value in any channel.

    >>> level(np.array([16384, -32768], np.int16))
    (0.625, 1.0)
    """
    if samples.dtype == np.int16:
        # half a second of import, which deciding what to build does without
        from mimiidg_build.kernels.entries import sum_and_peak

        total, peak = sum_and_peak(np.ascontiguousarray(samples, np.int16).reshape(-1))
        return total / samples.size / FULL_SCALE**2, peak / FULL_SCALE
    values = samples.astype(np.float64).reshape(-1)
    # not np.dot: BLAS would start threads of its own in every worker, and sum floats in an order of its choice
    return float(np.einsum("i,i->", values, values)) / len(values), max(float(values.max()), -float(values.min()))
