"""Augmentation of training inputs: noise is added, inputs are mixed, spectrograms are masked, in this order.

Inputs are what a model takes: windows or whole clips of log-mel (n, frame, mel) in dB, or audio (n, sample) in 16-bit
steps. What is held out of training, fitted or scored is never augmented.

Noise
    A noise clip that training clips of the input's own section hold, at SNR = 10 log10(a / b): a is the mean power of
    the section's training recordings before the store's own noise, which stays, was added; b is the noise clip's. In
    log-mels powers are added band by band: clip and noise are independent, and the product of their spectra has mean
    0. A window gets as many frames of the noise from a random place. Audio that passes full scale is left so.
Mixup (Zhang et al. 2018)
    x = share x_i + (1 - share) x_j, of log-mels in dB or of waveforms, with x_j from a permutation of the batch and a
    share of each input's own, from Beta(alpha, alpha). The loss is the same sum of the losses under either label
    (``Detector.mixed_loss``); an autoencoder has no labels and reconstructs the mixed input.
Masks (SpecAugment, Park et al. 2019)
    Bands, and frames, of each spectrogram: masks of a width of 0 to the greatest, at any place, each value of them the
    mean of its band over the batch. A model that takes audio has the log-mel of its own masked.

Every draw is from torch's own CPU generator, which the training seeds for each epoch: the same on every device, in a
resumed training, and whatever the number of workers.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mimiidg_build.models.base import Detector, Labels, Settings

DECIBELS = 10 / math.log(10)  # of a power whose natural logarithm is 1


@dataclass(frozen=True)
class Noise:
    """Noise clips of a training, and which of them an input of a section may get.

    clips       Tensor [shape=(n_clips, n_frames, n_mels)], dB, or [shape=(n_clips, n_samples)] of int16
    clip_of     Tensor of int64 [shape=(n_entries,)], row of the noise clip of each entry; a section's are consecutive
    gain_db     Tensor [shape=(n_entries,)], gain that brings that noise clip to an SNR of 0 dB in that section
    first       Tensor of int64 [shape=(n_origins,)], first entry of each section, numbered as ``Labels.origin``
    count       Tensor of int64 [shape=(n_origins,)], entries of each section
    """

    clips: Tensor
    clip_of: Tensor
    gain_db: Tensor
    first: Tensor
    count: Tensor

    def to(self, device: torch.device) -> Noise:
        """The same on a device."""
        return Noise(*(getattr(self, field.name).to(device) for field in fields(self)))


class Mixup(NamedTuple):
    """Of each input, the other that it is mixed with, and its own share: 1 where it is not mixed."""

    other: Tensor
    share: Tensor


class Augmentation:
    """What the settings of a model ask for.

    Parameters
    ----------
    model : Detector
    noise : Noise, optional
        Where noise is to be added.

    Raises
    ------
    ValueError
        Noise is to be added, and none is given.
    """

    def __init__(self, model: Detector, noise: Noise | None = None) -> None:
        self._settings, self._noise = model.settings, noise
        self._mixes = model.settings.mixup > 0 and not model.mixes_itself
        self._masks = model.settings.frequency_masks + model.settings.time_masks > 0
        self._layer = model.mask_layer() if self._masks and model.takes != "logmel" else None
        if model.settings.noise > 0 and noise is None:
            raise ValueError(f"noise = {model.settings.noise:g} needs noise clips to add, and none are given")

    def __call__(self, batch: Tensor, labels: Labels) -> tuple[Tensor, Mixup | None]:
        """Augmented inputs and, where some were mixed, with what; a batch as it is where nothing is asked for."""
        mixup = None
        if self._noise is not None and self._settings.noise > 0:
            batch = with_noise(batch, labels.origin, self._noise, self._settings)
        if self._mixes:
            mixup = Mixup(*(drawn.to(batch.device) for drawn in draw_mixup(len(batch), self._settings)))
            batch = mixed(batch.float(), *mixup)
        if self._masks and self._layer is None:
            batch = masked(batch.float(), self._settings)
        return batch, mixup

    @contextlib.contextmanager
    def masks_within(self) -> Iterator[None]:
        """Mask the spectrogram that a model computes itself, wherever it is in training mode within the block."""

        def mask(layer: nn.Module, inputs: Any, spectrograms: Tensor) -> Tensor | None:
            return masked(spectrograms.mT, self._settings).mT if layer.training else None  # None: as they are

        hook = None if self._layer is None else self._layer.register_forward_hook(mask)
        try:
            yield
        finally:
            if hook is not None:
                hook.remove()


def with_noise(batch: Tensor, origin: Tensor, noise: Noise, settings: Settings) -> Tensor:
    """Add noise to some inputs.

    Parameters
    ----------
    batch : Tensor [shape=(n, n_frames, n_mels)] in dB, or [shape=(n, n_samples)] in 16-bit steps
    origin : Tensor of int64 [shape=(n,)]
        The section of each input.
    noise : Noise
        Clips no shorter than the inputs.
    settings : Settings
        ``noise``, ``noise_snr_low`` and ``noise_snr_high``.

    Returns
    -------
    Tensor [shape of batch], float32
    """
    low, high = settings.noise_snr_low, settings.noise_snr_high
    is_noisy, which, place, snr = torch.rand(4, len(batch))  # as many draws for any of them
    rows = (is_noisy < settings.noise).nonzero()[:, 0]
    chosen, device = origin[rows.to(origin.device)], batch.device
    entry = noise.first[chosen] + (which[rows].to(device) * noise.count[chosen]).long()
    last = noise.clips.shape[1] - batch.shape[1]  # the last place where an input's length of noise begins
    added = _parts(noise.clips, noise.clip_of[entry], (place[rows] * (last + 1)).long().to(device), batch.shape[1])
    gain_db = noise.gain_db[entry] - (low + (high - low) * snr[rows].to(device))
    batch, rows = batch.float(), rows.to(device)
    signal, gain_db = batch.index_select(0, rows), gain_db.view(-1, *[1] * (batch.ndim - 1))
    if batch.ndim == 2:
        return batch.index_copy(0, rows, signal + 10 ** (gain_db / 20) * added)
    powers = torch.logaddexp(signal / DECIBELS, (added + gain_db) / DECIBELS)  # the logarithm of their sum
    return batch.index_copy(0, rows, powers * DECIBELS)


def _parts(clips: Tensor, rows: Tensor, first: Tensor, length: int) -> Tensor:
    """Parts of some clips [shape=(len(rows), length, ...)], float32, each from a place of its own on."""
    if length == clips.shape[1]:
        return clips.index_select(0, rows).float()
    places = first[:, None] + torch.arange(length, device=clips.device)
    return clips[rows[:, None], places].float()


def draw_mixup(n: int, settings: Settings) -> Mixup:
    """Draw with what each of ``n`` inputs is mixed, and in which share; on the CPU, as all draws."""
    other, is_mixed = torch.randperm(n), torch.rand(n) < settings.mixup
    alpha = torch.tensor(settings.mixup_alpha)
    # Beta(1, 1) is the uniform one, which takes other draws
    share = torch.rand(n) if settings.mixup_alpha == 1 else torch.distributions.Beta(alpha, alpha).sample((n,))
    return Mixup(other, torch.where(is_mixed, share, 1.0))


def mixed(inputs: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """share x_i + (1 - share) x_j.

    Parameters
    ----------
    inputs : Tensor [shape=(n, ...)], float
    other : Tensor of int64 [shape=(n,)]
        j of each input.
    share : Tensor [shape=(n,)]

    Returns
    -------
    Tensor [shape=(n, ...)]

    Examples
    --------
    >>> mixed(torch.tensor([[0.0], [8.0]]), torch.tensor([1, 0]), torch.tensor([0.75, 1.0])).tolist()
    [[2.0], [8.0]]
    """
    return torch.lerp(inputs[other], inputs, share.view(-1, *[1] * (inputs.ndim - 1)))


def masked(spectrograms: Tensor, settings: Settings) -> Tensor:
    """Mask bands and frames of spectrograms [shape=(n, n_frames, n_mels)], with the batch's mean of each band."""
    n, n_frames, n_mels = spectrograms.shape
    bands = _hidden(n, n_mels, settings.frequency_masks, settings.frequency_mask_width)
    frames = _hidden(n, n_frames, settings.time_masks, settings.time_mask_width)
    hidden = (bands[:, None, :] | frames[:, :, None]).to(spectrograms.device)
    return torch.where(hidden, spectrograms.mean(dim=(0, 1)), spectrograms)


def _hidden(n: int, size: int, n_masks: int, greatest: int) -> Tensor:
    """Which of ``size`` places of each input masks hide [shape=(n, size)], bool."""
    hidden, places = torch.zeros(n, size, dtype=torch.bool), torch.arange(size)
    for _ in range(n_masks):
        width = torch.randint(greatest + 1, (n, 1))
        first = (torch.rand(n, 1) * (size - width + 1)).long()
        hidden |= (places >= first) & (places < first + width)
    return hidden
