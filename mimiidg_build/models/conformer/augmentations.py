"""Augmentations of log-mels that a network has to recognise: one of eight kinds for each clip, "none" among them.

Conventions
-----------
Log-mels are (clip, frame, mel) in dB, float32, as in the store: 512 samples a frame, 128 Slaney bands of unit area up
to 8 kHz. Every operation takes clips and one number for each, and gives new log-mels; all are spectrogram operations.

The paper lists nine: none, pitch shift, time shift, time stretch, fade in, fade out, white noise, time mask, frequency
mask. It has eight classes, so fading in and fading out are one kind here ("fading in/out" in the paper), each with
probability one half. The parameters are drawn uniformly:

===============  =======================================================================================
pitch_shift      1 to 3 semitones, up or down
time_shift       up to half the clip, earlier or later, circular
time_stretch     rate 0.8 to 1.25; a faster clip starts again at its end
fade             over up to 2 s, amplitude linear in time, in or out
white_noise      SNR 5 to 20 dB
time_mask        40 frames, anywhere
frequency_mask   16 bands, anywhere; masks are filled with what the caller gives, the mean of the training clips
===============  =======================================================================================

Parameters are drawn from torch's own CPU generator, so that they are the same on every device; the noise itself on the
device.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from mimiidg_build.features import (
    FLOOR,
    HOP,
    N_FFT,
    N_MELS,
    SAMPLE_RATE,
    hz_from_mel,
    mel_filter_bank,
    mel_from_hz,
)

KINDS = (
    "none",
    "pitch_shift",
    "time_shift",
    "time_stretch",
    "fade",
    "white_noise",
    "time_mask",
    "frequency_mask",
)
SEMITONES = (1.0, 3.0)
RATES = (0.8, 1.25)
LONGEST_FADE_S = 2.0
SNR_DB = (5.0, 20.0)
TIME_MASK, FREQUENCY_MASK = 40, 16
# Standard deviation of time under the squared Hann window: the second moment of (1 + cos(2 pi t))^2 on [-1/2, 1/2].
WINDOW_STD_S = math.sqrt(1 / 12 - 5 / (8 * math.pi**2)) * N_FFT / SAMPLE_RATE


def augment(logmel: Tensor, fill: Tensor) -> tuple[Tensor, Tensor]:
    """Augment each clip in one of eight ways.

    Parameters
    ----------
    logmel : Tensor [shape=(n, n_frames, 128)], dB
    fill : Tensor [shape=(128,)], dB
        Fills masks.

    Returns
    -------
    augmented : Tensor [shape=(n, n_frames, 128)], dB
    kinds : Tensor of int64 [shape=(n,)]
        Index into ``KINDS``, on the clips' device.
    """
    kinds = torch.randint(len(KINDS), (len(logmel),))
    out = logmel.float()
    for kind in range(1, len(KINDS)):
        rows = (kinds == kind).nonzero()[:, 0].to(logmel.device)
        if len(rows):
            # Not in place: ``out`` may still be the caller's tensor, since float() of float32 is no copy.
            out = out.index_copy(0, rows, apply(KINDS[kind], out.index_select(0, rows), fill))
    return out, kinds.to(logmel.device)


def apply(kind: str, logmel: Tensor, fill: Tensor) -> Tensor:
    """Augment all clips in one way, with parameters drawn for each.

    Parameters
    ----------
    kind : str
        One of ``KINDS``, except "none".
    logmel : Tensor [shape=(n, n_frames, 128)], dB
    fill : Tensor [shape=(128,)], dB
        Fills masks.

    Returns
    -------
    Tensor [shape=(n, n_frames, 128)], dB

    Raises
    ------
    ValueError
        There is no such kind.
    """
    n, n_frames, n_mels = logmel.shape
    match kind:
        case "pitch_shift":
            return pitch_shift(logmel, _uniform(n, *SEMITONES) * (2 * torch.randint(2, (n,)) - 1))
        case "time_shift":
            return time_shift(logmel, torch.randint(-(n_frames // 2), n_frames // 2 + 1, (n,)))
        case "time_stretch":
            return time_stretch(logmel, _uniform(n, *RATES))
        case "fade":
            return fade(logmel, _uniform(n, 0, LONGEST_FADE_S), torch.randint(2, (n,)) == 1)
        case "white_noise":
            return white_noise(logmel, _uniform(n, *SNR_DB))
        case "time_mask":
            width = min(TIME_MASK, n_frames)
            return time_mask(logmel, torch.randint(n_frames - width + 1, (n,)), width, fill)
        case "frequency_mask":
            return frequency_mask(logmel, torch.randint(n_mels - FREQUENCY_MASK + 1, (n,)), FREQUENCY_MASK, fill)
        case _:
            raise ValueError(f"no augmentation is named {kind!r}; expected one of {', '.join(KINDS[1:])}")


def _uniform(n: int, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(n)


# ---- Time and pitch --------------------------------------------------------------------------------------------------


def pitch_shift(logmel: Tensor, semitones: Tensor) -> Tensor:
    """Move the spectrum by semitones [shape=(n,)]: a band gets the value at its centre frequency / 2^(semitones / 12).

    Between bands the log-mel is interpolated; beyond the centres of the first and the last band it is constant.
    """
    first, last = mel_from_hz([0.0, SAMPLE_RATE / 2])
    centres = torch.linspace(float(first), float(last), N_MELS + 2, dtype=torch.float64)[1:-1]
    sources_hz = torch.from_numpy(hz_from_mel(centres.numpy())) / 2 ** (semitones.double()[:, None] / 12)
    places = (torch.from_numpy(mel_from_hz(sources_hz.numpy())) - centres[0]) / (centres[1] - centres[0])
    places = places.clamp(0, N_MELS - 1).to(logmel.device, torch.float32)
    below = places.floor().long().clamp(max=N_MELS - 2)  # so that below + 1 is a band, too
    share = (places - below)[:, None]
    bands = below[:, None].expand(-1, logmel.shape[1], -1)
    return torch.lerp(logmel.gather(2, bands), logmel.gather(2, bands + 1), share)


def time_shift(logmel: Tensor, frames: Tensor) -> Tensor:
    """Circular shift to later by a number of frames [shape=(n,)]: what leaves at the end enters at the beginning."""
    n_frames = logmel.shape[1]
    return _at_frames(logmel, (torch.arange(n_frames) - frames[:, None]) % n_frames)


def time_stretch(logmel: Tensor, rate: Tensor) -> Tensor:
    """Faster by a factor [shape=(n,)]: frame t is what was at t * rate, interpolated; circular beyond the end."""
    n_frames = logmel.shape[1]
    places = torch.arange(n_frames) * rate[:, None]
    below = places.floor().long()
    share = (places - below).to(logmel.device)[:, :, None]
    return torch.lerp(_at_frames(logmel, below % n_frames), _at_frames(logmel, (below + 1) % n_frames), share)


def _at_frames(logmel: Tensor, numbers: Tensor) -> Tensor:
    """Frames by number [shape=(n, n_frames)] of each clip."""
    return logmel[torch.arange(len(logmel), device=logmel.device)[:, None], numbers.to(logmel.device)]


# ---- Level and noise -------------------------------------------------------------------------------------------------


def fade(logmel: Tensor, seconds: Tensor, is_out: Tensor) -> Tensor:
    """Fade in: amplitude from 0 to 1 at the clip's beginning, or out: from 1 to 0 at its end.

    The gain of a frame is the root mean square of its samples' gains, weighted by the squared window. With t the time
    of the frame's middle and s the standard deviation of time under that weight, this is sqrt(t^2 + s^2) / seconds,
    nowhere 0.

    Parameters
    ----------
    logmel : Tensor [shape=(n, n_frames, 128)], dB
    seconds : Tensor [shape=(n,)]
        Duration of the fade.
    is_out : Tensor of bool [shape=(n,)]
        Fade out.

    Returns
    -------
    Tensor [shape=(n, n_frames, 128)], dB
    """
    middle_s = torch.arange(logmel.shape[1]) * HOP / SAMPLE_RATE
    elapsed_s = torch.where(is_out[:, None], middle_s.flip(0), middle_s)
    gain = (elapsed_s.square() + WINDOW_STD_S**2).sqrt() / seconds[:, None]
    # The clamp also takes care of a fade of 0 s, whose gain is infinite.
    gain_db = 20 * torch.log10(gain.clamp(max=1.0))
    return (logmel + gain_db.to(logmel.device)[:, :, None]).clamp(min=10 * math.log10(FLOOR))


def white_noise(logmel: Tensor, snr_db: Tensor) -> Tensor:
    """Add white noise at an SNR in dB [shape=(n,)], a ratio of powers.

    The noise is drawn as samples and analysed as clips are, so that its spectrum fluctuates from frame to frame and
    from band to band as that of noise does. The cross terms of clip and noise are left out: their mean is 0.
    """
    n, n_frames, _ = logmel.shape
    samples = torch.randn(n, (n_frames - 1) * HOP, device=logmel.device)  # frames are centred: one more than hops
    window = torch.hann_window(N_FFT, device=logmel.device)
    spectrum = torch.stft(samples, N_FFT, HOP, window=window, pad_mode="constant", return_complex=True)
    filters, half_widths_hz = (constant.to(logmel.device) for constant in _filters())
    noise = torch.view_as_real(spectrum).square().sum(dim=-1).transpose(1, 2) @ filters.T
    power = 10 ** (logmel / 10)
    clip_power, noise_power = ((bands @ half_widths_hz).mean(dim=1) for bands in (power, noise))
    gain = clip_power / noise_power / 10 ** (snr_db.to(logmel.device) / 10)
    return 10 * torch.log10((power + gain[:, None, None] * noise).clamp(min=FLOOR))


@lru_cache(maxsize=1)
def _filters() -> tuple[Tensor, Tensor]:
    """Mel filters [shape=(128, 513)], and half their widths [shape=(128,)], Hz.

    Triangles of unit area, weighted by half their widths, add up to one between the first and the last centre (23 Hz to
    7.6 kHz): a weighted sum over bands is the power between the two.
    """
    edges_hz = hz_from_mel(torch.linspace(0, float(mel_from_hz(SAMPLE_RATE / 2)), N_MELS + 2).numpy())
    return torch.from_numpy(mel_filter_bank()), torch.from_numpy((edges_hz[2:] - edges_hz[:-2]) / 2).float()


# ---- Masks -----------------------------------------------------------------------------------------------------------


def time_mask(logmel: Tensor, first: Tensor, width: int, fill: Tensor) -> Tensor:
    """Mask frames of each clip.

    Parameters
    ----------
    logmel : Tensor [shape=(n, n_frames, n_mels)], dB
    first : Tensor of int64 [shape=(n,)]
        First masked frame of each clip.
    width : int, frames
    fill : Tensor [shape=(n_mels,)], dB
        Fills the mask.

    Returns
    -------
    Tensor [shape=(n, n_frames, n_mels)], dB
    """
    masked = _within(first.to(logmel.device), width, logmel.shape[1])
    return torch.where(masked[:, :, None], fill, logmel)


def frequency_mask(logmel: Tensor, first: Tensor, width: int, fill: Tensor) -> Tensor:
    """Mask mel bands of each clip.

    Parameters
    ----------
    logmel : Tensor [shape=(n, n_frames, n_mels)], dB
    first : Tensor of int64 [shape=(n,)]
        First masked band of each clip.
    width : int, bands
    fill : Tensor [shape=(n_mels,)], dB
        Fills the mask.

    Returns
    -------
    Tensor [shape=(n, n_frames, n_mels)], dB
    """
    masked = _within(first.to(logmel.device), width, logmel.shape[2])
    return torch.where(masked[:, None, :], fill, logmel)


def _within(first: Tensor, width: int, n: int) -> Tensor:
    """True at ``width`` of ``n`` positions, from each of ``first`` on [shape=(len(first), n)]."""
    places = torch.arange(n, device=first.device)
    return (places >= first[:, None]) & (places < first[:, None] + width)
