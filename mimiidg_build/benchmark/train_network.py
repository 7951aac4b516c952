"""Training one network of a run and scoring its test clips: each is finished once, and resumes from its last epoch.

Trains in this process, on one device. torch is imported when there is something to train.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from mimiidg_build.benchmark.backend_files import forget_backends
from mimiidg_build.benchmark.detector_inputs import detector_inputs
from mimiidg_build.benchmark.failures import forget_failure
from mimiidg_build.benchmark.run_files import write_inputs, write_summary
from mimiidg_build.benchmark.runs import Network, Run, check_config
from mimiidg_build.benchmark.tested import sections_with
from mimiidg_build.benchmark.training_noise import training_noise
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.models import model_class, with_settings
from mimiidg_build.parallel.cores import processor_name
from mimiidg_build.progress import Reporter
from mimiidg_build.schemas.runs import NetworkSummary
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.storage.locks import file_lock
from mimiidg_build.store.store import Store

if TYPE_CHECKING:
    import torch

    from mimiidg_build.models.base import Detector
    from mimiidg_build.training.clip_dataset import ClipDataset
    from mimiidg_build.training.loss_curve import EpochLoss
    from mimiidg_build.training.scoring import Scored


def choose_device(name: str = "auto") -> torch.device:
    """A device by its name; ``auto`` is a GPU if there is one.

    Raises
    ------
    UsageError
        There is no such device.
    """
    import torch

    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.empty(0, device=device)  # a name that torch knows may still be of a device that is not there
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"no device {name!r}: {str(error).splitlines()[0]}") from None
    return device


def check_precisions(runs: Sequence[Run], device: str) -> None:
    """Refuse a precision that the device cannot train in, before any work.

    Raises
    ------
    UsageError
        There is no such device, or it cannot train in that precision.
    """
    if mixed := {run.settings.precision for run in runs} - {"fp32"}:
        from mimiidg_build.training.precision import check_precision

        for precision in sorted(mixed):
            check_precision(precision, choose_device(device))


def train_and_score(run: Run, network: Network, device: str = "auto", reporter: Reporter | None = None) -> None:
    """Train one network of a run and score its test clips, with its back ends, too; finished already: nothing to do.

    Parameters
    ----------
    run : Run
    network : Network
        One of ``run.networks()``.
    device : str
        See :func:`choose_device`.
    reporter : Reporter, optional
        Shows progress.

    Raises
    ------
    UsageError
        The directory holds a run of other settings, or there is no such device.
    DataError
        Training or scoring failed: training and test clips are of other sections, the loss or a score is not finite,
        or a file cannot be written.
    """
    check_config(run)
    if run.is_finished(network):  # no lock is needed to see it, and none can be had in a folder that is read-only
        return
    # a run with known anomalies starts from the weights of the run without, which another worker may be training now
    with file_lock(run.directory / f".lock_{network.name}"):
        if not run.is_trained(network):  # under the lock: its last holder may have trained it
            if run.known_anomalies:
                train_and_score(run.base, network, device, reporter)
            _on_its_threads(_train_and_score, run, network, choose_device(device), reporter or Reporter())
        if run.missing_backends(network):
            _on_its_threads(_score_backends, run, network, choose_device(device), reporter or Reporter())
        forget_failure(run.directory, network.name)


def _on_its_threads(work: Callable[..., None], run: Run, *arguments: Any) -> None:
    from mimiidg_build.training.reproducible import threads

    with threads(run.settings.threads):
        work(run, *arguments)


def _score_backends(run: Run, network: Network, device: torch.device, reporter: Reporter) -> None:
    """Score the clips of a trained network with the back ends that are missing."""
    from mimiidg_build.benchmark.backend_scores import score_backends
    from mimiidg_build.training import checkpoint

    training, test, _ = own_clips(run, network, device, reporter)
    model = new_model(run, training)
    checkpoint.load_weights(checkpoint.weights_path(run.directory, network.name), model)
    on_progress = reporter.step(f"{title(run, network)} embeddings", len(training) + len(test))
    score_backends(run, network, model.to(device), training, test, device, on_progress)


def _train_and_score(run: Run, network: Network, device: torch.device, reporter: Reporter) -> None:
    from mimiidg_build.models.base import MAIN
    from mimiidg_build.training import checkpoint, scoring

    begun = time.monotonic()
    forget_backends(run.directory, network.name)
    clips = choose_clips(run, network, device, reporter)
    model = new_model(run, clips.training).to(device)
    if run.known_anomalies:
        checkpoint.load_weights(checkpoint.weights_path(run.base.directory, network.name), model)
    losses = _train(run, network, model, clips.pool, reporter)
    # fit and thresholds are of normal clips alone, whatever the pool holds
    scoring.fit(model, clips.training, device)
    on_progress = reporter.step(f"{title(run, network)} scores", len(clips.training) + len(clips.test))
    scored = scoring.score(model, clips.training, clips.test, device, run.directory, on_progress)
    checkpoint.save_weights(checkpoint.weights_path(run.directory, network.name), model)
    write_inputs(run.directory, network.name, detector_inputs(run, clips.training, scored.training[MAIN]))
    summary = _summary(clips, model, losses, scored, device, time.monotonic() - begun)
    write_summary(run.directory, network.name, summary)  # last: from here on the network counts as finished
    # until then a killed run resumes from it
    checkpoint.checkpoint_path(run.directory, network.name).unlink(missing_ok=True)


def new_model(run: Run, training: ClipDataset) -> Detector:
    """The untrained network of a run, for the sections, the length and the classes of its training clips."""
    n_sections, n_classes = len(training.section_ids), training.n_classes
    return with_settings(run.model, run.settings, n_sections, run.seed, training.n_frames, n_classes)


@dataclass(frozen=True)
class NetworkClips:
    """What one network is trained, fitted and tested with.

    ``training`` are the normal clips of its sections, ``pool`` everything that it is trained on: those, outliers, and
    the ``known`` anomalies (rows of the clip table), which ``test`` is without.
    """

    training: ClipDataset
    test: ClipDataset
    pool: ClipDataset
    known: pd.DataFrame | None

    @property
    def n_outliers(self) -> int:
        """Clips of other sections in the pool."""
        return len(self.pool) - len(self.training) - (0 if self.known is None else len(self.known))


def choose_clips(
    run: Run, network: Network, device: torch.device | None = None, reporter: Reporter | None = None
) -> NetworkClips:
    """The clips of a network, all of one length: see :mod:`~mimiidg_build.training.clip_length`.

    Parameters
    ----------
    run : Run
    network : Network
    device : torch.device, optional
        Where an encoder runs; the CPU by default.
    reporter : Reporter, optional
        Shows its progress.

    Raises
    ------
    DataError
        A section with test clips has no training clips.
    """
    from mimiidg_build.training.clip_dataset import ClipDataset

    cls, (training, test, known) = model_class(run.model), own_clips(run, network, device, reporter)
    # the very same object where nothing is added: its clips are held in memory once
    pool = training
    if cls.uses_outliers or known is not None:
        choice = _choice(run, network)
        pool = ClipDataset.training_pool(run.store, outliers=cls.uses_outliers, known_anomalies=known, **choice)
    return NetworkClips(training, test, pool, known)


def own_clips(
    run: Run, network: Network, device: torch.device | None = None, reporter: Reporter | None = None
) -> tuple[ClipDataset, ClipDataset, pd.DataFrame | None]:
    """The training and test clips of a network's own sections, and the known anomalies: see :class:`NetworkClips`.

    Parameters
    ----------
    run : Run
    network : Network
    device : torch.device, optional
        Where an encoder runs; the CPU by default.
    reporter : Reporter, optional
        Shows its progress.

    Raises
    ------
    UsageError or DataError
        A section with test clips has no training clips, or an encoder does not give embeddings of the clips.
    """
    choice, dataset = _choice(run, network), _dataset_of(run, network, device, reporter)
    training = dataset(run.store, split="train", **choice)
    known = run.known_clips(map(str, training.section_ids)) if run.known_anomalies else None
    # models number their sections, and some of them may have no test clips
    test = dataset(run.store, split="test", without=known, numbered=training.section_ids, **choice)
    return training, test, known


def _dataset_of(
    run: Run, network: Network, device: torch.device | None, reporter: Reporter | None
) -> Callable[..., ClipDataset]:
    """What makes a dataset of a choice of clips: of their features, or of an encoder's embeddings."""
    if run.encoder is None:
        from mimiidg_build.training.clip_dataset import ClipDataset

        return ClipDataset
    from mimiidg_build.benchmark.encoders.embeddings import section_embeddings
    from mimiidg_build.training.embedded_clips import EmbeddedClips

    return partial(EmbeddedClips, embeddings=section_embeddings(run, network, device, reporter))


