"""Log-mel spectrograms in torch alone, for exported models: those of :mod:`mimiidg_build.features` to 1e-4 dB.

librosa's convention: frames centred on every ``hop_length``-th sample, zeros beyond the clip's ends. In double
precision, as the general settings are computed; the compiled default settings, in single precision, lie as far from it
as they do from librosa.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimiidg_build.features import FLOOR, mel_filter_bank
from mimiidg_build.features.spectra import window
from mimiidg_build.schemas.variants import FeatureSettings

FULL_SCALE = 32768


class TorchLogMel(nn.Module):
    """Log-mel [shape=(n_frames, n_mels)], dB, of one clip's samples in [-1, 1): [shape=(n_samples,)], or with a
    reference channel [shape=(n_channels, n_samples)].

    Parameters
    ----------
    settings : FeatureSettings
    sample_rate : int, Hz
    """

    window: Tensor  # (n_fft,)
    filters: Tensor  # (bin, mel)

    def __init__(self, settings: FeatureSettings, sample_rate: int) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("window", torch.from_numpy(window(settings).copy()))
        filters = torch.from_numpy(mel_filter_bank(settings, sample_rate)).double()
        self.register_buffer("filters", filters.T.contiguous())

    def forward(self, samples: Tensor) -> Tensor:
        """The clip's log-mel, of the type that stores hold."""
        settings = self.settings
        if not settings.has_reference:
            decibels = self._decibels(self._mel(samples))
        else:
            # as features.reference, which says what it means
            near, far = self._mel(samples[settings.primary_channel]), self._mel(samples[settings.reference_channel])
            if settings.reference == "log_ratio":
                decibels = self._decibels(near) - self._decibels(far)
            else:
                left = near - settings.over_subtraction * far
                decibels = self._decibels(torch.maximum(left, settings.spectral_floor * far))
        return decibels.to(torch.float16 if settings.dtype == "float16" else torch.float32)

    def _mel(self, samples: Tensor) -> Tensor:
        """Mel bands of one channel."""
        n_fft = self.settings.n_fft
        padded = F.pad(samples.double(), (n_fft // 2, n_fft // 2))
        spectra = torch.view_as_real(torch.fft.rfft(padded.unfold(0, n_fft, self.settings.hop_length) * self.window))
        energy = spectra.square().sum(dim=-1)
        return (energy if self.settings.power == 2 else energy.sqrt()) @ self.filters

    def _decibels(self, mel: Tensor) -> Tensor:
        return 20 / self.settings.power * torch.log10(mel.clamp(min=FLOOR))
