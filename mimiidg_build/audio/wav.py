"""Sound files of clips, WAV or FLAC: held to what their dataset says, decoded to 16 bits, encoded as releases are.

Samples are int16: one channel [shape=(n_samples,)], or all of them [shape=(n_channels, n_samples)]. Files of 24 or 32
bits and of floating-point samples are rounded to 16, those of other sample rates resampled (:mod:`.resampling`).
"""

from __future__ import annotations

import io
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile as sf

from mimiidg_build.audio.declared_length import refuse_cut_off
from mimiidg_build.audio.level import FULL_SCALE, Int16
from mimiidg_build.audio.resampling import resample
from mimiidg_build.audio.sound_files import open_sound
from mimiidg_build.audio.wav_format import HEADER_BYTES, plain_pcm, wav_header
from mimiidg_build.audio.wav_header import find_data_chunk
from mimiidg_build.errors import DataError, counted

WAV_FORMATS = ("WAV", "WAVEX", "RF64")  # libsndfile's names
# bytes a sample; others are lossy, or have fewer than 16 bits: what decodes them may depend on the processor
SUBTYPES = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}


class ClipFormat(NamedTuple):
    """What a clip is held to when it is read, and what is kept of it.

    ``sample_rate`` and ``n_samples`` are those of the result, ``channel`` is which is kept (a number from 0, or
    ``"all"``), and ``channels`` how many the file has to have; None where that is not known.
    """

    sample_rate: int = 16_000
    n_samples: int = 160_000
    channel: int | Literal["all"] = 0
    channels: int | None = 1

    def decode(self, data: bytes, name: str) -> Int16:
        """See :func:`decode_clip`."""
        return decode_clip(data, name, self.sample_rate, self.n_samples, channel=self.channel, channels=self.channels)


class _Found(NamedTuple):
    """What a file's header says."""

    sample_rate: int
    channels: int
    subtype: str
    frames: int

    def fits(self, wanted: ClipFormat) -> bool:
        """Whether it can be read as what is wanted; resampled, its length must be right to within a sample."""
        off = abs(self.frames * wanted.sample_rate - wanted.n_samples * self.sample_rate)
        return (
            self.channels == (wanted.channels or self.channels)
            and self.subtype in SUBTYPES
            and off < (self.sample_rate if self.sample_rate != wanted.sample_rate else 1)
        )


def decode_clip(
    data: bytes,
    name: str,
    sample_rate: int = 16_000,
    n_samples: int = 160_000,
    *,
    channel: int | Literal["all"] = 0,
    channels: int | None = 1,
) -> Int16:
    """The samples of one machine clip, checked against its dataset's format.

    Parameters
    ----------
    data : bytes
        A WAV or FLAC file of 16, 24 or 32 bits or of floating-point samples.
    name : str
        Archive and member, for messages.
    sample_rate : int, Hz
        Of the result: a file of another rate is resampled.
    n_samples : int
        Of the result, in each channel.
    channel : int or "all"
        Which channel is kept, from 0.
    channels : int, optional
        How many the file must have; any number by default if it is None.

    Returns
    -------
    np.ndarray [shape=(n_samples,)], int16, or [shape=(n_channels, n_samples)] where all channels are kept

    Raises
    ------
    DataError
        Of another length, number of channels or sample format, without that channel, truncated, or with samples that
        16 bits cannot hold.
    """
    is_usual = data.startswith(wav_header(sample_rate, n_samples)) and len(data) == HEADER_BYTES + 2 * n_samples
    if is_usual and channel == 0 and channels in (1, None):
        # nearly every released clip: the samples are used in place (read-only); libsndfile takes 0.1 ms a clip
        return np.frombuffer(data, "<i2", offset=HEADER_BYTES)
    wanted = ClipFormat(sample_rate, n_samples, channel, channels)
    plain = plain_pcm(data)
    if plain is not None and plain.sample_rate == sample_rate:
        # likewise with several channels: libsndfile takes 4 ms for eight of ten seconds, of which one is kept
        _check(_Found(sample_rate, plain.channels, "PCM_16", plain.n_frames), wanted, name)
        frames = np.frombuffer(data, "<i2", offset=plain.start, count=plain.n_frames * plain.channels)
        return _kept(frames.reshape(-1, plain.channels), channel)
    return _decode(data, name, wanted)


def _decode(data: bytes, name: str, wanted: ClipFormat) -> Int16:
    """Decoded by libsndfile, resampled where needed, rounded to 16 bits."""
    is_wav = name.lower().endswith(".wav") or find_data_chunk(io.BytesIO(data)) is not None
    refuse_cut_off(io.BytesIO(data), name)
    with open_sound(io.BytesIO(data), name, "WAV") as sound:
        if is_wav and sound.format not in WAV_FORMATS:
            raise DataError(f"{name}: not a WAV file but {sound.format_info}. Likely cause: it was converted.")
        found = _Found(sound.samplerate, sound.channels, sound.subtype, sound.frames)
        _check(found, wanted, name)
        frames = _read_declared(sound, data, name)
    if len(frames) != found.frames:
        raise DataError(f"{name}: {_mismatch(found._replace(frames=len(frames)), wanted)}")
    return at_rate(_kept(frames, wanted.channel), found.sample_rate, wanted.sample_rate, wanted.n_samples)


