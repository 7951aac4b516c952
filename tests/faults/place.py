"""A small root to build in, again and again: two variants of 1 s clips, and what undisturbed builds of them give."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from mimiidg_build.datasets.manifest import load_recipe
from mimiidg_build.datasets.synthetic import parse_name
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.synthesis.contents import section_clips
from tests.conftest import pack_release, write_dataset
from tests.faults.processes import N_SAMPLES, Ended, Processes


def make_place(directory: Path) -> None:
    """Files to build from: ``root`` with an archive of 1 s clips a machine type, ``noise``, and two variants' files.

    ``one.toml`` is a variant of one section, ``two.toml`` of two.
    """
    archives = [directory / f"root/archives/short/{machine_type}.zip" for machine_type in ("fan", "valve")]
    rng = np.random.default_rng(0)
    for path, number in zip(archives, ("00", "01"), strict=True):
        section = load_recipe("table1").row(SectionId(path.stem, number))
        clips = section_clips(parse_name("synthetic-1pct-seed0"), section)
        samples = {f"{clip.name}.wav": rng.normal(0, 900, N_SAMPLES).astype(np.int16) for clip in clips}
        pack_release(path, samples, path.stem)
    manifest = write_dataset(directory, "short", archives, clip_seconds=N_SAMPLES / 16_000)
    (directory / "noise").mkdir()
    for name in ("hum", "hiss"):
        sf.write(directory / f"noise/{name}.wav", rng.normal(0, 900, 3 * N_SAMPLES).astype(np.int16), 16_000)
    kinds = "".join(f'{kind} = "noise"\n' for kind in "ABCDWXYZ")
    for name, sections in (("one", '"valve/01"'), ("two", '"fan/00", "valve/01"')):
        text = f'name = "{name}"\ndataset = "{manifest}"\nsections = [{sections}]\n[noise]\n{kinds}'
        (directory / f"{name}.toml").write_text(text)


def files(path: Path) -> dict[str, bytes]:
    """Every file under a directory."""
    return {f.relative_to(path).as_posix(): f.read_bytes() for f in sorted(path.rglob("*")) if f.is_file()}


class Place:
    """A root to build in, and what undisturbed builds of its variants give."""

    def __init__(self, template: Path, directory: Path, processes: Processes) -> None:
        self.template, self.root, self.processes = template, directory / "root", processes
        shutil.copytree(template / "root", self.root, ignore=shutil.ignore_patterns("variants"))

    def start(self, *arguments: object, **faults: Any) -> int:
        """Start ``mimiidg`` on the root."""
        return self.processes.start(*arguments, "--root", self.root, **faults)

    def start_action(self, action: str, *arguments: object) -> int:
        """Start something else."""
        return self.processes.start(*arguments, action=action)

    def run(self, *arguments: object, **faults: Any) -> Ended:
        """Run ``mimiidg`` on the root."""
        return self.processes.wait(self.start(*arguments, **faults))

    def build(self, variant: str, *options: object, **faults: Any) -> Ended:
        """Build a variant, on one thread so that steps come in one order."""
        return self.run("build", self.template / f"{variant}.toml", "--workers", 1, "--quiet", *options, **faults)

    def directory(self, variant: str) -> Path:
        """Where a variant's stores lie."""
        return self.root / "variants" / variant

    def undisturbed(self, variant: str) -> dict[str, bytes]:
        """What an undisturbed build of a variant leaves."""
        return files(self.template / "root/variants" / variant)


def make_template(directory: Path, processes: Processes) -> None:
    """What a ``Place`` is a copy of."""
    make_place(directory)
    place = Place.__new__(Place)
    place.template, place.root, place.processes = directory, directory / "root", processes
    for ended in (place.run("fetch", directory / "short.toml", "--offline"), place.build("one"), place.build("two")):
        assert ended.code == 0, ended.err
