"""Scoring with a trained model: an anomaly score per clip, a threshold, and the files in the official format.

Scores are (clip,), float64, larger = more anomalous. The threshold comes from the scores of training clips, the very
quantity that it is applied to; there is one per machine type.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mimiidg_build.errors import DataError
from mimiidg_build.evaluation import score_files
from mimiidg_build.evaluation.decisions import decision_threshold
from mimiidg_build.evaluation.scored_clips import by_section, file_names
from mimiidg_build.models.base import Detector, Labels, ScoreTable
from mimiidg_build.parallel.memory import keep_all_freed_memory
from mimiidg_build.progress import OnProgress, no_progress
from mimiidg_build.training.clip_dataset import ClipDataset
from mimiidg_build.training.training_clips import to_device

SCORED_BYTES = 32 * 2**20  # clips read at a time: 200 log-mels

Scores = npt.NDArray[np.float64]


def fit(model: Detector, training: ClipDataset, device: torch.device) -> None:
    """Fit what a model fits after training, from the training clips: covariances, reference clips.

    Parameters
    ----------
    model : Detector
        On the device; changed in place.
    training : ClipDataset
        The normal training clips of the model's scope, ``split="train"``.
    device : torch.device

    Raises
    ------
    ValueError
        The clips are not training clips.
    DataError
        There are too few clips for what the model fits.
    """
    if training.split != "train":
        raise ValueError(f"models are fitted to training clips only; expected split='train', found {training.split!r}")
    model.fit_after(_Chunks(training, device))


def clip_scores(
    model: Detector, clips: ClipDataset, device: torch.device, on_progress: OnProgress = no_progress
) -> dict[str, Scores]:
    """The anomaly scores of every clip.

    Parameters
    ----------
    model : Detector
        On the device, trained and fitted.
    clips : ClipDataset
    device : torch.device
    on_progress : callable
        Called with the number of clips of each chunk that is scored.

    Returns
    -------
    dict of str to np.ndarray [shape=(n_clips,)]
        By the scores' names, clips in order, float64, larger = more anomalous.

    Raises
    ------
    DataError
        A score is not finite; the message names the clip.
    """
    parts: dict[str, list[Scores]] = {}
    for features, labels in _Chunks(clips, device):
        for name, chunk in model.scores(features, labels).items():
            parts.setdefault(name, []).append(chunk.double().cpu().numpy())
        on_progress(len(labels))
    scores = {name: np.concatenate(chunks) for name, chunks in parts.items()}
    for name, values in scores.items():
        _check_finite(clips, values, f"score {name!r}" if name else "score")
    return scores


def _check_finite(clips: ClipDataset, values: npt.NDArray[np.float64], what: str) -> None:
    """Refuse values [shape=(n_clips,) or (n_clips, size)] that are not all finite numbers; name the first such clip."""
    finite = np.isfinite(values)
    if finite.all():
        return
    row = int(np.argwhere(~finite)[0][0])
    clip = clips.clips.iloc[row]
    found = f"is {values[row]}" if values.ndim == 1 else "has values that are not finite"
    raise DataError(f"the {what} of {clip['machine_type']}/{clip['clip']} {found}: training diverged?")


def clip_embeddings(
    model: Detector, clips: ClipDataset, device: torch.device, on_progress: OnProgress = no_progress
) -> Tensor:
    """The embedding of every clip.

    Parameters
    ----------
    model : Detector
        On the device, trained and fitted.
    clips : ClipDataset
    device : torch.device
    on_progress : callable
        Called with the number of clips of each chunk that is embedded.

    Returns
    -------
    Tensor [shape=(n_clips, size)]
        Clips in order, float64, on the CPU.

    Raises
    ------
    UsageError
        The model gives no embeddings.
    DataError
        An embedding is not finite; the message names the clip.
    """
    parts = []
    for features, labels in _Chunks(clips, device):
        parts.append(model.embed(features, labels).cpu())
        on_progress(len(labels))
    found = torch.cat(parts)
    _check_finite(clips, found.numpy(), "embedding")
    return found


@dataclass(frozen=True)
class _Chunks:
    """Features and labels of a dataset's clips on a device, in order, some clips at a time; as often as wanted."""

    clips: ClipDataset
    device: torch.device

    def __iter__(self) -> Iterator[tuple[Tensor, Labels]]:
        if self.device.type == "cpu":
            keep_all_freed_memory()  # to get each chunk's pages anew took a twelfth of the autoencoder's scoring
        labels = self.clips.labels().to(self.device)
        for numbers in self.clips.chunks(SCORED_BYTES):
            features = to_device(self.clips.read(numbers), self.device)
            # clips of a chunk are consecutive
            yield features, labels.take(slice(int(numbers[0]), int(numbers[-1]) + 1))


