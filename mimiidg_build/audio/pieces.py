"""Recordings of any sample rate, length and number of channels, as clip-long pieces at the rate of the clips.

Resampling is scipy's ``resample_poly``, read block by block. soxr's stream resampler was tried in its place (soxr 1.1,
HQ and VHQ, 44.1 and 48 kHz to 16 kHz). It is three times as fast (10 to 13 ms a minute of noise against 31 to 33) and
the better filter: it loses 0.4 dB at 7.5 kHz where scipy's loses 1.8, and leaves aliases below -130 dB from 8.2 kHz on
where scipy's are -9 dB at 8.2 kHz, -31 at 9 and -57 at 10. scipy's stays for two reasons:

- The last bits of soxr's HQ depend on the instructions that it uses (they change with ``SOXR_USE_SIMD32=0``), and a
  store's must not depend on the processor.
- Other samples of noise are another version of every store whose noise is resampled. Speed is no reason for that:
  a recording is resampled once, when its noise bank is made. Nor are the aliases: they fold back to just below 8 kHz,
  in the last few of 128 mel bands, and what is resampled is noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
import soundfile as sf

from mimiidg_build.audio.level import Float32, Int16
from mimiidg_build.audio.resampling import resampled_length
from mimiidg_build.audio.seekable import open_seekable
from mimiidg_build.audio.sound_files import open_sound
from mimiidg_build.errors import DataError, counted

SAMPLE_RATES = (1_000, 1_000_000)  # Hz; a rate beyond is a damaged header, and would make a filter that fills memory
# resample_poly's filter reaches so many samples to either side, at the lower of the two rates.
FILTER_REACH = 10


Channel = int | Literal["mean"]
Starts = Callable[[int, int], Sequence[int]]


class SoundInfo(NamedTuple):
    """What a recording's header says: samples a second, channels, and samples of each channel."""

    sample_rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.frames / self.sample_rate


def sound_info(file: BinaryIO, name: str) -> SoundInfo:
    """Rate, channels and length of a recording; the file stands at its beginning afterwards.

    Raises
    ------
    DataError
        Unreadable.
    """
    with open_sound(file, name, "sound") as sound:
        info = SoundInfo(sound.samplerate, sound.channels, sound.frames)
    file.seek(0)
    return info


def exact_info(file: BinaryIO, name: str) -> SoundInfo:
    """As :func:`sound_info`, of all that can be decoded: an MP3 file's header may only estimate its length.

    Raises
    ------
    DataError
        Unreadable, cut off, or of a sample rate that no recording has.
    """
    with open_seekable(file, name) as sound:
        _check_rate(sound, name)
        return SoundInfo(sound.samplerate, sound.channels, sound.frames)


