"""The interface between the training loop and a model: what a model may be asked, and all that is known of one.

Conventions
-----------
Log-mel is (clip, frame, mel) in dB, audio (clip, sample) int16, as stored, on the model's device: a model declares
which of the two it takes. Scores are (clip,), larger = more anomalous. A model serves one *scope* (one machine type,
one section, or all), and numbers that scope's sections 0, 1, 2, ...; clips from elsewhere have section -1.

The life of a model::

    model = create("autoencoder", "paper", n_sections=3, seed=0).to(device)
    optimizer = model.optimizer(...)                 # none is needed where settings.epochs == 0
    for every epoch:
        model.begin_epoch(epoch, chunks)             # statistics, centroids; nothing by default
        a model of windows (width is a number), for numbers in a random order of all windows:
            loss = model.loss(windows.batch(numbers), labels.take(windows.clips_of(numbers)))
        a model of whole clips (width is None), for numbers in model.batches(labels, epoch):
            loss = model.loss(features[numbers], labels.take(numbers))
        where ``augmentation`` mixed inputs, mixed_loss in place of loss
    model.fit_after(chunks)                          # once: covariances, reference clips; no gradients
    model.scores(features, labels)                   # training clips for the threshold, then test clips
    model.embed(features, labels)                    # the same clips, where a back end scores embeddings (``backends``)

``chunks`` are (features, labels) of training clips, in order, some clips at a time; they may be iterated again.
In ``begin_epoch`` they are all that is trained on, outliers and known anomalies included; in ``fit_after`` the normal
clips of the scope.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from mimiidg_build.errors import UsageError
from mimiidg_build.models.batches import in_batches
from mimiidg_build.models.labels import Labels as Labels  # models import both from here
from mimiidg_build.models.settings import AUGMENTATIONS, augmentation_of
from mimiidg_build.models.settings import Settings as Settings
from mimiidg_build.models.windows import WholeClips, Windows

ADAM_EPS = 1e-7  # Keras' default, which the baselines were trained with; torch's is 1e-8

Scope = Literal["machine_type", "section", "all"]
Features = Literal["logmel", "audio", "embedding"]
Chunks = Iterable[tuple[Tensor, Labels]]
Array = npt.NDArray[np.float64]
MAIN = ""  # the name of a model's own score


@dataclass(frozen=True)
class Epoch:
    """Which epoch it is: ``number`` of ``total``, from 0; ``tuning`` where a trained model learns known anomalies."""

    number: int
    total: int
    tuning: bool = False

    def half_cosine(self, last: float) -> float:
        """From 1 in the first epoch to almost ``last`` in the last, along half a cosine; 1 throughout where that is 1.

        >>> [round(Epoch(number, 4).half_cosine(0.1), 3) for number in range(4)]
        [1.0, 0.868, 0.55, 0.232]
        """
        return last + (1 - last) * (1 + math.cos(math.pi * self.number / self.total)) / 2


@dataclass(frozen=True)
class ScoreTable:
    """Scores by name [shape=(n_clips,)], and the clips' rows of the clip table."""

    clips: pd.DataFrame
    scores: Mapping[str, Array]


