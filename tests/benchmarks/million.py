"""A release of a million clips without its sound: time and peak memory of every step of a build that is not audio.

``python -m tests.benchmarks.million``. 360 sections of 3,000 clips, as 120 archives with real directories and attribute
tables (all clips hold the same silence, which deflates to nothing); a quarter, a half, and all of them. Steps are the
library's own, from reading tables to verifying the store. What stands in for sound: levels are stated rather than
measured, shards are sparse files of the right size, laid out and noted in the journal rather than rendered, and the
digest of zeros is computed once for each size. The last row is all that ``mimiidg build`` does when there is nothing to
do.

Each size is a process of its own. Peak memory is that of the whole process while a step ran, what earlier steps left
included. *Exponent*: of the processor time between the smallest size and the largest; 1 is linear.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soundfile

from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.build import render
from mimiidg_build.build.decision import decide
from mimiidg_build.build.inputs import read_inputs
from mimiidg_build.build.planning import batches, plan_sections
from mimiidg_build.build.publish import open_staging, publish
from mimiidg_build.build.sections import RenderedSection, render_sections
from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.variant import load_variant
from mimiidg_build.fetch.dataset import fetch_dataset, validate_dataset
from mimiidg_build.parallel.runner import Runner, runner
from mimiidg_build.schemas.stores import StoredObject
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.store import damage
from mimiidg_build.store.listing import list_stores
from mimiidg_build.store.store import open_store, variant_dir
from mimiidg_build.synthesis.contents import stem
from mimiidg_build.synthesis.zip_file import Packed, write_zip
from mimiidg_build.upkeep.verify import verify_store
from tests.benchmarks import Ratio, parser, report
from tests.benchmarks.commands import run
from tests.benchmarks.simulated import digest_of_zeros, sparse_runner

SECTIONS = ("00", "01", "02")  # of each machine type
SHARES = (0.25, 0.5, 1.0)
N_SAMPLES = 160_000
RECORD = "simulated"
SMALL_S = 0.5  # of processor time: what takes less has no exponent worth naming

MANIFEST = """
name = "simulated"
title = "a release without its sound"
recording = "clean"
layout = "dcase2022"
citation = "none"
audio = {{ clip_seconds = 10 }}

[[records]]
id = "simulated"
title = "simulated"
license = "MIT"
files = [
{files}
]
"""
VARIANT = """
name = "simulated"
dataset = "{manifest}"
noise = {{ A = "{noise}" }}

[recipe.default]
snr_db = 6.0
noise = [{{ kinds = ["A"] }}]
"""


def cells(n_clips: int) -> Iterator[tuple[str, str, str, int]]:
    """Domain, split, condition and number of a section's clips: a thirtieth of them in each cell of the test set."""
    n_test = max(1, n_clips // 30)
    n_target = max(1, n_clips // 120)
    yield "source", "train", "normal", n_clips - n_target - 4 * n_test
    yield "target", "train", "normal", n_target
    for domain in ("source", "target"):
        for condition in ("normal", "anomaly"):
            yield domain, "test", condition, n_test


def members(machine_type: str, n_clips: int) -> tuple[list[str], dict[str, str]]:
    """Clips and attribute tables of an archive; the latter with their text."""
    clips, tables = [], {}
    for section in SECTIONS:
        lines = ["file_name,d1p,d1v"]
        for domain, split, condition, n in cells(n_clips):
            for index in range(n):
                value = "WXYZ"[index % 4]
                name = stem(section, domain, split, condition, index, {"m-n": value})
                clips.append(f"{machine_type}/{split}/{name}.wav")
                lines.append(f"{clips[-1]},m-n,{value}")
        tables[f"{machine_type}/attributes_{section}.csv"] = "\n".join(lines) + "\n"
    return clips, tables


def simulate(root: Path, n_sections: int, n_clips: int) -> Path:
    """Write archives, manifest, noise and a variant file; where the latter is."""
    directory = root / "archives" / RECORD
    directory.mkdir(parents=True)
    silence = encode_wav(np.zeros(N_SAMPLES, np.int16))
    packed, crc = deflated(silence), zlib.crc32(silence)
    names = [f"unit{number:03d}" for number in range(math.ceil(n_sections / len(SECTIONS)))]
    for name in names:
        clips, tables = members(name, n_clips)
        texts = [(member, text.encode()) for member, text in tables.items()]
        entries = [Packed(member, False, deflated(text), zlib.crc32(text), len(text)) for member, text in texts]
        entries += [Packed(member, True, packed, crc, len(silence)) for member in clips]
        write_zip(directory / f"{name}.zip", entries, None)
    noise = np.random.default_rng(0).normal(0, 0.01, N_SAMPLES)
    (root / "noise_a").mkdir()
    soundfile.write(root / "noise_a" / "noise.wav", noise, 16_000)
    manifest = root / "simulated.toml"
    manifest.write_text(MANIFEST.format(files="\n".join(f'{{ name = "{name}.zip" }},' for name in names)))
    variant = root / "variant.toml"
    variant.write_text(VARIANT.format(manifest=manifest, noise=root / "noise_a"))
    return variant


def deflated(data: bytes) -> bytes:
    """A raw stream, as zip members are."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflate.compress(data) + deflate.flush()


class Steps:
    """Runs steps one after the other, and notes what each took."""

    def __init__(self) -> None:
        self.took: dict[str, dict[str, float]] = {}

    def __call__(self, name: str, step: Callable[[], Any]) -> Any:
        """Run one step; what it returns."""
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        begun, wall = time.process_time(), time.perf_counter()
        result = step()
        took = {"cpu_s": time.process_time() - begun, "wall_s": time.perf_counter() - wall, "peak_mb": peak_mb()}
        self.took[name] = took
        print(f"{name}: {took['cpu_s']:.1f} s, {took['peak_mb']:.0f} MB", file=sys.stderr)
        return result


def peak_mb() -> float:
    """The largest resident memory of this process since its count was set back."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6


def stated_levels(
    function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], on_result: Callable[[Any], None]
) -> list[Any]:
    """A runner that says what measuring levels would have found."""
    found = [(number, part, [(member, 1e-3, 0.1) for member in lengths]) for number, part, _, lengths, *_ in tasks]
    for result in found:
        on_result(result)
    return found


@contextmanager
def digests_of_zeros() -> Iterator[None]:
    """Files of zeros are not read: their digests are known by their size."""

    def known(store: Path, path: str) -> StoredObject:
        size_bytes = (store / path).stat().st_size
        return StoredObject(path, size_bytes, digest_of_zeros(store / path, size_bytes))

    real = damage.hash_object

    def of_shards(store: Path, path: str) -> StoredObject:
        return known(store, path) if "/c/" in path else real(store, path)

    with mock.patch.object(render, "hash_object", of_shards), mock.patch.object(damage, "hash_object", of_shards):
        yield


def build(step: Steps, root: Path, variant: Variant) -> None:
    """Every step of a build."""
    dataset = load_dataset(variant.dataset)
    step("checksums of archives", lambda: fetch_dataset(dataset, root, offline=True))
    release = step("archives' tables, validation, clip table", lambda: validate_dataset(dataset, root))
    inputs = step("fingerprint", lambda: read_inputs(variant, root, release=release))
    decision = step("decision", lambda: decide(inputs, root))
    planned = step("plan", lambda: plan_sections(inputs, decision, root, stated_levels))
    open_staging(decision)

    def render(run: Runner) -> dict[str, RenderedSection]:
        every = [render_sections(inputs, decision, batch, run) for batch in batches(planned)]
        return {key: section for rendered in every for key, section in rendered.items()}

    step("journal, written", lambda: render(sparse_runner(planned)))
    with digests_of_zeros():
        rendered = step("journal, read back", lambda: render(refuse))
    planned.clear()  # as a build: see `planned_and_rendered`
    step("tables, metadata, `latest`", lambda: publish(inputs, decision, rendered, runner()))


def refuse(function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], on_result: object) -> list[Any]:
    """A runner for what must be finished already."""
    if tasks:
        raise RuntimeError(f"{len(tasks)} shards are not in the journal")
    return []


