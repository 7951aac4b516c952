"""Lengths that WAV files declare: more than they hold is an error, a placeholder for an unknown one is filled in."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from mimiidg_build.audio.pieces import read_pieces
from mimiidg_build.audio.wav import decode_clip, encode_wav
from mimiidg_build.audio.wav_header import find_data_chunk
from mimiidg_build.errors import DataError
from tests.audio.sounds import CLIP, wav

SAMPLES = CLIP[:1600]
NOTES = b"LIST\x1a\x00\x00\x00INFOISFT\x0e\x00\x00\x00Lavf60.16.100\x00"  # as ffmpeg writes it before the samples


def declared(n_bytes: int, samples: np.ndarray = SAMPLES, riff_bytes: int | None = None) -> bytes:
    """A file that declares so many bytes of samples, and of everything."""
    data = encode_wav(samples)
    riff = data[4:8] if riff_bytes is None else struct.pack("<I", riff_bytes)
    return data[:4] + riff + data[8:40] + struct.pack("<I", n_bytes) + data[44:]


def with_notes(data: bytes) -> bytes:
    return data[:36] + NOTES + data[36:]


def noise(data: bytes) -> np.ndarray:
    return np.concatenate(list(read_pieces(io.BytesIO(data), "rain.wav", n_samples=800)))


STREAMED = {
    "ffmpeg into a pipe": with_notes(declared(0xFFFFFFFF, riff_bytes=0xFFFFFFFF)),
    "0xFFFFFFFF in a whole file": declared(0xFFFFFFFF),
    "GStreamer into a pipe": declared(0, riff_bytes=0),
    "closed before it was counted": declared(0, riff_bytes=36),
    "0 in a whole file": declared(0),
    "0 and unknown": with_notes(declared(0, riff_bytes=0xFFFFFFFF)),
}


@pytest.mark.parametrize("case", STREAMED)
def test_a_placeholder_for_a_length_is_read_whole(case: str) -> None:
    np.testing.assert_array_equal(decode_clip(STREAMED[case], "a.wav", n_samples=1600), SAMPLES)
    np.testing.assert_array_equal(noise(STREAMED[case]), SAMPLES)


CUT = {
    "a transfer that broke off": (encode_wav(SAMPLES)[:-200], 3200, 3000),
    "within a sample": (encode_wav(SAMPLES)[:-1], 3200, 3199),
    "the header alone": (encode_wav(SAMPLES)[:44], 3200, 0),
    "notes before the samples": (with_notes(encode_wav(SAMPLES))[:-200], 3200, 3000),
    "twice what it holds": (declared(6400), 6400, 3200),
    "another format": (wav(SAMPLES, 44_100, "PCM_24")[:-300], 4800, 4500),
    "lengths of 64 bits": (wav(SAMPLES, form="RF64")[:-200], 3200, 3000),
    "big-endian": (wav(SAMPLES, form="WAV").replace(b"RIFF", b"RIFX")[:40] + struct.pack(">I", 3200) + b"ab", 3200, 2),
}


@pytest.mark.parametrize("case", CUT)
def test_a_truncated_file_is_an_error_that_names_both_figures(case: str) -> None:
    data, said, held = CUT[case]
    expected = rf"^rain\.wav: it is truncated\. Its header declares {said} bytes of samples, the file holds {held}\."
    if case == "big-endian":  # the chunks before the samples, too, have their lengths turned round
        data = data[:16] + struct.pack(">I", 16) + data[20:]
    with pytest.raises(DataError, match=expected):
        noise(data)
    with pytest.raises(DataError, match=expected):
        decode_clip(data, "rain.wav", n_samples=1600)


@pytest.mark.parametrize("after", [b"", NOTES], ids=["nothing after", "notes after"])
def test_a_recording_without_samples_stays_empty(after: bytes) -> None:
    """Its 0 is no placeholder: notes that follow are not read as noise."""
    data = encode_wav(SAMPLES[:0]) + after
    with pytest.raises(DataError, match="the noise recording is empty"):
        noise(data)
    with pytest.raises(DataError, match=r"found 16000 Hz, 1 channel, PCM_16, 0 samples"):
        decode_clip(data, "a.wav", n_samples=1600)


def test_notes_after_the_samples_are_no_samples() -> None:
    data = encode_wav(SAMPLES) + NOTES
    np.testing.assert_array_equal(decode_clip(data, "a.wav", n_samples=1600), SAMPLES)
    np.testing.assert_array_equal(noise(data), SAMPLES)


class Counted(io.BytesIO):
    """A file that counts how often it is read."""

    n_reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.n_reads += 1
        return super().read(size)


def test_a_header_of_endless_empty_chunks_is_given_up() -> None:
    file = Counted(b"RIFF\xff\xff\xff\xffWAVE" + bytes(80_000))
    assert find_data_chunk(file) is None
    assert file.n_reads < 2000, "and not once for each of 10,000"
