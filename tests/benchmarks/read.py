"""Reading log-mels from a store against one np.memmap, and against WAV files with librosa.

``python -m tests.benchmarks.read STORE``. Three orders, the same for all: random batches of 64 clips, sections one
after the other, and a shuffled epoch as training reads it, chunk by chunk. All ways read the same clips; the pages are
in memory. Beside them loops as people write them, in batches of 8 with all that a batch says of its clips: a plain
``DataLoader`` of the clips, and ``clips.loader``. Rounds are interleaved and the best of each counts.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader

from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.features import HOP, N_FFT, N_MELS
from mimiidg_build.store.store import open_store
from mimiidg_build.training.clip_dataset import ClipDataset
from mimiidg_build.training.clip_loader import Batch
from tests.benchmarks import Ratio, parser, report

BATCH, LOOP_BATCH = 64, 8

LOOP = "shuffled loop"

Numbers = npt.NDArray[np.int64]


def rate(read: Callable[[Numbers], object], batches: Sequence[Numbers]) -> float:
    """Clips per second over all batches."""
    begun = time.perf_counter()
    for batch in batches:
        read(batch)
    return sum(map(len, batches)) / (time.perf_counter() - begun)


def cut(order: Numbers) -> list[Numbers]:
    """Batches of an order."""
    return [order[first : first + BATCH] for first in range(0, len(order), BATCH)]


def loop_rate(loader: Iterable[Batch], n_clips: int) -> float:
    """Clips per second of a shuffled pass over a loader."""
    begun = time.perf_counter()
    seen = sum(len(batch["features"]) for batch in loader)
    assert seen == n_clips
    return n_clips / (time.perf_counter() - begun)


def librosa_logmel(path: Path) -> npt.NDArray[np.float64]:
    """The same log-mel [shape=(frame, mel)] from a WAV file."""
    samples, sample_rate = librosa.load(path, sr=None)
    mel = librosa.feature.melspectrogram(
        y=samples, sr=sample_rate, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS, power=2.0
    )
    return np.asarray(10 * np.log10(np.maximum(mel, np.finfo(np.float64).eps)).T)


def wav_rate(audio: ClipDataset, order: Numbers, directory: Path, n_clips: int) -> float:
    """As others do: one file a clip, decoded and transformed when it is read. The order does not matter to it."""
    some = order[:n_clips]
    for number in some:
        (directory / f"{number}.wav").write_bytes(encode_wav(audio.read([number])[0].numpy()))
    librosa_logmel(directory / f"{some[0]}.wav")  # its filters are cached
    return rate(lambda numbers: np.stack([librosa_logmel(directory / f"{n}.wav") for n in numbers]), cut(some))


def main(arguments: Sequence[str] | None = None) -> list[Ratio]:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("store", type=Path, help="a finished store, or the folder of its variant")
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--wav-clips", type=int, default=256, help="clips read as WAV files")
    given = options.parse_args(arguments)
    store = open_store(given.store)
    mapped, held = ClipDataset(store, memory_budget_bytes=0), ClipDataset(store)
    assert mapped.access == "mapped" and held.access == "memory" and held.resident is not None
    rng = np.random.default_rng(0)
    orders = {
        "random batches": cut(rng.integers(0, len(mapped), len(mapped))),
        "sequential sections": cut(np.arange(len(mapped))),
        "shuffled epoch": [batch for chunk in mapped.shuffled_chunks(0) for batch in cut(rng.permutation(chunk))],
    }
    loops: dict[str, Iterable[Batch]] = {
        "plain DataLoader": DataLoader(mapped, batch_size=LOOP_BATCH, shuffle=True),
        "clips.loader": mapped.loader(LOOP_BATCH, shuffle=True),
    }
    rates: dict[tuple[str, str], float] = {}
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
            rate(read, orders["sequential sections"])  # unmeasured: pages in, maps open
        for _ in range(given.rounds):
            for order, batches in orders.items():
                for way, read in ways.items():
                    rates[way, order] = max(rate(read, batches), rates.get((way, order), 0))
            for way, loader in loops.items():
                rates[way, LOOP] = max(loop_rate(loader, len(mapped)), rates.get((way, LOOP), 0))
        audio = ClipDataset(store, features="audio")
        wav = wav_rate(audio, rng.permutation(len(audio)), Path(directory), given.wav_clips)
        rates |= {("WAV and librosa", order): wav for order in (*orders, LOOP)}
    rows = [
        {"way": way}
        | {f"{order}, clips/s": round(rates[way, order]) if (way, order) in rates else "" for order in (*orders, LOOP)}
        for way in dict.fromkeys(way for way, _ in rates)
    ]
    ratios = []
    for order in orders:
        found = rates["store, mapped", order]
        ratios.append(Ratio(f"{order}, store / np.memmap", found / rates["np.memmap", order], 0.5))
        ratios.append(Ratio(f"{order}, store / WAV and librosa", found / rates["WAV and librosa", order], 20))
    ratios += [
        Ratio(f"{way} / WAV and librosa", rates[way, LOOP] / rates["WAV and librosa", LOOP], 20) for way in loops
    ]
    report("read", f"reading {len(mapped):,} log-mels, {BATCH} at a time", rows, ratios, given.save)
    return ratios


if __name__ == "__main__":
    main()
