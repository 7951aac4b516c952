"""Headers of 16-bit WAV files: the two that releases have, written byte for byte, and read without libsndfile.

The classic one has 44 bytes. WAVE_FORMAT_EXTENSIBLE, for more than two channels, has 80: a format chunk of 40 bytes,
which says which loudspeaker each channel is for, and a ``fact`` chunk with the number of samples. MIMII's files have
it.
"""

from __future__ import annotations

import io
import struct
from functools import lru_cache
from typing import NamedTuple

from mimiidg_build.audio.wav_header import find_data_chunk

HEADER_BYTES = 44
PLAIN_CHANNELS = 2  # that the classic header is for
_PCM, _EXTENSIBLE = 1, 0xFFFE
_FORMAT = struct.Struct("<HHIIHH")  # tag, channels, samples a second, bytes a second, bytes a frame, bits a sample
_PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")
# Loudspeakers by number of channels, as MIMII's files and libsndfile have them for eight; 0: for none in particular
_LOUDSPEAKERS = {3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 8: 0x63F}


class PlainPcm(NamedTuple):
    """A WAV file whose samples, 16 bits each, can be used where they lie: frames from byte ``start`` to the end."""

    sample_rate: int
    channels: int
    start: int
    n_frames: int


@lru_cache(maxsize=32)
def wav_header(sample_rate: int, n_frames: int, channels: int = 1) -> bytes:
    """The header of a canonical 16-bit WAV file.

    Parameters
    ----------
    sample_rate : int, Hz
    n_frames : int
        Samples of each channel.
    channels : int

    Returns
    -------
    bytes
        44, or 80 for more than two channels.

    >>> len(wav_header(16_000, 160_000)), len(wav_header(16_000, 160_000, 8))
    (44, 80)
    """
    frame_bytes = 2 * channels
    n_bytes = frame_bytes * n_frames
    numbers = (channels, sample_rate, frame_bytes * sample_rate, frame_bytes, 16)
    if channels <= PLAIN_CHANNELS:
        chunks = _chunk(b"fmt ", _FORMAT.pack(_PCM, *numbers))
    else:
        extension = struct.pack("<HHI", 22, 16, _LOUDSPEAKERS.get(channels, 0)) + _PCM_GUID
        chunks = _chunk(b"fmt ", _FORMAT.pack(_EXTENSIBLE, *numbers) + extension)
        chunks += _chunk(b"fact", struct.pack("<I", n_frames))
    size = struct.pack("<I", 4 + len(chunks) + 8 + n_bytes)
    return b"RIFF" + size + b"WAVE" + chunks + b"data" + struct.pack("<I", n_bytes)


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content


def plain_pcm(data: bytes) -> PlainPcm | None:
    """Where the samples of a WAV file lie if they are plain 16-bit ones and nothing in its header is odd, else None.

    Examples
    --------
    >>> plain_pcm(wav_header(16_000, 3, 8) + bytes(48))
    PlainPcm(sample_rate=16000, channels=8, start=80, n_frames=3)
    >>> plain_pcm(wav_header(16_000, 3, 8) + bytes(47)) is None
    True
    """
    if data[:4] != b"RIFF" or data[8:16] != b"WAVEfmt " or len(data) < HEADER_BYTES:
        return None
    tag, channels, sample_rate, bytes_per_s, frame_bytes, bits = _FORMAT.unpack_from(data, 20)
    if tag == _EXTENSIBLE and data[16:20] == b"\x28\0\0\0" and data[44:60] == _PCM_GUID:
        tag = _PCM
    if (tag, bits, frame_bytes) != (_PCM, 16, 2 * channels) or not channels or not sample_rate:
        return None
    chunk = find_data_chunk(io.BytesIO(data))
    if chunk is None or chunk.is_open or chunk.declared_bytes != chunk.held_bytes:
        return None
    if bytes_per_s != frame_bytes * sample_rate or chunk.held_bytes % frame_bytes:
        return None
    return PlainPcm(sample_rate, channels, chunk.start, chunk.held_bytes // frame_bytes)
