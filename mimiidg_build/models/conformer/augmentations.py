"""Changes to log-mels that a network has to recognise: one of eight kinds for each clip, "none" among them.

Conventions
-----------
Log-mels are (clip, frame, mel) in dB, float32, as in the store: 512 samples a frame, 128 Slaney bands of unit area up
to 8 kHz. Every operation takes clips and one number for each, and gives new log-mels; all are spectrogram operations.

The paper names nine: none, pitch shift, time shift, time stretch, fade in, fade out, white noise, time mask, frequency
mask. Eight kinds are wanted, so fading in and fading out are one kind ("fading in/out" in the paper), a coin decides
which. What numbers are drawn, uniformly:

===============  =======================================================================================
pitch_shift      1 to 3 semitones, up or down
time_shift       up to half the clip, either way, going round
time_stretch     rate 0.8 to 1.25; what is missing at the end of a faster clip is its beginning again
fade             over up to 2 s, amplitude linear in time, in or out
white_noise      SNR 5 to 20 dB
time_mask        40 frames, anywhere
frequency_mask   16 bands, anywhere; masks hold what the caller gives, the mean of the training clips
===============  =======================================================================================

Numbers are drawn from torch's own CPU generator, so that they are the same on every device; the noise itself on the
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
WINDOW_SPREAD_S = math.sqrt(1 / 12 - 5 / (8 * math.pi**2)) * N_FFT / SAMPLE_RATE  # deviation under a squared Hann


def augment(logmel: Tensor, fill: Tensor) -> tuple[Tensor, Tensor]:
    """Change each clip in one of eight ways.

    Parameters
    ----------
    logmel : Tensor [shape=(n, n_frames, 128)], dB
    fill : Tensor [shape=(128,)], dB
        What masks hold.

    Returns
    -------
    Tensor [shape=(n, n_frames, 128)], dB
    Tensor of int64 [shape=(n,)]
        Numbers of the kinds, on the clips' device.
    """
    kinds = torch.randint(len(KINDS), (len(logmel),))
    out = logmel.float()
    for kind in range(1, len(KINDS)):
        rows = (kinds == kind).nonzero()[:, 0].to(logmel.device)
        if len(rows):
            out = out.index_copy(0, rows, apply(KINDS[kind], out.index_select(0, rows), fill))
    return out, kinds.to(logmel.device)


def apply(kind: str, logmel: Tensor, fill: Tensor) -> Tensor:
    """Change all clips in one way, with numbers drawn for each."""
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
            raise ValueError(f"there is no augmentation {kind!r}; expected one of {', '.join(KINDS[1:])}")


def _uniform(n: int, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(n)


# ---- Time and pitch --------------------------------------------------------------------------------------------------


def pitch_shift(logmel: Tensor, semitones: Tensor) -> Tensor:
    """Move the spectrum by semitones: a band gets what stood at its centre frequency / 2^(semitones / 12).

    Between bands the log-mel is interpolated; beyond the first and the last band's centre it is theirs.
    """
    first, last = mel_from_hz([0.0, SAMPLE_RATE / 2])
    centres = torch.linspace(float(first), float(last), N_MELS + 2, dtype=torch.float64)[1:-1]
    sources_hz = torch.from_numpy(hz_from_mel(centres.numpy())) / 2 ** (semitones.double()[:, None] / 12)
    places = (torch.from_numpy(mel_from_hz(sources_hz.numpy())) - centres[0]) / (centres[1] - centres[0])
    places = places.clamp(0, N_MELS - 1).to(logmel.device, torch.float32)
    below = places.floor().long().clamp(max=N_MELS - 2)
    share = (places - below)[:, None]
    of_frames = below[:, None].expand(-1, logmel.shape[1], -1)
    return torch.lerp(logmel.gather(2, of_frames), logmel.gather(2, of_frames + 1), share)


def time_shift(logmel: Tensor, frames: Tensor) -> Tensor:
    """Later by so many frames; what leaves at the end comes in at the beginning."""
    n_frames = logmel.shape[1]
    return _at_frames(logmel, (torch.arange(n_frames) - frames[:, None]) % n_frames)


def time_stretch(logmel: Tensor, rate: Tensor) -> Tensor:
    """Faster by a factor: frame t is what was at t * rate, interpolated, cut or continued to the clip's length."""
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
    """Amplitude from 0 to 1 within so many seconds at the clip's beginning, or from 1 to 0 at its end.

    The gain of a frame is the root of the mean square of the samples' under the window, of spread s around the frame's
    middle: sqrt(t^2 + s^2) / seconds, nowhere 0.
    """
    middle_s = torch.arange(logmel.shape[1]) * HOP / SAMPLE_RATE
    elapsed_s = torch.where(is_out[:, None], middle_s.flip(0), middle_s)
    gain = (elapsed_s.square() + WINDOW_SPREAD_S**2).sqrt() / seconds[:, None]
    gain_db = 20 * torch.log10(gain.clamp(max=1.0))
    return (logmel + gain_db.to(logmel.device)[:, :, None]).clamp(min=10 * math.log10(FLOOR))


def white_noise(logmel: Tensor, snr_db: Tensor) -> Tensor:
    """Add white noise at an SNR, power to power.

    The noise is drawn as samples and analysed as clips are, so its spectrum fluctuates as it should from frame to frame
    and from band to band. Product terms of clip and noise are left out: their mean is 0.
    """
    n, n_frames, _ = logmel.shape
    samples = torch.randn(n, (n_frames - 1) * HOP, device=logmel.device)
    window = torch.hann_window(N_FFT, device=logmel.device)
    spectrum = torch.stft(samples, N_FFT, HOP, window=window, pad_mode="constant", return_complex=True)
    filters, half_widths_hz = (of.to(logmel.device) for of in _filters())
    noise = torch.view_as_real(spectrum).square().sum(dim=-1).transpose(1, 2) @ filters.T
    power = 10 ** (logmel / 10)
    of_clips, of_noise = ((of @ half_widths_hz).mean(dim=1) for of in (power, noise))
    gain = of_clips / of_noise / 10 ** (snr_db.to(logmel.device) / 10)
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
    """Put ``fill`` [shape=(n_mels,)] into ``width`` frames from the ``first`` of each clip."""
    masked = _within(first.to(logmel.device), width, logmel.shape[1])
    return torch.where(masked[:, :, None], fill, logmel)


def frequency_mask(logmel: Tensor, first: Tensor, width: int, fill: Tensor) -> Tensor:
    """Put ``fill`` [shape=(n_mels,)] into ``width`` bands from the ``first`` of each clip."""
    masked = _within(first.to(logmel.device), width, logmel.shape[2])
    return torch.where(masked[:, None, :], fill, logmel)


def _within(first: Tensor, width: int, n: int) -> Tensor:
    """True at ``width`` of ``n`` places from ``first`` on [shape=(len(first), n)]."""
    places = torch.arange(n, device=first.device)
    return (places >= first[:, None]) & (places < first[:, None] + width)
