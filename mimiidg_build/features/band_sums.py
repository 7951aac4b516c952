"""Sums over the frames of log-mel spectrograms, from which the statistics of their bands follow."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


def band_sums(logmel: npt.NDArray[np.floating[Any]]) -> tuple[Float64, Float64]:
    """Sums of every band's values and of their squares, over the frames of one clip.

    Compiled, 0.01 ms a clip: numpy takes 0.06, for the most part to copy the values as doubles. Frame after frame in
    double precision, so the sums have the same bits on every processor.

    Parameters
    ----------
    logmel : np.ndarray [shape=([n_channels,] n_frames, n_mels)], float16 or float32, dB

    Returns
    -------
    totals, squares : np.ndarray [shape=([n_channels,] n_mels)], float64
    """
    # half a second of import, which deciding what to build does without
    from mimiidg_build.kernels import entries

    values = np.ascontiguousarray(logmel, np.float32)  # exact
    if values.ndim == 2:
        return entries.band_sums(values)
    totals, squares = zip(*map(entries.band_sums, values), strict=True)
    return np.stack(totals), np.stack(squares)
