"""Log-mel: ours against librosa's, per core and on all cores.

``python -m tests.benchmarks.features``. *Transform*: samples in memory to log-mel, ours against
``librosa.feature.melspectrogram`` and log10. *From a file*: a WAV file to log-mel, as the official baselines do it,
with ``librosa.load``. Rates per core are clips per second of processor time, so neither a busy machine nor a
library's own threads count; rates on all cores are clips per second of wall time, ours in threads, librosa in
processes. Rounds are interleaved and the best of each counts: what disturbs a measurement only ever slows it. librosa
runs in processes of its own, so that it is measured as its users have it, without our handling of memory.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import librosa
import numpy as np

from mimiidg_build.audio.level import FULL_SCALE
from mimiidg_build.audio.wav import decode_clip, encode_wav
from mimiidg_build.features import FLOOR, HOP, N_FFT, N_MELS, SAMPLE_RATE, logmel
from mimiidg_build.parallel.memory import keep_freed_memory
from tests.benchmarks import CORES, Ratio, parser, report


def librosa_logmel(samples: np.ndarray, sample_rate: float = SAMPLE_RATE) -> np.ndarray:
    """The official baselines' log-mel [shape=(mel, frame)] of samples in [-1, 1]."""
    mel = librosa.feature.melspectrogram(
        y=samples, sr=sample_rate, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS, power=2.0
    )
    return np.asarray(10 * np.log10(np.maximum(mel, FLOOR)))


def librosa_file(path: Path) -> np.ndarray:
    """The same from a WAV file."""
    return librosa_logmel(*librosa.load(path, sr=None))


def our_file(path: Path) -> np.ndarray:
    """Ours from a WAV file."""
    return logmel(decode_clip(path.read_bytes(), path.name))


def each(function: Callable[[Path], np.ndarray], paths: Sequence[Path]) -> None:
    """One worker's share, results dropped where they are made."""
    for path in paths:
        function(path)


def make_clips(n: int) -> list[np.ndarray]:
    """Noise [shape=(n_samples,)], int16; no step takes longer for one content than for another."""
    rng = np.random.default_rng(0)
    return [(3000 * rng.normal(size=160_000)).astype(np.int16) for _ in range(n)]


def per_core(function: Callable[..., object], items: Sequence[object]) -> float:
    """Clips per second of processor time."""
    begun = time.process_time()
    for item in items:
        function(item)
    return len(items) / (time.process_time() - begun)


def librosa_per_core(paths: Sequence[Path]) -> float:
    """librosa's transform alone, in the process that this is called in."""
    return per_core(librosa_logmel, [librosa.load(path, sr=None)[0] for path in paths])


def on_all_cores(pool: Executor, function: Callable[[Path], np.ndarray], paths: Sequence[Path]) -> float:
    """Clips per second, every worker with its share."""
    begun = time.perf_counter()
    list(pool.map(partial(each, function), [paths[worker::CORES] for worker in range(CORES)]))
    return len(paths) / (time.perf_counter() - begun)


def main(arguments: Sequence[str] | None = None) -> list[Ratio]:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--clips", type=int, default=256)
    options.add_argument("--rounds", type=int, default=7)
    given = options.parse_args(arguments)
    keep_freed_memory()
    clips = make_clips(given.clips)
    ways: dict[str, Callable[[], float]]
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory) / f"{number}.wav" for number in range(given.clips)]
        for path, clip in zip(paths, clips, strict=True):
            path.write_bytes(encode_wav(clip))
        os.environ["OMP_NUM_THREADS"] = "1"  # of the processes: librosa's mel product, with a process a core
        spawn = multiprocessing.get_context("spawn")
        with ThreadPoolExecutor(CORES) as threads, ProcessPoolExecutor(CORES, mp_context=spawn) as processes:
            ways = {
                "ours, transform": lambda: per_core(logmel, clips),
                "librosa, transform": lambda: processes.submit(librosa_per_core, paths).result(),
                "ours, from a file": lambda: per_core(our_file, paths),
                "librosa, from a file": lambda: processes.submit(per_core, librosa_file, paths).result(),
                "ours, from a file, all cores": lambda: on_all_cores(threads, our_file, paths),
                "librosa, from a file, all cores": lambda: on_all_cores(processes, librosa_file, paths),
            }
            for measure in ways.values():
                measure()  # unmeasured: imports, filters, buffers
            list(processes.map(librosa_file, paths[:1] * 4 * CORES))  # in every process
            rates: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(given.rounds):
                for way, measure in ways.items():
                    rates[way].append(measure())
    errors = [np.abs(logmel(clip).T - librosa_logmel(clip / FULL_SCALE)).max() for clip in clips]
    found = {way: max(values) for way, values in rates.items()}
    rows = [{"way": way, "clips/s": round(rate), "ms a clip": f"{1000 / rate:.2f}"} for way, rate in found.items()]
    ratios = [
        Ratio("log-mel, ours / librosa, per core", found["ours, transform"] / found["librosa, transform"], 5),
        Ratio(
            "WAV to log-mel, ours / librosa, per core", found["ours, from a file"] / found["librosa, from a file"], 5
        ),
        Ratio(
            "WAV to log-mel, ours / librosa, all cores",
            found["ours, from a file, all cores"] / found["librosa, from a file, all cores"],
            5,
        ),
        Ratio("log-mel, largest difference from librosa", float(max(errors)), 1e-3, at_least=False, unit=" dB"),
    ]
    report("features", "log-mel", rows, ratios, given.save)
    return ratios


if __name__ == "__main__":
    main()