def _choice(run: Run, network: Network) -> dict[str, Any]:
    """Which clips are a network's, and how they are read."""
    from mimiidg_build.training.clip_length import shortest

    takes = model_class(run.model).takes
    own = {split: _own_sections(run.store, network, split) for split in ("train", "test")}
    if not set(own["test"]) <= set(own["train"]):
        sections = [" ".join(map(str, own[split])) or "no section" for split in ("train", "test")]
        raise DataError(f"{network.name}: training clips of {sections[0]}, test clips of {sections[1]}")
    choice: dict[str, Any] = {"machine_types": network.machine_types, "sections": network.section, "seed": run.seed}
    if takes == "embedding":
        return choice
    return choice | {"features": takes, "length": shortest(run.store, own["train"], takes)}


def _own_sections(store: Store, network: Network, split: str) -> list[SectionId]:
    return [SectionId.parse(name) for name in sections_with(store, split) if network.serves(name)]


def _train(run: Run, network: Network, model: Detector, pool: ClipDataset, reporter: Reporter) -> list[EpochLoss]:
    from mimiidg_build.training import train

    if run.n_epochs == 0:
        return []
    name, tuning = title(run, network), run.known_anomalies > 0
    n_windows = train.training_windows(model, pool, run.n_epochs, tuning)
    on_progress = reporter.step(name, n_windows, "windows")

    def on_epoch(loss: EpochLoss) -> None:
        reporter.note(name, f"epoch {loss.epoch} of {run.n_epochs}, loss {loss.loss:.4g}")

    return train.train(
        model,
        pool,
        run.directory,
        network.name,
        epochs=run.n_epochs,
        tuning=tuning,
        noise=training_noise(run, network, pool),
        on_progress=on_progress,
        on_epoch=on_epoch,
    )


