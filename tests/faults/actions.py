"""What a process of ``tests.faults.processes`` can be asked to do."""

from __future__ import annotations

import json
import pickle
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


def mimiidg(*arguments: str) -> int:
    """The command line."""
    from mimiidg_build.cli import main

    return main(arguments)


def read_latest(variant: str, until: str) -> int:
    """Open a variant's latest store over and over until a file appears; every time it must be whole, to the last byte.

    A dataset of its clips is kept open all the while: what it reads first it must be able to read again.
    """
    from mimiidg_build.store.damage import find_damage
    from mimiidg_build.store.store import open_store
    from mimiidg_build.training.clip_dataset import ClipDataset

    held = ClipDataset(open_store(variant), memory_budget_bytes=0)
    first = held.read(np.arange(len(held))).numpy()
    seen, n_reads = set(), 0
    while True:
        ends = Path(until).exists()
        store = open_store(variant)
        damage = find_damage(store)
        assert not damage, damage
        assert len(store.clips) == len(store.mix_plan)
        seen.add(store.fingerprint)
        np.testing.assert_array_equal(held.read(np.arange(len(held))).numpy(), first)
        n_reads += 1
        print(n_reads, flush=True)
        if ends:
            print(json.dumps({"n_reads": n_reads, "fingerprints": sorted(seen)}))
            return 0
        time.sleep(0.05)  # else it keeps a core from those that move what it reads


def hold(statement: str, path: str) -> int:
    """Have something open until killed."""
    from mimiidg_build.store.store import open_store
    from mimiidg_build.training.clip_dataset import ClipDataset

    names = {"path": path, "ClipDataset": ClipDataset, "open_store": open_store, "pickle": pickle}
    exec(statement, names)
    print("held", flush=True)
    signal.pause()
    return 0


def train(store: str, root: str, epochs: str) -> int:
    """Train a small model on a store and score its test clips; prints the epochs that were trained."""
    from mimiidg_build.benchmark.planning import plan_runs
    from mimiidg_build.benchmark.train_network import train_and_score
    from mimiidg_build.progress import Reporter
    from mimiidg_build.store.store import open_store

    trained: list[int] = []

    class Epochs(Reporter):
        def note(self, title: str, text: str) -> None:
            trained.append(int(text.split()[1]))

    (run,) = plan_runs(open_store(store), Path(root), ["autoencoder"], "smoke", seeds=1, epochs=int(epochs))
    (network,) = run.networks()
    train_and_score(run, network, "cpu", Epochs())
    print(json.dumps(trained))
    return 0


ACTIONS: dict[str, Callable[..., int]] = {
    function.__name__: function for function in (mimiidg, read_latest, hold, train)
}
