"""Recordings as the clips of the store that a run was trained on: sample rate, channel, 16 bits, length.

A file is decoded by the very code that builds stores, so that a clip of the store gives the store's samples. Of other
lengths the rule is that of :mod:`mimiidg_build.training.clip_length`: the beginning of a longer recording, a shorter
one repeated from its beginning. Samples are int16 [shape=(n_samples,)].
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mimiidg_build.audio.level import FULL_SCALE, Int16
from mimiidg_build.audio.pieces import sound_info
from mimiidg_build.audio.resampling import resampled_length
from mimiidg_build.audio.sound_folders import ANY_FILE, files_below, sort_files, suffix
from mimiidg_build.audio.wav import ClipFormat, at_rate
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.schemas.stores import SectionAudio
from mimiidg_build.training.clip_length import fitted

SUFFIXES = (".wav", ".flac")  # of the clips that score files can name
CLIPPED_RUN = 3  # samples in a row at full scale that no undistorted sound has

Channel = int | Literal["all"]


class Unfit(DataError):
    """A recording that cannot be scored; ``kind`` is what the finding is called."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Recording:
    """Samples of the length that a section's clips have, and what is to be said of them.

    ``note`` says what was done about another length; ``clipped`` that samples stand at full scale. Empty: nothing.
    """

    samples: Int16
    note: str = ""
    clipped: str = ""


def recordings_in(places: list[Path]) -> list[Path]:
    """Files as they are given, and the sound files in folders, folder by folder.

    Raises
    ------
    UsageError
        One does not exist, or a folder holds no recording.
    DataError
        A folder cannot be read.
    """
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            names = sort_files(files_below(place), ANY_FILE).recordings
            if not names:
                raise UsageError(f"{place} holds no recordings: expected WAV or FLAC files in it or in folders of it")
            found += [place / name for name in names]
        elif place.exists():
            found.append(place)
        else:
            raise UsageError(f"{place} does not exist; expected a recording, or a folder of them")
    return list(dict.fromkeys(found))


def check_name(path: Path) -> None:
    """Refuse a file whose name says another format, or cannot stand in a score file.

    Raises
    ------
    Unfit
        The message names the file.
    """
    if suffix(path.name) not in SUFFIXES:
        raise Unfit("no_audio", f"{path}: expected a WAV or FLAC file, by its name. Convert it.")
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise Unfit("bad_name", f"{path}: its name is not UTF-8, so no score file can hold it. Rename it.") from None


def read_recording(path: Path, audio: SectionAudio, channel: Channel, shortest: int) -> Recording:
    """A file as a clip of a section.

    Parameters
    ----------
    path : Path
        A WAV or FLAC file of any sample rate, length and number of channels.
    audio : SectionAudio
        The shape of the section's clips.
    channel : int or "all"
        Which of the file's channels the store holds.
    shortest : int
        Samples below which a recording is too short.

    Returns
    -------
    Recording

    Raises
    ------
    Unfit
        It is no readable sound file, lacks the channel, is silent or too short; the message names the file.
    """
    try:
        data = path.read_bytes()
        info = sound_info(io.BytesIO(data), str(path))
        n_samples = _length(info.frames, info.sample_rate, audio)
        form = ClipFormat(audio.sample_rate, n_samples, channel, channels=None)
        if info.frames:
            return as_clip(form.decode(data, str(path)), str(path), audio, shortest)
    except OSError as error:
        raise Unfit("unreadable", f"{path}: cannot be read ({error.strerror}).") from None
    except Unfit:
        raise
    except DataError as error:
        raise Unfit("no_audio", str(error)) from None
    raise Unfit("too_short", f"{path}: holds no samples.")


def from_samples(
    samples: npt.ArrayLike, sample_rate: int, audio: SectionAudio, channel: Channel, shortest: int
) -> Recording:
    """Samples in memory as a clip of a section.

    Parameters
    ----------
    samples : array_like [shape=(n_samples,) or (n_channels, n_samples)]
        int16, or floating-point at full scale 1.
    sample_rate : int, Hz
        Of the samples.
    audio : SectionAudio
        The shape of the section's clips.
    channel : int or "all"
        Which of several channels the store holds.
    shortest : int
        Samples below which a recording is too short.

    Returns
    -------
    Recording

    Raises
    ------
    UsageError
        They are of another type or shape, or the sample rate is none.
    Unfit
        They are not finite, beyond full scale, silent or too few, or lack the channel.
    """
    if sample_rate < 1:
        raise UsageError(f"expected a sample rate in Hz, found {sample_rate}")
    kept = _channel(_scaled(np.asarray(samples)), channel)
    n_samples = _length(kept.shape[-1], sample_rate, audio)
    if kept.shape[-1] == 0 or n_samples == 0:
        raise Unfit("too_short", "the recording holds no samples.")
    return as_clip(at_rate(kept, sample_rate, audio.sample_rate, n_samples), "the recording", audio, shortest)


