"""Autoencoder, baseline 1 of MIMII DG: reconstruct five frames of log-mel, score by the error.

640-128-128-128-128-8-128-128-128-128-640; linear, batch norm and ReLU at every hidden layer, the bottleneck too; the
last layer linear. 267,928 trainable parameters, 269,992 with the running statistics (the literature's "269K").

Sources: arXiv:2205.13879, section 4 (profile ``paper``); the DCASE 2022 Task 2 baseline's code (network, ``released``);
the DCASE 2023 baseline (``MahalanobisAutoencoder``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial, reduce
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from numpy.linalg import LinAlgError
from torch import Tensor, nn

from mimiidg_build.errors import DataError
from mimiidg_build.models.base import Chunks, Detector, Labels, Settings
from mimiidg_build.models.held_out import trained_rows
from mimiidg_build.models.mahalanobis import Scatter, whitener
from mimiidg_build.models.windows import Windows, n_windows

WIDTH, N_MELS = 5, 128
HIDDEN = (128, 128, 128, 128, 8, 128, 128, 128, 128)
ENCODER_LAYERS = 3 * (1 + HIDDEN.index(min(HIDDEN)))  # linear, batch norm and ReLU, the bottleneck's included
BATCH_NORM_EPS = 1e-3  # Keras' default; torch's is 1e-5
# Windows a forward pass when scoring, two clips of 10 s: with what is computed in place they stay in a core's caches,
# which scores 1.1 times as many clips a second as 20 MB at once did.
SCORE_WINDOWS = 618


class Autoencoder(Detector):
    """One model per machine type, over all its sections and both domains.

    Score: mean squared error over all of a clip's windows (309 x 640 values of a 10 s clip).
    Embedding: the bottleneck, 8 values, mean over the clip's windows.
    """

    profiles: ClassVar[Mapping[str, Settings]] = {
        "paper": Settings(epochs=100, learning_rate=1e-4, batch_size=128),
        "released": Settings(epochs=100, learning_rate=1e-3, batch_size=512, held_out=0.1),
        "cpu": Settings(epochs=20, learning_rate=1e-3, batch_size=512),
        # Few batches of little data: the running statistics have to follow faster. Every other window, at three times
        # the rate: half the time, and no worse (mean AUC 58 % on the demo, 56 before).
        "smoke": Settings(epochs=3, learning_rate=3e-3, batch_size=128, train_hop=2, batch_norm_momentum=0.1),
    }
    width = WIDTH
    needs = {"n_mels": N_MELS}
    uses_sections = False

    def __init__(self, settings: Settings, n_sections: int, seed: int) -> None:
        super().__init__(settings, n_sections, seed)
        layers: list[nn.Module] = []
        size = WIDTH * N_MELS
        for hidden in HIDDEN:
            norm = nn.BatchNorm1d(hidden, eps=BATCH_NORM_EPS, momentum=settings.batch_norm_momentum)
            layers += [nn.Linear(size, hidden), norm, nn.ReLU(inplace=True)]
            size = hidden
        self.network = nn.Sequential(*layers, nn.Linear(size, WIDTH * N_MELS))
        self._initialise()

    def forward(self, vectors: Tensor) -> Tensor:
        """Reconstruct vectors [shape=(n, 640)]."""
        reconstructed: Tensor = self.network(vectors)
        return reconstructed

    def loss(self, batch: Tensor, labels: Labels) -> Tensor:
        """Mean squared error of the reconstruction."""
        vectors = batch.flatten(1)
        return F.mse_loss(self(vectors), vectors)

    def mixed_loss(self, batch: Tensor, labels: Labels, others: Labels, share: Tensor) -> Tensor:
        """The mixed windows are what is reconstructed: labels have no part in it."""
        return self.loss(batch, labels)

    def _score(self, logmel: Tensor, labels: Labels) -> Tensor:
        residuals = self._residuals(logmel)
        return torch.cat([residual.square_().mean(dim=(1, 2, 3)) for residual in residuals])

    def _embed_clips(self, logmel: Tensor, labels: Labels) -> Tensor:
        encoder, parts = self.network[:ENCODER_LAYERS], Windows(logmel, WIDTH, self.settings.score_hop)
        windows = parts.by_clip(SCORE_WINDOWS)
        return torch.cat([encoder(part.flatten(2).flatten(0, 1)).view(*part.shape[:2], -1).mean(1) for part in windows])

    def _residuals(self, logmel: Tensor) -> Iterator[Tensor]:
        """Reconstruction minus window, some clips at a time: [shape=(some clips, windows, 5, 128)]."""
        # a class derived from this one may reconstruct in a way of its own
        reconstruct = self._fused() if type(self).forward is Autoencoder.forward else self
        for windows in Windows(logmel, WIDTH, self.settings.score_hop).by_clip(SCORE_WINDOWS):
            vectors = windows.flatten(2).flatten(0, 1)
            yield reconstruct(vectors).sub_(vectors).view(windows.shape)

    def _fused(self) -> Callable[[Tensor], Tensor]:
        """``forward`` in evaluation mode, each batch norm within the weights of the layer before it.

        Without passes of its own for batch norm the autoencoder scores 1.05 times as many clips a second.
        """
        every, found = list(self.network), list[Callable[[Tensor], Tensor]]()
        for layer, following in zip(every, [*every[1:], None], strict=True):
            if isinstance(layer, nn.Linear) and isinstance(following, nn.BatchNorm1d):
                found.append(_normed(layer, following))
            elif not isinstance(layer, nn.BatchNorm1d):
                found.append(layer)
        return lambda vectors: reduce(lambda values, layer: layer(values), found, vectors)


def _normed(linear: nn.Linear, norm: nn.BatchNorm1d) -> Callable[[Tensor], Tensor]:
    """A layer and the batch norm after it, in evaluation mode, as one."""
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return partial(F.linear, weight=linear.weight * scale[:, None], bias=(linear.bias - mean) * scale + norm.bias)


@dataclass(frozen=True)
class MahalanobisSettings(Settings):
    """Settings of the 2023 extension.

    distance    "frames": the mean of the squared distances of a clip's residuals. "mean_residual": the squared distance
                of their mean. The released code computes this one: it averages the whole matrix of products between
                frames, of which the squared distances are the diagonal
    covariance  "frames": of a domain's residuals about their mean, divided by their number less one. "released": about
                the mean of the batch that they come in, divided by the number of windows less one, though every
                window gives five residuals
    """

    distance: Literal["frames", "mean_residual"] = "frames"
    covariance: Literal["frames", "released"] = "frames"


class MahalanobisAutoencoder(Autoencoder):
    """The same network, scored by the Mahalanobis distance of a clip's residuals.

    Every frame of every window gives one residual of 128 values. Each domain has a covariance of its own, over its
    training clips; score: the distance under each, the smaller of the two. Where clips have no domain, both are the
    covariance of all of them.

    ``released`` is the code of the DCASE 2023 baseline, in its configuration. ``paper`` is what a Mahalanobis distance
    of residuals means in a text, with the training of the 2022 paper; ``cpu`` and ``smoke`` score as it does.
    """

    settings: MahalanobisSettings
    profiles: ClassVar = {
        name: MahalanobisSettings(**asdict(settings)) for name, settings in Autoencoder.profiles.items()
    } | {
        "released": MahalanobisSettings(
            epochs=100,
            learning_rate=1e-3,
            batch_size=256,
            held_out=0.1,
            held_out_from="anywhere",
            distance="mean_residual",
            covariance="released",
        )
    }

    whitener: Tensor

    def __init__(self, settings: MahalanobisSettings, n_sections: int, seed: int) -> None:
        super().__init__(settings, n_sections, seed)
        # (domain, mel, mel); W with W W^T = inverse covariance. NaN until fitted: no score before.
        self.register_buffer("whitener", torch.full((2, N_MELS, N_MELS), torch.nan))

    @torch.no_grad()
    def fit_after(self, chunks: Chunks) -> None:
        """Covariance of the residuals of each domain's training clips.

        Raises
        ------
        DataError
            A domain has too few training clips, or constant ones.
        """
        self.eval()
        released = self.settings.covariance == "released"
        batches = self._batches_of_windows(chunks) if released else None
        found = [Scatter(1 if batches is None else int(batches.max()) + 1, N_MELS) for _ in range(2)]
        for logmel, labels in chunks:
            for scatter, is_target in zip(found, (False, True), strict=True):
                wanted = (labels.is_target == is_target) | ~labels.has_domain
                self._add(scatter, logmel[wanted], labels.training_row[wanted].cpu(), batches)
        for scatter, name in zip(found, ("source", "target"), strict=True):
            if scatter.count <= N_MELS:
                raise DataError(
                    f"{scatter.count} frames of {name} training clips cannot give a covariance of {N_MELS} bands; "
                    "mahalanobis scores need training clips of both domains"
                )
        divisors = [(scatter.count // WIDTH if released else scatter.count) - 1 for scatter in found]
        covariances = [scatter.within() / divisor for scatter, divisor in zip(found, divisors, strict=True)]
        try:
            self.whitener.copy_(whitener(torch.stack(covariances)))  # in float64, stored in float32 like the residuals
        except LinAlgError:
            raise DataError(
                "the covariance of the training residuals is singular: too few, or constant, training clips"
            ) from None

    def _batches_of_windows(self, chunks: Chunks) -> Tensor:
        """The batch that each training window comes in [shape=(n_clips, windows)]; -1 for clips held out.

        The released code goes through its training windows once more after training, shuffled as in an epoch.
        """
        lengths = [(len(labels), logmel.shape[1]) for logmel, labels in chunks]
        n_clips, per_clip = sum(n for n, _ in lengths), n_windows(lengths[0][1], WIDTH, self.settings.score_hop)
        rows = trained_rows(self.settings, self.seed, n_clips)
        order = torch.randperm(len(rows) * per_clip, generator=torch.Generator().manual_seed(self.seed))
        batches = torch.full((n_clips, per_clip), -1)
        batches[rows] = (order // self.settings.batch_size).view(-1, per_clip)
        return batches

    def _add(self, scatter: Scatter, logmel: Tensor, rows: Tensor, batches: Tensor | None) -> None:
        """Add the residuals of clips, which are these rows among the training clips, in their batches."""
        done = 0
        for residual in self._residuals(logmel):
            vectors = residual.double().cpu()  # index_add_ is not deterministic on a GPU
            n_clips = len(vectors)
            if batches is None:
                scatter.add(vectors.reshape(-1, N_MELS), torch.zeros(vectors[..., 0].numel(), dtype=torch.int64))
            else:
                of_window = batches[rows[done : done + n_clips]]
                kept = of_window >= 0
                scatter.add(vectors[kept].reshape(-1, N_MELS), of_window[kept].repeat_interleave(WIDTH))
            done += n_clips

    def _score(self, logmel: Tensor, labels: Labels) -> Tensor:
        if not torch.compiler.is_exporting() and self.whitener.isnan().any():
            raise ValueError("mahalanobis scores need fit_after first")
        distances = [
            torch.stack([self._distance(residual, w) for w in self.whitener]) for residual in self._residuals(logmel)
        ]
        return torch.cat(distances, dim=1).amin(dim=0)

    def _distance(self, residual: Tensor, w: Tensor) -> Tensor:
        """Squared distance of each clip [shape=(n,)] from its residuals [shape=(n, windows, 5, 128)]."""
        if self.settings.distance == "mean_residual":
            return (residual.mean(dim=(1, 2)) @ w).square().sum(dim=-1)
        return (residual @ w).square().sum(dim=-1).mean(dim=(1, 2))
