"""Scoring with a trained model: an anomaly score per clip, a threshold, and the files in the official format.

Scores are (clip,), float64, larger = more anomalous. The threshold comes from the scores of training clips, the very
quantity that it is applied to; per machine type.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from mimiidg_build.errors import DataError
from mimiidg_build.evaluation import metrics, score_files
from mimiidg_build.models.base import Detector, Labels, ScoreTable
from mimiidg_build.progress import OnProgress, no_progress
from mimiidg_build.training.clip_dataset import ClipDataset
from mimiidg_build.training.train import to_device
from schemas.scores import ScoredClips

SCORED_BYTES = 32 * 2**20  # clips read at a time: 200 log-mels

Scores = npt.NDArray[np.float64]


def fit(model: Detector, training: ClipDataset, device: torch.device) -> None:
    """Let a model see the training clips after training: covariances, reference clips."""
    if training.split != "train":
        raise ValueError(f"models are fitted to training clips only; expected split='train', found {training.split!r}")
    model.fit_after(_Chunks(training, device))


def clip_scores(
    model: Detector, clips: ClipDataset, device: torch.device, on_progress: OnProgress = no_progress
) -> dict[str, Scores]:
    """The anomaly scores of every clip, in order, by the scores' names.

    Raises
    ------
    DataError
        A score is not finite.
    """
    parts: dict[str, list[Scores]] = {}
    for features, labels in _Chunks(clips, device):
        for name, found in model.scores(features, labels).items():
            parts.setdefault(name, []).append(found.double().cpu().numpy())
        on_progress(len(labels))
    scores = {name: np.concatenate(of) for name, of in parts.items()}
    for name, of in scores.items():
        if not np.isfinite(of).all():
            row = int(np.flatnonzero(~np.isfinite(of))[0])
            clip = clips.clips.iloc[row]
            which = f"score {name!r}" if name else "score"
            raise DataError(f"the {which} of {clip['machine_type']}/{clip['clip']} is {of[row]}: training diverged?")
    return scores


@dataclass(frozen=True)
class _Chunks:
    """Features and labels of a dataset's clips on a device, in order, some clips at a time; as often as wanted."""

    clips: ClipDataset
    device: torch.device

    def __iter__(self) -> Iterator[tuple[Tensor, Labels]]:
        labels = self.clips.labels().to(self.device)
        for numbers in self.clips.chunks(SCORED_BYTES):
            features = to_device(self.clips.read(numbers), self.device)
            yield features, labels.take(slice(int(numbers[0]), int(numbers[-1]) + 1))


def thresholds(training: ClipDataset, scores: Scores) -> dict[str, float]:
    """Per machine type, the score above which a clip is called anomalous."""
    found = {}
    for machine_type in training.clips["machine_type"].unique():
        of = scores[(training.clips["machine_type"] == machine_type).to_numpy()]
        try:
            found[str(machine_type)] = metrics.decision_threshold(of)
        except ValueError as error:
            raise DataError(f"{machine_type}: {error}") from error
    return found


def score(
    model: Detector,
    training: ClipDataset,
    test: ClipDataset,
    device: torch.device,
    directory: Path,
    on_progress: OnProgress = no_progress,
) -> dict[str, dict[str, float]]:
    """Score the test clips with every score of a model, and write scores and decisions in the official format.

    The model's own go to ``directory``, others to a folder of it that has the score's name.

    Returns
    -------
    dict
        The thresholds, by score and machine type.
    """
    of_training = clip_scores(model, training, device, on_progress)
    of_test = clip_scores(model, test, device, on_progress)
    more = model.derived_scores(ScoreTable(training.clips, of_training), ScoreTable(test.clips, of_test))
    of_training, of_test = of_training | more[0], of_test | more[1]
    threshold = {name: thresholds(training, of) for name, of in of_training.items()}
    for name, of in of_test.items():
        write(directory / name, test, of, threshold[name])
    return threshold


def write(directory: Path, test: ClipDataset, scores: Scores, threshold: dict[str, float]) -> list[Path]:
    """Write scores and decisions of every section, in the official format."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for (machine_type, section), clips in by_section(test.clips).items():
        names, of = file_names(clips), scores[clips.index]
        decisions = of > threshold[machine_type]
        written.append(score_files.write_scores(directory, machine_type, section, names, of))
        written.append(score_files.write_decisions(directory, machine_type, section, names, decisions))
    return written


def read_scored(directory: Path, clips: pd.DataFrame) -> pd.DataFrame:
    """Read the score files of a run back, with the truth from the test clips' rows of the clip table: ``ScoredClips``.

    Raises
    ------
    DataError
        A section or a clip has no score, or a clip with a score is none of them.
    """
    found = score_files.find(directory)
    parts = []
    for key, of in by_section(clips).items():
        files = found.get(key, {})
        if set(files) != {score_files.SCORE, score_files.DECISION}:
            raise DataError(f"{directory} holds no scores and decisions of {key[0]}/{key[1]}")
        scores = score_files.read_scores(files[score_files.SCORE]).set_index("file_name")["score"]
        decisions = score_files.read_decisions(files[score_files.DECISION]).set_index("file_name")["decision"]
        names = file_names(of)
        if set(names) != set(scores.index) or set(names) != set(decisions.index):
            raise DataError(f"{directory}: the clips of {key[0]}/{key[1]} are not those of the store")
        parts.append(
            pd.DataFrame(
                {
                    "machine_type": key[0],
                    "section": key[1],
                    "file_name": names,
                    "domain": of["domain"].to_numpy(),
                    "condition": of["condition"].to_numpy(),
                    "attributes": attributes(of),
                    "score": scores[names].to_numpy(),
                    "decision": decisions[names].to_numpy(),
                }
            )
        )
    return ScoredClips.validate(pd.concat(parts, ignore_index=True))


def by_section(clips: pd.DataFrame) -> dict[score_files.Section, pd.DataFrame]:
    """Clips per (machine type, section)."""
    return {(str(machine), str(section)): of for (machine, section), of in clips.groupby(["machine_type", "section"])}


def file_names(clips: pd.DataFrame) -> list[str]:
    """Base names of clips' files."""
    return [f"{clip}.wav" for clip in clips["clip"]]


def attributes(clips: pd.DataFrame) -> list[str]:
    """Attributes as the tail of a full file name writes them: ``vel_6_f-n_A``."""
    columns = zip(*(clips[column] for column in ("d1p", "d1v", "d2p", "d2v")), strict=True)
    return ["_".join(word for word in words if word) for words in columns]