def as_clip(samples: Int16, name: str, audio: SectionAudio, shortest: int) -> Recording:
    """Samples of any length, at the section's rate, as long as the section's clips.

    Parameters
    ----------
    samples : np.ndarray [shape=(n_samples,)], int16
    name : str
        For messages.
    audio : SectionAudio
    shortest : int
        Samples below which a recording is too short.

    Returns
    -------
    Recording

    Raises
    ------
    Unfit
        It is silent or too short.
    """
    n, wanted = samples.shape[-1], audio.n_samples
    seconds = n / audio.sample_rate
    if n < shortest:
        least = shortest / audio.sample_rate
        raise Unfit("too_short", f"{name}: lasts {seconds:.3g} s, and the network needs {least:.3g} s or more.")
    if (samples == samples.flat[0]).all():
        raise Unfit("silent", f"{name}: silent, all samples are {samples.flat[0]}. Likely cause: a microphone was off.")
    note = ""
    if n > wanted:
        note = f"first {audio.seconds:g} s of {seconds:.4g} s"
    elif n < wanted:
        note = f"{seconds:.4g} s repeated to {audio.seconds:g} s"
    clip = samples if n == wanted else fitted(samples, wanted, -1)
    return Recording(clip, note, _clipped(clip, name))


def _clipped(samples: Int16, name: str) -> str:
    """What is said of samples that stand at full scale several in a row; nothing where none do."""
    at_limit = (samples >= FULL_SCALE - 1) | (samples <= -FULL_SCALE)
    if not at_limit.any():
        return ""
    edges = np.flatnonzero(np.diff(np.pad(at_limit.reshape(-1), 1).astype(np.int8)))
    runs = edges[1::2] - edges[::2]
    if runs.max() < CLIPPED_RUN:
        return ""
    clipped = int(runs[runs >= CLIPPED_RUN].sum())
    return (
        f"{name}: clipped, {clipped:,} samples at full scale in runs of up to {runs.max()}. Its score may be that of "
        "the distortion: lower the recording level."
    )


def _length(frames: int, rate: int, audio: SectionAudio) -> int:
    """Samples at the section's rate; those of its clips where resampling may round to them."""
    if abs(frames * audio.sample_rate - audio.n_samples * rate) < rate:
        return audio.n_samples
    return resampled_length(frames, rate, audio.sample_rate)


def _scaled(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Samples in steps of 16 bits."""
    if samples.ndim not in (1, 2):
        raise UsageError(f"expected samples (n_samples,) or (n_channels, n_samples), found shape {samples.shape}")
    if samples.dtype == np.int16:
        return samples
    if not np.issubdtype(samples.dtype, np.floating):
        raise UsageError(f"expected int16 samples, or floating-point ones at full scale 1, found {samples.dtype}")
    if not np.isfinite(samples).all():
        raise Unfit("no_audio", "the recording holds samples that are not finite.")
    if samples.size and (peak := float(np.abs(samples).max())) > 1:
        raise Unfit("no_audio", f"the recording holds samples of {peak:.3g}, expected at most 1, full scale.")
    return samples.astype(np.float64) * FULL_SCALE


def _channel(samples: npt.NDArray[Any], channel: Channel) -> npt.NDArray[Any]:
    """One channel of several; of one channel that one, if it is the first that is wanted."""
    if samples.ndim == 2 and samples.shape[0] > samples.shape[1]:
        raise UsageError(f"expected samples (n_channels, n_samples), channels first, found shape {samples.shape}")
    channels = samples[None] if samples.ndim == 1 else samples
    if channel == "all":
        return channels
    if channel >= len(channels):
        raise Unfit("no_audio", f"the recording has {len(channels)} channels, and the run takes channel {channel}.")
    kept: npt.NDArray[Any] = channels[channel]
    return kept
