"""The conformer as a detector: encoder and heads, their loss, and the scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from numpy.linalg import LinAlgError
from torch import Tensor, nn

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.features import BASELINE, N_MELS
from mimiidg_build.models.arcface import arcface, cross_entropy
from mimiidg_build.models.base import MAIN, Array, Chunks, Detector, Epoch, Labels, ScoreTable, Settings
from mimiidg_build.models.batches import cycled
from mimiidg_build.models.conformer.augmentations import KINDS, augment
from mimiidg_build.models.conformer.combinations import Sum, oracle_scores, selected_sum, sum_of
from mimiidg_build.models.conformer.network import EMBEDDING, MIN_FRAMES, Encoder
from mimiidg_build.models.conformer.settings import PROFILES, ConformerSettings, in_second_stage
from mimiidg_build.models.mahalanobis import whitener

SCORES = ("id", "binary", "mahalanobis")
SIZE, N_HEADS, HIDDEN = 128, 4, 512  # of the conformer blocks
RIDGE = 1e-3  # relative to the covariance's mean variance
MIN_STANDARD_DEVIATION = 1e-3  # dB: a band that never changes is not divided by 0
FORWARD_CLIPS = 30  # clips a forward pass outside training


class Conformer(Detector):
    """One model per machine type, over all its sections and both domains.

    Raises
    ------
    UsageError
        There are fewer than two sections.
    """

    settings: ConformerSettings
    profiles: ClassVar = PROFILES
    width = None
    needs: ClassVar = BASELINE  # clips are augmented as log-mel
    uses_outliers = True
    min_sections = 2
    not_augmented: ClassVar = {
        "masks": "it masks clips itself, and learns to tell which it masked: further masks would have the wrong label"
    }

    # The names of buffers are part of saved weights: `deviation` is the standard deviation.
    level_mean: Tensor  # (mel,), dB
    level_deviation: Tensor  # (mel,), dB
    centre: Tensor  # (section, 64), mean of the training clips' embeddings
    whitener: Tensor  # (section, 64, 64), W with W W^T = inverse covariance
    score_mean: Tensor  # (section, score), of the training clips
    score_deviation: Tensor  # (section, score)

    @classmethod
    def min_length(cls, settings: Settings) -> int:
        """Frames of which the encoder's convolutions leave one."""
        return MIN_FRAMES

    @classmethod
    def compares_within(cls, settings: Settings) -> Literal["machine_type", "section"] | None:
        """Of one clip there is no covariance."""
        return "section"

    def __init__(self, settings: ConformerSettings, n_sections: int, seed: int) -> None:
        super().__init__(settings, n_sections, seed)
        if n_sections < 2:
            raise UsageError(
                f"conformer learns to classify a machine type's sections: it needs two or more, found {n_sections}"
            )
        with torch.random.fork_rng(devices=[]):  # PyTorch's default initialisation, from the seed alone
            torch.manual_seed(seed)
            self.encoder = Encoder(settings.channels, settings.n_blocks, SIZE, N_HEADS, HIDDEN, settings.kernel)
            self.sections = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n_sections, EMBEDDING)))
            self.binary = nn.Linear(EMBEDDING, 1)
            self.augmentation = nn.Linear(EMBEDDING, len(KINDS))
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.momentum = settings.batch_norm_momentum
        self._in_second_stage = False  # set by begin_epoch, also of a resumed training
        self._selected: Sum = (0, 1, 2)  # set by fit_after; not a buffer: weights of earlier versions have none
        self.register_buffer("level_mean", torch.zeros(N_MELS))
        self.register_buffer("level_deviation", torch.ones(N_MELS))
        # NaN until fitted: no score before.
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
        """The stage; before the first epoch, mean and standard deviation of each mel band over the normal clips."""
        self._in_second_stage = in_second_stage(epoch)
        # Once is enough: both are buffers, which a resumed training has from its checkpoint.
        if epoch.number > 0:
            return
        count, total, square = 0, torch.zeros(N_MELS, dtype=torch.float64), torch.zeros(N_MELS, dtype=torch.float64)
        for logmel, labels in chunks:
            rows = logmel[labels.is_normal].flatten(0, 1).double()
            count, total, square = count + len(rows), total + rows.sum(0).cpu(), square + rows.square().sum(0).cpu()
        mean = total / count
        variance = square / count - mean.square()  # in float64: the two nearly cancel
        self.level_mean.copy_(mean)
        self.level_deviation.copy_(variance.clamp(min=MIN_STANDARD_DEVIATION**2).sqrt())

    def batches(self, labels: Labels, epoch: Epoch) -> Sequence[Tensor]:
        """As many clips of each section; in the second stage half as many, and as many again of other machine types.

        Raises
        ------
        DataError
            There are no clips of other machine types for the second stage.
        """
        section = labels.section.cpu()
        groups = [(labels.is_normal.cpu() & (section == number)).nonzero()[:, 0] for number in range(self.n_sections)]
        total = self.settings.batch_size // 2 if in_second_stage(epoch) else self.settings.batch_size
        share = max(1, total // self.n_sections)
        n_batches = math.ceil(max(map(len, groups)) / share)
        drawn = [cycled(numbers, n_batches * share).view(n_batches, share) for numbers in groups]
        if in_second_stage(epoch):
            others = (section < 0).nonzero()[:, 0]
            if not len(others):
                raise DataError(
                    "conformer needs training clips of other machine types for its second stage; the store has none"
                )
            n_others = share * self.n_sections
            drawn.append(cycled(others, n_batches * n_others).view(n_batches, n_others))
        return list(torch.cat(drawn, dim=1))

    def loss(self, batch: Tensor, labels: Labels) -> Tensor:
        """Sum of the heads' losses on clips [shape=(n, 313, 128)], each augmented."""
        z, kinds = self._of_augmented(batch)
        with torch.autocast(batch.device.type, enabled=False):
            # The margin is on an angle: cosines stay in single precision.
            return self._heads_loss(z, labels, kinds)

    def mixed_loss(self, batch: Tensor, labels: Labels, others: Labels, share: Tensor) -> Tensor:
        """The same of mixed clips: the heads' means weigh a clip under either label by its share."""
        z, kinds = self._of_augmented(batch)
        with torch.autocast(batch.device.type, enabled=False):
            return self._mixed_heads_loss(z, labels.section, others.section, kinds, share)

    def _of_augmented(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of clips, each augmented, and how it was."""
        with torch.autocast(batch.device.type, enabled=False):
            # Autocast would round the augmentations' matrix products to bfloat16.
            augmented, kinds = augment(batch, self.level_mean)
        return self(augmented), kinds

    def _heads_loss(self, z: Tensor, labels: Labels, kinds: Tensor) -> Tensor:
        """The loss, from embeddings [shape=(n, 64)], float32, and the kind of augmentation of each clip."""
        own, settings = labels.section >= 0, self.settings
        logits = arcface(self._cosine(z[own]), labels.section[own], settings.scale, settings.margin)
        loss = settings.section_weight * F.cross_entropy(logits, labels.section[own])
        loss = loss + settings.augmentation_weight * F.cross_entropy(self.augmentation(z), kinds)
        if self._in_second_stage:
            binary = F.binary_cross_entropy_with_logits(self.binary(z)[:, 0], own.float())
            loss = loss + settings.binary_weight * binary
        return loss

    def _mixed_heads_loss(self, z: Tensor, own: Tensor, other: Tensor, kinds: Tensor, share: Tensor) -> Tensor:
        """``_heads_loss`` under the sections ``own`` and ``other`` of each clip, in their shares."""
        settings = self.settings
        # every clip twice: once with either label, which counts by its share
        section, weight, twice = torch.cat([own, other]), torch.cat([share, 1 - share]), torch.cat([z, z])
        known = section >= 0
        logits = arcface(self._cosine(twice[known]), section[known], settings.scale, settings.margin)
        losses = F.cross_entropy(logits, section[known], reduction="none")
        loss = settings.section_weight * (losses * weight[known]).sum() / weight[known].sum()
        loss = loss + settings.augmentation_weight * F.cross_entropy(self.augmentation(z), kinds)
        if self._in_second_stage:
            logit, target = self.binary(z)[:, 0], torch.lerp((other >= 0).float(), (own >= 0).float(), share)
            loss = loss + settings.binary_weight * F.binary_cross_entropy_with_logits(logit, target)
        return loss

    def _cosine(self, z: Tensor) -> Tensor:
        """cos theta between embeddings and the sections' anchors [shape=(n, n_sections)]."""
        return F.normalize(z) @ F.normalize(self.sections.to(z.dtype)).T

    # ---- Scoring -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fit_after(self, chunks: Chunks) -> None:
        """Mean and covariance of each section's embeddings, then mean and standard deviation of its scores.

        Raises
        ------
        DataError
            A section has fewer than two training clips, or they all have the same embedding.
        """
        self.eval()
        parts = [(self._embeddings(logmel), labels.section) for logmel, labels in chunks]
        z, section = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        for number in range(self.n_sections):
            own = z[section == number]
            if len(own) < 2:
                raise DataError(f"conformer: {len(own)} training clips of a section cannot give a covariance")
            self.centre[number], self.whitener[number] = mean_and_whitener(own)
        # Only now: raw scores need the centre and the whitener of every section.
        raw = self._raw_scores(z, section)
        for number in range(self.n_sections):
            own = raw[section == number]
            standard_deviation = own.std(dim=0, correction=0)
            self.score_mean[number] = own.mean(dim=0)
            self.score_deviation[number] = torch.where(standard_deviation > 0, standard_deviation, 1.0)
        self._selected = selected_sum([self._as_section(z, number) for number in range(self.n_sections)], section)

    def _as_section(self, z: Tensor, number: int) -> Array:
        """The standardised scores [shape=(n, 3)] of clips as if all were of one section."""
        section = torch.full((len(z),), number, device=z.device)
        scores: Array = self._standardised(self._raw_scores(z, section), section).cpu().numpy()
        return scores

    def _standardised(self, raw: Tensor, section: Tensor) -> Tensor:
        return (raw - self.score_mean[section]) / self.score_deviation[section]

    def _embed_clips(self, features: Tensor, labels: Labels) -> Tensor:
        return self._embeddings(features)

    def _embeddings(self, logmel: Tensor) -> Tensor:
        """Embeddings, float64 [shape=(n, 64)], some clips at a time."""
        return torch.cat([self(part).double() for part in torch.split(logmel, FORWARD_CLIPS)])

    def _raw_scores(self, z: Tensor, section: Tensor) -> Tensor:
        """``SCORES`` before they are standardised [shape=(n, 3)], float64."""
        section_score = cross_entropy(self.settings.scale * self._cosine(z), section)
        # -log sigmoid(x) as softplus(-x): finite however confident the network is.
        binary_score = F.softplus(-F.linear(z, self.binary.weight.double(), self.binary.bias.double())[:, 0])
        white = torch.einsum("ni,nij->nj", z - self.centre[section], self.whitener[section])
        return torch.stack([section_score, binary_score, torch.linalg.vector_norm(white, dim=1)], dim=1)

    def _scores(self, features: Tensor, labels: Labels) -> dict[str, Tensor]:
        if not torch.compiler.is_exporting() and self.centre.isnan().any():
            raise ValueError("conformer's scores need fit_after first")
        scores = self._standardised(self._raw_scores(self._embeddings(features), labels.section), labels.section)
        return {MAIN: scores.sum(dim=1)} | dict(zip(SCORES, scores.unbind(dim=1), strict=True))

    def _score(self, features: Tensor, labels: Labels) -> Tensor:
        return self._scores(features, labels)[MAIN]

    def derived_scores(self, training: ScoreTable, test: ScoreTable) -> tuple[dict[str, Array], dict[str, Array]]:
        """``selected``: the sum of scores that is best on training clips; ``oracle``: on the labelled test clips."""
        tables = {"training": training, "test": test}
        selected = {
            name: sum_of([table.scores[score] for score in SCORES], self._selected) for name, table in tables.items()
        }
        of_training, of_test = oracle_scores(SCORES, training, test)
        return (
            {"selected": selected["training"], "oracle": of_training},
            {"selected": selected["test"], "oracle": of_test},
        )


def mean_and_whitener(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [shape=(d,)] of vectors [shape=(n, d)], and W [shape=(d, d)] with W W^T = inverse covariance.

    1e-3 of the mean variance is added to the covariance's diagonal: with fewer clips than dimensions it is singular.

    Raises
    ------
    DataError
        All vectors are the same.
    """
    covariance = torch.cov(z.T)
    ridge = RIDGE * covariance.trace() / len(covariance)
    unit = torch.eye(len(covariance), dtype=z.dtype, device=z.device)
    try:
        return z.mean(dim=0), whitener(covariance + ridge * unit)
    except LinAlgError:
        raise DataError(
            "conformer: the training clips of a section all have the same embedding: training collapsed"
        ) from None
