"""Multitask conformer: tell a machine type's sections apart, the type from others, and augmentations from each other.

Source: Zhang et al., "Outlier-aware Inlier Modeling and Multi-scale Scoring for Anomalous Sound Detection via Multitask
Learning", Interspeech 2023 ("the paper"). One network per machine type, on whole log-mels.

Conventions
-----------
z is a clip's embedding of 64 numbers. Three heads are linear in z, and the loss is the sum of their means:

============  =========================================================  ===============================
head          loss                                                       clips that take part
============  =========================================================  ===============================
sections      ArcFace, s = 16, m = 1.28                                  of the machine type
binary        binary cross-entropy: of the machine type, or of another   all, in the second stage only
augmentation  cross-entropy over the eight kinds of ``augmentations``    all
============  =========================================================  ===============================

Two thirds of the epochs, rounded down, are the first stage: clips of the machine type alone, the binary head as it was
drawn, without a part in the loss (one class is nothing to learn from). In the second, as many clips of other machine
types are in every batch as of this.

Scores, each standardised with its mean and deviation over the section's training clips:

- ``id``: -log softmax of the true section over s cos(theta), without the margin
- ``binary``: -log sigmoid
- ``mahalanobis``: distance of z from the mean of the section's training clips, under their covariance with
  1e-3 trace / 64 added to its diagonal
- their sum, the model's own
- ``oracle``: the paper "selects the best combination", which takes anomalies with labels to choose by: of the seven
  sums of some of the three, the one with the greatest mean AUC over the machine type's test sections

What the paper leaves open, and what is taken here:

- *Standardised log-mels*: mean and deviation of each mel band over the machine type's normal training clips. Clips of
  other types go by the same two: what differs between types stays different. After augmentation.
- *Batches*: batch_size over the number of sections gives the clips of each section, in the second stage half of
  batch_size; there, as many other clips. With 3 sections and 30: 10 each, then 5 each and 15 others; with 4, as in the
  paper: 7 each (28 in all), then 3 each and 12 others. An epoch goes through the section with the most clips once;
  sections with fewer, and others where they are fewer, begin again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.evaluation import metrics
from mimiidg_build.features import N_MELS
from mimiidg_build.models.arcface import arcface, doubt
from mimiidg_build.models.base import MAIN, Array, Chunks, Detector, Epoch, Labels, ScoreTable, Settings
from mimiidg_build.models.conformer.augmentations import KINDS, augment
from mimiidg_build.models.conformer.network import EMBEDDING, Encoder

SCORES = ("id", "binary", "mahalanobis")
RIDGE = 1e-3  # of the covariance's mean variance
LEAST_DEVIATION = 1e-3  # dB: a band that never changes is not divided by 0
FORWARD_CLIPS = 30  # clips a forward pass outside training


@dataclass(frozen=True)
class ConformerSettings(Settings):
    """Settings of the conformer.

    batch_size           clips a batch; see "Batches" above
    channels             of the two convolutions before the conformer blocks
    n_blocks             conformer blocks
    kernel               frames of the depthwise convolutions
    scale, margin        of ArcFace; the margin in rad
    section_weight       of ArcFace's loss
    binary_weight        of the binary head's, in the second stage
    augmentation_weight  of the augmentation head's
    """

    batch_size: int = 30
    channels: int = 128
    n_blocks: int = 3
    kernel: int = 15
    scale: float = 16.0
    margin: float = 1.28
    section_weight: float = 1.0
    binary_weight: float = 1.0
    augmentation_weight: float = 1.0


SIZE, N_HEADS, HIDDEN = 128, 4, 512  # of the conformer blocks
PAPER = ConformerSettings(epochs=120, learning_rate=1e-3, batch_norm_momentum=0.1)


class Conformer(Detector):
    """One model per machine type, over all its sections and both domains."""

    settings: ConformerSettings
    profiles: ClassVar = {
        "paper": PAPER,
        # 0.6 s of one core a batch, in place of 2.3 s; of four times the epochs, bearing gained nothing
        "cpu": replace(PAPER, channels=32, epochs=30),
        "smoke": replace(PAPER, epochs=2, channels=8, n_blocks=1, batch_norm_momentum=0.3),
    }
    width = None
    uses_outliers = True

    level_mean: Tensor  # (mel,), dB
    level_deviation: Tensor
    centre: Tensor  # (section, 64), of the training clips' embeddings
    whitener: Tensor  # (section, 64, 64), W with W W^T = inverse covariance
    score_mean: Tensor  # (section, score), of the training clips
    score_deviation: Tensor

    def __init__(self, settings: ConformerSettings, n_sections: int, seed: int) -> None:
        super().__init__(settings, n_sections, seed)
        if n_sections < 2:
            raise UsageError(
                f"conformer learns to tell a machine type's sections apart: it needs two or more, found {n_sections}"
            )
        with torch.random.fork_rng(devices=[]):  # as PyTorch's layers begin, from the seed alone
            torch.manual_seed(seed)
            self.encoder = Encoder(settings.channels, settings.n_blocks, SIZE, N_HEADS, HIDDEN, settings.kernel)
            self.sections = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n_sections, EMBEDDING)))
            self.binary = nn.Linear(EMBEDDING, 1)
            self.augmentation = nn.Linear(EMBEDDING, len(KINDS))
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.momentum = settings.batch_norm_momentum
        self._in_second_stage = False
        self.register_buffer("level_mean", torch.zeros(N_MELS))
        self.register_buffer("level_deviation", torch.ones(N_MELS))
        self.register_buffer("centre", torch.full((n_sections, EMBEDDING), torch.nan, dtype=torch.float64))
        self.register_buffer("whitener", torch.zeros(n_sections, EMBEDDING, EMBEDDING, dtype=torch.float64))
        self.register_buffer("score_mean", torch.zeros(n_sections, len(SCORES), dtype=torch.float64))
        self.register_buffer("score_deviation", torch.ones(n_sections, len(SCORES), dtype=torch.float64))

    def forward(self, logmel: Tensor) -> Tensor:
        """Embeddings [shape=(n, 64)], float32, of log-mels [shape=(n, 313, 128)], dB."""
        embedding: Tensor = self.encoder((logmel.float() - self.level_mean) / self.level_deviation)
        return embedding.float()

    # ---- Training ----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def begin_epoch(self, epoch: Epoch, chunks: Chunks) -> None:
        """The stage; before the first epoch, mean and deviation of each mel band over the normal clips."""
        self._in_second_stage = in_second_stage(epoch)
        if epoch.number > 0:
            return
        count, total, square = 0, torch.zeros(N_MELS, dtype=torch.float64), torch.zeros(N_MELS, dtype=torch.float64)
        for logmel, labels in chunks:
            rows = logmel[labels.is_normal].flatten(0, 1).double()
            count, total, square = count + len(rows), total + rows.sum(0).cpu(), square + rows.square().sum(0).cpu()
        mean = total / count
        variance = square / count - mean.square()
        self.level_mean.copy_(mean)
        self.level_deviation.copy_(variance.clamp(min=LEAST_DEVIATION**2).sqrt())

    def batches(self, labels: Labels, epoch: Epoch) -> Sequence[Tensor]:
        """As many clips of each section, in the second stage half as many and other machine types' beside them."""
        section = labels.section.cpu()
        groups = [(labels.is_normal.cpu() & (section == number)).nonzero()[:, 0] for number in range(self.n_sections)]
        total = self.settings.batch_size // 2 if in_second_stage(epoch) else self.settings.batch_size
        share = max(1, total // self.n_sections)
        n_batches = math.ceil(max(map(len, groups)) / share)
        drawn = [_cycled(numbers, n_batches * share).view(n_batches, share) for numbers in groups]
        if in_second_stage(epoch):
            others = (section < 0).nonzero()[:, 0]
            if not len(others):
                raise DataError(
                    "conformer needs training clips of other machine types for its second stage; the store has none"
                )
            n_others = share * self.n_sections
            drawn.append(_cycled(others, n_batches * n_others).view(n_batches, n_others))
        return list(torch.cat(drawn, dim=1))

    def loss(self, batch: Tensor, labels: Labels) -> Tensor:
        """Sum of the heads' losses on clips [shape=(n, 313, 128)], each augmented."""
        with torch.autocast(batch.device.type, enabled=False):
            changed, kinds = augment(batch, self.level_mean)
        z = self(changed)
        with torch.autocast(batch.device.type, enabled=False):
            return self._heads_loss(z, labels, kinds)

    def _heads_loss(self, z: Tensor, labels: Labels, kinds: Tensor) -> Tensor:
        """The loss, from embeddings [shape=(n, 64)], float32, and the clips' kinds of augmentation."""
        own, settings = labels.section >= 0, self.settings
        logits = arcface(self._cosine(z[own]), labels.section[own], settings.scale, settings.margin)
        loss = settings.section_weight * F.cross_entropy(logits, labels.section[own])
        loss = loss + settings.augmentation_weight * F.cross_entropy(self.augmentation(z), kinds)
        if self._in_second_stage:
            binary = F.binary_cross_entropy_with_logits(self.binary(z)[:, 0], own.float())
            loss = loss + settings.binary_weight * binary
        return loss

    def _cosine(self, z: Tensor) -> Tensor:
        """cos theta between embeddings and the sections' anchors [shape=(n, n_sections)]."""
        return F.normalize(z) @ F.normalize(self.sections.to(z.dtype)).T

    # ---- Scoring -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fit_after(self, chunks: Chunks) -> None:
        """Mean and covariance of each section's embeddings, then mean and deviation of its scores."""
        self.eval()
        parts = [(self._embeddings(logmel), labels.section) for logmel, labels in chunks]
        z, section = (torch.cat(of) for of in zip(*parts, strict=True))
        for number in range(self.n_sections):
            of = z[section == number]
            if len(of) < 2:
                raise DataError(f"conformer: {len(of)} training clips of a section cannot give a covariance")
            self.centre[number], self.whitener[number] = mean_and_whitener(of)
        raw = self._raw_scores(z, section)
        for number in range(self.n_sections):
            of = raw[section == number]
            deviation = of.std(dim=0, correction=0)
            self.score_mean[number] = of.mean(dim=0)
            self.score_deviation[number] = torch.where(deviation > 0, deviation, 1.0)

    def _embeddings(self, logmel: Tensor) -> Tensor:
        """Embeddings, float64 [shape=(n, 64)], some clips at a time."""
        return torch.cat([self(part).double() for part in torch.split(logmel, FORWARD_CLIPS)])

    def _raw_scores(self, z: Tensor, section: Tensor) -> Tensor:
        """``SCORES`` as they are [shape=(n, 3)], float64."""
        of_section = doubt(self.settings.scale * self._cosine(z), section)
        of_type = F.softplus(-F.linear(z, self.binary.weight.double(), self.binary.bias.double())[:, 0])
        white = torch.einsum("ni,nij->nj", z - self.centre[section], self.whitener[section])
        return torch.stack([of_section, of_type, torch.linalg.vector_norm(white, dim=1)], dim=1)

    def _scores(self, features: Tensor, labels: Labels) -> dict[str, Tensor]:
        if self.centre.isnan().any():
            raise ValueError("conformer's scores need fit_after first")
        raw = self._raw_scores(self._embeddings(features), labels.section)
        scores = (raw - self.score_mean[labels.section]) / self.score_deviation[labels.section]
        return {MAIN: scores.sum(dim=1)} | dict(zip(SCORES, scores.unbind(dim=1), strict=True))

    def _score(self, features: Tensor, labels: Labels) -> Tensor:
        return self._scores(features, labels)[MAIN]

    def derived_scores(self, training: ScoreTable, test: ScoreTable) -> tuple[dict[str, Array], dict[str, Array]]:
        """``oracle``: the sum of some of the three scores that is best on the labelled test clips."""
        subsets = [names for n in range(1, len(SCORES) + 1) for names in itertools.combinations(SCORES, n)]
        best = max(subsets, key=lambda names: _mean_auc(test.clips, _sum(test, names)))  # of equals, the fewest
        return {"oracle": _sum(training, best)}, {"oracle": _sum(test, best)}


def in_second_stage(epoch: Epoch) -> bool:
    """True in the last third of the epochs; of a single one, in that.

    >>> [sum(not in_second_stage(Epoch(n, total)) for n in range(total)) for total in (120, 60, 4, 2, 1)]
    [80, 40, 2, 1, 0]
    """
    return epoch.number >= 2 * epoch.total // 3


def mean_and_whitener(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [shape=(d,)] of vectors [shape=(n, d)], and W [shape=(d, d)] with W W^T = inverse covariance.

    The covariance has 1e-3 of its mean variance added to its diagonal: fewer clips than dimensions leave it singular.

    Raises
    ------
    DataError
        All vectors are the same.
    """
    covariance = torch.cov(z.T)
    ridge = RIDGE * covariance.trace() / len(covariance)
    unit = torch.eye(len(covariance), dtype=z.dtype, device=z.device)
    factor, failed = torch.linalg.cholesky_ex(covariance + ridge * unit)
    if failed:
        raise DataError("conformer: the training clips of a section all have the same embedding: training collapsed")
    return z.mean(dim=0), torch.linalg.solve_triangular(factor, unit, upper=False).mT


def _cycled(numbers: Tensor, n: int) -> Tensor:
    """``n`` of the numbers: all of them in random order, then all of them in another, ..."""
    passes = math.ceil(n / len(numbers))
    return torch.cat([numbers[torch.randperm(len(numbers))] for _ in range(passes)])[:n]


def _sum(table: ScoreTable, names: Sequence[str]) -> Array:
    total: Array = np.sum([table.scores[name] for name in names], axis=0)
    return total


def _mean_auc(clips: pd.DataFrame, scores: Array) -> float:
    """Mean over sections of the AUC of all their test clips."""
    is_anomaly = (clips["condition"] == "anomaly").to_numpy()
    parts = [rows.to_numpy() for _, rows in clips.assign(place=np.arange(len(clips))).groupby("section")["place"]]
    return float(np.mean([metrics.auc(scores[p][~is_anomaly[p]], scores[p][is_anomaly[p]]) for p in parts]))
