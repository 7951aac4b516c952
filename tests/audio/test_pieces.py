"""Recordings are cut as one whole, whatever their rate and length, and refused by name where they cannot be."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import scipy.signal
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from mimiidg_build.audio import seekable
from mimiidg_build.audio.pieces import read_pieces
from mimiidg_build.errors import DataError
from tests.audio.sounds import CLIP, wav

RNG = np.random.default_rng(0)


def pieces(data: bytes, n_samples: int = 1600) -> list[np.ndarray]:
    return list(read_pieces(io.BytesIO(data), "rain.wav", n_samples=n_samples))


RATES = (8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("duration_s", [0.1, 0.35, 1.0], ids=["one piece", "with a rest", "ten pieces"])
def test_pieces_are_cut_from_the_whole_resampled_recording(rate: int, duration_s: float) -> None:
    samples = RNG.integers(-20_000, 20_000, math.ceil(rate * duration_s)).astype(np.int16)
    found = pieces(wav(samples, rate))
    assert len(found) == int(duration_s * 10 + 1e-9)  # what is left over is dropped
    if rate == 16_000:
        assert {piece.dtype for piece in found} == {np.dtype(np.int16)}
        np.testing.assert_array_equal(np.concatenate(found), samples[: len(found) * 1600])
    else:
        assert {piece.dtype for piece in found} == {np.dtype(np.float32)}
        whole = scipy.signal.resample_poly(samples.astype(np.float32) / 32768, 16_000, rate)
        np.testing.assert_array_equal(np.concatenate(found), whole[: len(found) * 1600])


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(RATES), st.integers(1, 4000), st.integers(150, 900), st.integers(0, 99))
def test_pieces_of_any_length_keep_the_resamplers_phase(rate: int, frames: int, n_samples: int, seed: int) -> None:
    samples = np.random.default_rng(seed).uniform(-1, 1, frames).astype(np.float32)
    total = frames * 16_000 // rate
    if total == 0:
        return
    found = pieces(wav(samples, rate, "FLOAT"), n_samples)
    whole = samples if rate == 16_000 else scipy.signal.resample_poly(samples, 16_000, rate)[:total]
    n_pieces = max(1, total // n_samples)
    expected = np.resize(whole, n_samples) if total < n_samples else whole[: n_pieces * n_samples]
    assert {len(piece) for piece in found} == {n_samples}
    np.testing.assert_array_equal(np.concatenate(found), expected)


def test_a_ten_second_clip_at_44_1_khz_has_its_full_length() -> None:
    t = np.arange(441_000) / 44_100
    (piece,) = pieces(wav(0.5 * np.sin(2 * np.pi * 1000 * t), 44_100, "FLOAT"), 160_000)
    assert piece.shape == (160_000,)
    inner = slice(100, -100)  # beyond the filter's reach from either end
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(160_000) / 16_000)
    np.testing.assert_allclose(piece[inner], expected[inner], atol=2e-3)


@pytest.mark.parametrize(
    ("samples", "rate", "why"),
    [
        (CLIP[:700], 16_000, "16 kHz, not a divisor of the length"),
        (CLIP[:1], 16_000, "a single sample"),
        (CLIP[:1599], 16_000, "one sample short"),
    ],
)
def test_a_short_recording_is_repeated(samples: np.ndarray, rate: int, why: str) -> None:
    (piece,) = pieces(wav(samples, rate))
    np.testing.assert_array_equal(piece, np.resize(samples, 1600), why)


def test_a_short_recording_is_resampled_before_it_is_repeated() -> None:
    samples = RNG.uniform(-0.9, 0.9, 900).astype(np.float32)
    (piece,) = pieces(wav(samples, 48_000, "FLOAT"))
    np.testing.assert_array_equal(piece, np.resize(scipy.signal.resample_poly(samples, 1, 3), 1600))


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_of_several_channels_the_first_is_kept(rate: int) -> None:
    first, second = CLIP[:4800], CLIP[4800:9600]
    stereo, mono = pieces(wav(np.stack([first, second], 1), rate)), pieces(wav(first, rate))
    np.testing.assert_array_equal(stereo, mono)
    assert stereo[0].flags.c_contiguous


@pytest.mark.parametrize(
    ("subtype", "form", "why"),
    [
        ("PCM_24", "WAV", "24 bits fit a float32"),
        ("FLOAT", "WAV", "floating samples may pass full scale"),
        ("PCM_U8", "WAV", "8 bits"),
        ("PCM_16", "FLAC", "any format that libsndfile reads"),
    ],
)
def test_other_formats_are_read_as_they_are(subtype: str, form: str, why: str) -> None:
    samples = np.round(RNG.uniform(-0.99, 0.99, 1600) * 100) / 128 * (2 if subtype == "FLOAT" else 1)
    (piece,) = pieces(wav(samples, 16_000, subtype, form))
    scale = 1 / 32768 if piece.dtype == np.int16 else 1
    np.testing.assert_array_equal(piece * np.float32(scale), samples.astype(np.float32), why)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (wav(CLIP[:0]), r"the noise recording is empty\. Remove it or replace it"),
        (wav(CLIP[:3], 96_000), r"the noise recording is empty"),
        (
            wav(np.r_[np.zeros(2000), np.nan, np.zeros(2000)], subtype="FLOAT"),
            r"piece 1 holds samples that are not fin",
        ),
        (
            wav(np.r_[np.inf, np.zeros(4000)], 48_000, "FLOAT"),
            r"piece 0 holds samples that are not finite \(NaN or inf",
        ),
        (
            b"ID3 hello",
            r"not a readable sound file \(Format not recognised\)\. The file is damaged or of another format",
        ),
        (b"", r"not a readable sound file"),
        (
            wav(np.tile(CLIP, 2), form="FLAC")[:300_000],
            r"not a readable sound file \(.*lost sync.*\)\. The file is damaged",
        ),
    ],
    ids=["no samples", "none at 16 kHz", "NaN", "infinite", "garbage", "nothing", "cut off"],
)
def test_recordings_that_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match="^rain.wav: " + message):
        pieces(data)


def test_pieces_come_one_at_a_time() -> None:
    # the second piece is broken, the first is given before anyone looks at it: memory does not grow with length
    data = wav(np.r_[np.full(1600, 0.5), np.full(1600, np.nan)], subtype="FLOAT")
    found = read_pieces(io.BytesIO(data), "rain.wav", n_samples=1600)
    np.testing.assert_array_equal(next(found), np.full(1600, 0.5, np.float32))
    with pytest.raises(DataError, match="rain.wav: piece 1 holds"):
        next(found)


@pytest.mark.parametrize(("form", "subtype"), [("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_pieces_of_coded_sound_are_those_of_the_whole(
    form: str, subtype: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tone leaves an MP3 frame bits to spare, which later frames use: read from its middle, it would be silent."""
    monkeypatch.setattr(seekable, "BLOCK_SAMPLES", 5000)
    data = wav(0.5 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 16_000), 16_000, subtype, form)
    whole, _ = sf.read(io.BytesIO(data), dtype="float32")
    found = np.concatenate(pieces(data))
    np.testing.assert_allclose(found, whole[: len(found)], atol=1e-6)
    assert len(found) >= 46_000 and "error" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("form", "subtype"),
    [
        *((form, "PCM_16") for form in ("WAV", "RF64", "AIFF", "AU", "W64", "CAF", "FLAC")),
        *(("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")),
    ],
)
def test_a_recording_that_was_cut_off_is_refused(form: str, subtype: str, capfd: pytest.CaptureFixture[str]) -> None:
    """libsndfile takes what is there of most: 3 of 40 s would pass for a short recording."""
    data = wav(np.random.default_rng(0).integers(-9000, 9000, 40 * 1600).astype(np.int16), 16_000, subtype, form)
    assert len(pieces(data)) in (39, 40), "whole, it is read"
    with pytest.raises(
        DataError, match=r"^rain.wav: (it is truncated. Its header declares \d+ bytes.* \d+|not a readable)"
    ):
        pieces(data[: len(data) * 3 // 40])
    if form in ("WAV", "RF64", "AIFF", "AU", "W64"):
        declared, held = 2 * 40 * 1600, len(data) - 2
        with pytest.raises(DataError, match=f"declares {declared} bytes of samples, the file holds {declared - 2}"):
            pieces(data[:held])


@pytest.mark.parametrize(
    ("form", "marker", "offset", "placeholder"),
    [
        *(("WAV", b"data", 4, placeholder) for placeholder in (0, 0xFFFFFFFF)),
        *(("AIFF", b"SSND", 4, placeholder) for placeholder in (0, 0xFFFFFFFF)),
        ("AU", b".snd", 8, 0xFFFFFFFF),  # with 0 it is an empty recording, and refused
    ],
)
def test_what_was_written_into_a_pipe_is_read_whole(form: str, marker: bytes, offset: int, placeholder: int) -> None:
    data = bytearray(wav(CLIP[:4800], form=form))
    at = data.index(marker) + offset
    data[at : at + 4] = placeholder.to_bytes(4, "big")
    np.testing.assert_array_equal(np.concatenate(pieces(bytes(data))), CLIP[:4800])
