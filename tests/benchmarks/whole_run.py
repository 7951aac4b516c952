"""A whole benchmark run of the autoencoder against the official baseline's way; scoring, a report and an evaluation.

``python -m tests.benchmarks.whole_run STORE``, with one torch thread and in processor time, so that a busy machine
counts little. Its parts:

- ``run``: features, load, train, score and evaluate one machine type, ours and as the DCASE 2023 baseline does it in
  torch (:mod:`.official_way`): WAV files through librosa, all five-frame vectors in memory, a ``DataLoader`` item for
  each, losses read back batch by batch, test clips scored one by one. Network, optimiser, batches, epochs and clips
  held out are the same. ``--clips`` takes fewer training clips. What comes once a clip is measured apart from what
  comes once a clip and epoch: the last figure is what they come to for 3,000 clips and the paper's 100 epochs.
- ``score``: clips a second of a trained autoencoder from the store, score files and all; and against the matrix
  products of its layers alone, which are the floor in single precision.
- ``report`` and ``evaluate``: the commands, in processes of their own, over the store's runs. The bars are of 900 clips
  and 15 sections.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from mimiidg_build.audio.wav import decode_clip, encode_wav
from mimiidg_build.evaluation.decisions import decision_threshold
from mimiidg_build.evaluation.evaluate import evaluate
from mimiidg_build.evaluation.scored_clips import read_with_clip_table
from mimiidg_build.features import logmel
from mimiidg_build.models.autoencoder import SCORE_WINDOWS, WIDTH
from mimiidg_build.models.base import Detector
from mimiidg_build.store.store import Store, open_store
from mimiidg_build.training.clip_dataset import ClipDataset
from mimiidg_build.training.scoring import score
from mimiidg_build.training.train import train
from tests.benchmarks import Ratio, commands, parser, report
from tests.benchmarks.official_way import Times, new_model, official, timed

PARTS = ("run", "score", "report", "evaluate")
ONCE = ("features", "load", "score", "evaluate")  # parts of a run, each once a clip; training is once a clip and epoch
FULL_CLIPS, FULL_EPOCHS = 3000, 100


def first_type(store: Store) -> str:
    """The machine type of a store's first clip."""
    return str(store.clips["machine_type"].iloc[0])


class Clips:
    """Training and test clips of a machine type, at most so many for training; and WAV files of them."""

    def __init__(self, store: Store, machine_type: str, n_train: int, folder: Path) -> None:
        self.store, self.machine_type = store, machine_type
        every = store.clips[store.clips["machine_type"] == machine_type]
        train_clips = every[every["split"] == "train"].sample(frac=1, random_state=0)  # of all sections and domains
        self.left_out = train_clips.iloc[n_train:]
        self.files = {split: self._write(self.of(split).clips, folder / split) for split in ("train", "test")}

    def of(self, split: str) -> ClipDataset:
        """Clips of a split, from the store."""
        return ClipDataset(self.store, machine_types=self.machine_type, split=split, without=self.left_out)

    def _write(self, clips: pd.DataFrame, folder: Path) -> list[Path]:
        folder.mkdir(parents=True)
        paths = []
        for clip in clips.itertuples():
            samples = self.store.audio(clip.machine_type, clip.section)[clip.row]
            # the organisers' names begin with the section, which some of the rows' names lack
            paths.append(folder / f"{clip.section}_{clip.condition}_{clip.domain}_{Path(str(clip.clip)).name}.wav")
            paths[-1].write_bytes(encode_wav(np.asarray(samples)))
        return paths


# ---- Ours ------------------------------------------------------------------------------------------------------------


def ours(clips: Clips, epochs: int, folder: Path) -> Times:
    """As ``mimiidg benchmark`` does it; features as a build makes them, though a store already has them."""
    times: Times = {}

    @timed(times, "features")
    def features() -> None:
        for path in [*clips.files["train"], *clips.files["test"]]:
            logmel(decode_clip(path.read_bytes(), path.name))

    begun = time.process_time()
    training, test = clips.of("train"), clips.of("test")
    model = new_model(len(training.section_ids))
    times["load"] = time.process_time() - begun
    timed(times, "train")(lambda: train(model, training, folder, clips.machine_type, epochs=epochs))
    timed(times, "score")(lambda: score(model, training, test, torch.device("cpu"), folder))
    timed(times, "evaluate")(lambda: evaluate(read_with_clip_table(folder, test.clips)))
    return times


# ---- The parts -------------------------------------------------------------------------------------------------------

Rows = list[dict[str, object]]


def row(part: str, ours: float, other: float, what: str) -> dict[str, object]:
    """A line of the table: ours, and what it is held against."""
    return {"part": part, "ours": round(ours, 3), "other": round(other, 3), "unit, and what the other is": what}


