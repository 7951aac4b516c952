"""The attention network as a detector: its layers put together, its loss and its score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.features import HOP, N_FFT, N_MELS, SAMPLE_RATE, n_frames
from mimiidg_build.models.arcface import arcface, cross_entropy
from mimiidg_build.models.attention.inputs import AttentionMap, LogMel, Wavegram
from mimiidg_build.models.attention.layers import Scale
from mimiidg_build.models.attention.mobilefacenet import MobileFaceNet
from mimiidg_build.models.attention.settings import PROFILES, AttentionSettings
from mimiidg_build.models.base import Detector, Epoch, Labels, Settings

CLIP_SAMPLES = 10 * SAMPLE_RATE  # the paper's, 313 frames
FULL_SCALE = 32768
FORWARD_CLIPS = 16  # clips a forward pass when scoring: 10 MB a layer and clip


class Attention(Detector):
    """The paper's system: one network for all machine types, a class per section.

    Parameters
    ----------
    settings : AttentionSettings
    n_sections : int
    seed : int
    clip_length : int
        Samples of a clip: their frames decide the size of the last depthwise convolution.

    Raises
    ------
    UsageError
        There are fewer than two sections.
    """

    settings: AttentionSettings
    profiles: ClassVar[Mapping[str, AttentionSettings]] = PROFILES
    scope = "all"
    takes = "audio"
    width = None
    needs: ClassVar = {"sample_rate": SAMPLE_RATE}
    min_sections = 2
    sized_by_clips = True
    not_augmented: ClassVar = {
        "mixup": "it mixes the waveforms of every batch, as its paper does; change mixing, the parameter of its Beta "
        "distribution"
    }

    @classmethod
    def min_length(cls, settings: Settings) -> int:
        """Samples of one window of the log-mel."""
        return N_FFT

    def __init__(
        self, settings: AttentionSettings, n_sections: int, seed: int, clip_length: int = CLIP_SAMPLES
    ) -> None:
        super().__init__(settings, n_sections, seed)
        self.n_frames = n_frames(clip_length)
        if n_sections < 2:
            raise UsageError(f"attention learns to classify sections: it needs two or more, found {n_sections}")
        # MobileFaceNet draws first, _initialise_weights second: in another order a seed would give other weights.
        generator = torch.Generator().manual_seed(seed)
        self.logmel = LogMel() if settings.logmel else None
        self.wavegram = None if settings.wavegram == "none" else Wavegram(settings.wavegram == "dense")
        self.channels = [name for name in ("logmel", "wavegram") if getattr(self, name) is not None]
        n_images = len(self.channels)
        self.attention = None
        if settings.attention != "none":
            self.attention = AttentionMap(n_images, settings.attention == "separable", settings.map_channels)
        image = (N_MELS, self.n_frames)
        self.encoder = MobileFaceNet(n_images, settings.embedding, generator, image, settings.channels)
        self.classes = nn.Parameter(torch.empty(n_sections, settings.embedding))
        self.head = nn.Linear(settings.embedding, n_sections) if settings.unused_head else None
        self._initialise_weights(generator)

    def _initialise_weights(self, generator: torch.Generator) -> None:
        """Weights of all but MobileFaceNet, as PyTorch initialises its own layers, from the seed alone."""
        nn.init.xavier_uniform_(self.classes, generator=generator)
        for part in (self.wavegram, self.attention, self.head):
            for module in part.modules() if part is not None else ():
                if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear | Scale):
                    bound = 1 / math.sqrt(module.weight[0].numel())
                    nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                    if module.bias is not None:
                        nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = self.settings.batch_norm_momentum

    # ---- Network -----------------------------------------------------------------------------------------------------

    def images(self, waves: Tensor) -> Tensor:
        """Log-mel and Wavegram, or one of them [shape=(n, n_images, mel, frame)], of waves in [-1, 1]."""
        parts = [part(waves) for part in (self.logmel, self.wavegram) if part is not None]
        return torch.stack(parts, dim=1)

    def forward(self, waves: Tensor) -> Tensor:
        """cos theta [shape=(n, n_classes)] of waves [shape=(n, n_samples)] in [-1, 1]."""
        embeddings = self._encoded(waves)
        with torch.autocast(waves.device.type, enabled=False):  # angles lose their digits in bfloat16
            return F.normalize(embeddings.float()) @ F.normalize(self.classes).T

    def _encoded(self, waves: Tensor) -> Tensor:
        """Embeddings [shape=(n, size)] of waves [shape=(n, n_samples)] in [-1, 1]."""
        images = self.images(waves)
        if self.attention is not None:
            images = images * self.attention(images)
        embeddings: Tensor = self.encoder(images.contiguous(memory_format=torch.channels_last))
        return embeddings

    def maps(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Images of clips and their attention maps, as when scoring.

        Parameters
        ----------
        audio : Tensor [shape=(n, n_samples)], int16

        Returns
        -------
        images, maps : Tensor [shape=(n, n_images, mel, frame)]

        Raises
        ------
        UsageError
            The model has no attention map.
        """
        if self.attention is None:
            raise UsageError("this model has no attention map to show: it is the ablation without one")
        was_training = self.training
        self.eval()
        with torch.no_grad():
            images = self.images(self._waves(audio))
            maps = self.attention(images)
        self.train(was_training)
        return images, maps

    # ---- Training ----------------------------------------------------------------------------------------------------

    def batches(self, labels: Labels, epoch: Epoch) -> Sequence[Tensor]:
        """All clips once in random order, or the first batches of such an order."""
        return super().batches(labels, epoch)[: self.settings.most_batches]

    def loss(self, batch: Tensor, labels: Labels) -> Tensor:
        """Noisy-ArcMix's loss of clips [shape=(n, n_samples)], int16."""
        alpha = torch.tensor(self.settings.mixing)
        # Drawn on the CPU, like the permutation: the same on every device.
        share = float(torch.distributions.Beta(alpha, alpha).sample())
        other = torch.randperm(len(batch)).to(batch.device)
        waves = self._waves(batch)
        cosine = self(torch.lerp(waves[other], waves, share))
        logits = self._logits(cosine, labels.section)
        own, others = (F.cross_entropy(logits, true_class) for true_class in (labels.section, labels.section[other]))
        return share * own + (1 - share) * others

    def _logits(self, cosine: Tensor, section: Tensor) -> Tensor:
        return arcface(cosine, section, self.settings.scale, self.settings.margin)

    def mask_layer(self) -> nn.Module | None:
        """The log-mel, as PANNs mask it beside a Wavegram."""
        return self.logmel

    @classmethod
    def mask_shape(cls, settings: Settings, length: int, n_mels: int) -> tuple[int, int] | None:
        """Those of the log-mel, if there is one."""
        has_logmel = isinstance(settings, AttentionSettings) and settings.logmel
        return (n_frames(length), N_MELS) if has_logmel else None

    def learning_rate_factor(self, epoch: Epoch) -> float:
        """See :meth:`Epoch.half_cosine`."""
        return epoch.half_cosine(self.settings.last_learning_rate)

    def optimizer(self, groups: Sequence[tuple[list[nn.Parameter], float]] | None = None) -> torch.optim.Optimizer:
        """AdamW with PyTorch's defaults."""
        return torch.optim.AdamW(self.optimizer_groups(groups), fused=True)

    # ---- Scoring -----------------------------------------------------------------------------------------------------

    def _score(self, features: Tensor, labels: Labels) -> Tensor:
        cosine = torch.cat([self(self._waves(part)) for part in torch.split(features, FORWARD_CLIPS)])
        # In float64: sqrt(1 - cos^2) loses its digits to cancellation where a clip is close to its class.
        return cross_entropy(self._logits(cosine.double(), labels.section), labels.section)

    def _embed_clips(self, features: Tensor, labels: Labels) -> Tensor:
        """What ArcFace classifies by its angle, before it is normalised."""
        return torch.cat([self._encoded(self._waves(part)) for part in torch.split(features, FORWARD_CLIPS)])

    def _waves(self, audio: Tensor) -> Tensor:
        return waves_of(audio, self.n_frames)


def waves_of(audio: Tensor, frames: int = n_frames(CLIP_SAMPLES)) -> Tensor:
    """Waveforms in [-1, 1), float32 [shape=(n, n_samples)], of clips of 16 bits.

    Raises
    ------
    DataError
        The clips have not the frames that the network was made for.
    """
    if audio.ndim != 2 or n_frames(audio.shape[1]) != frames:
        low, high = (frames - 1) * HOP, frames * HOP - 1
        raise DataError(
            f"this attention network takes clips of {frames} frames, {low:,} to {high:,} samples "
            f"({frames * HOP / SAMPLE_RATE:.0f} s at {SAMPLE_RATE // 1000} kHz); found audio of shape "
            f"{tuple(audio.shape)}"
        )
    return audio.float() / FULL_SCALE
