"""Autoencoder, baseline 1 of MIMII DG: reconstruct five frames of log-mel, score by the error.

640-128-128-128-128-8-128-128-128-128-640; linear, batch norm and ReLU at every hidden layer, the bottleneck too; the
last layer linear. 267,928 trainable parameters, 269,992 with the running statistics (the literature's "269K").

Sources: arXiv:2205.13879, section 4 (profile ``paper``); the DCASE 2022 Task 2 baseline's code (network, ``released``);
the DCASE 2023 baseline (``MahalanobisAutoencoder``).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from numpy.linalg import LinAlgError
from torch import Tensor, nn

from mimiidg_build.errors import DataError
from mimiidg_build.models.base import Chunks, Detector, Labels, Settings
from mimiidg_build.models.mahalanobis import whitener
from mimiidg_build.models.windows import Windows

WIDTH, N_MELS = 5, 128
HIDDEN = (128, 128, 128, 128, 8, 128, 128, 128, 128)
BATCH_NORM_EPS = 1e-3  # Keras' default; torch's is 1e-5
SCORE_WINDOWS = 8192  # windows a forward pass when scoring: 20 MB


class Autoencoder(Detector):
    """One model per machine type, over all its sections and both domains.

    Score: mean squared error over all of a clip's windows (309 x 640 values of a 10 s clip).
    """

    profiles = {
        "paper": Settings(epochs=100, learning_rate=1e-4, batch_size=128),
        "released": Settings(epochs=100, learning_rate=1e-3, batch_size=512, held_out=0.1),
        "cpu": Settings(epochs=20, learning_rate=1e-3, batch_size=512),
        # Few batches of little data: the running statistics have to follow faster.
        "smoke": Settings(epochs=3, learning_rate=1e-3, batch_size=128, batch_norm_momentum=0.1),
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
            layers += [nn.Linear(size, hidden), norm, nn.ReLU()]
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

    def _score(self, logmel: Tensor, labels: Labels) -> Tensor:
        residuals = self._residuals(logmel)
        return torch.cat([residual.square().mean(dim=(1, 2, 3)) for residual in residuals])

    def _residuals(self, logmel: Tensor) -> Iterator[Tensor]:
        """Window minus reconstruction, some clips at a time: [shape=(some clips, windows, 5, 128)]."""
        for windows in Windows(logmel, WIDTH, self.settings.score_hop).by_clip(SCORE_WINDOWS):
            vectors = windows.flatten(0, 1).flatten(1)
            yield (vectors - self(vectors)).view_as(windows)


class MahalanobisAutoencoder(Autoencoder):
    """The same network, scored by the Mahalanobis distance of a clip's residuals.

    Every frame of every window gives one residual of 128 values. Each domain has a covariance of its own, over its
    training clips; score: the clip's mean squared Mahalanobis residual under each, the smaller of the two. Where clips
    have no domain, both are the covariance of all of them.
    """

    whitener: Tensor

    def __init__(self, settings: Settings, n_sections: int, seed: int) -> None:
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
        count, total, square = self._moments(chunks)
        for domain, name in enumerate(("source", "target")):
            if count[domain] <= N_MELS:
                raise DataError(
                    f"{int(count[domain])} frames of {name} training clips cannot give a covariance of {N_MELS} bands; "
                    "mahalanobis scores need training clips of both domains"
                )
        mean = total / count[:, None]
        covariance = (square - count[:, None, None] * mean[:, :, None] * mean[:, None, :]) / (count - 1)[:, None, None]
        try:
            self.whitener.copy_(whitener(covariance))  # factorised in float64, stored in float32 like the residuals
        except LinAlgError:
            raise DataError(
                "the covariance of the training residuals is singular: too few, or constant, training clips"
            ) from None

    def _moments(self, chunks: Chunks) -> tuple[Tensor, Tensor, Tensor]:
        """Count, sum and sum of outer products of the residuals by domain, float64 [shape=(2, ...)]."""
        device = self.whitener.device
        # In float64: hundreds of thousands of residuals are added up, and the covariance is a difference of sums.
        count = torch.zeros(2, dtype=torch.float64, device=device)
        total = torch.zeros(2, N_MELS, dtype=torch.float64, device=device)
        square = torch.zeros(2, N_MELS, N_MELS, dtype=torch.float64, device=device)
        for logmel, labels in chunks:
            for domain, is_target in enumerate((False, True)):
                wanted = (labels.is_target == is_target) | ~labels.has_domain
                for residual in self._residuals(logmel[wanted]):
                    rows = residual.reshape(-1, N_MELS).double()
                    count[domain] += rows.shape[0]
                    total[domain] += rows.sum(dim=0)
                    square[domain] += rows.T @ rows
        return count, total, square

    def _score(self, logmel: Tensor, labels: Labels) -> Tensor:
        if not torch.compiler.is_exporting() and self.whitener.isnan().any():
            raise ValueError("mahalanobis scores need fit_after first")
        distances = [
            torch.stack([(residual @ w).square().sum(dim=-1).mean(dim=(1, 2)) for w in self.whitener])
            for residual in self._residuals(logmel)
        ]
        return torch.cat(distances, dim=1).amin(dim=0)
