"""Writers that share a shard: what dask and zarr do with it, and what keeps it from happening here.

A writer of a part of a shard reads the shard, changes its part and writes all of it back; of two at once, one is lost,
and nobody is told (dask #12583, zarr-python #3682). If the tests of this fail one day, they have mended it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array
import numpy as np
import pytest
import zarr

from mimiidg_build.parallel.runner import runner
from mimiidg_build.store.shards import write_shard

N_CLIPS, SHARD_CLIPS = 64, 16
CLIPS = np.random.default_rng(0).integers(1, 999, (N_CLIPS, 2000), dtype=np.int16)
ATTEMPTS = 20  # five of five were wrong; a quiet machine may be lucky


def create(path: Path) -> zarr.Array[Any]:
    inner = {"chunks": (1, 2000), "shards": (SHARD_CLIPS, 2000)}
    group = zarr.create_group(path)
    return group.create_array("clips", shape=CLIPS.shape, dtype=CLIPS.dtype, compressors=None, filters=None, **inner)


def n_lost(path: Path) -> int:
    """Clips that are not what was written."""
    return int((np.asarray(zarr.open_group(path, mode="r")["clips"]) != CLIPS).any(axis=1).sum())


def store_unaligned(path: Path) -> None:
    array = dask.array.from_array(CLIPS, chunks=(6, 2000))
    dask.array.store(array, create(path), lock=False, scheduler="threads", num_workers=8)


def to_zarr_with_shards(path: Path) -> None:
    zarr.create_group(path)
    array = dask.array.from_array(CLIPS, chunks=(4, 2000))
    with dask.config.set(scheduler="threads", num_workers=8):
        array.to_zarr(str(path), component="clips", chunks=(1, 2000), shards=(SHARD_CLIPS, 2000))


def store_aligned(path: Path) -> None:
    array = dask.array.from_array(CLIPS, chunks=(SHARD_CLIPS, 2000))
    dask.array.store(array, create(path), lock=False, scheduler="threads", num_workers=8)


def write(path: Path, start: int, n_clips: int) -> None:
    write_shard(path, "clips", CLIPS[start : start + n_clips], start, N_CLIPS, SHARD_CLIPS)


@pytest.mark.parametrize("unaligned", [store_unaligned, to_zarr_with_shards])
def test_dask_loses_clips_without_a_word(tmp_path: Path, fault: Any, unaligned: Callable[[Path], None]) -> None:
    """The corruption that the guard is there for: no error, and clips are gone."""
    fault("dask writers that share a shard, without the guard: clips lost upstream", cases=1)
    lost = (n_lost_by(unaligned, tmp_path / str(attempt)) for attempt in range(ATTEMPTS))
    assert any(lost), "upstream has mended it; the guard costs nothing and may stay"


def n_lost_by(write_all: Callable[[Path], None], path: Path) -> int:
    write_all(path)
    return n_lost(path)


def test_the_guard_refuses_them(tmp_path: Path, fault: Any) -> None:
    """The same parts through our writer: each is refused by its rows, and not a byte is written."""
    rows = [(start, 6) for start in range(0, N_CLIPS, 6)] + [(start, 4) for start in range(0, N_CLIPS, 4)]
    fault("writers that share a shard: refused by the guard", cases=len(rows))
    create(tmp_path)
    for start, n_clips in rows:
        with pytest.raises(ValueError, match=rf"rows {start}-\d+ of 64 are not one shard of 16 clips"):
            write(tmp_path, start, min(n_clips, N_CLIPS - start) if start else n_clips)
    assert not list(tmp_path.rglob("c/*"))


def test_one_writer_a_shard_loses_nothing(tmp_path: Path, fault: Any) -> None:
    tasks = [(tmp_path, start, SHARD_CLIPS) for start in range(0, N_CLIPS, SHARD_CLIPS)]
    fault("one writer a shard, several at once", cases=len(tasks))
    create(tmp_path)
    runner("threads", 4)(write, tasks, lambda result: None)
    assert n_lost(tmp_path) == 0
    store_aligned(tmp_path / "dask")
    assert n_lost(tmp_path / "dask") == 0, "so it is the sharing, not dask"


@pytest.mark.slow
def test_two_writers_of_one_shard_write_the_same(tmp_path: Path, fault: Any) -> None:
    """A worker that outlives its killed build may write its shard beside the next build's: either's file is whole."""
    tasks = [(tmp_path, start, SHARD_CLIPS) for start in range(0, N_CLIPS, SHARD_CLIPS) for _ in range(4)]
    fault("several writers of one whole shard", cases=len(tasks))
    create(tmp_path)
    runner("processes", 4)(write, tasks, lambda result: None)
    assert n_lost(tmp_path) == 0
