"""Samples in and out. A clip is int16 [shape=(n_samples,)], 16 kHz, mono; its power is the mean square and its peak
the largest absolute value of samples / 32768, so both refer to full scale 1.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile as sf

from mimiidg_build.errors import DataError

FULL_SCALE = 32768
HEADER_BYTES = 44
NOISE_RATES = (1_000, 1_000_000)  # Hz; beyond, a header lies, and the resampling filter would fill the memory

Int16 = npt.NDArray[np.int16]
Float32 = npt.NDArray[np.float32]


def level(samples: npt.NDArray[np.int16] | Float32) -> tuple[float, float]:
    """Power and peak of a clip.

    Integer samples are summed exactly, floating ones in float64.

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
    if samples.dtype == np.int16:
        from mimiidg_build.kernels import kernels  # half a second of import that deciding upon a build does without

        total, peak = kernels.sum_and_peak(np.ascontiguousarray(samples))
        return total / len(samples) / FULL_SCALE**2, peak / FULL_SCALE
    values = samples.astype(np.float64)
    # not np.dot: BLAS would start threads of its own in every worker, and sum floats in an order of its choice
    return float(np.einsum("i,i->", values, values)) / len(values), max(float(values.max()), -float(values.min()))


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
    if data.startswith(_header(sample_rate, n_samples)) and len(data) == HEADER_BYTES + 2 * n_samples:
        # as every released clip is written: the samples as they lie there, where libsndfile takes 0.1 ms a clip
        return np.frombuffer(data, "<i2", offset=HEADER_BYTES)
    try:
        with sf.SoundFile(_Source(io.BytesIO(data))) as wav:
            found = (wav.samplerate, wav.channels, wav.subtype, wav.frames)
            if not data.startswith(b"RIFF"):
                raise DataError(f"{name}: not a WAV file but {wav.format_info}. Likely cause: it was converted.")
            if found[:3] == (sample_rate, 1, "PCM_16") and wav.frames == n_samples:
                if (declared := _declared_bytes(data)) != 2 * n_samples:
                    raise DataError(
                        f"{name}: its header declares {declared} bytes of samples, expected {2 * n_samples}. The file "
                        "is damaged."
                    )
                samples: Int16 = wav.read(dtype="int16")
                if len(samples) == n_samples:
                    return samples
                found = (*found[:3], len(samples))
    except sf.LibsndfileError as error:
        raise DataError(
            f"{name}: not a readable WAV file ({_reason(error)}). The file is damaged or of another format."
        ) from None
    raise DataError(f"{name}: {_mismatch(found, sample_rate, n_samples)}")


class _Source:
    """A binary file for libsndfile, which a damaged header sends to places before the file's beginning.

    soundfile prints a traceback then, and goes on as if at the beginning; here the position stays where it is.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.read, self.tell = file.read, file.tell

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with contextlib.suppress(ValueError, OSError):
            self._file.seek(offset, whence)
        return self._file.tell()


def _declared_bytes(data: bytes) -> int | None:
    """What the header of a RIFF file says its samples take; None if it has no such chunk.

    libsndfile reads what is there instead, and a byte lost or added before it shifts every sample.

    >>> _declared_bytes(encode_wav(np.zeros(3, np.int16)))
    6
    """
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"data":
            return size
        at += 8 + size + size % 2
    return None


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
    return _header(sample_rate, len(samples)) + samples.astype("<i2", copy=False).tobytes()


@lru_cache(maxsize=8)
def _header(sample_rate: int, n_samples: int) -> bytes:
    """The header of a canonical WAV file of 16-bit mono samples."""
    size = 2 * n_samples
    header = b"RIFF" + (36 + size).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    header += b"\x01\x00\x01\x00" + sample_rate.to_bytes(4, "little") + (2 * sample_rate).to_bytes(4, "little")
    return header + b"\x02\x00\x10\x00" + b"data" + size.to_bytes(4, "little")


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
        with sf.SoundFile(_Source(file)) as wav:
            if not NOISE_RATES[0] <= wav.samplerate <= NOISE_RATES[1]:
                low, high = NOISE_RATES
                raise DataError(
                    f"{name}: a sample rate of {wav.samplerate} Hz; expected {low} to {high}. Likely the "
                    "header is damaged."
                )
            length = _resampled_length(wav.frames, wav.samplerate, sample_rate)
            if length == 0:
                raise DataError(f"{name}: the noise recording is empty. Remove it or replace it.")
            exact = wav.samplerate == sample_rate and wav.subtype == "PCM_16"
            for index in range(max(1, length // n_samples)):
                piece = _read_piece(wav, name, index, sample_rate, n_samples, "int16" if exact else "float32")
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


def _read_piece(
    wav: sf.SoundFile, name: str, index: int, sample_rate: int, n_samples: int, dtype: str
) -> Int16 | Float32:
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
    wanted = min(wav.frames, last * down) - first * down
    block = wav.read(wanted, dtype=dtype, always_2d=True)[:, 0]
    if len(block) < wanted:
        raise DataError(f"{name}: ends before the {wav.frames} samples that its header declares. It is truncated.")
    if up == down:
        return np.ascontiguousarray(block)
    from scipy.signal import resample_poly  # most of a second of import, for noise at other rates alone

    resampled = resample_poly(block, up, down)
    offset = index * n_samples - first * up
    end = min(offset + n_samples, _resampled_length(len(block), wav.samplerate, sample_rate))
    return np.ascontiguousarray(resampled[offset:end], dtype=np.float32)
