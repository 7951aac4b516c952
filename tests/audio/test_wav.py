"""WAV files of clips: what the release says, or refused with what was found."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mimiidg_build.audio.wav import ClipFormat, decode_clip, encode_wav
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
            wav(CLIP[:70_000], rate=8000),
            EXPECTED + r"8000 Hz, 1 channel, PCM_16, 70000 .* 140000.0 at 16000 Hz.* resampled, or belongs to anoth",
        ),
        (wav(CLIP, rate=44_100), EXPECTED + r"44100 Hz, 1 channel, PCM_16, 160000 samples.* resampled"),
        (wav(np.stack([CLIP, CLIP], 1)), EXPECTED + r"16000 Hz, 2 channels, PCM_16.* multi-channel recording"),
        (wav(CLIP, subtype="PCM_U8"), EXPECTED + r"16000 Hz, 1 channel, PCM_U8.* another sample format"),
        (wav(CLIP, subtype="IMA_ADPCM"), EXPECTED + r"16000 Hz, 1 channel, IMA_ADPCM.* another sample format"),
        (wav(CLIP * 1.0, subtype="FLOAT"), r"holds samples of 3\.28e\+04 in FLOAT, expected at most 1, full scale"),
        (wav(np.r_[np.nan, CLIP[1:] / 32768], subtype="FLOAT"), r"holds samples that are not finite .* in FLOAT"),
        (wav(CLIP, form="FLAC"), r"not a WAV file but FLAC"),
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
            "8-bit",
            "ADPCM",
            "float beyond full scale",
            "NaN",
            "FLAC under a WAV's name",
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


# ---- Several channels ------------------------------------------------------------------------------------------------

EIGHT = np.random.default_rng(1).integers(-32768, 32768, (8, 1600)).astype(np.int16)


@pytest.mark.parametrize("form", ["WAV", "WAVEX", "FLAC", "W64", "RF64"])
def test_one_channel_or_all_of_them(form: str) -> None:
    data, name = wav(EIGHT.T, form=form), "a.wav" if form.startswith("WAV") else f"a.{form.lower()}"
    np.testing.assert_array_equal(decode_clip(data, name, n_samples=1600, channels=8), EIGHT[0])
    np.testing.assert_array_equal(decode_clip(data, name, n_samples=1600, channel=7, channels=None), EIGHT[7])
    every = ClipFormat(n_samples=1600, channel="all", channels=8).decode(data, name)
    np.testing.assert_array_equal(every, EIGHT)
    assert every.flags.c_contiguous


def test_all_channels_of_a_mono_clip_are_an_axis_of_one() -> None:
    assert decode_clip(encode_wav(CLIP), "x", channel="all").shape == (1, 160_000)


@pytest.mark.parametrize(
    ("samples", "wanted", "message"),
    [
        (EIGHT, ClipFormat(n_samples=1600), "1 channel, .* found 16000 Hz, 8 channels.* said to hold 1 channel "),
        (EIGHT[0], ClipFormat(n_samples=1600, channels=8), "8 channels, .* found 16000 Hz, 1 channel, .* taken out"),
        (
            EIGHT[:2],
            ClipFormat(n_samples=1600, channel=2, channels=None),
            "has 2 channels, counted from 0",
        ),
        (EIGHT, ClipFormat(n_samples=1600, channel=8, channels=8), "no channel 8. Choose another .* or .all"),
    ],
)
def test_channels_that_are_not_there(samples: np.ndarray, wanted: ClipFormat, message: str) -> None:
    with pytest.raises(DataError, match="^fan.zip: a.wav: .*" + message):
        wanted.decode(encode_wav(samples), "fan.zip: a.wav")


@pytest.mark.parametrize("n_channels", [2, 3, 8, 9])
def test_several_channels_are_written_as_others_read_them(n_channels: int) -> None:
    samples = np.random.default_rng(2).integers(-99, 99, (n_channels, 50)).astype(np.int16)
    read, rate = sf.read(io.BytesIO(encode_wav(samples, 44_100)), dtype="int16", always_2d=True)
    assert rate == 44_100
    np.testing.assert_array_equal(read.T, samples)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 79), st.binary(min_size=1, max_size=8))
def test_a_damaged_header_of_many_channels_is_refused_or_harmless(at: int, scribble: bytes) -> None:
    data = bytearray(encode_wav(EIGHT))
    data[at : at + len(scribble)] = scribble
    try:
        samples = decode_clip(bytes(data), "x", n_samples=1600, channel="all", channels=8)
    except DataError as error:
        assert str(error).startswith("x: ")
    else:
        assert (samples.dtype, samples.shape) == (np.int16, (8, 1600))


# ---- Other sample formats and rates ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subtype", "form"), [("PCM_24", "WAV"), ("PCM_32", "WAV"), ("FLOAT", "WAV"), ("DOUBLE", "WAV"), ("PCM_24", "FLAC")]
)
def test_more_bits_are_rounded_to_16(subtype: str, form: str) -> None:
    """To the nearest: libsndfile itself would cut them off, which lowers every sample by half a step."""
    steps = np.array([0, 0.25, 0.75, -0.25, -0.75, 1000.75, 32767.75, -32768, 32767, -4.0])
    data = wav(steps / 32768, subtype=subtype, form=form)
    found = decode_clip(data, f"a.{form.lower()}", n_samples=len(steps))
    assert found.tolist() == [0, 0, 1, 0, -1, 1001, 32767, -32768, 32767, -4]


RATES = [(48_000, 16_000), (44_100, 16_000), (22_050, 16_000), (8000, 16_000), (16_000, 8000), (96_000, 48_000)]


@pytest.mark.parametrize(("rate", "wanted"), RATES)
def test_other_rates_are_resampled(rate: int, wanted: int) -> None:
    """A tone stays what it is, within a step of 16 bits but near the ends; what cannot be there is gone."""
    hertz = 0.4 * min(rate, wanted)

    def tone(at: int) -> np.ndarray:
        return 8000 * np.sin(2 * np.pi * hertz * np.arange(at) / at)

    found = decode_clip(wav(tone(rate).round().astype(np.int16), rate), "a.wav", wanted, wanted)
    assert found.shape == (wanted,) and found.dtype == np.int16
    inner = slice(wanted // 10, -wanted // 10)
    assert np.abs(found - tone(wanted))[inner].max() < 4
    if rate > wanted:
        beyond = 8000 * np.sin(2 * np.pi * 0.55 * wanted * np.arange(rate) / rate)
        aliased = decode_clip(wav(beyond.round().astype(np.int16), rate), "a.wav", wanted, wanted)
        assert np.abs(aliased[inner]).max() <= 2, "80 dB down"


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3000), st.sampled_from([44_100, 48_000, 11_025]), st.integers(1, 3))
def test_resampled_lengths_are_exact(n_frames: int, rate: int, n_channels: int) -> None:
    samples = np.zeros((n_channels, n_frames), np.int16)
    exact = n_frames * 16_000 / rate
    for n_samples in {int(np.floor(exact)), int(np.ceil(exact))} - {0}:
        form = ClipFormat(n_samples=n_samples, channel="all", channels=n_channels)
        assert form.decode(encode_wav(samples, rate), "a.wav").shape == (n_channels, n_samples)
    with pytest.raises(DataError, match=f"found {rate} Hz"):
        decode_clip(encode_wav(samples, rate), "a.wav", n_samples=int(exact) + 2, channels=None)


def test_loud_samples_are_saturated_and_never_wrap_when_resampled() -> None:
    square = np.where(np.arange(4800) % 48 < 24, 32767, -32768).astype(np.int16)
    found = decode_clip(wav(square, 48_000), "a.wav", n_samples=1600)
    assert (found.max(), found.min()) == (32767, -32768)
    assert (np.sign(found[100:116]) * np.sign(found[108:124]) <= 0).all()


# ---- Real clips ------------------------------------------------------------------------------------------------------


def test_real_clips_of_eight_channels(real: Path) -> None:
    for path in sorted((real / "audio_mimii").rglob("*.wav")):
        data = path.read_bytes()
        expected, _ = sf.read(path, dtype="int16", always_2d=True)
        np.testing.assert_array_equal(decode_clip(data, path.name, channels=8), expected[:, 0])
        every = decode_clip(data, path.name, channel="all", channels=8)
        np.testing.assert_array_equal(every, expected.T)
        assert encode_wav(every) == data, "written as it was, header and all"
