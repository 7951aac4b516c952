"""One trained network of a run, made again from the run's files alone: no store is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from mimiidg_build.benchmark.backend_files import read_backend_summary, state_path
from mimiidg_build.benchmark.detection.recordings import Unfit
from mimiidg_build.benchmark.detection.sections import UNKNOWN
from mimiidg_build.benchmark.run_files import CONFIG
from mimiidg_build.errors import DataError
from mimiidg_build.features import clip_features, samples_mistake
from mimiidg_build.models import is_encoder, model_class, with_settings
from mimiidg_build.schemas.runs import BackendSummary, DetectorInputs, NetworkSummary, RunConfig
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.stores import SectionAudio
from mimiidg_build.training.clip_length import fitted, time_axis

if TYPE_CHECKING:
    import torch

    from mimiidg_build.benchmark.encoders.loaded import LoadedEncoder
    from mimiidg_build.models.backends.base import NetworkBackend
    from mimiidg_build.models.base import Detector as Model
    from mimiidg_build.models.base import Settings
    from mimiidg_build.models.frozen_encoder import EncoderSettings

Array = npt.NDArray[np.float64]
Int16 = npt.NDArray[np.int16]

MIN_STANDARD_DEVIATION = 0.1  # dB: a band that hardly changed in training is not divided by nothing


@dataclass(frozen=True)
class Network:
    """A trained network. Sections are numbered in the order of ``sections``.

    Scores are the model's own; those of a back end where ``backend`` names one.
    """

    directory: Path
    name: str
    config: RunConfig
    summary: NetworkSummary
    inputs: DetectorInputs
    device: torch.device
    backend: str | None = None

    @property
    def sections(self) -> list[SectionId]:
        """The sections that it serves."""
        return self.summary.section_ids

    @property
    def settings(self) -> Settings:
        """How it was trained, as the run's configuration says.

        Raises
        ------
        DataError
            The model of this version has other settings.
        """
        kind = type(model_class(self.config.model).profiles[self.config.profile])
        values = {key: tuple(v) if isinstance(v, list) else v for key, v in self.config.settings.items()}
        try:
            made: Any = kind(**values)  # type: ignore[arg-type]
        except TypeError as error:
            raise DataError(
                f"{self.directory / CONFIG} has settings that {self.config.model} of this version does not know: "
                f"{error}. {retrain(self.directory, self.config)}"
            ) from None
        settings: Settings = made
        return settings

    @cached_property
    def model(self) -> Model:
        """The network itself, on its device and ready to score.

        Raises
        ------
        DataError
            Its weights cannot be read, or are of another model.
        """
        from mimiidg_build.training.checkpoint import load_weights, weights_path

        config, length = self.config, self.inputs.length
        model = with_settings(config.model, self.settings, len(self.sections), config.seed, length)
        load_weights(weights_path(self.directory, self.name), model)
        return model.to(self.device).eval()

    @cached_property
    def encoder(self) -> LoadedEncoder:
        """The frozen encoder whose embeddings the network takes.

        Raises
        ------
        UsageError
            Its file is missing, has changed, or holds no encoder.
        """
        from mimiidg_build.benchmark.encoders.loaded import load_encoder
        from mimiidg_build.training.reproducible import threads

        with threads(self.settings.threads):
            return load_encoder(cast("EncoderSettings", self.settings), self.device)

    @cached_property
    def fitted(self) -> NetworkBackend:
        """The back end, fitted to the network's embeddings.

        Raises
        ------
        DataError
            Its state cannot be read, or is of another back end.
        """
        from mimiidg_build.models.backends.base import NetworkBackend
        from mimiidg_build.training.checkpoint import load_weights

        name = self._backend_summary.backend
        fitted, path = NetworkBackend(name, len(self.sections), self.config.seed), self._state_path
        load_weights(path, fitted, retrain(path.parent, self.config))
        return fitted.eval()

    @property
    def _state_path(self) -> Path:
        return state_path(self.directory, self._backend_summary.backend, self.name)

    @cached_property
    def _backend_summary(self) -> BackendSummary:
        if self.backend is None:
            raise ValueError("the network was read without a back end")
        return read_backend_summary(self.directory, self.backend, self.name)

    @property
    def threshold(self) -> dict[str, float]:
        """The score above which a recording is called anomalous, by machine type."""
        return self.summary.threshold if self.backend is None else self._backend_summary.threshold

    @property
    def uses_sections(self) -> bool:
        """Whether scores depend on a recording's section number; a back end compares within the section."""
        return self.backend is not None or model_class(self.config.model).uses_sections

    @property
    def takes(self) -> str:
        """``"logmel"``, ``"audio"`` or ``"embedding"``."""
        return model_class(self.config.model).takes

    @property
    def shortest(self) -> int:
        """Samples of the shortest recording that fills what the network takes at least."""
        cls, features = model_class(self.config.model), self.inputs.features
        least = cls.min_length(self.settings)
        n_samples = least if cls.takes == "audio" else (least - 1) * features.hop_length
        return max(n_samples, features.n_fft)

    def serving(self, section: SectionId) -> list[str]:
        """The sections that stand for one: itself, or all of its machine type where its number is unknown."""
        of_type = [str(own) for own in self.sections if own.machine_type == section.machine_type]
        return of_type if section.section == UNKNOWN else [str(section)]

    def audio(self, section: SectionId) -> SectionAudio:
        """The shape of a section's clips."""
        return min((self.inputs.audio[name] for name in self.serving(section)), key=lambda audio: audio.n_samples)

    def heard(self, clip: Int16) -> Int16:
        """The channel of a clip that stands for it where one is to be heard [shape=(n_samples,)]."""
        return clip if clip.ndim == 1 else clip[self.inputs.features.primary_channel]

    def logmel(self, clip: Int16, sample_rate: int) -> npt.NDArray[Any]:
        """A clip's log-mel as the store holds it [shape=(n_frames, n_mels)], dB."""
        features = self.inputs.features
        return clip_features(clip, features, sample_rate)["logmel"].astype(features.dtype, copy=False)

    def features(self, clip: Int16, sample_rate: int, name: str = "the recording") -> npt.NDArray[Any]:
        """What the network takes of a clip, to the bit what it would have of the store's.

        Parameters
        ----------
        clip : np.ndarray [shape=(n_samples,) or (n_channels, n_samples)], int16
        sample_rate : int, Hz
        name : str
            The clip's, for messages.

        Returns
        -------
        np.ndarray

        Raises
        ------
        UsageError
            The encoder's file is missing, has changed, or gives no embeddings of such a clip.
        Unfit
            The encoder's embedding of the clip is not finite, or the clip lacks the channels that the features take,
            or has the same samples in both.
        """
        if self.takes == "embedding":
            try:
                embedding: npt.NDArray[Any] = self.encoder(clip[None], sample_rate, [name])[0]
            except DataError as error:
                raise Unfit("no_embedding", str(error)) from None
            return embedding
        if self.takes == "logmel" and (mistake := samples_mistake(clip, self.inputs.features)):
            raise Unfit("no_reference", f"{name}: {mistake}")
        taken = clip if self.takes == "audio" else self.logmel(clip, sample_rate)
        axis = time_axis(self.takes)
        return taken if taken.shape[axis] == self.inputs.length else fitted(taken, self.inputs.length, axis)

    def scores(self, features: Sequence[npt.NDArray[Any]], sections: Sequence[SectionId]) -> Array:
        """Scores [shape=(n,)] of clips, given what :meth:`features` makes of each, and its section.

        Raises
        ------
        DataError
            The weights, or the back end's state, cannot be read.
        """
        import torch

        from mimiidg_build.models.base import Labels
        from mimiidg_build.training.reproducible import threads

        numbers = [self.number(section) for section in sections]
        labels = Labels.of(numbers, [False] * len(numbers), training=False, has_domain=[False] * len(numbers))
        model = self.model
        with threads(model.settings.threads):
            batch = torch.from_numpy(np.stack(features)).to(self.device)
            if self.backend is None:
                scores = model.score(batch, labels.to(self.device)).double().cpu()
            else:
                scores = self.fitted.score(model.embed(batch, labels.to(self.device)).cpu(), labels)
        found: Array = scores.numpy()
        return found

    def number(self, section: SectionId) -> int:
        """The section's number within the network; any where it is unknown, since then the scores do not need it."""
        return self.summary.sections.index(self.serving(section)[0])

    def training_scores(self, section: SectionId) -> Array:
        """Scores of the section's training clips [shape=(n,)]."""
        known = self.inputs.training_scores if self.backend is None else self._backend_summary.training_scores
        return np.concatenate([known[name] for name in self.serving(section)])

    def band_statistics(self, section: SectionId) -> tuple[Array, Array] | None:
        """Mean and standard deviation of each mel band over the training clips [shape=(n_mels,)], dB; None: unknown."""
        found = [self.inputs.logmel[name] for name in self.serving(section) if name in self.inputs.logmel]
        if not found:
            return None
        weights = np.array([one.n_clips for one in found]) / sum(one.n_clips for one in found)
        means, stds = np.array([one.mean_db for one in found]), np.array([one.std_db for one in found])
        mean: Array = weights @ means
        variance = weights @ (stds**2 + (means - mean) ** 2)
        return mean, np.maximum(np.sqrt(variance), MIN_STANDARD_DEVIATION)


def benchmark_command(config: RunConfig) -> str:
    """The command that made a run, its further options aside."""
    which = f"--encoder {config.settings.get('file')}" if is_encoder(config.model) else f"--model {config.model}"
    return f"mimiidg benchmark {config.variant} {which}"


def retrain(directory: Path, config: RunConfig) -> str:
    """What to do where a folder of a run is damaged, or of another version."""
    return f"Remove {directory} and run the benchmark again: {benchmark_command(config)}"
