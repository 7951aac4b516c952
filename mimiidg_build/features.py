"""Log-mel spectrograms of stored clips, in the convention of the DCASE and MIMII DG baselines (librosa's).

16 kHz, window and FFT of 1024 samples (periodic Hann), hop 512, power spectrogram, centred with zero padding, 128 mel
bands from 0 to 8000 Hz on the Slaney scale with Slaney normalisation, 10 log10(max(mel, 2.22e-16)). Axes are
(frame, mel): a 10 s clip has 313 frames. No normalisation: level is information.

Features come from the stored samples (16-bit / 32768), so anyone can recompute them from a store alone.
"""

from __future__ import annotations

import threading
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.sparse

SAMPLE_RATE = 16_000
N_FFT = 1024
HOP = 512
N_MELS = 128
FLOOR = float(np.finfo(np.float64).eps)
VERSION = "logmel-1"  # part of a store's fingerprint: a change of one bit is a new version

Float32 = npt.NDArray[np.float32]


def n_frames(n_samples: int) -> int:
    """Frames of a clip, centred.

    >>> n_frames(160_000)
    313
    """
    return 1 + n_samples // HOP


def mel_from_hz(frequency_hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Slaney's mel scale: linear to 1 kHz (15 mel), logarithmic above.

    >>> mel_from_hz([0, 1000, 6400]).round(6).tolist()
    [0.0, 15.0, 42.0]
    """
    frequency_hz = np.asarray(frequency_hz, dtype=np.float64)
    above = 15 + 27 * np.log(np.maximum(frequency_hz, 1000) / 1000) / np.log(6.4)
    return np.where(frequency_hz < 1000, frequency_hz * 3 / 200, above)


def hz_from_mel(mel: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Inverse of :func:`mel_from_hz`.

    >>> hz_from_mel([0, 15, 42]).round(6).tolist()
    [0.0, 1000.0, 6400.0]
    """
    mel = np.asarray(mel, dtype=np.float64)
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) * (np.maximum(mel, 15) - 15) / 27))


def mel_filter_bank(sample_rate: int = SAMPLE_RATE, n_fft: int = N_FFT, n_mels: int = N_MELS) -> Float32:
    """Triangular mel filters of unit area (Slaney normalisation), as ``librosa.filters.mel``.

    Returns
    -------
    np.ndarray [shape=(n_mels, 1 + n_fft // 2)]
    """
    fft_hz = np.linspace(0, sample_rate / 2, 1 + n_fft // 2)
    edges_hz = hz_from_mel(np.linspace(0, float(mel_from_hz(sample_rate / 2)), n_mels + 2))
    ramps = edges_hz[:, None] - fft_hz[None, :]
    widths = np.diff(edges_hz)[:, None]
    weights = np.maximum(0, np.minimum(-ramps[:-2] / widths[:-1], ramps[2:] / widths[1:]))
    weights *= (2 / (edges_hz[2:] - edges_hz[:-2]))[:, None]
    return weights.astype(np.float32)


@lru_cache(maxsize=1)
def _window() -> Float32:
    """Periodic Hann window, divided by full scale so that 16-bit samples need no scaling of their own."""
    return (np.hanning(N_FFT + 1)[:-1] / 32768).astype(np.float32)


@lru_cache(maxsize=1)
def _sparse_filters() -> scipy.sparse.csr_matrix:
    """The filter bank, transposed and sparse: 1.5 % of its entries are not zero, and the product takes a third of
    the dense one's time."""
    return scipy.sparse.csr_matrix(mel_filter_bank().T)


class _Buffers(threading.local):
    """Scratch arrays, one set per thread: allocating them for each clip costs as much as the windowing."""

    n_samples = -1

    def sized(self, n_samples: int) -> _Buffers:
        if self.n_samples != n_samples:
            frames = n_frames(n_samples)
            self.padded = np.zeros(n_samples + N_FFT, np.float32)
            self.windowed = np.empty((frames, N_FFT), np.float32)
            self.power = np.empty((frames, 1 + N_FFT // 2), np.float32)
            self.n_samples = n_samples
        return self


_buffers = _Buffers()


def logmel(samples: npt.NDArray[np.int16]) -> Float32:
    """Log-mel spectrogram of one clip.

    scipy's real FFT in single precision takes 0.5 ms a clip, numpy's several times that; torch's is 0.1 ms faster
    but costs seconds of import in every worker process, more than it saves on most builds.

    Parameters
    ----------
    samples : np.ndarray [shape=(n_samples,)], int16

    Returns
    -------
    np.ndarray [shape=(n_frames, 128)], float32, dB
    """
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"expected one clip of int16 samples, got {samples.dtype} of shape {samples.shape}")
    buffers = _buffers.sized(len(samples))
    padded, power = buffers.padded, buffers.power
    padded[N_FFT // 2 : N_FFT // 2 + len(samples)] = samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP][: len(power)]
    np.multiply(frames, _window(), out=buffers.windowed)
    spectrum = scipy.fft.rfft(buffers.windowed, axis=1, overwrite_x=True)
    parts = spectrum.view(np.float32)
    np.square(parts, out=parts)
    np.add(parts[:, 0::2], parts[:, 1::2], out=power)
    mel: Float32 = np.asarray(power @ _sparse_filters())
    np.maximum(mel, np.float32(FLOOR), out=mel)
    np.log10(mel, out=mel)
    mel *= 10
    return mel