def run_part(store: Store, given: argparse.Namespace) -> tuple[Rows, list[Ratio]]:
    """Ours and the official way on the same clips."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        clips = Clips(store, given.machine_type or first_type(store), given.clips, folder)
        n = len(clips.files["train"])
        mine, theirs = ours(clips, given.epochs, folder), official(clips.files, given.epochs, folder)
    parts = ("features", "load", "train", "score", "evaluate")
    rows: Rows = [row(part, mine[part], theirs.get(part, 0.0), "s, the official way") for part in parts]
    whole = sum(theirs.values()) / sum(mine.values())
    ratios = [
        Ratio(f"whole run, {n} clips, {given.epochs} epochs, ours / official", whole, 3.0),
        Ratio(
            f"whole run, {FULL_CLIPS} clips, {FULL_EPOCHS} epochs, extrapolated",
            full(theirs, n, given.epochs) / full(mine, n, given.epochs),
            3.0,
        ),
    ]
    return rows, ratios


def full(times: Times, n_clips: int, epochs: int) -> float:
    """Seconds of a full run, from those of a small one."""
    once, each = sum(times.get(part, 0.0) for part in ONCE), times["train"] / epochs
    return FULL_CLIPS / n_clips * (once + FULL_EPOCHS * each)


def score_part(store: Store, given: argparse.Namespace) -> tuple[Rows, list[Ratio]]:
    """Clips a second on one core, from opening the store to the last score file."""
    machine_type = given.machine_type or first_type(store)
    rates, floors = [], []
    for _ in range(given.rounds):
        begun = time.process_time()
        training, test = (ClipDataset(store, machine_types=machine_type, split=split) for split in ("train", "test"))
        model = new_model(len(training.section_ids))
        with tempfile.TemporaryDirectory() as directory:
            score(model, training, test, torch.device("cpu"), Path(directory))
        n_clips = len(training) + len(test)
        rates.append(n_clips / (time.process_time() - begun))
        floors.append(products_rate(model, n_clips * (test.n_frames - WIDTH + 1)) * n_clips)
    ratio = float(np.median(np.array(rates) / np.array(floors)))
    rows: Rows = [row("score", max(rates), max(floors), "clips/s, matrix products alone")]
    return rows, [
        Ratio("scoring from the store, per core", max(rates), 1000, unit=" clips/s"),
        Ratio("scoring from the store / matrix products alone", ratio, 0.85),
    ]


@torch.no_grad()
def products_rate(model: Detector, n_windows: int) -> float:
    """How often a second the layers' matrix products of so many windows can be computed, and nothing else."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    inputs = [torch.ones(SCORE_WINDOWS, layer.in_features) for layer in layers]
    n_blocks = max(1, round(n_windows / SCORE_WINDOWS))
    begun = time.process_time()
    for _ in range(n_blocks):
        for layer, windows in zip(layers, inputs, strict=True):
            layer(windows)
    return n_blocks * SCORE_WINDOWS / n_windows / (time.process_time() - begun)


def command_part(store: Store, name: str, bar_s: float, rounds: int) -> tuple[Rows, list[Ratio]]:
    """Processor time of a command, its start included."""
    root = Path(str(store.path)).parents[2]
    runs = sorted((root / "runs" / store.attributes.variant.name / store.fingerprint).glob("*/results.json"))
    if name == "evaluate" and not runs:
        return [row(name, 0.0, 0.0, "left out: no benchmark was run on the store")], []
    arguments = (
        ["report", str(store.path), "--root", str(root)] if name == "report" else ["evaluate", str(runs[0].parent)]
    )
    with tempfile.TemporaryDirectory() as directory:
        if name == "report":
            arguments += ["--output", f"{directory}/report.html", "--quiet"]
        took = min(commands.mimiidg(*arguments).cpu_s for _ in range(rounds))
    of = f"{len(store.clips)} clips, {len(runs)} runs" if name == "report" else f"{len(store.sections)} sections"
    return [row(name, took, bar_s, "s, the most it may take")], [
        Ratio(f"mimiidg {name}, {of}", took, bar_s, False, " s")
    ]


def main(arguments: Sequence[str] | None = None) -> list[Ratio]:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("store", type=Path, help="a finished store, or the folder of its variant")
    options.add_argument("--machine-type", help="whose clips are trained on and scored; the store's first by default")
    options.add_argument("--clips", type=int, default=FULL_CLIPS, help="the most training clips")
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    given = options.parse_args(arguments)
    torch.set_num_threads(1)
    # The first optimiser of a process imports torch._dynamo, the first threshold scipy.stats: a second or two, once,
    # which is no part of either way.
    torch.optim.Adam([nn.Parameter(torch.zeros(1))])
    decision_threshold(np.arange(9.0))
    store = open_store(given.store)
    found: dict[str, Callable[[], tuple[Rows, list[Ratio]]]] = {
        "run": lambda: run_part(store, given),
        "score": lambda: score_part(store, given),
        "report": lambda: command_part(store, "report", 20.0, given.rounds),
        "evaluate": lambda: command_part(store, "evaluate", 2.0, given.rounds),
    }
    ratios, rows = list[Ratio](), list[dict[str, object]]()
    for part in given.parts:
        more, figures = found[part]()
        rows += more
        ratios += figures
    report("whole_run", "whole benchmark runs, scoring and pages", rows, ratios, given.save)
    return ratios


if __name__ == "__main__":
    main()
