"""Samples in and out. A clip is int16 [shape=(n_samples,)], 16 kHz, mono; its power is the mean square and its peak
the largest absolute value of samples / 32768, so both refer to full scale 1.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import scipy.signal
import soundfile as sf

from mimiidg_build.errors import DataError

FULL_SCALE = 32768

Int16 = npt.NDArray[np.int16]
Float32 = npt.NDArray[np.float32]


def level(samples: npt.NDArray[np.int16] | Float32) -> tuple[float, float]:
    """Power and peak of a clip.

    Integer samples are summed exactly (their squares fit float64's 53 bits), floating ones in float64.

    Parameters
    ----------
    samples : np.ndarray [shape=(n_samples,)], int16, or float32 in [-1, 1]

    Returns
    -------
    power : float
        Mean square.
    peak : float
        Largest absolute value.

    >>> level(np.array([16384, -32768], np.int16))
    (0.625, 1.0)
    """
    scale = FULL_SCALE if samples.dtype == np.int16 else 1
    values = samples.astype(np.float64)
    power = float(np.einsum("i,i->", values, values)) / len(values) / scale**2
    return power, float(max(values.max(), -values.min())) / scale


def decode_clip(data: bytes, name: str, sample_rate: int = 16_000, n_samples: int = 160_000) -> Int16:
    """The samples of one machine clip, checked against the release's format.

    Parameters
    ----------
    data : bytes
        A WAV file.
    name : str
        Archive and member, for messages.

    Returns
    -------
    np.ndarray [shape=(n_samples,)], int16

    Raises
    ------
    DataError
        Not 16-bit PCM mono at ``sample_rate`` with ``n_samples`` samples, or truncated.
    """
    try:
        with sf.SoundFile(io.BytesIO(data)) as wav:
            found = (wav.samplerate, wav.channels, wav.subtype, wav.frames)
            if found[:3] == (sample_rate, 1, "PCM_16") and wav.frames == n_samples:
                samples: Int16 = wav.read(dtype="int16")
                if len(samples) == n_samples:
                    return samples
                found = (*found[:3], len(samples))
    except sf.LibsndfileError as error:
        raise DataError(
            f"{name}: not a readable WAV file ({_reason(error)}). The file is damaged or of another format."
        ) from None
    raise DataError(f"{name}: {_mismatch(found, sample_rate, n_samples)}")


def _reason(error: sf.LibsndfileError) -> str:
    """What libsndfile says, without the name of a file that is in memory only."""
    return str(error.error_string).rstrip(".")


def _mismatch(found: tuple[int, int, str, int], sample_rate: int, n_samples: int) -> str:
    """What is wrong with a clip's format, and the likely cause."""
    rate, channels, subtype, frames = found
    expected = f"expected {sample_rate} Hz, 1 channel, PCM_16, {n_samples} samples"
    seen = f"found {rate} Hz, {channels} channel{'s' * (channels != 1)}, {subtype}, {frames} samples"
    if rate != sample_rate:
        cause = "it was resampled, or belongs to another dataset"
    elif channels != 1:
        cause = "it was taken from a multi-channel recording; the release keeps the first channel only"
    elif subtype != "PCM_16":
        cause = "it was converted to another sample format"
    else:
        cause = "it is truncated" if frames < n_samples else "it was not cut to the clip's length"
    return f"{expected}, {seen}. Likely cause: {cause}."


def encode_wav(samples: Int16, sample_rate: int = 16_000) -> bytes:
    """A canonical WAV file: 44 bytes of header and the samples, as the released clips are.

    >>> len(encode_wav(np.zeros(160_000, np.int16)))
    320044
    """
    size = samples.nbytes
    header = b"RIFF" + (36 + size).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    header += b"\x01\x00\x01\x00" + sample_rate.to_bytes(4, "little") + (2 * sample_rate).to_bytes(4, "little")
    header += b"\x02\x00\x10\x00" + b"data" + size.to_bytes(4, "little")
    return header + samples.astype("<i2", copy=False).tobytes()


def noise_pieces(
    file: BinaryIO, name: str, sample_rate: int = 16_000, n_samples: int = 160_000
) -> Iterator[Int16 | Float32]:
    """A noise recording as clip-long pieces: first channel, resampled, cut; a short recording is repeated.

    A piece is read, resampled and given before the next is touched, so memory does not grow with the recording. What
    is left over at the end of a recording longer than a clip is dropped.

    Parameters
    ----------
    file : binary file
        Anything libsndfile reads: any sample rate, channels, length.
    name : str
        For messages.

    Yields
    ------
    np.ndarray [shape=(n_samples,)], int16 where the recording is 16-bit at ``sample_rate``, else float32

    Raises
    ------
    DataError
        Unreadable, empty, or with samples that are no numbers.
    """
    try:
        with sf.SoundFile(file) as wav:
            length = _resampled_length(wav.frames, wav.samplerate, sample_rate)
            if length == 0:
                raise DataError(f"{name}: the noise recording is empty. Remove it or replace it.")
            exact = wav.samplerate == sample_rate and wav.subtype == "PCM_16"
            for index in range(max(1, length // n_samples)):
                piece = _read_piece(wav, index, sample_rate, n_samples, "int16" if exact else "float32")
                if not np.isfinite(piece).all():
                    raise DataError(f"{name}: piece {index} holds samples that are no numbers (NaN or infinite).")
                yield _repeated(piece, n_samples)
    except sf.LibsndfileError as error:
        raise DataError(
            f"{name}: not a readable sound file ({_reason(error)}). It is damaged or of another format."
        ) from None


def _repeated(piece: Int16 | Float32, n_samples: int) -> Int16 | Float32:
    """A short recording again and again, to a clip's length."""
    return piece[np.arange(n_samples) % len(piece)] if len(piece) < n_samples else piece


def _resampled_length(frames: int, rate: int, sample_rate: int) -> int:
    """Whole samples after resampling.

    >>> _resampled_length(480_000, 48_000, 16_000)
    160000
    """
    return frames * sample_rate // rate


def _read_piece(wav: sf.SoundFile, index: int, sample_rate: int, n_samples: int, dtype: str) -> Int16 | Float32:
    """Piece ``index`` of a recording at the wanted rate, exactly as cut from the whole resampled recording: the
    polyphase filter's reach is read on both sides and trimmed off again."""
    common = math.gcd(wav.samplerate, sample_rate)
    up, down = sample_rate // common, wav.samplerate // common
    # resample_poly's filter reaches 10 max(up, down) samples at the common rate. Cut at multiples of `down`, its phase
    # is kept: every `down` samples of the recording are `up` resampled ones.
    reach = math.ceil((10 * max(up, down) / up + 1) / down) if up != down else 0
    first = max(0, index * n_samples // up - reach)
    last = -(-(index + 1) * n_samples // up) + reach
    wav.seek(first * down)
    block = wav.read(min(wav.frames, last * down) - first * down, dtype=dtype, always_2d=True)[:, 0]
    if up == down:
        return np.ascontiguousarray(block)
    resampled = scipy.signal.resample_poly(block, up, down)
    offset = index * n_samples - first * up
    end = min(offset + n_samples, _resampled_length(len(block), wav.samplerate, sample_rate))
    return np.ascontiguousarray(resampled[offset:end], dtype=np.float32)
