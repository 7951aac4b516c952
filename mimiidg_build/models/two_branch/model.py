"""The two-branch network as a detector: its branches put together, its loss and its score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.features import SAMPLE_RATE
from mimiidg_build.models.adacos import fixed_scale, log_probabilities
from mimiidg_build.models.augmentation import draw_mixup, mixed
from mimiidg_build.models.backends.base import Bank
from mimiidg_build.models.backends.neighbours import LocalDensity, cosine_distances
from mimiidg_build.models.base import Chunks, Detector, Epoch, Labels, Settings
from mimiidg_build.models.fitted_size import size_as_saved
from mimiidg_build.models.two_branch.branches import BRANCH_SIZE, SpectrogramBranch, SpectrumBranch
from mimiidg_build.models.two_branch.settings import MULTIRESOLUTION, PROFILES, TwoBranchSettings

FULL_SCALE = 32768
CLIP_SAMPLES = 10 * SAMPLE_RATE
FORWARD_CLIPS = 16  # clips a forward pass when scoring


class TwoBranch(Detector):
    """The spectrum of the whole clip and one spectrogram, of windows of 1024 samples every 512.

    Embedding: what AdaCos classifies by its angle, before it is normalised; 128 values a branch.

    Parameters
    ----------
    settings : TwoBranchSettings
    n_sections : int
    seed : int
    clip_length : int
        Samples of a clip: they decide the size of a linear layer.
    n_classes : int, optional
        Of the training clips; by default the sections.

    Raises
    ------
    UsageError
        There are fewer than two classes.
    """

    settings: TwoBranchSettings
    profiles: ClassVar[Mapping[str, TwoBranchSettings]] = PROFILES
    n_ffts: ClassVar[tuple[int, ...]] = (1024,)
    scope = "all"
    takes = "audio"
    width = None
    needs: ClassVar = {"sample_rate": SAMPLE_RATE}
    min_sections = 2
    sized_by_clips = True
    sized_by_classes = True
    mixes_itself = True
    not_augmented: ClassVar = {
        "masks": "the spectrum of the whole clip holds what a mask on one of its spectrograms would hide"
    }

    reference: Tensor  # (training clip, size), unit length
    weight: Tensor  # (training clip,), of distances from it
    reference_bank: Tensor  # (training clip,), the number of its bank
    training_score: Tensor  # (training clip,), by fits without it
    section_bank: Tensor  # (section,), the number of the bank that its clips are compared with

    @classmethod
    def min_length(cls, settings: Settings) -> int:
        """Samples of the longest window of a spectrogram."""
        return max(cls.n_ffts)

    @classmethod
    def compares_within(cls, settings: Settings) -> Literal["machine_type", "section"] | None:
        """The clips of a bank."""
        assert isinstance(settings, TwoBranchSettings)
        return settings.bank

    def __init__(
        self,
        settings: TwoBranchSettings,
        n_sections: int,
        seed: int,
        clip_length: int = CLIP_SAMPLES,
        n_classes: int | None = None,
    ) -> None:
        super().__init__(settings, n_sections, seed)
        n_classes = n_sections if n_classes is None else n_classes
        if n_classes < 2:
            raise UsageError(
                "two_branch learns to tell apart sections, attributes and domains: it needs two of them or more, found "
                f"{n_classes}"
            )
        self.clip_length = clip_length
        self.spectrum = SpectrumBranch(clip_length, settings)
        self.spectrograms = nn.ModuleList([SpectrogramBranch(n_fft, settings) for n_fft in self.n_ffts])
        size = BRANCH_SIZE * (1 + len(self.n_ffts))
        self.centres = nn.Parameter(torch.empty(n_classes, settings.n_centres, size))
        for name in ("reference", "weight", "training_score"):
            self.register_buffer(name, torch.zeros((0, size) if name == "reference" else 0, dtype=torch.float64))
        self.register_buffer("reference_bank", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("section_bank", torch.zeros(n_sections, dtype=torch.int64))
        self._initialise_weights()

    def _initialise_weights(self) -> None:
        """Glorot-uniform, from the seed alone; a centre's weights are those of a linear layer to all centres."""
        generator = torch.Generator().manual_seed(self.seed)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
                nn.init.xavier_uniform_(module.weight, generator=generator)
            elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = self.settings.batch_norm_momentum
        nn.init.xavier_uniform_(self.centres.data.flatten(0, 1), generator=generator)

    # ---- Training ----------------------------------------------------------------------------------------------------

    def forward(self, waves: Tensor) -> Tensor:
        """Embeddings [shape=(n, size)] of waves [shape=(n, n_samples)]."""
        return torch.cat([branch(waves) for branch in (self.spectrum, *self.spectrograms)], dim=1)

    def cosines(self, waves: Tensor) -> Tensor:
        """cos(theta) [shape=(n, n_classes, n_centres)] of waves [shape=(n, n_samples)]."""
        embeddings = self(waves)
        with torch.autocast(waves.device.type, enabled=False):  # angles lose their digits in bfloat16
            return torch.einsum("nd,ckd->nck", F.normalize(embeddings.float()), F.normalize(self.centres, dim=2))

    def batches(self, labels: Labels, epoch: Epoch) -> Sequence[Tensor]:
        """All clips once in random order, or the first batches of such an order."""
        return super().batches(labels, epoch)[: self.settings.most_batches]

    def loss(self, batch: Tensor, labels: Labels) -> Tensor:
        """Cross-entropy of clips [shape=(n, n_samples)], int16, some of them mixed with others of the batch.

        A clip that is mixed is lambda x_i + (1 - lambda) x_j, of the classes y_i and y_j in the same shares.
        """
        other, share = (drawn.to(batch.device) for drawn in draw_mixup(len(batch), self.settings))
        cosine = self.cosines(mixed(self._waves(batch), other, share))
        log_p = log_probabilities(cosine, fixed_scale(*cosine.shape[1:]))
        own = log_p.gather(1, labels.training_class[:, None])[:, 0]
        others = log_p.gather(1, labels.training_class[other, None])[:, 0]
        return -(share * own + (1 - share) * others).mean()

    def learning_rate_factor(self, epoch: Epoch) -> float:
        """See :meth:`Epoch.half_cosine`."""
        return epoch.half_cosine(self.settings.last_learning_rate)

    def optimizer(self, groups: Sequence[tuple[list[nn.Parameter], float]] | None = None) -> torch.optim.Optimizer:
        """AdamW with PyTorch's defaults."""
        return torch.optim.AdamW(self.optimizer_groups(groups), fused=True)

    # ---- Scoring -----------------------------------------------------------------------------------------------------

    def fit_after(self, chunks: Chunks) -> None:
        """Store the embeddings of the training clips, and score each by those of four fifths that are without it."""
        found = [(self.embed(features, labels).cpu(), labels.to("cpu")) for features, labels in chunks]
        z, device = torch.cat([part for part, _ in found]), self.centres.device
        names = (self.settings.bank, "section", "is_target")
        bank, section, is_target = (torch.cat([getattr(labels, name) for _, labels in found]) for name in names)
        parts, scores = dict[int, LocalDensity](), torch.empty(len(z), dtype=torch.float64)
        for number in sorted(set(bank.tolist())):
            parts[number] = LocalDensity(self.seed)
            scores[bank == number] = parts[number].fit_and_score(Bank(z[bank == number], is_target[bank == number]))
        self.reference = torch.cat([part.reference for part in parts.values()]).to(device)
        self.weight = torch.cat([part.weight for part in parts.values()]).to(device)
        sizes = torch.tensor([len(part.weight) for part in parts.values()])
        self.reference_bank = torch.tensor(list(parts)).repeat_interleave(sizes).to(device)
        self.section_bank[section.to(device)] = bank.to(device)
        self.training_score = scores.to(device)

    def _score(self, features: Tensor, labels: Labels) -> Tensor:
        if len(self.reference) == 0:
            raise DataError("two_branch compares clips with the training clips: it has no score before fit_after")
        unit = F.normalize(self._embed_clips(features, labels).double())
        elsewhere = self.reference_bank != self.section_bank[labels.section][:, None]
        distances = (cosine_distances(unit, self.reference) * self.weight).masked_fill(elsewhere, torch.inf)
        row = labels.training_row  # -1 for a test clip
        return torch.where(row >= 0, self.training_score[row.clamp(min=0)], distances.amin(dim=1))

    def _embed_clips(self, features: Tensor, labels: Labels) -> Tensor:
        return torch.cat([self(self._waves(part)) for part in torch.split(features, FORWARD_CLIPS)])

    def _waves(self, audio: Tensor) -> Tensor:
        if audio.ndim != 2 or audio.shape[1] != self.clip_length:
            raise DataError(
                f"this two-branch network takes clips of {self.clip_length:,} samples "
                f"({self.clip_length / SAMPLE_RATE:g} s at {SAMPLE_RATE // 1000} kHz), for which its layers were made; "
                f"found audio of shape {tuple(audio.shape)}"
            )
        return audio.float() / FULL_SCALE

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        by_classes_and_clips = ("centres", "reference", "weight", "reference_bank", "training_score")
        size_as_saved(self, by_classes_and_clips, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


class TwoBranchMultiresolution(TwoBranch):
    """The spectrum of the whole clip and three spectrograms, of windows of 256, 1024 and 4096 samples."""

    profiles = MULTIRESOLUTION
    n_ffts = (256, 1024, 4096)
