"""Tell a section's normal clips from all other sections' clips, with distances from class centroids beside it.

Five systems that differ in their loss and in their score: BCE, DSAD, DDCSAD, BCE+DSAD, BCE+DDCSAD (Kuroyanagi et al.,
EUSIPCO 2021, "the paper"). One network per section; the training clips of all other sections are its outliers.

Conventions
-----------
z is a window's embedding, p the probability that it is normal; d^2 = ||z - c||^2, with c_p the centroid of normal clips
and c_n that of outliers; an inverse is 1 / (d^2 + 1e-6). Loss of a window, mean over a batch:

=============  ===========  ==========  =========================
class          BCE          DSAD        DDCSAD
=============  ===========  ==========  =========================
normal         -log p       eta d^2     eta (d_p^2 + 1 / d_n^2)
outlier        -log(1 - p)  1 / d^2     1 / d_p^2 + d_n^2
known anomaly  -log(1 - p)  eta / d^2   eta (1 / d_p^2 + d_n^2)
=============  ===========  ==========  =========================

Scores are means over windows: 1 - p of BCE, d^2 (of DDCSAD d_p^2) of DSAD and DDCSAD alone, and of both
alpha (1 - p) + (1 - alpha) d', d' the distance scaled to [0, 1] by its least and greatest over the training clips.

What the paper leaves open, and what is taken here:

- *Standardised waveforms*, by the mean and deviation of each machine's own training clips, outliers by their own
  machine's. (By the same for all, the batch norm that comes first would undo it.) See ``levels``.
- *Epochs*: so many batches that the learning rate is halved between two of them. Centroids are taken in evaluation mode
  from the middle window of every clip; c_n without known anomalies.
- *DSAD's centroid* is that of the untrained network, and is kept when anomalies become known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimiidg_build.errors import DataError
from mimiidg_build.features import N_MELS
from mimiidg_build.models.base import MAIN, Array, Chunks, Detector, Epoch, Labels, ScoreTable
from mimiidg_build.models.centroids.levels import level_db_by_origin
from mimiidg_build.models.centroids.resnet38 import ResNet38
from mimiidg_build.models.centroids.settings import PROFILES, CentroidSettings

EPSILON = 1e-6
FORWARD_WINDOWS = 32  # windows a forward pass outside training: 270 MB a layer of the paper's size


class BCE(Detector):
    """Binary classification alone, and what the five systems share."""

    settings: CentroidSettings
    profiles: ClassVar = PROFILES
    scope = "section"
    width = None
    uses_outliers = True
    classifies: ClassVar[bool] = True
    n_centroids: ClassVar[int] = 0  # 1: c_p, fixed; 2: c_p and c_n, which follow the network

    centroids: Tensor  # (n_centroids, size)
    level_db: Tensor  # (section,), of the standardisation
    distance_range: Tensor  # least and greatest d^2 of the training clips

    def __init__(self, settings: CentroidSettings, n_sections: int, seed: int) -> None:
        super().__init__(settings, n_sections, seed)
        self.encoder = ResNet38(settings.base_width, N_MELS)
        if self.classifies:
            self.linear = nn.Linear(self.encoder.size, 1)
        self._initialise()
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = settings.batch_norm_momentum
        self.register_buffer("centroids", torch.zeros(self.n_centroids, self.encoder.size))
        self.register_buffer("level_db", torch.zeros(n_sections))
        self.register_buffer("distance_range", torch.tensor([0.0, 1.0]))
        self._training_level_db = torch.zeros(n_sections)  # by origin, outliers' too

    # ---- Training ----------------------------------------------------------------------------------------------------

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """The linear layer learns faster."""
        groups = [(list(self.encoder.parameters()), self.settings.learning_rate)]
        if self.classifies:
            groups.append((list(self.linear.parameters()), self.settings.linear_learning_rate))
        return groups

    def learning_rate_factor(self, epoch: Epoch) -> float:
        """Halved every so many batches; tuning begins anew."""
        return float(0.5 ** (epoch.number * self.settings.batches_per_epoch // self.settings.halve_every))

    def batches(self, labels: Labels, epoch: Epoch) -> Sequence[Tensor]:
        """Half normal clips, half outliers, one of them a known anomaly when tuning: 32 + 32, or 32 + 31 + 1.

        Each class is gone through in a random order of its own, again and again.
        """
        n, half = self.settings.batches_per_epoch, self.settings.batch_size // 2
        n_known = 1 if epoch.tuning else 0
        of_class = {
            "normal clips": (labels.is_normal, half),
            "outliers, the training clips of other sections,": (labels.section < 0, half - n_known),
            "known anomalies": (labels.known_anomaly, n_known),
        }
        drawn = []
        for name, (wanted, share) in of_class.items():
            numbers = wanted.nonzero()[:, 0].cpu()
            if share and not len(numbers):
                raise DataError(f"bce, dsad and their kin need {name} to train on, and there are none in the store")
            drawn.append(_cycled(numbers, n * share).view(n, share))
        return list(torch.cat(drawn, dim=1))

    @torch.no_grad()
    def begin_epoch(self, epoch: Epoch, chunks: Chunks) -> None:
        """Levels of the sections; centroids, of DSAD only before it is trained."""
        self._training_level_db = level_db_by_origin(chunks).to(self.level_db.device)
        self.level_db.copy_(self._training_level_db[: self.n_sections])
        if self.n_centroids == 2 or (self.n_centroids == 1 and epoch.number == 0 and not epoch.tuning):
            self.eval()
            self.centroids.copy_(self._mean_embeddings(chunks)[: self.n_centroids])

    def _mean_embeddings(self, chunks: Chunks) -> Tensor:
        """Mean embedding of normal clips and of outliers [shape=(2, size)]; zero where there are none."""
        total = self.centroids.new_zeros(2, self.encoder.size, dtype=torch.float64)
        count = total.new_zeros(2, 1)
        for logmel, labels in chunks:
            level_db = self._training_level_db[labels.origin]
            for part in _parts(len(logmel), FORWARD_WINDOWS):
                z = self._embed(self._windows(logmel[part], 1)[:, 0], level_db[part])
                for number, wanted in enumerate((labels.is_normal[part], labels.section[part] < 0)):
                    total[number] += z[wanted].sum(dim=0, dtype=torch.float64)
                    count[number] += wanted.sum()
        return total / count.clamp(min=1)

    def loss(self, batch: Tensor, labels: Labels) -> Tensor:
        """Mean loss over a window of each clip, at a random place."""
        frames = min(self.settings.frames, batch.shape[1])
        first = torch.randint(batch.shape[1] - frames + 1, (len(batch), 1)).to(batch.device)
        of_frames = first + torch.arange(frames, device=batch.device)
        windows = batch[torch.arange(len(batch), device=batch.device)[:, None], of_frames]
        return self._losses(self._embed(windows, self._training_level_db[labels.origin]), labels).mean()

    def _embed(self, windows: Tensor, level_db: Tensor) -> Tensor:
        """Embeddings of windows [shape=(n, frames, n_mels)] of machines of some level [shape=(n,)]."""
        averaged = F.avg_pool1d(windows.float().mT, self.settings.frames_averaged).mT
        embeddings: Tensor = self.encoder(averaged - level_db[:, None, None])
        return embeddings

    def _losses(self, z: Tensor, labels: Labels) -> Tensor:
        """Loss of each window [shape=(n,)], from embeddings [shape=(n, size)]."""
        loss = z.new_zeros(len(z))
        if self.classifies:
            loss = F.binary_cross_entropy_with_logits(self._logits(z), labels.is_normal.float(), reduction="none")
        if self.n_centroids:
            distances = distance_loss(squared_distances(z, self.centroids), labels, self.settings.eta)
            loss = loss + (self.settings.distance_weight if self.classifies else 1.0) * distances
        return loss

    def _logits(self, z: Tensor) -> Tensor:
        logits: Tensor = self.linear(z).float()[:, 0]
        return logits

    def optimizer(self, groups: Sequence[tuple[list[nn.Parameter], float]] | None = None) -> torch.optim.Optimizer:
        """Adam as PyTorch has it."""
        given = self.parameter_groups() if groups is None else groups
        return torch.optim.Adam([{"params": of, "lr": rate} for of, rate in given], fused=True)

    # ---- Scoring -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fit_after(self, chunks: Chunks) -> None:
        """The range of the training clips' distances, which d' is scaled by."""
        if self.classifies and self.n_centroids:
            self.eval()
            distances = torch.cat([self._means(logmel, labels)["distance"] for logmel, labels in chunks])
            self.distance_range.copy_(torch.stack([distances.amin(), distances.amax()]))

    def _scores(self, features: Tensor, labels: Labels) -> dict[str, Tensor]:
        means = self._means(features, labels)
        if len(means) == 1:
            return {MAIN: next(iter(means.values()))}
        least, greatest = self.distance_range
        scaled = (means["distance"] - least) / (greatest - least).clamp(min=EPSILON)
        alpha = self.settings.alpha
        return {MAIN: alpha * means["probability"] + (1 - alpha) * scaled} | means

    def _score(self, features: Tensor, labels: Labels) -> Tensor:
        return self._scores(features, labels)[MAIN]

    def _means(self, logmel: Tensor, labels: Labels) -> dict[str, Tensor]:
        """``probability``, 1 - p, and ``distance``, d^2 from c_p, means over a clip's windows [shape=(n_clips,)]."""
        n, found = self.settings.score_windows, []
        for part in _parts(len(logmel), max(1, FORWARD_WINDOWS // n)):
            windows, level_db = self._windows(logmel[part], n), self.level_db[labels.section[part]]
            z = self._embed(windows.flatten(0, 1), level_db.repeat_interleave(n))
            values = {}
            if self.classifies:
                values["probability"] = torch.sigmoid(-self._logits(z).double())
            if self.n_centroids:
                values["distance"] = squared_distances(z, self.centroids[:1])[:, 0].double()
            found.append({name: of.view(-1, n).mean(dim=1) for name, of in values.items()})
        return {name: torch.cat([part[name] for part in found]) for name in found[0]}

    def _windows(self, logmel: Tensor, n: int) -> Tensor:
        """Evenly spread windows of clips [shape=(n_clips, n, frames, n_mels)]."""
        frames = min(self.settings.frames, logmel.shape[1])
        windows = [logmel[:, first : first + frames] for first in first_frames(logmel.shape[1], frames, n)]
        return torch.stack(windows, dim=1)


class DSAD(BCE):
    """Distance from a centroid of the normal clips that stays where the untrained network has it."""

    classifies = False
    n_centroids = 1


class DDCSAD(BCE):
    """Distances from the centroids of normal clips and of outliers."""

    classifies = False
    n_centroids = 2


class _Both(BCE):
    """Classification and distances: further scores, for comparison with the paper."""

    oracle_alpha: ClassVar[Mapping[str, float]]  # the paper's Table I, tuned on labelled anomalies

    def derived_scores(self, training: ScoreTable, test: ScoreTable) -> tuple[dict[str, Array], dict[str, Array]]:
        """``transductive``: d' scaled over the test clips, as in the paper. ``oracle``: with the paper's alphas too.

        Machine types that the paper has no alpha for (gearbox, bearing) keep the profile's.
        """
        least, greatest = (float(of(test.scores["distance"])) for of in (min, max))
        alpha, machine_type = self.settings.alpha, str(test.clips["machine_type"].iloc[0])
        alphas = {"transductive": alpha, "oracle": self.oracle_alpha.get(machine_type, alpha)}

        def derived(table: ScoreTable) -> dict[str, Array]:
            scaled = (table.scores["distance"] - least) / max(greatest - least, EPSILON)
            return {name: a * table.scores["probability"] + (1 - a) * scaled for name, a in alphas.items()}

        return derived(training), derived(test)


class BCEDSAD(_Both):
    """BCE + DSAD."""

    n_centroids = 1
    oracle_alpha: ClassVar = {"fan": 0.1, "slider": 0.0, "valve": 0.0}


class BCEDDCSAD(_Both):
    """BCE + DDCSAD, the paper's proposal."""

    n_centroids = 2
    oracle_alpha: ClassVar = {"fan": 0.1, "slider": 1.0, "valve": 1.0}


def squared_distances(z: Tensor, centroids: Tensor) -> Tensor:
    """||z - c||^2 [shape=(n, n_centroids)], float32.

    >>> squared_distances(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])).tolist()
    [[4.0, 5.0]]
    """
    return (z.float()[:, None] - centroids).square().sum(dim=2)


def distance_loss(squared: Tensor, labels: Labels, eta: float) -> Tensor:
    """DSAD's loss of each window from its one squared distance, or DDCSAD's from its two.

    Parameters
    ----------
    squared : Tensor [shape=(n, 1 or 2)]
    labels : Labels
    eta : float
        Weight of whatever is no outlier.

    Returns
    -------
    Tensor [shape=(n,)]
    """
    inverse = 1 / (squared + EPSILON)
    near_p, far_p = squared[:, 0], inverse[:, 0]
    if squared.shape[1] == 2:
        near_p, far_p = near_p + inverse[:, 1], far_p + squared[:, 1]
    weight = torch.where(labels.section < 0, 1.0, eta)
    return weight * torch.where(labels.is_normal, near_p, far_p)


def first_frames(n_frames: int, frames: int, n: int) -> list[int]:
    """First frames of ``n`` windows spread evenly over a clip; of one, in the middle.

    >>> first_frames(313, 256, 10)
    [0, 6, 13, 19, 25, 32, 38, 44, 51, 57]
    >>> first_frames(313, 256, 1)
    [28]
    """
    last = n_frames - frames
    return [last // 2] if n == 1 else [round(last * i / (n - 1)) for i in range(n)]


def _cycled(numbers: Tensor, n: int) -> Tensor:
    """``n`` of the numbers: all of them in random order, then all of them in another, ..."""
    passes = math.ceil(n / max(1, len(numbers)))
    every = [numbers[torch.randperm(len(numbers))] for _ in range(passes)]
    return torch.cat([numbers[:0], *every])[:n]


def _parts(n: int, size: int) -> list[slice]:
    return [slice(first, first + size) for first in range(0, n, size)]
