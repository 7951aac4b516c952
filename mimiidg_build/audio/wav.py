"""WAV files of clips: 16-bit mono, decoded with every check on the format, encoded as the released clips are."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import soundfile as sf

from mimiidg_build.audio.level import Int16
from mimiidg_build.audio.sound_files import open_sound
from mimiidg_build.audio.wav_header import find_data_chunk
from mimiidg_build.errors import DataError

HEADER_BYTES = 44


def decode_clip(data: bytes, name: str, sample_rate: int = 16_000, n_samples: int = 160_000) -> Int16:
    """The samples of one machine clip, checked against the release's format.

    Parameters
    ----------
    data : bytes
        A WAV file.
    name : str
        Archive and member, for messages.
    sample_rate : int, Hz
        The rate that the clip must have.
    n_samples : int
        The length that the clip must have.

    Returns
    -------
    np.ndarray [shape=(n_samples,)], int16

    Raises
    ------
    DataError
        Not 16-bit PCM mono at ``sample_rate`` with ``n_samples`` samples, or truncated.
    """
    if data.startswith(_header(sample_rate, n_samples)) and len(data) == HEADER_BYTES + 2 * n_samples:
        # the header of every released clip: the samples are used in place (read-only); libsndfile takes 0.1 ms a clip
        return np.frombuffer(data, "<i2", offset=HEADER_BYTES)
    with open_sound(io.BytesIO(data), name, "WAV") as sound:
        if not data.startswith(b"RIFF"):
            raise DataError(f"{name}: not a WAV file but {sound.format_info}. Likely cause: it was converted.")
        found = (sound.samplerate, sound.channels, sound.subtype, sound.frames)
        if found == (sample_rate, 1, "PCM_16", n_samples):
            samples = _read_declared(sound, data, name)
            if len(samples) == n_samples:
                return samples
            found = (*found[:3], len(samples))
    raise DataError(f"{name}: {_mismatch(found, sample_rate, n_samples)}")


def _read_declared(sound: sf.SoundFile, data: bytes, name: str) -> Int16:
    """All samples of a 16-bit mono file, whose header must declare as many bytes as libsndfile found frames.

    libsndfile does not insist on it, and a byte lost or added before the samples shifts every one of them.
    """
    expected, chunk = 2 * sound.frames, find_data_chunk(io.BytesIO(data))
    declared = chunk.n_bytes if chunk else "no"
    if declared != expected:
        raise DataError(
            f"{name}: its header declares {declared} bytes of samples, expected {expected}. The file is damaged."
        )
    samples: Int16 = sound.read(dtype="int16")
    return samples


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

    Written here rather than by libsndfile, whose bytes are the same: 0.22 ms a clip against 0.34, and
    :func:`decode_clip` needs the header anyway.

    Parameters
    ----------
    samples : np.ndarray [shape=(n_samples,) or (n_channels, n_samples)], int16
    sample_rate : int, Hz

    Returns
    -------
    bytes

    >>> len(encode_wav(np.zeros(160_000, np.int16))), len(encode_wav(np.zeros((8, 160_000), np.int16)))
    (320044, 2560044)
    """
    channels, n_samples = samples.shape if samples.ndim == 2 else (1, len(samples))
    interleaved = samples.T.astype("<i2", copy=False)  # of one channel, .T is the samples themselves
    return _header(sample_rate, n_samples, channels) + interleaved.tobytes()


@lru_cache(maxsize=8)
def _header(sample_rate: int, n_samples: int, channels: int = 1) -> bytes:
    """The header of a canonical WAV file of 16-bit samples."""
    frame_bytes = 2 * channels
    size = frame_bytes * n_samples
    header = b"RIFF" + (36 + size).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    header += b"\x01\x00" + channels.to_bytes(2, "little")  # format 1: PCM
    header += sample_rate.to_bytes(4, "little") + (frame_bytes * sample_rate).to_bytes(4, "little")
    return header + frame_bytes.to_bytes(2, "little") + b"\x10\x00" + b"data" + size.to_bytes(4, "little")
