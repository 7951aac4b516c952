"""Clips of eight channels against clips of one: bytes of archives that a build reads a second, and its memory.

``python -m tests.benchmarks.channels``. The eight channels of a clip are those of one synthetic clip, moved in time by
more than deflate looks back, so both archives hold sound that compresses alike. Three builds of each: the recordings as
they are, of which the first channel is kept; the same with noise mixed in, levels measured anew; and with all channels
kept, as they are.
Bars: 0.9 of the rate of clips of one channel, by processor time (wall time is printed beside it), and memory that an
archive of twice as many clips does not raise by more than a quarter: of a shard for each worker, so that all are busy.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mimiidg_build.audio.archive import open_archive
from mimiidg_build.audio.wav import decode_clip, encode_wav
from mimiidg_build.build.render import SHARD_CLIPS
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.synthetic import NOISE_KINDS, SyntheticSpec
from mimiidg_build.datasets.variant import derive_variant, load_variant, parse_variant
from mimiidg_build.fetch.dataset import fetch_dataset, make_synthetic
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.storage.places import place
from mimiidg_build.store.store import variant_dir
from tests.benchmarks import CORES, Ratio, parser, report, working_root
from tests.benchmarks.build import build_s, forget_levels
from tests.benchmarks.commands import mimiidg

CHANNELS = 8
RECIPE = {"default": {"snr_db": -6.0, "noise": [{"kinds": ["A"]}]}}
WAYS = {"as they are": {}, "noise mixed": {"recipe": RECIPE}, "all channels": {"channels": "all"}}


def make_archive(source: Path, root: Path, name: str, n_clips: int, n_channels: int) -> str:
    """A dataset of clips of an archive, of so many channels; the path of its manifest."""
    folder = root / "archives" / name
    shutil.rmtree(folder, ignore_errors=True)  # of another size, in a root that was kept
    folder.mkdir(parents=True)
    original = open_archive(source)
    members = [member for member in original.members if member.endswith(".wav")][:n_clips]
    with zipfile.ZipFile(folder / source.name, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for member in members:
            samples = decode_clip(original.read(member), member)
            moved = np.stack([np.roll(samples, 5000 * number) for number in range(n_channels)])
            archive.writestr(member, encode_wav(moved if n_channels > 1 else samples))
        for table in [member for member in original.members if member.endswith(".csv")]:
            head, *lines = original.read(table).decode().splitlines()
            archive.writestr(table, "\n".join([head, *(line for line in lines if line.split(",")[0] in set(members))]))
    manifest = root / f"{name}.toml"
    text = (
        f'name = "{name}"\ntitle = "{name}"\nrecording = "clean"\nlayout = "dcase2022"\ncitation = "none"\n'
        f'machine_types = ["{source.stem}"]\naudio = {{ channels = {n_channels}, clip_seconds = 10.0 }}\n'
        f'[[records]]\nid = "{name}"\ntitle = "{name}"\nlicense = "MIT"\nfiles = [{{ name = "{source.name}" }}]\n'
    )
    manifest.write_text(text)
    fetch_dataset(load_dataset(str(manifest)), place(root), offline=True)
    return str(manifest)


def variant_of(dataset: str, way: str, noise: Path) -> Variant:
    """A variant that builds a dataset in one of :data:`WAYS`."""
    content = {"name": "benchmark-channels", "dataset": dataset, "mixing": "none"} | WAYS[way]
    if "recipe" in content:
        content |= {"mixing": "benchmark", "noise": {"A": [{"archive": str(noise), "members": NOISE_KINDS["A"]}]}}
    return parse_variant(content)


def main(arguments: Sequence[str] | None = None) -> list[Ratio]:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--root", type=Path, help="where the archives are kept; a temporary folder by default")
    options.add_argument("--percent", type=float, default=10, help="size of the release that clips are taken from")
    options.add_argument("--clips", type=int, default=96, help="of eight channels; four times as many of one")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--memory", action="store_true", help="measure memory as well, in processes of their own")
    given = options.parse_args(arguments)
    spec = SyntheticSpec(given.percent, 0)
    with working_root(given.root) as root:
        make_synthetic(derive_variant(load_variant("released"), dataset=spec.name), place(root))
        source, noise = (root / "archives" / spec.record_id / name for name in ("fan.zip", "noise.zip"))
        datasets = {
            1: make_archive(source, root, "benchmark-mono", 4 * given.clips, 1),
            CHANNELS: make_archive(source, root, "benchmark-eight", given.clips, CHANNELS),
        }
        rates = {n: _rates(root, dataset, noise, given.rounds) for n, dataset in datasets.items()}
        ratios = [
            Ratio(f"bytes a processor second, {way}: eight channels / one", of_eight[1] / rates[1][way][1], 0.9)
            for way, of_eight in rates[CHANNELS].items()
        ]
        if given.memory:
            ratios += _memory(source, root)
    rows = [
        {"channels": n, "build": way, "MB/s": f"{rate[0] / 1e6:.1f}", "MB a processor second": f"{rate[1] / 1e6:.1f}"}
        for n, of_channels in rates.items()
        for way, rate in of_channels.items()
    ]
    report("channels", f"clips of {CHANNELS} channels, by bytes of the archives", rows, ratios, given.save)
    return ratios


def _rates(root: Path, dataset: str, noise: Path, rounds: int) -> dict[str, np.ndarray]:
    """Bytes of the archive a second, of wall and processor time, of each way to build it: the best of some rounds."""
    n_bytes = (root / "archives" / Path(dataset).stem / "fan.zip").stat().st_size
    found = {}
    for way in WAYS:
        variant = variant_of(dataset, way, noise)
        build_s(variant, place(root), None)  # unmeasured: imports, noise banks
        seconds = []
        for _ in range(rounds):
            forget_levels(root)
            seconds.append(build_s(variant, place(root), None))
        found[way] = n_bytes / np.min(seconds, axis=0)
    return found


def _memory(source: Path, root: Path) -> list[Ratio]:
    """Peak memory of a build of eight channels, kept all, against that of half of the clips."""
    peaks = []
    for number in (CORES * SHARD_CLIPS, 2 * CORES * SHARD_CLIPS):
        dataset = make_archive(source, root, f"benchmark-{number}", number, CHANNELS)
        path = root / "channels.toml"
        path.write_text(f'name = "benchmark-channels"\ndataset = "{dataset}"\nmixing = "none"\nchannels = "all"\n')
        peaks.append(mimiidg("build", str(path), "--quiet", "--root", str(root)).peak_mb)
        shutil.rmtree(variant_dir(place(root), "benchmark-channels"))
    return [
        Ratio("peak memory, eight channels", peaks[1], 1000, at_least=False, unit=" MB"),
        Ratio("peak memory, twice as many clips", peaks[1] / peaks[0], 1.25, at_least=False),
    ]


if __name__ == "__main__":
    main()