class Detector(nn.Module, ABC):
    """A model. Subclasses define ``profiles`` and ``width``, ``loss`` and ``_score``, and the rest where needed.

    profiles       settings by name: "paper", "released", "cpu", "smoke"
    scope          one model per machine type, per section, or one for all
    takes          the features that it takes: "logmel" or "audio"; "embedding", what a frozen encoder gives of a clip
    width          frames of a window; None: it takes whole clips
    needs          settings of the features, and ``sample_rate``, that it is made for, by key: a store of others is
                   refused; by default any will do
    uses_outliers  it also trains on the training clips of all other sections
    min_sections   sections that its scope must have at least
    sized_by_clips its layers depend on the clips' length, which its constructor then takes as ``clip_length``
    sized_by_classes  and on how many values ``Labels.training_class`` has, which it then takes as ``n_classes``
    any_channels   it takes clips of several channels, too
    uses_sections  a clip's score depends on which section of the scope it is from
    mixes_itself   its ``loss`` mixes inputs as the settings of mixup say; by default the training does
    not_augmented  why it takes no augmentation of some kinds (keys of ``settings.AUGMENTATIONS``)

    Parameters
    ----------
    settings : Settings
        Usually ``profiles["paper"]`` or another of the class's own.
    n_sections : int
        Sections of the scope.
    seed : int
        Decides the initial weights, and every draw of the training.
    """

    profiles: ClassVar[Mapping[str, Settings]]
    scope: ClassVar[Scope] = "machine_type"
    takes: ClassVar[Features] = "logmel"
    width: ClassVar[int | None]
    needs: ClassVar[Mapping[str, object]] = {}
    uses_outliers: ClassVar[bool] = False
    min_sections: ClassVar[int] = 1
    sized_by_clips: ClassVar[bool] = False
    sized_by_classes: ClassVar[bool] = False
    any_channels: ClassVar[bool] = False
    uses_sections: ClassVar[bool] = True
    mixes_itself: ClassVar[bool] = False
    not_augmented: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def min_length(cls, settings: Settings) -> int:
        """The shortest clip that it takes: frames of a log-mel, or samples of audio."""
        return cls.width or 1

    @classmethod
    def compares_within(cls, settings: Settings) -> Literal["machine_type", "section"] | None:
        """Whose training clips it compares with each other once it is trained: there must be two or more of each."""
        return None

    def __init__(self, settings: Settings, n_sections: int, seed: int) -> None:
        super().__init__()
        self.settings, self.n_sections, self.seed = settings, n_sections, seed

    @classmethod
    def changeable(cls) -> tuple[str, ...]:
        """The settings that may be changed: those that this model uses. Epochs are asked for in a way of their own."""
        profiles = cls.profiles.values()
        own = [field.name for field in fields(next(iter(profiles)))]
        unused = {"epochs"}
        if all(settings.epochs == 0 for settings in profiles):  # nothing is trained, nothing drawn
            unused |= {field.name for field in fields(Settings)} - {"threads"}
        if cls.width is None:
            unused |= {"train_hop", "score_hop"}
        if not any(settings.tuning_epochs for settings in profiles):
            unused.add("tuning_epochs")
        refused = {kind for kind in AUGMENTATIONS if cls.why_not_augmented(kind)}
        return tuple(name for name in own if name not in unused and augmentation_of(name) not in refused)

    @classmethod
    def why_not_augmented(cls, kind: str) -> str | None:
        """Why it takes no augmentation of a kind, a key of ``settings.AUGMENTATIONS``; None where it does."""
        if all(settings.epochs == 0 for settings in cls.profiles.values()):
            return "nothing of it is trained, so there is nothing to augment"
        if kind == "mixup" and not cls.mixes_itself and cls.mixed_loss is Detector.mixed_loss:
            return cls.not_augmented.get(kind, "it defines no mixed_loss(batch, labels, others, share)")
        if kind == "masks" and cls.takes != "logmel" and cls.mask_layer is Detector.mask_layer:
            return cls.not_augmented.get(
                kind, f"it takes {cls.takes}, and names no spectrogram of its own (mask_layer)"
            )
        return cls.not_augmented.get(kind)

    # ---- Training ----------------------------------------------------------------------------------------------------

    def windows(self, features: Tensor) -> Windows | WholeClips:
        """The training windows of clips."""
        if self.width is None:
            return WholeClips(features)
        return Windows(features, self.width, self.settings.train_hop)

    def begin_epoch(self, epoch: Epoch, chunks: Chunks) -> None:
        """Prepare the model for an epoch; what is not recomputed each time belongs into buffers, which are saved."""
        return

    def batches(self, labels: Labels, epoch: Epoch) -> Sequence[Tensor]:
        """Numbers of the clips of each batch of an epoch, for a model of whole clips: all once, in random order.

        Randomness comes from torch's own generators, which are seeded for each epoch. The batches' sizes are the same
        in every call.
        """
        return in_batches(torch.randperm(len(labels)), self.settings.batch_size)

    @abstractmethod
    def loss(self, batch: Tensor, labels: Labels) -> Tensor:
        """Mean loss, a scalar, of a batch of windows [shape=(n, width, n_mels)] or of clips, with their labels."""

    def mixed_loss(self, batch: Tensor, labels: Labels, others: Labels, share: Tensor) -> Tensor:
        """Mean loss of inputs that were mixed (Zhang et al. 2018); what a model defines that takes mixup.

        Parameters
        ----------
        batch : Tensor [shape=(n, ...)]
            share x_i + (1 - share) x_j.
        labels, others : Labels
            Of x_i, and of x_j: the loss of an input is share times that under the first, and the rest of the second.
        share : Tensor [shape=(n,)]
            1 where an input was not mixed.
        """
        raise UsageError(f"{type(self).__name__} takes no mixup: {self.why_not_augmented('mixup')}")

    def mask_layer(self) -> nn.Module | None:
        """The layer whose spectrograms [shape=(n, n_mels, n_frames)] are masked, of a model that takes audio."""
        return None

    @classmethod
    def mask_shape(cls, settings: Settings, length: int, n_mels: int) -> tuple[int, int] | None:
        """Frames and bands of the spectrograms that are masked, of clips of a length; None: there are none."""
        return (cls.width or length, n_mels) if cls.takes == "logmel" else None

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """Parameters that learn at one rate, and that rate; all at the profile's by default."""
        return [(list(self.parameters()), self.settings.learning_rate)]

    def learning_rate_factor(self, epoch: Epoch) -> float:
        """The factor of all learning rates in an epoch."""
        return 1.0

    def optimizer(self, groups: Sequence[tuple[list[nn.Parameter], float]] | None = None) -> torch.optim.Optimizer:
        """Adam over ``parameter_groups()``, or over groups that replace them."""
        # Fused: one pass over the parameters instead of one for each of Adam's operations.
        return torch.optim.Adam(self.optimizer_groups(groups), eps=ADAM_EPS, fused=True)

    def optimizer_groups(
        self, groups: Sequence[tuple[list[nn.Parameter], float]] | None = None
    ) -> list[dict[str, Any]]:
        """``parameter_groups()``, or groups that replace them, as torch's optimisers take them."""
        given = self.parameter_groups() if groups is None else groups
        return [{"params": parameters, "lr": rate} for parameters, rate in given]

    def fit_after(self, chunks: Chunks) -> None:
        """Fit what needs the trained network (a covariance, say), from the normal training clips of the scope."""
        return

    # ---- Scoring -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def scores(self, features: Tensor, labels: Labels) -> dict[str, Tensor]:
        """Anomaly scores by name, each [shape=(n_clips,)], finite, larger = more anomalous; ``MAIN`` is the model's.

        Always in evaluation mode: a clip's score never depends on the clips it is scored with.
        """
        was_training = self.training
        self.eval()
        try:
            return self._scores(features, labels)
        finally:
            self.train(was_training)

    def score(self, features: Tensor, labels: Labels) -> Tensor:
        """The model's own anomaly score [shape=(n_clips,)]."""
        return self.scores(features, labels)[MAIN]

    def _scores(self, features: Tensor, labels: Labels) -> dict[str, Tensor]:
        """``scores``, without gradients and in evaluation mode; a model of several overrides it."""
        return {MAIN: self._score(features, labels)}

    @abstractmethod
    def _score(self, features: Tensor, labels: Labels) -> Tensor:
        """The model's own score, without gradients and in evaluation mode."""

    # ---- Embeddings --------------------------------------------------------------------------------------------------

    @classmethod
    def embeds(cls) -> bool:
        """Whether it gives embeddings of clips, which is what back ends score."""
        return cls._embed_clips is not Detector._embed_clips

    @torch.no_grad()
    def embed(self, features: Tensor, labels: Labels) -> Tensor:
        """Embeddings of clips, float64 [shape=(n_clips, size)]: one vector a clip, in evaluation mode as ``scores``.

        Raises
        ------
        UsageError
            The model has none.
        """
        was_training = self.training
        self.eval()
        try:
            return self._embed_clips(features, labels).double()
        finally:
            self.train(was_training)

    def _embed_clips(self, features: Tensor, labels: Labels) -> Tensor:
        """``embed``, without gradients and in evaluation mode; a model that embeds clips overrides it."""
        raise UsageError(f"{type(self).__name__} gives no embeddings: it defines no _embed_clips(features, labels)")

    # ---- Scores of the whole test set --------------------------------------------------------------------------------

    def derived_scores(self, training: ScoreTable, test: ScoreTable) -> tuple[dict[str, Array], dict[str, Array]]:
        """Further scores that need the whole test set, or even its labels, to be computed.

        Their names say so ("transductive", "oracle"): they show what a paper did or what could be reached, and are
        never the model's own.

        Returns
        -------
        training, test : dict of str to np.ndarray [shape=(n_clips,)]
            By the scores' names.
        """
        return {}, {}

    def n_trainable(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def _initialise(self) -> None:
        """Glorot-uniform weights, zero biases (Keras' defaults), from the seed alone."""
        generator = torch.Generator().manual_seed(self.seed)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
