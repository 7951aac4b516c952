"""What the training loop may ask of a model, and all it may know of one.

Conventions
-----------
Log-mel is (clip, frame, mel) in dB, as stored, on the model's device. Scores are (clip,), larger = more anomalous.
A model serves one *scope* (one machine type, one section, or all), and numbers that scope's sections 0, 1, 2, ...

The life of a model::

    model = create("autoencoder", "paper", n_sections=3, seed=0).to(device)
    windows = model.windows(logmel)                  # of the training clips; a view, nothing is copied
    optimizer = model.optimizer()                    # none is needed where settings.epochs == 0
    for every epoch, for numbers in a random order of range(len(windows)):
        loss = model.loss(windows.batch(numbers), labels.take(windows.clips_of(numbers)))
    model.fit_after((logmel, labels) in chunks)      # once: covariances, reference clips; no gradients
    model.score(logmel, labels)                      # training clips for the threshold, then test clips
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mimiidg_build.models.windows import Windows

ADAM_EPS = 1e-7  # Keras' default, which the baselines were trained with; torch's is 1e-8

Scope = Literal["machine_type", "section", "all"]
Chunks = Iterable[tuple[Tensor, "Labels"]]


@dataclass(frozen=True)
class Settings:
    """How a profile trains and scores.

    epochs               0: nothing to train, the model is all in ``fit_after``
    learning_rate        of Adam
    batch_size           windows a batch
    train_hop            frames from one training window to the next
    score_hop            the same, when scoring
    held_out             share of the training clips, the last in file order, kept out of training to watch the loss
    batch_norm_momentum  weight of a new batch in the running statistics (torch's sense)
    """

    epochs: int
    learning_rate: float = 0.0
    batch_size: int = 128
    train_hop: int = 1
    score_hop: int = 1
    held_out: float = 0.0
    batch_norm_momentum: float = 0.01


@dataclass(frozen=True)
class Labels:
    """What is known of clips (or of windows), one entry each.

    section       Tensor of int64, number of the section within the model's scope
    is_target     Tensor of bool, the domain
    training_row  Tensor of int64, place among the training clips; -1 for a clip that is none. By it a model that keeps
                  its training clips does not find a clip in itself
    """

    section: Tensor
    is_target: Tensor
    training_row: Tensor

    @classmethod
    def of(cls, section: Sequence[int], is_target: Sequence[bool], training: bool) -> Labels:
        """Labels of all training clips (in order), or of clips to test."""
        n = len(section)
        rows = torch.arange(n) if training else torch.full((n,), -1)
        return cls(torch.tensor(section, dtype=torch.int64), torch.tensor(is_target, dtype=torch.bool), rows)

    def take(self, rows: Tensor | slice) -> Labels:
        """The labels of some rows."""
        return Labels(self.section[rows], self.is_target[rows], self.training_row[rows])

    def to(self, device: torch.device | str) -> Labels:
        """The same labels on a device."""
        return Labels(self.section.to(device), self.is_target.to(device), self.training_row.to(device))


class Detector(nn.Module, ABC):
    """A model. Subclasses give ``profiles`` and ``width``, ``loss`` and ``_score``; ``fit_after`` where needed.

    profiles  settings by name: "paper", "released", "smoke"
    scope     one model per machine type, per section, or one for all
    width     frames of a window
    """

    profiles: ClassVar[Mapping[str, Settings]]
    scope: ClassVar[Scope] = "machine_type"
    width: ClassVar[int]

    def __init__(self, settings: Settings, n_sections: int, seed: int) -> None:
        super().__init__()
        self.settings, self.n_sections, self.seed = settings, n_sections, seed

    def windows(self, logmel: Tensor) -> Windows:
        """The training windows of clips."""
        return Windows(logmel, self.width, self.settings.train_hop)

    @abstractmethod
    def loss(self, batch: Tensor, labels: Labels) -> Tensor:
        """Mean loss of a batch of windows [shape=(n, width, n_mels)] with their clips' labels: a scalar."""

    def fit_after(self, chunks: Chunks) -> None:
        """Fit what needs the trained network, from all training clips, given once, in order, in chunks."""
        return

    @torch.no_grad()
    def score(self, logmel: Tensor, labels: Labels) -> Tensor:
        """Anomaly scores: Tensor [shape=(n_clips,)], finite, larger = more anomalous.

        Always in evaluation mode: a clip's score never depends on the clips it is scored with.
        """
        was_training = self.training
        self.eval()
        try:
            return self._score(logmel, labels)
        finally:
            self.train(was_training)

    @abstractmethod
    def _score(self, logmel: Tensor, labels: Labels) -> Tensor:
        """``score``, without gradients and in evaluation mode."""

    def optimizer(self, parameters: Iterable[nn.Parameter] | None = None) -> torch.optim.Optimizer:
        """Adam at the profile's learning rate, over all parameters or the given ones, which may be all in one."""
        given = self.parameters() if parameters is None else parameters
        return torch.optim.Adam(given, lr=self.settings.learning_rate, eps=ADAM_EPS, fused=True)

    def n_trainable(self) -> int:
        """Trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def _initialise(self) -> None:
        """Glorot-uniform weights, zero biases (Keras' defaults), from the seed alone."""
        generator = torch.Generator().manual_seed(self.seed)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
