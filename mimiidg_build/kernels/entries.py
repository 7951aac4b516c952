"""The compiled functions of this room, as Python calls them: they have the memory that the machine code works in.

Compiled when first called, some ten seconds once on each machine; loaded from the cache in every later process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mimiidg_build.kernels.layout import LANES, N_BANDS, N_POINTS, SCRATCH_SIZE, WORK_SIZE
from mimiidg_build.kernels.machine_code import MachineCode

Int16 = npt.NDArray[np.int16]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

CACHE_LINE = 64  # bytes

INT16S, INT32S, INT64S, FLOATS, DOUBLES = [np.int16], [np.int32], [np.int64], [np.float32], [np.float64]

_sum_and_peak = MachineCode("level", "sum_and_peak", INT16S, INT64S)
_mix = {
    np.dtype(noise[0]): MachineCode(
        "mixing", "mix", INT16S, np.float32, noise, np.float32, noise, np.float32, INT16S, INT64S
    )
    for noise in (INT16S, FLOATS)
}
_logmel = MachineCode(
    *("logmel", "logmel", INT32S, FLOATS, np.float32, np.int64, INT64S, INT64S, FLOATS),
    *(INT32S, FLOATS, INT32S, INT32S, FLOATS, FLOATS),
)
_mel_bands = MachineCode(*("mel", "mel_bands", DOUBLES, INT64S, INT64S, FLOATS, np.int64, np.int64, DOUBLES, FLOATS))
_decibels = MachineCode("decibels", "decibels", FLOATS, INT32S, np.float32, np.float32, INT32S, FLOATS)
_add_band_sums = MachineCode("bands", "add_band_sums", np.int64, np.int64, *[DOUBLES] * 4, FLOATS)


def load_all() -> None:
    """Have all of them ready, for processes that are forked from this one."""
    for code in (_sum_and_peak, *_mix.values(), _logmel, _mel_bands, _decibels, _add_band_sums):
        code.load()


class _Bound(threading.local):
    """A thread's memory for results, and calls in which the addresses of what stays in its place are bound.

    Between two clips nearly all of the cache is lost to their samples, and what Python does about a call takes 20 us
    then in place of 5: so as little of it as can be.
    """

    def __init__(self) -> None:
        self.level_sums, self.mix_sums = np.empty(2, np.int64), np.empty(4, np.int64)
        self._level: Callable[..., None] | None = None
        self._mix: Callable[..., None] | None = None
        self._mixed_with: tuple[Any, ...] = (None, None, None)

    def level(self) -> Callable[..., None]:
        """To be called with samples."""
        if self._level is None:
            self._level = _sum_and_peak.bound(..., self.level_sums)
        return self._level

    def mix(self, *memory: Any) -> Callable[..., None]:
        """To be called with a clip, its attenuation and the layers' gains: of the clips of a shard, layers and mix lie
        in the same memory."""
        bound = self._mixed_with
        if self._mix is None or bound[0] is not memory[0] or bound[1] is not memory[1] or bound[2] is not memory[2]:
            first, second, mixed = self._mixed_with = memory
            self._mix = _mix[first.dtype].bound(..., ..., first, ..., second, ..., mixed, self.mix_sums)
        return self._mix


_bound = _Bound()


def sum_and_peak(samples: Int16) -> tuple[int, int]:
    """Sum of squares and largest absolute value of samples [shape=(n_samples,)], exact."""
    _bound.level()(samples)
    total, peak = _bound.level_sums.tolist()
    return total, peak


def mix(
    clip: Int16,
    attenuation: float,
    first: Int16 | Float32,
    first_gain: float,
    second: Int16 | Float32,
    second_gain: float,
    mixed: Int16,
) -> tuple[int, ...]:
    """Write attenuation clip + first_gain first + second_gain second to ``mixed``, rounded, saturated at 16 bits.

    Parameters
    ----------
    clip : np.ndarray [shape=(n_samples,)], int16
    attenuation : float
        As the gains, rounded to single precision.
    first, second : np.ndarray [shape=(n_samples,)], both int16 or both float32
    first_gain, second_gain : float
        In steps of 16 bits: gains of float32 noise at full scale 1 hold the factor 32768.
    mixed : np.ndarray [shape=(n_samples,)], int16
        Written to.

    Returns
    -------
    n_saturated : int
        Samples that were beyond 16 bits.
    clip_clip, clip_mixed, mixed_mixed : int
        Exact sums of clip^2, clip mixed and mixed^2.
    """
    _bound.mix(first, second, mixed)(clip, attenuation, first_gain, second_gain)
    return tuple(_bound.mix_sums.tolist())


class LogMel(threading.local):
    """10 log10(max(mel, floor)) of a clip, centred: frame k begins half a frame before sample 512 k, zeros beyond.

    Each thread has memory of its own to work in, for clips as long as its last one. Aligned to cache lines it makes a
    clip take 0.23 ms; where numpy happens to allocate it, 0.27.

    Parameters
    ----------
    window : np.ndarray [shape=(1024,)], float32
        Half of it, over full scale: the halves that :func:`.fft.power_of_bins` leaves out, and the samples' scale.
    floor : float32
    first_row : np.ndarray [shape=(N_BANDS,)], int64
        Where a band's bins begin, in rows from LOWER: bin k is row k, or row POWER_ROWS + 512 - k, of which the
        first N_POWERS of each kind exist.
    first_weight : np.ndarray [shape=(N_BANDS + 1,)], int64
        Where a band's weights begin, and the last one's end.
    weights : np.ndarray [shape=(n_weights,)], float32
        Band after band, row by row; for each a multiple of TAPS.
    """

    def __init__(
        self, window: Float32, floor: np.float32, first_row: Int64, first_weight: Int64, weights: Float32
    ) -> None:
        self._bank = window, floor, first_row, first_weight, weights
        self._n_samples = -1

    def __call__(self, samples: Int16) -> Float32:
        """Log-mel spectrogram of a clip.

        Parameters
        ----------
        samples : np.ndarray [shape=(n_samples,)], int16

        Returns
        -------
        np.ndarray [shape=(1 + n_samples // 512, N_BANDS)], float32, dB
        """
        return self._of(samples, True)

    def power(self, samples: Int16) -> Float32:
        """Power of a clip's mel bands, of which its log-mel is the logarithm.

        Parameters
        ----------
        samples : np.ndarray [shape=(n_samples,)], int16

        Returns
        -------
        np.ndarray [shape=(1 + n_samples // 512, N_BANDS)], float32
        """
        return self._of(samples, False)

    def memory(self, n_samples: int) -> Int16:
        """This thread's memory for the samples of a clip: what lies there when it is given is not copied.

        Parameters
        ----------
        n_samples : int

        Returns
        -------
        np.ndarray [shape=(n_samples,)], int16
            It holds any samples, and is overwritten with the next clip that is given.
        """
        if n_samples != self._n_samples:
            self._allocate(n_samples)
        return self._inner

    def _of(self, samples: Int16, in_decibels: bool) -> Float32:
        if (inner := self.memory(len(samples))) is not samples:
            inner[:] = samples
        out = np.empty((1 + len(samples) // N_POINTS, N_BANDS), np.float32)
        self._run[in_decibels](out)
        return out

    def _allocate(self, n_samples: int) -> None:
        n_frames = 1 + n_samples // N_POINTS
        n_blocks = -(-n_frames // LANES) * LANES + 1  # whole groups of 16 frames; the last frame needs a block more
        padded = _aligned(n_blocks * N_POINTS, np.int16)
        self._inner = padded[N_POINTS : N_POINTS + n_samples]  # one block of zeros ahead: frame k is blocks k and k + 1
        # zeros: bands are summed beyond the powers, with weights of 0, and 0 times a stray NaN or infinity is NaN;
        # what a clip leaves there is neither
        work = _aligned(WORK_SIZE, np.float32)
        memory = (
            *(_aligned(SCRATCH_SIZE, np.int32), work, work.view(np.int32)),
            *(_aligned(N_BANDS * LANES, np.int32), _aligned(N_BANDS * LANES, np.float32)),
        )
        window, floor, *bands = self._bank
        self._run = [
            _logmel.bound(padded.view(np.int32), window, floor, in_decibels, *bands, *memory, ...)
            for in_decibels in (0, 1)
        ]
        self._n_samples = n_samples


def _aligned(size: int, dtype: type) -> npt.NDArray[Any]:
    """An array of zeros that begins with a cache line."""
    memory = np.zeros(size * np.dtype(dtype).itemsize + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + memory.size - CACHE_LINE].view(dtype)


def mel_bands(spectra: Float64, first_bin: Int64, first_weight: Int64, weights: Float32) -> Float32:
    """Mel bands of spectra, the sums in double precision and in the order of the bins.

    Parameters
    ----------
    spectra : np.ndarray [shape=(n_frames, n_bins)], float64
    first_bin : np.ndarray [shape=(n_bands,)], int64
        Where each band begins.
    first_weight : np.ndarray [shape=(n_bands + 1,)], int64
        Where a band's weights begin, and the last one's end.
    weights : np.ndarray [shape=(n_weights,)], float32
        Band after band.

    Returns
    -------
    np.ndarray [shape=(n_frames, n_bands)], float32
    """
    mel = np.empty((len(spectra), len(first_bin)), np.float32)
    _mel_bands(spectra, first_bin, first_weight, weights, *spectra.shape, np.empty(4), mel)
    return mel


def decibels(mel: Float32, floor: np.float32, factor: np.float32) -> Float32:
    """Factor 10 log10(max(mel, floor)), in the memory of a copy: ``mel`` stays.

    Parameters
    ----------
    mel : np.ndarray [shape=(n_frames, n_bands)], float32
    floor, factor : float32

    Returns
    -------
    np.ndarray [shape=(n_frames, n_bands)], float32, dB
    """
    values, out = mel.copy(), np.empty_like(mel)
    _decibels(values, values.view(np.int32), floor, factor, _scratch(mel.size), out)
    return out


class BandSums:
    """Sums of every band's values and of their squares, of spectrograms of one shape [shape=(n_frames, n_bands)].

    In double precision; of a spectrogram in the order of its frames, then of all in theirs.

    Attributes
    ----------
    totals, squares : np.ndarray [shape=(n_bands,)], float64
    """

    def __init__(self, n_frames: int, n_bands: int) -> None:
        of_one, (self.totals, self.squares) = np.zeros((2, n_bands)), np.zeros((2, n_bands))
        self._add = _add_band_sums.bound(n_frames, n_bands, *of_one, self.totals, self.squares, ...)

    def add(self, spectrogram: Float32) -> None:
        """One more of that shape."""
        self._add(spectrogram)


def _scratch(size: int) -> npt.NDArray[Any]:
    """Memory that is written before it is read."""
    return np.empty(size, np.int32)
