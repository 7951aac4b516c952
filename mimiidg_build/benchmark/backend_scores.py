"""Back ends of a run: fitted to the embeddings of a trained network, their scores written beside the network's own."""

from __future__ import annotations

import time

import numpy as np
import torch

from mimiidg_build.benchmark.backend_files import backend_directory, state_path, write_backend_summary
from mimiidg_build.benchmark.runs import Network, Run
from mimiidg_build.errors import DataError
from mimiidg_build.models.backends.base import NetworkBackend
from mimiidg_build.models.base import Detector
from mimiidg_build.progress import OnProgress, no_progress
from mimiidg_build.schemas.runs import BackendSummary
from mimiidg_build.training import checkpoint, scoring
from mimiidg_build.training.clip_dataset import ClipDataset


def score_backends(
    run: Run,
    network: Network,
    model: Detector,
    training: ClipDataset,
    test: ClipDataset,
    device: torch.device,
    on_progress: OnProgress = no_progress,
) -> None:
    """Fit the back ends that are missing, and score the test clips with each.

    Parameters
    ----------
    run : Run
    network : Network
        One that is trained.
    model : Detector
        The network, on the device.
    training, test : ClipDataset
        The clips of its sections; a back end is fitted to the training clips alone.
    device : torch.device
    on_progress : callable
        Called with the number of clips of each chunk that is embedded.

    Raises
    ------
    UsageError
        The model gives no embeddings.
    DataError
        An embedding or a score is not finite, a section has too few training clips, or a file cannot be written.
    """
    if training.split != "train":
        raise ValueError(f"back ends are fitted to training clips only; found split={training.split!r}")
    begun = time.monotonic()
    bank, strange = (scoring.clip_embeddings(model, clips, device, on_progress) for clips in (training, test))
    embedding_s = time.monotonic() - begun
    for name in run.missing_backends(network):
        begun = time.monotonic()
        fitted = NetworkBackend(name, len(training.section_ids), run.seed)
        of_training = fitted.fit(bank, training.labels()).numpy()
        threshold = _thresholds(training, of_training)
        scoring_begun = time.monotonic()
        scores = fitted.score(strange, test.labels()).numpy()
        scoring_s = time.monotonic() - scoring_begun
        scoring.write_score_files(backend_directory(run.directory, name), test, scores, threshold)
        checkpoint.save_weights(state_path(run.directory, name, network.name), fitted)
        summary = BackendSummary(
            backend=name,
            embedding_size=bank.shape[1],
            threshold=threshold,
            training_scores=training.by_section(of_training),
            duration_s=round(time.monotonic() - begun, 3),
            embedding_s=round(embedding_s, 6),
            scoring_s=round(scoring_s, 6),
        )
        write_backend_summary(run.directory, network.name, summary)  # last: the sign that it is finished


def _thresholds(training: ClipDataset, scores: np.ndarray) -> dict[str, float]:
    """Per machine type. Of scores that no distribution fits, as where a network gives all clips one embedding, the
    largest: the other models of a long benchmark are not to be lost for it, and its AUCs say what it is worth."""
    try:
        return scoring.thresholds(training, scores)
    except DataError:
        types = training.clips["machine_type"].to_numpy()
        return {str(name): float(scores[types == name].max()) for name in np.unique(types)}