def thresholds(training: ClipDataset, scores: Scores) -> dict[str, float]:
    """Per machine type, the score above which a clip is called anomalous.

    Raises
    ------
    DataError
        No threshold can be fitted; the message names the machine type.
    """
    found = {}
    for machine_type in training.clips["machine_type"].unique():
        own = scores[(training.clips["machine_type"] == machine_type).to_numpy()]
        try:
            found[str(machine_type)] = decision_threshold(own)
        except ValueError as error:
            raise DataError(f"{machine_type}: {error}") from error
    return found


@dataclass(frozen=True)
class Scored:
    """What scoring a network's clips gives beside the score files: ``thresholds`` by score and machine type, the scores
    of the ``training`` clips, in order, by score, and how long scoring training and test clips took."""

    thresholds: dict[str, dict[str, float]]
    training: dict[str, Scores]
    duration_s: float


def score(
    model: Detector,
    training: ClipDataset,
    test: ClipDataset,
    device: torch.device,
    directory: Path,
    on_progress: OnProgress = no_progress,
) -> Scored:
    """Score the test clips with every score of a model, and write scores and decisions in the official format.

    Parameters
    ----------
    model : Detector
        On the device, trained and fitted.
    training : ClipDataset
        The normal training clips of the model's scope: the thresholds come from their scores.
    test : ClipDataset
        The test clips of the same sections.
    device : torch.device
    directory : Path
        Gets the files of the model's own score; those of any further score go to a folder of the score's name in it.
    on_progress : callable
        Called with the number of clips of each chunk that is scored.

    Returns
    -------
    Scored

    Raises
    ------
    DataError
        A score is not finite, no threshold can be fitted, or a file cannot be written.
    """
    begun = time.monotonic()
    training_scores = clip_scores(model, training, device, on_progress)
    test_scores = clip_scores(model, test, device, on_progress)
    duration_s = time.monotonic() - begun  # a GPU is done by now: the scores are here
    derived = model.derived_scores(ScoreTable(training.clips, training_scores), ScoreTable(test.clips, test_scores))
    training_scores, test_scores = training_scores | derived[0], test_scores | derived[1]
    found = {name: thresholds(training, scores) for name, scores in training_scores.items()}
    for name, scores in test_scores.items():
        write_score_files(directory / name, test, scores, found[name])
    return Scored(found, training_scores, duration_s)


def write_score_files(directory: Path, test: ClipDataset, scores: Scores, threshold: dict[str, float]) -> list[Path]:
    """Write scores and decisions of every section, in the official format.

    Parameters
    ----------
    directory : Path
        Created if it does not exist.
    test : ClipDataset
    scores : np.ndarray [shape=(n_clips,)]
    threshold : dict of str to float
        By machine type; a clip whose score is above it is called anomalous.

    Returns
    -------
    list of Path
        The files, two per section.

    Raises
    ------
    DataError
        A score is not finite, or a file cannot be written.
    """
    written = []
    for section, clips in by_section(test.clips).items():
        names, values = file_names(clips), scores[clips.index]
        written.append(score_files.write_scores(directory, *section, names, values))
        written.append(
            score_files.write_decisions(directory, *section, names, values > threshold[section.machine_type])
        )
    return written
