"""Autoencoder training on a CPU in vectors per second, at the paper's batch of 128 and with the same maths.

``python -m tests.benchmarks.training STORE``. Interleaved, median of several rounds:

- ours: ``train``'s epoch, windows gathered from the log-mels, optimiser and all;
- per-vector DataLoader: one item a vector from a ready five-fold array, as the DCASE baseline in torch does it;
- forward and backward alone, on batches that lie ready; no optimiser.

Bars: ours at least 2 times the DataLoader's, at least 0.9 of forward and backward alone.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mimiidg_build.models import create
from mimiidg_build.models.base import Detector, Labels
from mimiidg_build.store.store import open_store
from mimiidg_build.training.clip_dataset import ClipDataset
from mimiidg_build.training.train import train
from tests.benchmarks import CORES, Ratio, parser, report

OURS, LOADER, MATHS = "ours", "per-vector DataLoader", "forward and backward"
ROUNDS = 15  # short ones, interleaved: a busy moment of the machine hits all three
BATCH = 128


Item = tuple[npt.NDArray[np.float32], int, npt.NDArray[np.float32], str, int]


class Vectors(Dataset[Item]):
    """One item a vector, with all that the DCASE baseline's items hold: vector, truth, section one-hot, clip, index."""

    def __init__(self, vectors: Tensor, section: Tensor, clips: list[str]) -> None:
        self.vectors, self.clips = vectors.numpy(), clips
        self.one_hot = torch.nn.functional.one_hot(section, 3).float().numpy()

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, index: int) -> Item:
        return self.vectors[index], 0, self.one_hot[index], self.clips[index], index


def ours(clips: ClipDataset) -> float:
    """One epoch, as ``mimiidg benchmark`` trains; the time between its first and last batch."""
    stamps: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory() as directory:
        model = create("autoencoder", "paper", len(clips.section_ids), 0)
        train(
            model,
            clips,
            Path(directory),
            "fan",
            epochs=1,
            on_progress=lambda n: stamps.append((time.perf_counter(), n)),
        )
    batches = stamps[1:]  # the first call tells of earlier epochs: none
    return sum(n for _, n in batches[1:]) / (batches[-1][0] - batches[0][0])


def per_vector(vectors: Vectors, labels: Labels) -> float:
    """A plain loop over a plain DataLoader, with a plain Adam."""
    model = create("autoencoder", "paper", 3, 0)
    optimizer = torch.optim.Adam(model.parameters(), lr=model.settings.learning_rate)
    loader = DataLoader(vectors, batch_size=BATCH, shuffle=True, drop_last=True)
    begun = time.perf_counter()
    for batch, *_ in loader:
        optimizer.zero_grad()
        model.loss(batch, labels).backward()
        optimizer.step()
    return len(loader) * BATCH / (time.perf_counter() - begun)


def forward_backward(batches: list[Tensor], labels: Labels) -> float:
    """Nothing but the maths."""
    model: Detector = create("autoencoder", "paper", 3, 0)
    model.train()
    begun = time.perf_counter()
    for batch in batches:
        model.zero_grad()
        model.loss(batch, labels).backward()
    return len(batches) * BATCH / (time.perf_counter() - begun)


@dataclass
class Work:
    """What every measurement reads: windows of one section's training clips, ready in each form."""

    clips: ClipDataset
    labels: Labels
    vectors: Vectors
    batches: list[Tensor]

    @classmethod
    def of(cls, store_path: Path) -> Work:
        clips = ClipDataset(open_store(store_path), sections="fan/00", split="train")
        assert clips.resident is not None
        labels = clips.labels()
        windows = create("autoencoder", "paper", 3, 0).windows(clips.resident)
        every = windows.batch(torch.arange(len(windows)))
        clip = windows.clips_of(torch.arange(len(windows)))
        vectors = Vectors(every, labels.section[clip], clips.clips["clip"].iloc[clip.numpy()].tolist())
        batches = [batch for batch in torch.split(every[torch.randperm(len(every))], BATCH) if len(batch) == BATCH]
        return cls(clips, labels, vectors, batches)

    def rate(self, name: str) -> float:
        """Vectors per second of one measurement."""
        if name == OURS:
            return ours(self.clips)
        if name == LOADER:
            return per_vector(self.vectors, self.labels)
        return forward_backward(self.batches, self.labels)


_work: Work | None = None


def begin(store_path: Path, threads: int) -> None:
    """Ready a process to measure."""
    global _work
    torch.set_num_threads(threads)
    _work = Work.of(store_path)


def rate(name: str) -> float:
    """One measurement in a process that is ready."""
    assert _work is not None
    return _work.rate(name)


Rows = list[dict[str, object]]


def measure(store_path: Path, processes: int, rounds: int) -> tuple[Rows, list[Ratio]]:
    """Interleaved rounds in processes that share the cores; rates are summed over them."""
    threads = CORES // processes
    rates: dict[str, list[float]] = {MATHS: [], OURS: [], LOADER: []}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=begin, initargs=(store_path, threads)) as pool:
        for _ in range(rounds):
            for name, found in rates.items():
                found.append(sum(pool.map(rate, [name] * processes)))
    at_once = f"{processes} at once" if processes > 1 else "one training"
    rows: Rows = [
        {"what": name, "trainings": at_once, "vectors/s": round(float(np.median(found))), "best": round(max(found))}
        for name, found in rates.items()
    ]
    ratios = [
        Ratio(f"{at_once}, ours / {name}", float(np.median(np.array(rates[OURS]) / np.array(rates[name]))), bar)
        for name, bar in ((LOADER, 2.0), (MATHS, 0.9))
    ]
    return rows, ratios


def main(arguments: Sequence[str] | None = None) -> list[Ratio]:
    """Measure and print: one training on all cores, then one a core, as ``mimiidg benchmark`` trains."""
    options = parser(__doc__)
    options.add_argument("store", type=Path, help="a finished store with fan/00, or the folder of its variant")
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--processes", type=int, nargs="+", default=sorted({1, CORES}))
    given = options.parse_args(arguments)
    found = [measure(given.store, processes, given.rounds) for processes in given.processes]
    rows, ratios = ([item for part in found for item in part[k]] for k in (0, 1))
    report("training", f"autoencoder training, batch {BATCH}", rows, ratios, given.save)
    return ratios


if __name__ == "__main__":
    main()