def _summary(
    clips: NetworkClips,
    model: Detector,
    losses: list[EpochLoss],
    scored: Scored,
    device: torch.device,
    duration_s: float,
) -> NetworkSummary:
    from mimiidg_build.models.base import MAIN

    return NetworkSummary(
        sections=[str(section) for section in clips.training.section_ids],
        n_training_clips=len(clips.training),
        n_outlier_clips=clips.n_outliers,
        known_anomalies=[] if clips.known is None else clips.known["clip"].tolist(),
        n_test_clips=len(clips.test),
        n_parameters=model.n_trainable(),
        epochs=len(losses),
        last_loss=losses[-1].loss if losses else None,
        scores=list(scored.thresholds),
        threshold=scored.thresholds[MAIN],
        device=str(device),
        threads=model.settings.threads,
        training_s=round(sum(loss.duration_s for loss in losses), 3),
        duration_s=round(duration_s, 3),
        scoring_s=round(scored.duration_s, 6),
        device_name=_device_name(device),
    )


def _device_name(device: torch.device) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()


def title(run: Run, network: Network) -> str:
    """What people call a training: its model, network and seed, and the number of known anomalies."""
    known = f" k = {run.known_anomalies}" if run.known_anomalies else ""
    return f"{run.model} {network.name} seed {run.seed}{known}"
