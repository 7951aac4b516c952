"""Where and when a recording is louder, or quieter, than the training clips of its section: by band and time.

A clip's log-mel against mean and standard deviation of every mel band over all frames of the training clips, averaged
over cells of half a second and an eighth of the bands' number; axes are (frame, mel). The cells that lie furthest from
the mean, in standard deviations, are the loudest differences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimiidg_build.features import hz_from_mel, mel_from_hz
from mimiidg_build.schemas.variants import FeatureSettings

CELL_S = 0.5
CELLS_OF_BANDS = 16
N_LARGEST = 5

Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """A stretch of time and a range of frequencies: how many dB above the training clips' mean, and how many of their
    standard deviations that is. Negative: below."""

    from_s: float
    to_s: float
    from_hz: float
    to_hz: float
    difference_db: float
    deviations: float


def loudest_differences(
    logmel: npt.NDArray[np.floating], mean_db: Float, std_db: Float, features: FeatureSettings, sample_rate: int
) -> list[Difference]:
    """The cells of a clip that lie furthest from the training clips, the furthest first.

    Parameters
    ----------
    logmel : np.ndarray [shape=(n_frames, n_mels)], dB
    mean_db, std_db : np.ndarray [shape=(n_mels,)], dB
        Over the training clips.
    features : FeatureSettings
        How the log-mel was computed.
    sample_rate : int, Hz

    Returns
    -------
    list of Difference
        At most ``N_LARGEST``.
    """
    excess_db: Float = logmel.astype(np.float64) - mean_db
    frames = _edges(len(logmel), max(1, round(CELL_S * sample_rate / features.hop_length)))
    bands = _edges(logmel.shape[1], max(1, logmel.shape[1] // CELLS_OF_BANDS))
    of_cells_db, deviations = (_cell_means(values, frames, bands) for values in (excess_db, excess_db / std_db))
    # stable: of equal cells the earlier and lower first
    order = np.argsort(-np.abs(deviations), axis=None, kind="stable")[:N_LARGEST]
    edges_hz, frame_s = band_edges_hz(features, sample_rate), features.hop_length / sample_rate
    return [
        Difference(
            from_s=float(frames[i] * frame_s),
            to_s=float(min(frames[i + 1], len(logmel) - 1) * frame_s),
            from_hz=float(edges_hz[bands[j]]),
            to_hz=float(edges_hz[bands[j + 1] + 1]),
            difference_db=float(of_cells_db[i, j]),
            deviations=float(deviations[i, j]),
        )
        for i, j in zip(*np.unravel_index(order, deviations.shape), strict=True)
    ]


def band_edges_hz(features: FeatureSettings, sample_rate: int) -> Float:
    """Edges of the mel bands [shape=(n_mels + 2,)]: band k goes from edge k over its centre, edge k + 1, to k + 2."""
    ends = (features.f_min_hz, features.f_max_hz or sample_rate / 2)
    lowest, highest = (float(mel_from_hz(frequency, features.mel_scale)) for frequency in ends)
    return hz_from_mel(np.linspace(lowest, highest, features.n_mels + 2), features.mel_scale)


def _edges(n: int, step: int) -> npt.NDArray[np.int64]:
    """Where cells begin, and the end; what is left over joins the last.

    >>> _edges(7, 3).tolist(), _edges(2, 3).tolist()
    ([0, 3, 7], [0, 2])
    """
    return np.append(np.arange(max(1, n // step)) * step, n)


def _cell_means(values: Float, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> Float:
    sums = np.add.reduceat(np.add.reduceat(values, rows[:-1], axis=0), columns[:-1], axis=1)
    means: Float = sums / np.outer(np.diff(rows), np.diff(columns))
    return means
