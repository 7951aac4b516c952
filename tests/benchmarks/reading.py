"""Random batches of 64 clips over an epoch: a store against one np.memmap, and against WAV files with librosa.

``python -m tests.benchmarks.reading STORE``. The log-mels of all clips, every clip once, in one random order, the same
for all; the pages are in memory. Bars: at least half of np.memmap's rate, at least 20 times WAV and librosa's.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt

from mimiidg_build.audio import encode_wav
from mimiidg_build.dataset import ClipDataset
from mimiidg_build.features import HOP, N_FFT, N_MELS
from mimiidg_build.store import open_store

BATCH = 64
ROUNDS = 7
WAV_CLIPS = 256

Numbers = npt.NDArray[np.int64]


def rate(read: Callable[[Numbers], object], order: Numbers) -> float:
    """Clips per second over one pass."""
    begun = time.perf_counter()
    for first in range(0, len(order), BATCH):
        read(order[first : first + BATCH])
    return len(order) / (time.perf_counter() - begun)


def librosa_logmel(path: Path) -> npt.NDArray[np.float64]:
    """The same log-mel [shape=(frame, mel)] from a WAV file."""
    samples, sample_rate = librosa.load(path, sr=None)
    mel = librosa.feature.melspectrogram(
        y=samples, sr=sample_rate, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS, power=2.0
    )
    return np.asarray(10 * np.log10(np.maximum(mel, np.finfo(np.float64).eps)).T)


def main(store_path: Path) -> None:
    """Measure and print."""
    store = open_store(store_path)
    mapped, held = ClipDataset(store, memory_budget_bytes=0), ClipDataset(store)
    assert mapped.access == "mapped" and held.access == "memory" and held.resident is not None
    order = np.random.default_rng(0).permutation(len(mapped))
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "all.npy"
        np.save(file, held.resident.numpy())
        memmap = np.load(file, mmap_mode="r")
        ways: dict[str, Callable[[Numbers], object]] = {
            "np.memmap": lambda numbers: memmap[numbers],
            "store, mapped": mapped.read,
            "store, in memory": held.read,
        }
        for read in ways.values():
            rate(read, order)  # unmeasured: pages in, maps open
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, read in ways.items():
                rates[name].append(rate(read, order))
        rates |= {"WAV and librosa": [_wav_rate(ClipDataset(store, features="audio"), order, Path(directory))]}
    for name, found in rates.items():
        print(f"{name:18} {np.median(found):10,.0f} clips/s")
    store_rate = np.median(rates["store, mapped"])
    print(f"store / np.memmap:  {store_rate / np.median(rates['np.memmap']):.2f}   (bar: 0.5)")
    print(f"store / librosa:    {store_rate / np.median(rates['WAV and librosa']):.0f}   (bar: 20)")


def _wav_rate(audio: ClipDataset, order: Numbers, directory: Path) -> float:
    """As others do: one file a clip, decoded and transformed when it is read."""
    some = order[:WAV_CLIPS]
    for number in some:
        (directory / f"{number}.wav").write_bytes(encode_wav(audio.read([number])[0].numpy()))
    librosa_logmel(directory / f"{some[0]}.wav")  # its filters are cached
    return rate(lambda numbers: np.stack([librosa_logmel(directory / f"{n}.wav") for n in numbers]), some)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
