"""Autoencoder training on a CPU in vectors per second, at the paper's batch of 128 and with the same maths.

``python -m tests.benchmarks.training STORE``. Interleaved, median of several rounds:

- ours: ``train``'s epoch, windows gathered from the log-mels, optimiser and all;
- per-vector DataLoader: one item a vector from a ready five-fold array, as the DCASE baseline in torch does it;
- forward and backward alone, on batches that lie ready; no optimiser.

Bars: ours at least 2 times the DataLoader's, at least 0.85 of forward and backward alone.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mimiidg_build.dataset import ClipDataset
from mimiidg_build.models import create
from mimiidg_build.models.base import Detector, Labels
from mimiidg_build.store import open_store
from mimiidg_build.train import train

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
        train(model, clips, Path(directory), "fan", epochs=1, told=lambda n: stamps.append((time.perf_counter(), n)))
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


def measure(store_path: Path, processes: int, rounds: int) -> None:
    """Interleaved rounds in processes that share the cores; rates are summed over them."""
    threads = (os.cpu_count() or 1) // processes
    rates: dict[str, list[float]] = {MATHS: [], OURS: [], LOADER: []}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=begin, initargs=(store_path, threads)) as pool:
        for _ in range(rounds):
            for name, found in rates.items():
                found.append(sum(pool.map(rate, [name] * processes)))
    print(f"{processes} trainings at once, {threads} threads each, batch {BATCH}")
    for name, found in rates.items():
        print(f"  {name:22} {np.median(found):8,.0f} vectors/s   (best {max(found):,.0f})")
    for name, bar in ((LOADER, 2.0), (MATHS, 0.85)):
        ratio = np.median(np.array(rates[OURS]) / np.array(rates[name]))
        print(f"  ours / {name}: {ratio:.2f}, of the best {max(rates[OURS]) / max(rates[name]):.2f}   (bar: {bar})")


def main(store_path: Path) -> None:
    """Measure and print: one training on all cores, then one a core, as ``mimiidg benchmark`` trains."""
    for processes in (1, os.cpu_count() or 1):
        measure(store_path, processes, ROUNDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
