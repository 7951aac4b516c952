"""Levels: measured once, cached beside the archive under its checksum, never used for another content."""

from __future__ import annotations

import shutil
import weakref
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mimiidg_build.audio.archive import open_archive
from mimiidg_build.audio.level import level
from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.errors import DataError
from mimiidg_build.mixing import levels
from mimiidg_build.mixing.draws import NoiseDraw
from mimiidg_build.mixing.levels import BLOCK, TASK_CLIPS, ArchiveClips, cross_powers, load_levels
from mimiidg_build.mixing.noise_bank import NoiseBank
from mimiidg_build.parallel.runner import runner
from mimiidg_build.schemas.tables import Levels

N = 400
CLIPS = {
    f"fan/train/{i}.wav": np.random.default_rng(i).integers(-30_000, 30_000, N).astype(np.int16) for i in range(150)
}
MEMBERS = list(CLIPS)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "fan.zip", "w") as file:
        file.writestr("fan/attributes_00.csv", b"")
        for name, samples in CLIPS.items():
            file.writestr(name, encode_wav(samples))
    return tmp_path / "fan.zip"


def refuse(
    function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], on_result: Callable[[Any], None]
) -> list[Any]:
    raise AssertionError("measured although it was known")


def load(
    archive: Path, checksum: str = "md5:1", members: list[str] = MEMBERS, run: Any = None, **more: Any
) -> pd.DataFrame:
    clips = ArchiveClips(archive, checksum, dict.fromkeys(members, N))
    (found,) = load_levels([clips], run or runner("threads", 2), **more)
    return found


def test_levels_are_those_of_the_samples(archive: Path) -> None:
    done: list[int] = []
    found = load(archive, on_progress=done.append)
    Levels.validate(found.reset_index(drop=True))
    assert found.index.tolist() == MEMBERS
    for member, samples in CLIPS.items():
        assert (found["power"][member], found["peak"][member]) == level(samples)
    assert sorted(done) == [150 - 2 * TASK_CLIPS, TASK_CLIPS, TASK_CLIPS]  # batches of a task each


def test_levels_are_cached_beside_the_archive_and_measured_once(archive: Path) -> None:
    first = load(archive)
    cached = archive.with_name("fan.zip.levels.parquet")
    assert sorted(p.name for p in archive.parent.iterdir()) == ["fan.zip", cached.name]
    before = cached.stat().st_mtime_ns
    done: list[int] = []
    again = load(archive, run=refuse, on_progress=done.append)
    pd.testing.assert_frame_equal(again, first)
    assert done == [150]
    assert cached.stat().st_mtime_ns == before
    pd.testing.assert_frame_equal(load(archive, members=MEMBERS[::-1], run=refuse).loc[MEMBERS], first)