def at_rate(samples: npt.NDArray[Any], rate: int, sample_rate: int, n_samples: int) -> Int16:
    """Samples in steps of 16 bits as 16-bit samples of a sample rate.

    Parameters
    ----------
    samples : np.ndarray [shape=(..., n_frames)], int16 or float64
        Full scale is 32768.
    rate, sample_rate : int, Hz
        What they have, and what is wanted.
    n_samples : int
        Length of the result where they are resampled.

    Returns
    -------
    np.ndarray [shape=(..., n_samples)], int16
    """
    if rate != sample_rate:
        samples = resample(samples.astype(np.float64), rate, sample_rate, n_samples)
    # resampled samples may pass full scale by a little, between two of the file's: never wrapped
    rounded: Int16 = np.clip(np.rint(samples), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return rounded


def _kept(frames: npt.NDArray[Any], channel: int | Literal["all"]) -> npt.NDArray[Any]:
    """One channel of frames [shape=(n_samples, n_channels)], or all of them with the channels first."""
    return np.ascontiguousarray(frames.T if channel == "all" else frames[:, channel])


def _check(found: _Found, wanted: ClipFormat, name: str) -> None:
    """Refuse a file that cannot be read as what is wanted."""
    if not found.fits(wanted):
        raise DataError(f"{name}: {_mismatch(found, wanted)}")
    if wanted.channel != "all" and wanted.channel >= found.channels:
        raise DataError(
            f"{name}: has {_channels(found.channels)}, counted from 0, so there is no channel {wanted.channel}. Choose "
            'another (channels in the variant), or "all".'
        )


def _read_declared(sound: sf.SoundFile, data: bytes, name: str) -> npt.NDArray[Any]:
    """All frames of a file, int16 or float64 in steps of 16 bits, whose header must declare as many bytes as there are.

    libsndfile does not insist on it, and a byte lost or added before the samples shifts every one of them.
    """
    expected, chunk = SUBTYPES[sound.subtype] * sound.channels * sound.frames, find_data_chunk(io.BytesIO(data))
    if sound.format in WAV_FORMATS and (chunk is None or chunk.n_bytes != expected):
        raise DataError(
            f"{name}: its header declares {chunk.n_bytes if chunk else 'no'} bytes of samples, expected {expected}. "
            "The file is damaged."
        )
    if sound.subtype == "PCM_16":
        return np.asarray(sound.read(dtype="int16", always_2d=True))
    frames = sound.read(dtype="float64", always_2d=True)
    if not np.isfinite(frames).all():
        raise DataError(f"{name}: holds samples that are not finite (NaN or infinite), in {sound.subtype}.")
    if len(frames) and (peak := float(np.abs(frames).max())) > 1:
        raise DataError(
            f"{name}: holds samples of {peak:.3g} in {sound.subtype}, expected at most 1, full scale: 16 bits cannot "
            "hold them. Lower the level of all clips of the dataset alike, or write them as 16-bit files."
        )
    return np.asarray(frames * FULL_SCALE)


def _channels(n: int) -> str:
    """A number of channels in words.

    >>> _channels(1), _channels(8)
    ('1 channel', '8 channels')
    """
    return counted(n, "channel")


def _mismatch(found: _Found, wanted: ClipFormat) -> str:
    """What is wrong with a clip's format, and the likely cause."""
    rate, channels, subtype, frames = found
    wanted_channels = wanted.channels or channels
    expected = f"expected {wanted.sample_rate} Hz, {_channels(wanted_channels)}, PCM_16, {wanted.n_samples} samples"
    seen = f"found {rate} Hz, {_channels(channels)}, {subtype}, {frames} samples"
    if channels != wanted_channels:
        cause = (
            f"a multi-channel recording, of which the dataset is said to hold {_channels(wanted_channels)} (audio in "
            "its manifest)"
            if channels > wanted_channels
            else f"a channel that was taken out of it; the dataset is said to hold {_channels(wanted_channels)}"
        )
    elif subtype not in SUBTYPES:
        cause = "it was converted to another sample format"
    elif rate != wanted.sample_rate:
        seen += f", {frames * wanted.sample_rate / rate:.1f} at {wanted.sample_rate} Hz"
        cause = "it was resampled, or belongs to another dataset"
    else:
        cause = "it is truncated" if frames < wanted.n_samples else "it was not cut to the clip's length"
    return f"{expected}, {seen}. Likely cause: {cause}."


def encode_wav(samples: Int16, sample_rate: int = 16_000) -> bytes:
    """A canonical WAV file: a header as that of the released clips (:mod:`.wav_format`), and the samples.

    Written here rather than by libsndfile, whose bytes are the same for one channel: 0.22 ms a clip against 0.34.

    Parameters
    ----------
    samples : np.ndarray [shape=(n_samples,) or (n_channels, n_samples)], int16
    sample_rate : int, Hz

    Returns
    -------
    bytes

    >>> len(encode_wav(np.zeros(160_000, np.int16))), len(encode_wav(np.zeros((8, 160_000), np.int16)))
    (320044, 2560080)
    """
    channels = 1 if samples.ndim == 1 else len(samples)
    return wav_header(sample_rate, samples.shape[-1], channels) + samples.T.astype("<i2", copy=False).tobytes()
