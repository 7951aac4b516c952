"""The DCASE 2023 baseline's way to train and score an autoencoder in torch, written anew: see :mod:`.whole_run`.

WAV files through librosa, all five-frame vectors in memory, a ``DataLoader`` item for each, losses read back batch by
batch, test clips scored one by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import librosa
import numpy as np
import sklearn.metrics
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, SequentialSampler, Subset

from mimiidg_build.features import FLOOR, HOP, N_FFT, N_MELS
from mimiidg_build.models import create
from mimiidg_build.models.autoencoder import WIDTH
from mimiidg_build.models.base import Detector

BATCH, RATE, HELD_OUT = 256, 1e-3, 0.1  # the baseline's
RECIPE = {"batch_size": BATCH, "learning_rate": RATE, "held_out": HELD_OUT, "held_out_from": "anywhere"}

Times = dict[str, float]
Item = tuple[np.ndarray, int, np.ndarray, str, int]


def new_model(n_sections: int) -> Detector:
    """The network, the same for both."""
    return create("autoencoder", "paper", n_sections, 0, changes=RECIPE)


def timed(times: Times, part: str) -> Callable[[Callable[[], object]], None]:
    """Run a function at once, and note the processor time that it took."""

    def run(function: Callable[[], object]) -> None:
        begun = time.process_time()
        function()
        times[part] = times.get(part, 0.0) + time.process_time() - begun

    return run


def vectors_of(path: Path) -> np.ndarray:
    """A WAV file's five-frame vectors [shape=(vectors, 640)]."""
    samples, sample_rate = librosa.load(path, sr=None, mono=True)
    mel = librosa.feature.melspectrogram(
        y=samples, sr=sample_rate, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS, power=2.0
    )
    bands = 10 * np.log10(np.maximum(mel, FLOOR))
    vectors = np.zeros((bands.shape[1] - WIDTH + 1, WIDTH * N_MELS), np.float32)
    for number in range(WIDTH):
        vectors[:, N_MELS * number : N_MELS * (number + 1)] = bands[:, number : number + len(vectors)].T
    return vectors


class Vectors(Dataset[Item]):
    """All vectors of files in one array; an item is one, with its truth, section (one-hot), file and number."""

    def __init__(self, paths: Sequence[Path]) -> None:
        first = vectors_of(paths[0])
        self.per_clip = len(first)
        self.data = np.zeros((len(paths) * self.per_clip, first.shape[1]), np.float32)
        for number, path in enumerate(paths):
            self.data[number * self.per_clip : (number + 1) * self.per_clip] = vectors_of(path)
        self.names = [path.name for path in paths]
        sections = sorted({name.split("_")[0] for name in self.names})
        self.one_hot = np.eye(len(sections), dtype=np.float32)[[sections.index(n.split("_")[0]) for n in self.names]]
        self.truth = [int("_anomaly_" in name) for name in self.names]

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Item:
        clip = index // self.per_clip
        return self.data[index], self.truth[clip], self.one_hot[clip], self.names[clip], index


def official(files: Mapping[str, Sequence[Path]], epochs: int, folder: Path) -> Times:
    """As the baseline does it, with the WAV files of either split."""
    times: Times = {}
    held: dict[str, Vectors] = {}

    @timed(times, "features")
    def features() -> None:
        for split, paths in files.items():
            held[split] = Vectors(paths)

    model = new_model(1)
    order = np.random.default_rng(0).permutation(len(held["train"])).tolist()
    n_held_out = round(HELD_OUT * len(order))
    training, checked = (
        DataLoader(Subset(held["train"], part), batch_size=BATCH, shuffle=True, drop_last=True)
        for part in (order[n_held_out:], order[:n_held_out])
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for _ in range(epochs):
        timed(times, "train")(lambda: official_epoch(model, optimizer, training, checked))
    scores: list[float] = []
    timed(times, "score")(lambda: scores.extend(official_scores(model, held["test"])))
    lines = [f"{name},{value}" for name, value in zip(held["test"].names, scores, strict=True)]
    (folder / "scores.csv").write_text("\n".join(lines))
    timed(times, "evaluate")(lambda: official_metrics(held["test"], np.array(scores)))
    return times


def official_epoch(
    model: Detector, optimizer: torch.optim.Optimizer, training: DataLoader, checked: DataLoader
) -> None:
    """Train an epoch, and measure the loss of what is held out; the losses of either domain are read back, too."""
    model.train()
    for batch, _, _, names, _ in training:
        optimizer.zero_grad()
        errors = each_error(model, batch)
        torch.autograd.backward(errors.mean())
        optimizer.step()
        read_back(errors.detach(), names)
    model.eval()
    with torch.no_grad():
        for batch, _, _, names, _ in checked:
            read_back(each_error(model, batch), names)


def each_error(model: Detector, batch: Tensor) -> Tensor:
    """Mean squared error of each vector."""
    return nn.functional.mse_loss(model(batch), batch, reduction="none").mean(dim=1)


def read_back(errors: Tensor, names: Sequence[str]) -> tuple[float, ...]:
    """The mean error, over all vectors and over those of each domain."""
    domains = [torch.tensor([domain in name for name in names]) for domain in ("source", "target")]
    return (float(errors.mean()), *(float(errors[chosen].mean()) for chosen in domains))


def official_scores(model: Detector, test: Vectors) -> list[float]:
    """A clip at a time, its vectors as the items of one batch."""
    model.eval()
    with torch.no_grad():
        loader = DataLoader(test, batch_size=test.per_clip, sampler=SequentialSampler(test))
        return [float(each_error(model, batch).mean()) for batch, *_ in loader]


def official_metrics(test: Vectors, scores: np.ndarray) -> list[float]:
    """AUC of each section and domain, and pAUC."""
    truth, found = np.array(test.truth), []
    for section in range(test.one_hot.shape[1]):
        own = test.one_hot[:, section] > 0
        source = np.array(["_source_" in name for name in test.names])
        for chosen in (own & (source | (truth == 1)), own & (~source | (truth == 1))):
            found.append(sklearn.metrics.roc_auc_score(truth[chosen], scores[chosen]))
        found.append(sklearn.metrics.roc_auc_score(truth[own], scores[own], max_fpr=0.1))
    return found