@pytest.mark.parametrize("change", ["checksum", "members", "version", "damaged", "empty", "another table"])
def test_levels_of_anything_else_are_not_used(archive: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    first = load(archive)
    cached = archive.with_name("fan.zip.levels.parquet")
    checksum, members = "md5:1", MEMBERS
    if change == "checksum":
        checksum = "md5:2"
    elif change == "members":
        members = MEMBERS[:100]
    elif change == "version":
        monkeypatch.setattr(levels, "LEVELS_VERSION", "levels-0")
    elif change == "another table":
        pd.DataFrame({"member": ["x"]}).to_parquet(cached)
    else:
        cached.write_bytes(cached.read_bytes()[:-100] if change == "damaged" else b"")
    with pytest.raises(AssertionError, match="measured although"):
        load(archive, checksum, members, refuse)
    found = load(archive, checksum, members)
    pd.testing.assert_frame_equal(found, first.loc[members])
    pd.testing.assert_frame_equal(load(archive, checksum, members, refuse), found)  # and cached in the old ones' place


@pytest.mark.parametrize("workers", [1, 3])
def test_levels_do_not_depend_on_who_measures(archive: Path, workers: int) -> None:
    serial = levels.measure_members(open_archive(archive), dict.fromkeys(MEMBERS, N))
    found = load(archive, run=runner("threads", workers))
    assert list(found[["member", "power", "peak"]].itertuples(index=False, name=None)) == serial


def test_archives_are_measured_together_and_each_is_cached_when_it_is_whole(archive: Path, tmp_path: Path) -> None:
    """No worker waits at an archive's end for the others; and a run that is stopped begins again with what is left."""
    known, new, bad = (tmp_path / name for name in ("known.zip", "new.zip", "bad.zip"))
    for path in (known, new, bad):
        shutil.copy(archive, path)
    lengths = dict.fromkeys(MEMBERS, N)
    first = load(known)
    clips = [ArchiveClips(path, "md5:1", lengths) for path in (new, known, archive)]
    n_tasks: list[int] = []

    def run(function: Callable[..., Any], tasks: Sequence[Any], on_result: Callable[[Any], None]) -> list[Any]:
        n_tasks.append(len(tasks))
        return runner("threads", 2)(function, tasks[::-1], on_result)  # they end in any order

    for table in load_levels(clips, run):
        pd.testing.assert_frame_equal(table, first)
    assert n_tasks == [6], "three of either archive that is not known, in one call"
    new.with_name("new.zip.levels.parquet").unlink()
    clips = [ArchiveClips(new, "md5:1", lengths), ArchiveClips(bad, "md5:1", lengths | {MEMBERS[-1]: N + 1})]
    with pytest.raises(DataError, match=r"^bad\.zip"):
        load_levels(clips, runner("threads", 1))
    assert [path.with_name(f"{path.name}.levels.parquet").exists() for path in (new, bad)] == [True, False]


def test_a_bad_clip_is_named_and_nothing_is_cached(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("fan/train/short.wav", encode_wav(np.zeros(N - 1, np.int16)))
    with pytest.raises(DataError, match=r"^fan.zip: fan/train/short.wav: expected .* Likely cause: it is truncated"):
        load(archive, members=[*MEMBERS, "fan/train/short.wav"])
    assert [p.name for p in archive.parent.iterdir()] == ["fan.zip"]


def a_bank(path: Path, kind: str, values: np.ndarray) -> NoiseBank:
    file = path / f"{kind}.{values.dtype}"
    file.write_bytes(values.tobytes())
    return NoiseBank(kind, kind, file, values.shape[1], pd.DataFrame())


def test_cross_powers_are_means_of_products(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    factory = rng.integers(-30_000, 30_000, (3, N)).astype(np.int16)
    pump = rng.normal(0, 0.2, (2, N)).astype(np.float32)
    banks = {"A": a_bank(tmp_path, "A", factory), "W": a_bank(tmp_path, "W", pump)}
    drawn = [[("A", 2), ("W", 1)], [("A", 0)], [], [("A", 2), ("W", 1)], [("A", 1), ("W", 0)], [("W", 0), ("W", 0)]]
    found = cross_powers([[NoiseDraw(*layer) for layer in layers] for layers in drawn], banks)
    assert found.dtype == np.float64
    two, one = (float(np.mean(factory[i] / 32768 * pump[k].astype(np.float64))) for i, k in ((2, 1), (1, 0)))
    square = float(np.mean(pump[0].astype(np.float64) ** 2))
    np.testing.assert_allclose(found, [two, 0, 0, two, one, square], rtol=1e-12)


def test_cross_powers_read_noise_seldom_and_hold_few_clips_of_it() -> None:
    """A clip of ten seconds takes 1.3 MB: 64 at hand were a sixth of the memory of a plan."""
    rng, read, held = np.random.default_rng(0), list[int](), list[weakref.ref[Any]]()

    class Samples(np.ndarray):
        """Arrays whose copies can be counted while they are there."""

        def astype(self, *arguments: Any, **options: Any) -> Any:
            copied = super().astype(*arguments, **options)
            held.append(weakref.ref(copied))
            return copied

    class Bank:
        n_samples, samples = 8, rng.normal(size=(3 * BLOCK, 8)).astype(np.float32)

        def read(self, row: int) -> Any:
            read.append(row)
            most.append(sum(copied() is not None for copied in held))
            return self.samples[row].view(Samples)

    most: list[int] = []
    firsts, seconds = 2 * BLOCK, 3 * BLOCK
    pairs = [[NoiseDraw("A", i), NoiseDraw("B", k)] for i in range(firsts) for k in range(seconds)]
    rng.shuffle(pairs)
    banks: Any = {"A": Bank(), "B": Bank()}
    found = cross_powers([[NoiseDraw(*layer) for layer in layers] for layers in pairs], banks)
    assert len(read) == firsts + 2 * seconds and max(most) <= 2 * BLOCK
    wanted = np.einsum("is,ks->ik", *[Bank.samples.astype(np.float64)] * 2) / 8
    np.testing.assert_allclose(found, [wanted[i[1], k[1]] for i, k in pairs], rtol=1e-12, atol=1e-15)