def read_pieces(
    file: BinaryIO,
    name: str,
    sample_rate: int = 16_000,
    n_samples: int = 160_000,
    *,
    channel: Channel = 0,
    starts: Starts | None = None,
) -> Iterator[Int16 | Float32]:
    """A recording as clip-long pieces: one channel, resampled, cut; a short recording is repeated.

    A piece is read, resampled and yielded before the next is touched, so memory does not grow with the recording. What
    is left over at the end of a recording longer than a clip is dropped.

    Parameters
    ----------
    file : binary file
        Anything libsndfile reads: any sample rate, channels, length.
    name : str
        For messages.
    sample_rate : int, Hz
        Of the pieces.
    n_samples : int
        Length of a piece.
    channel : int or "mean"
        Which channel, from 0, or the mean of all.
    starts : callable, optional
        Where pieces begin, in samples at ``sample_rate``, of a recording that is longer than one: called with how many
        places there are and how many pieces are wanted. By default they lie end to end.

    Yields
    ------
    np.ndarray [shape=(n_samples,)], int16 where the recording is 16-bit at ``sample_rate``, else float32

    Raises
    ------
    DataError
        Unreadable, empty, without that channel, or with samples that are not finite.
    """
    with open_seekable(file, name) as sound:
        length = _length_in_samples(sound, name, sample_rate)
        _check_channel(sound, name, channel)
        one_channel = channel != "mean" or sound.channels == 1
        as_stored = sound.samplerate == sample_rate and sound.subtype == "PCM_16" and one_channel
        n_pieces = max(1, length // n_samples)
        places: Sequence[int] = range(0, n_pieces * n_samples, n_samples)
        if starts is not None and length > n_samples:
            places = starts(length - n_samples + 1, n_pieces)
        read = partial(_read_frames, sound, name, channel, "int16" if as_stored else "float32")
        for index, start in enumerate(places):
            piece = _read_piece(sound, read, start, sample_rate, n_samples)
            if not np.isfinite(piece).all():
                raise DataError(f"{name}: piece {index} holds samples that are not finite (NaN or infinite).")
            yield _repeated(piece, n_samples)


def _check_channel(sound: sf.SoundFile, name: str, channel: Channel) -> None:
    if channel != "mean" and channel >= sound.channels:
        raise DataError(
            f"{name}: has {counted(sound.channels, 'channel')}, counted from 0, so there is no "
            f'channel {channel}. Choose another, or channel = "mean".'
        )


def _length_in_samples(sound: sf.SoundFile, name: str, sample_rate: int) -> int:
    """The recording's length at ``sample_rate``, or an error if it has none or says nonsense."""
    _check_rate(sound, name)
    length = resampled_length(sound.frames, sound.samplerate, sample_rate)
    if length == 0:
        raise DataError(f"{name}: the noise recording is empty. Remove it or replace it.")
    return length


def _check_rate(sound: sf.SoundFile, name: str) -> None:
    low, high = SAMPLE_RATES
    if not low <= sound.samplerate <= high:
        raise DataError(
            f"{name}: a sample rate of {sound.samplerate} Hz; expected {low} to {high}. Likely the header is damaged."
        )


def _repeated(piece: Int16 | Float32, n_samples: int) -> Int16 | Float32:
    """A short recording again and again, to a clip's length."""
    return piece[np.arange(n_samples) % len(piece)] if len(piece) < n_samples else piece


def _read_piece(
    sound: sf.SoundFile, read: Callable[[int, int], Int16 | Float32], start: int, sample_rate: int, n_samples: int
) -> Int16 | Float32:
    """A piece of a recording at the wanted rate, exactly as if cut from the whole resampled recording.

    The filter's reach is read on both sides of the piece and trimmed off again. With rates up : down, blocks begin at
    multiples of ``down`` samples of the recording, which are multiples of ``up`` resampled ones: so the filter is in
    the same phase as over the whole, and gives the same bits.
    """
    common = math.gcd(sound.samplerate, sample_rate)
    up, down = sample_rate // common, sound.samplerate // common
    if up == down:
        return read(start, start + n_samples)
    reach = math.ceil((FILTER_REACH * max(up, down) / up + 1) / down)  # in multiples of `down`, as `first` and `last`
    first = max(0, start // up - reach)
    last = -(-(start + n_samples) // up) + reach
    block = read(first * down, last * down)
    from scipy.signal import resample_poly  # most of a second of import, for noise at other rates alone

    resampled = resample_poly(block, up, down)
    offset = start - first * up
    # resample_poly rounds a length up, resampled_length down: at the recording's end, one sample may be left out
    end = min(offset + n_samples, resampled_length(len(block), sound.samplerate, sample_rate))
    return np.ascontiguousarray(resampled[offset:end], dtype=np.float32)


def _read_frames(
    sound: sf.SoundFile, name: str, channel: Channel, dtype: str, start: int, stop: int
) -> Int16 | Float32:
    """The wanted channel from ``start`` to ``stop``, or to the recording's end if that comes first."""
    wanted = min(sound.frames, stop) - start
    sound.seek(start)
    block = sound.read(wanted, dtype=dtype, always_2d=True)
    if len(block) < wanted:
        raise DataError(f"{name}: ends before the {sound.frames} samples that its header declares. It is truncated.")
    if channel != "mean":
        return np.ascontiguousarray(block[:, channel])
    if sound.channels == 1:
        return np.ascontiguousarray(block[:, 0])
    total: Float32 = np.zeros(len(block), np.float32)
    for other in range(sound.channels):  # in a fixed order: numpy's mean may add in another on another processor
        total += block[:, other]
    total /= np.float32(sound.channels)
    return total
