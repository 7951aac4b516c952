"""Levels: power and peak of every clip of an archive, and the cross-power of noise layers that are added together.

Measured once per archive and kept beside it, ROOT/archives/<record>/<file>.levels.parquet, under the archive's
checksum: every variant of a dataset reads the same levels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimiidg_build.audio.archive import open_archive
from mimiidg_build.audio.wav import decode_clip, level
from mimiidg_build.mixing.noise import NoiseBank
from mimiidg_build.parallel.memory import keep_freed_memory
from mimiidg_build.parallel.run_tasks import Runner
from mimiidg_build.progress import OnProgress, no_progress
from mimiidg_build.storage.cached_table import read_cached, write_cached
from mimiidg_build.storage.places import Place
from schemas.tables import Levels

VERSION = "levels-1"
TASK_CLIPS = 64


def measure_members(path: Place, members: list[str], n_samples: int) -> list[tuple[str, float, float]]:
    """(member, power, peak) of some clips of an archive."""
    keep_freed_memory()
    archive = open_archive(path)
    return [(m, *level(decode_clip(archive.read(m), f"{path.name}: {m}", n_samples=n_samples))) for m in members]


def load_levels(
    path: Place,
    checksum: str,
    members: list[str],
    n_samples: int,
    run: Runner,
    on_progress: OnProgress = no_progress,
) -> pd.DataFrame:
    """Levels of an archive's clips, measured where they are not known yet.

    Parameters
    ----------
    path : Place
        The archive; its levels are kept beside it.
    checksum : str
        Of the archive: levels of another content are not used.
    members : list of str
        The clips.
    n_samples : int
        Expected length of each clip.
    run : Runner
        Where the tasks run.
    on_progress : callable
        Told how many more clips are done.

    Returns
    -------
    pd.DataFrame, a Levels table indexed by member
    """
    kept = path.with_name(path.name + ".levels.parquet")
    identity = hashlib.sha256(json.dumps([VERSION, checksum, n_samples, sorted(members)]).encode()).hexdigest()
    frame = read_cached(kept, identity)
    if frame is not None:
        on_progress(len(members))
        return frame.set_index("member", drop=False)
    batches = [members[i : i + TASK_CLIPS] for i in range(0, len(members), TASK_CLIPS)]
    measured = run(
        measure_members, [(path, batch, n_samples) for batch in batches], lambda rows: on_progress(len(rows))
    )
    rows = [row for batch in measured for row in batch]
    frame = Levels.validate(pd.DataFrame(rows, columns=["member", "power", "peak"]), lazy=True)
    write_cached(kept, frame, identity)
    return frame.set_index("member", drop=False)


def cross_powers(drawn: list[list[tuple[str, int]]], banks: Mapping[str, NoiseBank]) -> npt.NDArray[np.float64]:
    """mean(n1 n2) of every clip's two noise layers, 0 where it has fewer.

    Returns
    -------
    np.ndarray [shape=(n_clips,)], float64
    """

    @lru_cache(maxsize=64)
    def noise(kind: str, row: int) -> npt.NDArray[np.float64]:
        return banks[kind].read(row).astype(np.float64)

    @cache
    def cross(first: tuple[str, int], second: tuple[str, int]) -> float:
        return float(np.einsum("i,i->", noise(*first), noise(*second))) / banks[first[0]].n_samples

    return np.array([cross(*layers) if len(layers) == 2 else 0.0 for layers in drawn])
