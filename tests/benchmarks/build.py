"""The whole build of a synthetic release against the sum of its floors, measured in the same run.

``python -m tests.benchmarks.build``. The floors of a clip: inflate it and check its CRC, decode it, its log-mel, one
write of the stored bytes, flushed to the disk shard by shard; each alone, on all cores, on the very archives that are
built. Their sum is what a program without any other cost would take if it did one thing after the other.

Three builds, from archives to the published store, imports done before: noise mixed in, levels known, as every variant
of a dataset but the first; noise mixed in, levels measured first, for which clips wait inflated in the page cache; and
the recordings as they are. Rounds are interleaved, the best of each counts: what disturbs a measurement only ever slows
it. Processor time, of all cores together, is printed beside wall time: on a busy machine it is what stays comparable.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mimiidg_build.audio.archive import Archive, open_archive
from mimiidg_build.audio.wav import decode_clip
from mimiidg_build.build.render import SHARD_CLIPS
from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.synthetic import SyntheticSpec
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.features import N_MELS, logmel, n_frames
from mimiidg_build.fetch.dataset import make_synthetic
from mimiidg_build.parallel.memory import keep_freed_memory
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.storage.files import whole_file
from mimiidg_build.store.store import variant_dir
from tests.benchmarks import CORES, Ratio, parser, report, working_root

N_SAMPLES = 160_000
FLOORS = ("inflate and CRC", "decode", "log-mel", "one write")
BUILDS = {  # and how many times their floors they may take
    "noise mixed, levels measured": 1.35,
    "noise mixed, levels known": 1.25,
    "recordings as they are": 1.25,
}
LOGMEL = np.zeros((n_frames(N_SAMPLES), N_MELS), np.float32)


Seconds = np.ndarray  # [shape=(2,)]: wall and processor time


def now() -> Seconds:
    """Wall and processor time of this process."""
    return np.array([time.perf_counter(), time.process_time()])


def floors(archives: list[Path], directory: Path, workers: int) -> dict[str, Seconds]:
    """Seconds of each floor, for every clip of the archives."""
    keep_freed_memory()
    seconds = {floor: np.zeros(2) for floor in FLOORS}
    clips = [(a, name) for a in map(open_archive, archives) for name in a.members if name.endswith(".wav")]
    shards = [clips[start : start + SHARD_CLIPS] for start in range(0, len(clips), SHARD_CLIPS)]
    with ThreadPoolExecutor(workers) as pool:

        def timed(floor: str, function: Callable[[Any], list[Any]], work: list[Any]) -> list[Any]:
            begun = now()
            done = list(pool.map(function, work))
            seconds[floor] += now() - begun
            return done

        for first in range(0, len(shards), workers):  # as many shards in memory as there are workers
            group = shards[first : first + workers]
            inflated = timed("inflate and CRC", inflate, group)
            decoded = timed("decode", decode, inflated)
            timed("log-mel", transform, decoded)
            targets = [directory / str(first + number) for number in range(len(group))]
            timed("one write", partial(_starred, write), list(zip(targets, decoded, strict=True)))
            shutil.rmtree(directory)
            directory.mkdir()
    return seconds


def inflate(shard: list[tuple[Archive, str]]) -> list[bytes]:
    """The members' bytes, their CRC checked."""
    return [archive.read(name) for archive, name in shard]


def decode(files: list[bytes]) -> list[np.ndarray]:
    """Their samples."""
    return [decode_clip(data, "") for data in files]


def transform(clips: list[np.ndarray]) -> list[None]:
    """Our own transform: with a slower one among them, the floors would be lower than they look."""
    for samples in clips:
        logmel(samples)
    return []


def write(target: Path, clips: list[np.ndarray]) -> None:
    """The same bytes in the same files as a shard's: audio and log-mel."""
    for name, chunks in (("audio", clips), ("logmel", [LOGMEL] * len(clips))):
        with whole_file(target / name, sum(chunk.nbytes for chunk in chunks)) as append:
            for chunk in chunks:
                append(chunk.data.cast("B"))


def _starred(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return function(*arguments)


def forget_levels(root: Path) -> None:
    """As if the dataset had never been built."""
    for path in (root / "archives").rglob("*.levels.parquet"):
        path.unlink()


def build_s(variant: Variant, root: Path, workers: int | None) -> Seconds:
    """Seconds of one build."""
    shutil.rmtree(variant_dir(root, variant.name), ignore_errors=True)
    os.sync()  # what others wrote is not this build's to flush
    begun = now()
    built = build_variant(variant, root, workers=workers)
    seconds = now() - begun
    assert not built.was_finished
    shutil.rmtree(variant_dir(root, variant.name))
    return seconds


def main(arguments: Sequence[str] | None = None) -> list[Ratio]:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--root", type=Path, help="where the archives are kept; a temporary folder by default")
    options.add_argument("--percent", type=float, default=10, help="size of the release; 5 is 900 clips")
    options.add_argument("--workers", type=int, help="of the builds, in place of their own choice")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args(arguments)
    dataset = SyntheticSpec(given.percent, 0).name
    mixed, plain = (
        derive_variant(load_variant(name), dataset=dataset).model_copy(update={"name": f"benchmark-{name}"})
        for name in ("paper", "released")
    )
    with working_root(given.root) as root, tempfile.TemporaryDirectory(dir=root) as scratch:
        make_synthetic(mixed, root)
        (record,) = load_dataset(dataset).records
        archives = sorted(p for p in (root / "archives" / record.id).glob("*.zip") if p.stem != "noise")
        n_clips = sum(name.endswith(".wav") for path in archives for name in open_archive(path).members)
        build_s(mixed, root, given.workers)  # unmeasured: imports, noise banks
        ways: dict[str, list[Seconds]] = {}
        floor_s: list[dict[str, Seconds]] = []
        for _ in range(given.rounds):
            floor_s.append(floors(archives, Path(scratch), CORES))
            forget_levels(root)
            for name, variant in zip(BUILDS, (mixed, mixed, plain), strict=True):
                ways.setdefault(name, []).append(build_s(variant, root, given.workers))
    floor = {name: np.min([found[name] for found in floor_s], axis=0) for name in FLOORS}
    total = np.sum(list(floor.values()), axis=0)
    best = {name: np.min(found, axis=0) for name, found in ways.items()}
    entries = {f"floor: {name}": s for name, s in floor.items()} | {"sum of the floors": total}
    entries |= {f"build, {name}": s for name, s in best.items()}
    rows = [
        {
            "what": what,
            "s": f"{wall:.2f}",
            "ms a clip": f"{1000 * wall / n_clips:.2f}",
            "clips/s": round(n_clips / max(wall, 1e-6)),
            "processor ms a clip": f"{1000 * processor / n_clips:.2f}",
        }
        for what, (wall, processor) in entries.items()
    ]
    ratios = [
        Ratio(f"build / floors, {name}", best[name][0] / total[0], b, at_least=False) for name, b in BUILDS.items()
    ]
    ratios += [Ratio(f"build, {name}", n_clips / best[name][0], 400, unit=" clips/s") for name in BUILDS]
    report("build", f"a build of {n_clips:,} clips on {CORES} cores", rows, ratios, given.save)
    return ratios


if __name__ == "__main__":
    main()
