"""WAV files of clips: what the release says, or refused with what was found."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mimiidg_build.audio.wav import decode_clip, encode_wav
from mimiidg_build.errors import DataError
from tests.audio.sounds import CLIP, wav


def test_clip_round_trip_and_size() -> None:
    data = encode_wav(CLIP)
    assert len(data) == 320_044
    decoded = decode_clip(data, "x")
    assert decoded.dtype == np.int16
    np.testing.assert_array_equal(decoded, CLIP)


@given(hnp.arrays(np.int16, st.integers(0, 200)), st.sampled_from([8000, 16_000, 44_100]))
def test_encoded_wav_is_what_soundfile_writes(samples: np.ndarray, rate: int) -> None:
    data = encode_wav(samples, rate)
    assert data == wav(samples, rate)
    read, found = sf.read(io.BytesIO(data), dtype="int16")
    assert found == rate
    np.testing.assert_array_equal(read, samples)


EXPECTED = "expected 16000 Hz, 1 channel, PCM_16, 160000 samples, found "


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            wav(CLIP[:80_000], rate=8000),
            EXPECTED + r"8000 Hz, 1 channel, PCM_16, 80000 .* resampled, or belongs to anoth",
        ),
        (wav(CLIP, rate=44_100), EXPECTED + r"44100 Hz, 1 channel, PCM_16, 160000 samples.* resampled"),
        (wav(np.stack([CLIP, CLIP], 1)), EXPECTED + r"16000 Hz, 2 channels, PCM_16.* multi-channel recording"),
        (wav(CLIP, subtype="PCM_24"), EXPECTED + r"16000 Hz, 1 channel, PCM_24.* another sample format"),
        (wav(CLIP, subtype="FLOAT"), EXPECTED + r"16000 Hz, 1 channel, FLOAT.* another sample format"),
        (
            encode_wav(CLIP)[:-2000],
            r"it is truncated. Its header declares 320000 bytes of samples, the file holds 318000",
        ),
        (encode_wav(CLIP)[:-1], r"it is truncated. Its header declares 320000 bytes of samples, the file holds 319999"),
        (encode_wav(CLIP)[:44], r"it is truncated. Its header declares 320000 bytes of samples, the file holds 0"),
        (wav(CLIP[:100_000]), EXPECTED + r".* 100000 samples. Likely cause: it is truncated"),
        (wav(np.r_[CLIP, CLIP]), EXPECTED + r".* 320000 samples. Likely cause: it was not cut to the clip's length"),
        (encode_wav(CLIP)[:30], r"not a readable WAV file \(.*data.*\)\. The file is damaged or of another format"),
        (b"", r"not a readable WAV file \(Format not recognised\)\."),
        (b"RIFF" + bytes(400), r"not a readable WAV file \(Format not recognised\)\."),
        (b"<html>404</html>" * 99, r"not a readable WAV file \(Format not recognised\)\."),
    ],
    ids=[
        *(
            "8 kHz",
            "44.1 kHz",
            "stereo",
            "24-bit",
            "float",
            "cut",
            "cut within a sample",
            "header only",
            "short",
            "long",
        ),
        *("cut header", "nothing", "garbage", "a web page"),
    ],
)
def test_clips_that_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match="^fan.zip: a.wav: " + message):
        decode_clip(data, "fan.zip: a.wav")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 43), st.binary(min_size=1, max_size=8))
def test_a_damaged_header_is_refused_or_harmless(at: int, scribble: bytes) -> None:
    data = bytearray(encode_wav(CLIP[:1000]))
    data[at : at + len(scribble)] = scribble
    try:
        samples = decode_clip(bytes(data), "x", n_samples=1000)
    except DataError as error:
        assert str(error).startswith("x: ")  # never another kind of error
    else:
        assert (samples.dtype, samples.shape) == (np.int16, (1000,))