def use(step: Steps, root: Path, variant: str) -> None:
    """What is done with a store."""
    from mimiidg_build.training.clip_dataset import ClipDataset  # torch is no part of a build's memory

    step("`list`", lambda: list_stores(root))
    store = step("open_store", lambda: open_store(variant_dir(root, variant)))
    clips = step("ClipDataset, opened", lambda: ClipDataset(store, split="train", memory_budget_bytes=0))
    assert clips.access == "mapped"
    with digests_of_zeros():
        problems = step("verify", lambda: verify_store(store))
    if problems:
        raise RuntimeError(f"the store is not whole: {problems[:3]}")


def measure(n_sections: int, n_clips: int) -> dict[str, dict[str, float]]:
    """Build in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="mimiidg-benchmark-") as directory:
        root, step = Path(directory), Steps()
        variant = load_variant(str(simulate(root, n_sections, n_clips)))
        build(step, root, variant)
        use(step, root, variant.name)
        step("a build with nothing to do", lambda: build_variant(variant, root))
        return step.took


def exponent(small: float, large: float, growth: float) -> float:
    """By which power of the size a time grows.

    >>> exponent(1.0, 4.0, 4.0), exponent(1.0, 16.0, 4.0)
    (1.0, 2.0)
    """
    return math.log(max(large, 1e-9) / max(small, 1e-9)) / math.log(growth)


def main(arguments: Sequence[str] | None = None) -> list[Ratio]:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--sections", type=int, default=360, help="three of each machine type, and archive")
    options.add_argument("--clips", type=int, default=3000, help="of a section")
    options.add_argument("--shares", type=float, nargs="+", default=list(SHARES), help="sizes")
    options.add_argument("--one", action="store_true", help="this size alone, in this process, as JSON")
    given = options.parse_args(arguments)
    if given.one:
        print(json.dumps(measure(given.sections, given.clips)))
        return []
    found: dict[int, dict[str, dict[str, float]]] = {}
    for share in given.shares:
        sections = len(SECTIONS) * max(1, round(share * given.sections / len(SECTIONS)))
        sizes = ("--one", "--sections", str(sections), "--clips", str(given.clips))
        found[sections] = json.loads(run("-m", "tests.benchmarks.million", *sizes).output)
        print(f"{sections * given.clips:,} clips: {json.dumps(found[sections])}", file=sys.stderr)
    first, last = min(found), max(found)
    small, large = found[first], found[last]
    rows, ratios = [], []
    for name in large:
        row = {"step": name}
        for sections, took in found.items():
            row[f"{sections * given.clips:,} clips"] = f"{took[name]['cpu_s']:.2f} s, {took[name]['peak_mb']:.0f} MB"
        power = exponent(small[name]["cpu_s"], large[name]["cpu_s"], last / first) if last > first else math.nan
        row["exponent"] = f"{power:.2f}"
        rows.append(row)
        if large[name]["cpu_s"] > SMALL_S and last > first:
            ratios.append(Ratio(f"exponent, {name}", power, 1.1, at_least=False))
    peak = max(took["peak_mb"] for took in large.values())
    ratios.append(Ratio("peak memory of any step", peak, 2000, at_least=False, unit=" MB"))
    report("million", f"processor time and peak memory of {last} sections", rows, ratios, given.save)
    return ratios


if __name__ == "__main__":
    main()
