"""Tell all sections apart from log-mel and Wavegram under an attention map; score by the doubt about the true one.

Neri and Carli, "Low-complexity Attention-based Unsupervised Anomalous Sound Detection exploiting Separable Convolutions
and Angular Loss" (2024), "the paper". One network for all machine types, a class per section. Log-mel and Wavegram are
the two channels of an image of 128 x 313, which is multiplied with an attention map and given to MobileFaceNet; ArcFace
tells the embeddings apart. Clips are audio of 10 s: 313 frames, no other number will do.

Conventions
-----------
cos theta is that of the angle between a clip's embedding and a class, [shape=(n, n_classes)]. Training mixes waveforms
(Noisy-ArcMix, Choi and Choi 2024): with lambda ~ Beta(0.2, 0.2) and a permutation j, one of each per batch, lambda x_i
+ (1 - lambda) x_j is heard, and the loss is lambda CE(l, y_i) + (1 - lambda) CE(l, y_j), where the logits l have the
margin on y_i alone. The score is CE(l, y) of the clip as it is.

Parameters: 873,839 + 128 a class. The released model carries a linear layer that nothing uses, 129 more a class; with
the 41 classes of the DCASE 2020 task that is the paper's 884k. Layers that the paper leaves open start as PyTorch has
them, ArcFace's classes Glorot-uniform.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.features import HOP, n_frames
from mimiidg_build.models.arcface import arcface, doubt
from mimiidg_build.models.attention.inputs import AttentionMap, LogMel, Scale, Wavegram
from mimiidg_build.models.attention.mobilefacenet import MobileFaceNet
from mimiidg_build.models.base import Detector, Epoch, Labels, Settings

N_FRAMES = 313
FULL_SCALE = 32768
FORWARD_CLIPS = 16  # clips a forward pass when scoring: 10 MB a layer and clip


@dataclass(frozen=True)
class AttentionSettings(Settings):
    """Settings of this family.

    attention            the layers of the attention map; "none": there is no map
    wavegram             "separable": all rows from one filter; "dense": 128 filters; "none": log-mel only
    logmel               False: Wavegram only
    embedding            numbers that MobileFaceNet gives for a clip
    scale, margin        ArcFace's s and m
    mixing               both parameters of lambda's Beta distribution
    last_learning_rate   of the last epoch, as a share of the first's; between them half a cosine
    unused_head          carry the released model's linear layer that nothing uses
    most_batches         of an epoch, where all clips would take too long
    """

    attention: Literal["separable", "plain", "none"] = "separable"
    wavegram: Literal["separable", "dense", "none"] = "separable"
    logmel: bool = True
    embedding: int = 128
    scale: float = 40.0
    margin: float = 0.7
    mixing: float = 0.2
    last_learning_rate: float = 1.0
    unused_head: bool = False
    most_batches: int | None = None


PAPER = AttentionSettings(epochs=300, learning_rate=1e-4, batch_size=64, batch_norm_momentum=0.1)
PROFILES = {
    "paper": PAPER,
    "released": replace(PAPER, last_learning_rate=0.1, unused_head=True),
    "cpu": replace(PAPER, epochs=20, learning_rate=1e-3, batch_size=8, last_learning_rate=0.01),
    "smoke": replace(PAPER, epochs=1, learning_rate=1e-3, batch_size=16, batch_norm_momentum=0.3, most_batches=12),
}


class Attention(Detector):
    """The paper's system."""

    settings: AttentionSettings
    profiles: ClassVar[Mapping[str, AttentionSettings]] = PROFILES
    scope = "all"
    takes = "audio"
    width = None

    def __init__(self, settings: AttentionSettings, n_sections: int, seed: int) -> None:
        super().__init__(settings, n_sections, seed)
        if n_sections < 2:
            raise UsageError(f"attention learns to tell sections apart: it needs two or more, found {n_sections}")
        generator = torch.Generator().manual_seed(seed)
        self.logmel = LogMel() if settings.logmel else None
        self.wavegram = None if settings.wavegram == "none" else Wavegram(settings.wavegram == "dense")
        self.channels = [name for name in ("logmel", "wavegram") if getattr(self, name) is not None]
        n_images = len(self.channels)
        self.attention = None
        if settings.attention != "none":
            self.attention = AttentionMap(n_images, settings.attention == "separable")
        self.encoder = MobileFaceNet(n_images, settings.embedding, generator)
        self.classes = nn.Parameter(torch.empty(n_sections, settings.embedding))
        self.head = nn.Linear(settings.embedding, n_sections) if settings.unused_head else None
        self._begin(generator)

    def _begin(self, generator: torch.Generator) -> None:
        """Weights of all but MobileFaceNet, as PyTorch's own layers begin, from the seed alone."""
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
        images = self.images(waves).contiguous(memory_format=torch.channels_last)
        if self.attention is not None:
            images = images * self.attention(images)
        with torch.autocast(waves.device.type, enabled=False):
            return F.normalize(self.encoder(images).float()) @ F.normalize(self.classes).T

    def maps(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Images of clips and their attention maps, both [shape=(n, n_images, mel, frame)], as when scoring.

        Parameters
        ----------
        audio : Tensor [shape=(n, n_samples)], int16

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
            images = self.images(waves_of(audio))
            maps = self.attention(images)
        self.train(was_training)
        return images, maps

    # ---- Training ----------------------------------------------------------------------------------------------------

    def batches(self, labels: Labels, epoch: Epoch) -> Sequence[Tensor]:
        """All clips once in random order, or the first batches of that."""
        return super().batches(labels, epoch)[: self.settings.most_batches]

    def loss(self, batch: Tensor, labels: Labels) -> Tensor:
        """Noisy-ArcMix's loss of clips [shape=(n, n_samples)], int16."""
        alpha = torch.tensor(self.settings.mixing)
        share = float(torch.distributions.Beta(alpha, alpha).sample())
        other = torch.randperm(len(batch)).to(batch.device)
        waves = waves_of(batch)
        cosine = self(torch.lerp(waves[other], waves, share))
        logits = self._logits(cosine, labels.section)
        own, others = (F.cross_entropy(logits, y) for y in (labels.section, labels.section[other]))
        return share * own + (1 - share) * others

    def _logits(self, cosine: Tensor, section: Tensor) -> Tensor:
        return arcface(cosine, section, self.settings.scale, self.settings.margin)

    def learning_rate_factor(self, epoch: Epoch) -> float:
        """Half a cosine, from 1 to the setting's share; 1 throughout where that is 1."""
        last = self.settings.last_learning_rate
        return last + (1 - last) * (1 + math.cos(math.pi * epoch.number / epoch.total)) / 2

    def optimizer(self, groups: Sequence[tuple[list[nn.Parameter], float]] | None = None) -> torch.optim.Optimizer:
        """AdamW as PyTorch has it."""
        given = self.parameter_groups() if groups is None else groups
        return torch.optim.AdamW([{"params": of, "lr": rate} for of, rate in given], fused=True)

    # ---- Scoring -----------------------------------------------------------------------------------------------------

    def _score(self, features: Tensor, labels: Labels) -> Tensor:
        cosine = torch.cat([self(waves_of(part)) for part in torch.split(features, FORWARD_CLIPS)])
        return doubt(self._logits(cosine.double(), labels.section), labels.section)


def waves_of(audio: Tensor) -> Tensor:
    """Waveforms in [-1, 1), float32, of clips of 16 bits.

    Raises
    ------
    DataError
        The clips are not as long as the network takes them.
    """
    if audio.ndim != 2 or n_frames(audio.shape[1]) != N_FRAMES:
        low, high = (N_FRAMES - 1) * HOP, N_FRAMES * HOP - 1
        raise DataError(
            f"the attention network takes clips of {N_FRAMES} frames, {low:,} to {high:,} samples (10 s at 16 kHz); "
            f"found audio of shape {tuple(audio.shape)}"
        )
    return audio.float() / FULL_SCALE


# ---- Ablations -------------------------------------------------------------------------------------------------------


def _with(**changes: Any) -> dict[str, AttentionSettings]:
    """All profiles, in which some settings are others."""
    return {name: replace(settings, **changes) for name, settings in PROFILES.items()}


class NoAttention(Attention):
    """Without the attention map (the paper's Table 4)."""

    profiles: ClassVar = _with(attention="none")


class Plain(Attention):
    """Plain convolutions for separable ones, in attention map and Wavegram (Table 4)."""

    profiles: ClassVar = _with(attention="plain", wavegram="dense")


class PlainNoAttention(Attention):
    """Plain convolutions, without the attention map (Table 4)."""

    profiles: ClassVar = _with(attention="none", wavegram="dense")


class MelOnly(Attention):
    """Without the Wavegram (Table 3)."""

    profiles: ClassVar = _with(wavegram="none")


class WavegramOnly(Attention):
    """Without the log-mel (Table 3)."""

    profiles: ClassVar = _with(logmel=False)


class Embedding64(Attention):
    """An embedding of 64 numbers (Table 3)."""

    profiles: ClassVar = _with(embedding=64)


class Embedding256(Attention):
    """An embedding of 256 numbers (Table 3)."""

    profiles: ClassVar = _with(embedding=256)


class Dense(Attention):
    """A Wavegram of 128 filters, all else as it is (not in the paper)."""

    profiles: ClassVar = _with(wavegram="dense")
