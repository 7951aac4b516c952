"""The five systems: one network, five choices of loss and score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimiidg_build.errors import DataError
from mimiidg_build.features import BASELINE, N_MELS
from mimiidg_build.models.base import MAIN, Array, Chunks, Detector, Epoch, Labels, ScoreTable, Settings
from mimiidg_build.models.batches import cycled
from mimiidg_build.models.centroids.distances import EPSILON, distance_loss, squared_distances
from mimiidg_build.models.centroids.levels import level_db_by_origin
from mimiidg_build.models.centroids.resnet38 import MIN_FRAMES, ResNet38
from mimiidg_build.models.centroids.settings import (
    PROFILES,
    BCEDDCSADSettings,
    BCEDSADSettings,
    CentroidSettings,
    profiles_of,
)

FORWARD_WINDOWS = 32  # windows a forward pass outside training: 270 MB a layer of the paper's size


class BCE(Detector):
    """Binary classification alone, and everything that the five systems share."""

    settings: CentroidSettings
    profiles: ClassVar = PROFILES
    scope = "section"
    width = None
    needs: ClassVar = BASELINE  # levels are taken from the log-mel
    uses_outliers = True
    classifies: ClassVar[bool] = True
    n_centroids: ClassVar[int] = 0  # 1: c_p, fixed; 2: c_p and c_n, recomputed every epoch

    @classmethod
    def changeable(cls) -> tuple[str, ...]:
        """Without the weights of a part that the system does not have."""
        unused = set() if cls.classifies else {"linear_learning_rate"}
        unused |= set() if cls.n_centroids else {"eta"}
        unused |= set() if cls.classifies and cls.n_centroids else {"distance_weight", "alpha"}
        return tuple(name for name in super().changeable() if name not in unused)

    centroids: Tensor  # (n_centroids, size)
    level_db: Tensor  # (section,), of the standardisation
    distance_range: Tensor  # least and greatest d^2 of the training clips

    @classmethod
    def min_length(cls, settings: Settings) -> int:
        """Frames that the network's poolings do not use up."""
        return MIN_FRAMES * (settings.frames_averaged if isinstance(settings, CentroidSettings) else 1)

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
        # Not a buffer: every epoch computes it again, and its length depends on the outliers.
        self._training_level_db = torch.zeros(n_sections)  # by origin, outliers' too

    # ---- Training ----------------------------------------------------------------------------------------------------

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """The linear layer learns faster."""
        groups = [(list(self.encoder.parameters()), self.settings.learning_rate)]
        if self.classifies:
            groups.append((list(self.linear.parameters()), self.settings.linear_learning_rate))
        return groups

    def learning_rate_factor(self, epoch: Epoch) -> float:
        """Halved every ``halve_every`` batches; tuning begins at 1 again."""
        return float(0.5 ** (epoch.number * self.settings.batches_per_epoch // self.settings.halve_every))

    def batches(self, labels: Labels, epoch: Epoch) -> Sequence[Tensor]:
        """Half normal clips, half outliers; in tuning, a known anomaly replaces one outlier: 32 + 32, or 32 + 31 + 1.

        Each class is passed through in a random order of its own, again and again.

        Raises
        ------
        DataError
            A class has no clip.
        """
        n, half = self.settings.batches_per_epoch, self.settings.batch_size // 2
        n_known = 1 if epoch.tuning else 0
        classes = {
            "normal clips": (labels.is_normal, half),
            "outliers, the training clips of other sections,": (labels.section < 0, half - n_known),
            "known anomalies": (labels.known_anomaly, n_known),
        }
        drawn = []
        for name, (is_member, share) in classes.items():
            numbers = is_member.nonzero()[:, 0].cpu()
            if share and not len(numbers):
                raise DataError(f"bce, dsad and their variants need {name} to train on, and the store has none")
            drawn.append(cycled(numbers, n * share).view(n, share))
        return list(torch.cat(drawn, dim=1))

    @torch.no_grad()
    def begin_epoch(self, epoch: Epoch, chunks: Chunks) -> None:
        """Levels of the sections; centroids, for DSAD only before it is trained."""
        # Before the centroids, which are of standardised log-mels.
        self._training_level_db = level_db_by_origin(chunks).to(self.level_db.device)
        self.level_db.copy_(self._training_level_db[: self.n_sections])  # the scope's own come first
        if self.n_centroids == 2 or (self.n_centroids == 1 and epoch.number == 0 and not epoch.tuning):
            self.eval()  # the training loop sets training mode again before its first batch
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
        """Mean loss over one window of each clip, at a random position."""
        z = self._embed(self._random_windows(batch), self._training_level_db[labels.origin])
        return self._losses(z, labels).mean()

    def mixed_loss(self, batch: Tensor, labels: Labels, others: Labels, share: Tensor) -> Tensor:
        """The same of mixed clips, standardised by both levels in their shares: as if each had been before."""
        own_db, other_db = (self._training_level_db[each.origin] for each in (labels, others))
        z = self._embed(self._random_windows(batch), torch.lerp(other_db, own_db, share))
        own, other = (self._losses(z, each) for each in (labels, others))
        return torch.lerp(other, own, share).mean()

    def _random_windows(self, batch: Tensor) -> Tensor:
        """A window of each clip [shape=(n, frames, n_mels)]."""
        frames = min(self.settings.frames, batch.shape[1])
        # Drawn on the CPU: the same on every device.
        first = torch.randint(batch.shape[1] - frames + 1, (len(batch), 1)).to(batch.device)
        frame_numbers = first + torch.arange(frames, device=batch.device)
        return batch[torch.arange(len(batch), device=batch.device)[:, None], frame_numbers]

    def _embed(self, windows: Tensor, level_db: Tensor) -> Tensor:
        """Embeddings of windows [shape=(n, frames, n_mels)] of machines with these levels [shape=(n,)]."""
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
        """Adam with PyTorch's defaults."""
        return torch.optim.Adam(self.optimizer_groups(groups), fused=True)

    # ---- Scoring -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fit_after(self, chunks: Chunks) -> None:
        """The range of the training clips' distances, by which d' is scaled."""
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
        for z in self._window_embeddings(logmel, labels):
            values = {}
            if self.classifies:
                # 1 - p without the subtraction: windows of which the network is certain keep different scores.
                values["probability"] = torch.sigmoid(-self._logits(z).double())
            if self.n_centroids:
                values["distance"] = squared_distances(z, self.centroids[:1])[:, 0].double()
            found.append({name: value.view(-1, n).mean(dim=1) for name, value in values.items()})
        return {name: torch.cat([part[name] for part in found]) for name in found[0]}

    def _window_embeddings(self, logmel: Tensor, labels: Labels) -> Iterator[Tensor]:
        """Embeddings of the clips' windows, some clips at a time [shape=(some clips * score_windows, size)]."""
        n = self.settings.score_windows
        for part in _parts(len(logmel), max(1, FORWARD_WINDOWS // n)):
            windows, level_db = self._windows(logmel[part], n), self.level_db[labels.section[part]]
            yield self._embed(windows.flatten(0, 1), level_db.repeat_interleave(n))

    def _embed_clips(self, logmel: Tensor, labels: Labels) -> Tensor:
        """z, mean over a clip's windows."""
        n, size = self.settings.score_windows, self.encoder.size
        return torch.cat([z.view(-1, n, size).mean(dim=1) for z in self._window_embeddings(logmel, labels)])

    def _windows(self, logmel: Tensor, n: int) -> Tensor:
        """Evenly spaced windows of clips [shape=(n_clips, n, frames, n_mels)]."""
        frames = min(self.settings.frames, logmel.shape[1])
        windows = [logmel[:, first : first + frames] for first in first_frames(logmel.shape[1], frames, n)]
        return torch.stack(windows, dim=1)


class DSAD(BCE):
    """Distance from the centroid of the normal clips that the untrained network gives."""

    classifies = False
    n_centroids = 1


class DDCSAD(BCE):
    """Distances from the centroids of normal clips and of outliers."""

    classifies = False
    n_centroids = 2


class _Both(BCE):
    """Classification and distances: further scores, for comparison with the paper."""

    settings: BCEDSADSettings | BCEDDCSADSettings

    def derived_scores(self, training: ScoreTable, test: ScoreTable) -> tuple[dict[str, Array], dict[str, Array]]:
        """``transductive``: d' scaled over the test clips, as in the paper. ``oracle``: also with the paper's alphas.

        For machine types without an alpha in the paper it is the profile's.
        """
        least, greatest = (float(extreme(test.scores["distance"])) for extreme in (min, max))
        alpha, machine_type = self.settings.alpha, str(test.clips["machine_type"].iloc[0])
        alphas = {"transductive": alpha, "oracle": self.settings.oracle_alpha.get(machine_type, alpha)}

        def derived(table: ScoreTable) -> dict[str, Array]:
            scaled = (table.scores["distance"] - least) / max(greatest - least, EPSILON)
            return {name: a * table.scores["probability"] + (1 - a) * scaled for name, a in alphas.items()}

        return derived(training), derived(test)


class BCEDSAD(_Both):
    """BCE + DSAD."""

    profiles: ClassVar = profiles_of(BCEDSADSettings)
    n_centroids = 1


class BCEDDCSAD(_Both):
    """BCE + DDCSAD, the paper's proposal."""

    profiles: ClassVar = profiles_of(BCEDDCSADSettings)
    n_centroids = 2


def first_frames(n_frames: int, frames: int, n: int) -> list[int]:
    """First frames of windows that are spread evenly over a clip; a single one is in the middle.

    Parameters
    ----------
    n_frames : int
        Of the clip.
    frames : int
        Of a window.
    n : int
        Number of windows.

    Examples
    --------
    >>> first_frames(313, 256, 10)
    [0, 6, 13, 19, 25, 32, 38, 44, 51, 57]
    >>> first_frames(313, 256, 1)
    [28]
    """
    last = n_frames - frames
    return [last // 2] if n == 1 else [round(last * i / (n - 1)) for i in range(n)]


def _parts(n: int, size: int) -> list[slice]:
    return [slice(first, first + size) for first in range(0, n, size)]
