"""Shards: byte for byte what zarr writes, one writer each, whole or not there."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import zarr
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from mimiidg_build.errors import DataError
from mimiidg_build.storage import disk
from mimiidg_build.storage.files import hash_object, write_file, write_object
from mimiidg_build.store.shards import check_alignment, open_shard, shard_index, write_shard


def values(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Anything but zero: zarr itself leaves out chunks that hold the fill value alone."""
    return (np.random.default_rng(0).integers(1, 999, shape) / (1 if dtype == "int16" else 7)).astype(dtype)


def create(path: Path, data: np.ndarray, per_shard: int) -> zarr.Array:
    return zarr.create_group(path).create_array(
        "fan/section_00/x",
        shape=data.shape,
        dtype=data.dtype,
        chunks=(1, *data.shape[1:]),
        shards=(per_shard, *data.shape[1:]),
        compressors=None,
        filters=None,
        fill_value=0,
    )


def objects(path: Path) -> dict[str, bytes]:
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("dtype", "inner"), [("int16", (50,)), ("float32", (5, 8)), ("float16", (5, 8))], ids=["audio", "logmel", "half"]
)
@pytest.mark.parametrize(
    ("n_clips", "per_shard", "why"),
    [
        (8, 4, "whole shards only"),
        (10, 4, "a last shard that is not full"),
        (1, 64, "one clip, one shard"),
        (7, 3, "a shard whose size is no power of two"),
        (130, 64, "the store's own shards"),
        (5, 1, "a shard a clip"),
    ],
)
def test_bytes_are_those_that_zarr_writes(
    tmp_path: Path, dtype: str, inner: tuple[int, ...], n_clips: int, per_shard: int, why: str
) -> None:
    data = values((n_clips, *inner), dtype)
    create(tmp_path / "zarr", data, per_shard)[:] = data
    create(tmp_path / "ours", data, per_shard)
    written = [
        write_shard(tmp_path / "ours", "fan/section_00/x", data[start : start + per_shard], start, n_clips, per_shard)
        for start in range(0, n_clips, per_shard)
    ]
    assert objects(tmp_path / "ours") == objects(tmp_path / "zarr"), why
    for found in written:
        content = (tmp_path / "ours" / found.path).read_bytes()
        assert (found.size_bytes, found.blake3) == (len(content), blake3(content).hexdigest())
        assert hash_object(tmp_path / "ours", found.path) == found
    np.testing.assert_array_equal(zarr.open_group(tmp_path / "ours", mode="r")["fan/section_00/x"][:], data)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 16), st.randoms(use_true_random=False))
def test_any_order_of_writing_reads_back(
    tmp_path_factory: pytest.TempPathFactory, n_clips: int, per_shard: int, random: object
) -> None:
    path = tmp_path_factory.mktemp("store")
    data = values((n_clips, 6), "int16") * (np.arange(n_clips)[:, None] % 3 > 0)  # a third of the clips is silent
    data = data.astype(np.int16)
    create(path, data, per_shard)
    starts = list(range(0, n_clips, per_shard))
    random.shuffle(starts)  # type: ignore[attr-defined]
    for start in starts:
        write_shard(path, "fan/section_00/x", data[start : start + per_shard], start, n_clips, per_shard)
    np.testing.assert_array_equal(zarr.open_group(path, mode="r")["fan/section_00/x"][:], data)


def test_rows_that_are_not_contiguous_are_written_in_their_order(tmp_path: Path) -> None:
    data = values((8, 6, 4), "float32")[:, ::2, ::-1]
    written = write_shard(tmp_path, "x", data, 0, 8, 8)
    assert (tmp_path / written.path).read_bytes()[: data.nbytes] == np.ascontiguousarray(data).tobytes()


def test_a_shard_gets_its_room_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all of it, the index included: a third less time to write it, and a full disk is found before the work."""
    reserved: list[int] = []
    monkeypatch.setattr(disk, "reserve", lambda descriptor, offset, n_bytes: reserved.append(n_bytes))
    written = write_shard(tmp_path, "x", values((3, 5), "int16"), 4, 7, 4)
    assert reserved == [written.size_bytes]


def test_a_shard_without_a_store_tells_what_would_have_been_written(tmp_path: Path) -> None:
    data = values((3, 5), "int16")
    with open_shard(None, "x", 4, 3, 7, 4, data.ndim) as shard:
        for row in data:
            shard.append(row)
    assert shard.object == write_shard(tmp_path, "x", data, 4, 7, 4)


@pytest.mark.parametrize("n_appended", [3, 5])
def test_a_shard_of_another_number_of_rows_is_refused(tmp_path: Path, n_appended: int) -> None:
    with (
        pytest.raises(ValueError, match=f"x/c/0/0: {n_appended} rows were appended, expected 4"),
        open_shard(tmp_path, "x", 0, 4, 4, 4, 2) as shard,
    ):
        for _ in range(n_appended):
            shard.append(np.ones(5, np.int16))
    assert objects(tmp_path) == {}


@pytest.mark.parametrize("error", [FileNotFoundError("no noise"), KeyboardInterrupt("stop"), ValueError("bad clip")])
def test_what_fails_while_a_shard_is_made_is_raised_as_it_is(tmp_path: Path, error: BaseException) -> None:
    # a file that cannot be read must not be reported as a shard that cannot be written
    with pytest.raises(type(error), match=str(error)) as caught, open_shard(tmp_path, "x", 0, 4, 4, 4, 2) as shard:
        shard.append(np.ones(5, np.int16))
        raise error
    assert caught.value is error
    assert objects(tmp_path) == {}


def test_the_index_is_zarrs_for_missing_chunks() -> None:
    index = np.frombuffer(shard_index(2, 100, 3)[:-4], "<u8").reshape(3, 2)
    assert index.tolist() == [[0, 100], [100, 100], [2**64 - 1, 2**64 - 1]]


@pytest.mark.parametrize(
    ("start", "n_rows", "n_clips", "fits", "why"),
    [
        (0, 64, 1000, True, "the first shard"),
        (64, 64, 1000, True, "the second"),
        (960, 40, 1000, True, "the last, which is not full"),
        (0, 3, 3, True, "the only one, which is not full"),
        (64, 64, 128, True, "the last, which is full"),
        (32, 64, 1000, False, "two shards' halves"),
        (0, 128, 1000, False, "two shards at once"),
        (0, 63, 1000, False, "a part of a shard: another writer has the rest"),
        (960, 39, 1000, False, "a part of the last shard"),
        (936, 64, 1000, False, "the last 64 rows, across a border"),
        (960, 64, 1000, False, "beyond the end"),
        (1024, 0, 1000, False, "nothing, beyond the end"),
        (0, 0, 1000, False, "nothing"),
        (-64, 64, 1000, False, "before the start"),
    ],
)
def test_only_whole_shards_are_written(
    tmp_path: Path, start: int, n_rows: int, n_clips: int, fits: bool, why: str
) -> None:
    block = np.ones((n_rows, 3), np.int16)
    if fits:
        check_alignment(start, n_rows, n_clips, 64)
        assert write_shard(tmp_path, "x", block, start, n_clips, 64).path == f"x/c/{start // 64}/0", why
    else:
        message = f"rows {start}-{start + n_rows - 1} of {n_clips} are not one shard of 64 clips; writers that share"
        with pytest.raises(ValueError, match=message):
            check_alignment(start, n_rows, n_clips, 64)
        with pytest.raises(ValueError, match=message):
            write_shard(tmp_path, "x", block, start, n_clips, 64)
        assert objects(tmp_path) == {}, why


@given(st.integers(-2, 9), st.integers(-1, 1), st.integers(-1, 17), st.integers(1, 60), st.integers(1, 16))
def test_the_guard_lets_through_exactly_the_shards(
    shard: int, beside: int, n_rows: int, n_clips: int, per_shard: int
) -> None:
    start = shard * per_shard + beside
    shards = {(first, min(per_shard, n_clips - first)) for first in range(0, n_clips, per_shard)}
    try:
        check_alignment(start, n_rows, n_clips, per_shard)
    except ValueError:
        assert (start, n_rows) not in shards
    else:
        assert (start, n_rows) in shards


def test_an_object_is_described_by_what_was_meant_to_be_written(tmp_path: Path) -> None:
    written = write_object(tmp_path, "tables/clips.parquet", b"content")
    assert (written.path, written.size_bytes, written.blake3) == (
        "tables/clips.parquet",
        7,
        blake3(b"content").hexdigest(),
    )
    assert hash_object(tmp_path, written.path) == written
    (tmp_path / written.path).write_bytes(b"c0ntent")
    assert hash_object(tmp_path, written.path).blake3 != written.blake3


@contextmanager
def files_no_larger_than(n_bytes: int) -> Iterator[None]:
    """The kernel refuses to write more, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    old = write_object(tmp_path, "x/c/0/0", b"old")
    with files_no_larger_than(50_000), pytest.raises(DataError, match=r"x/c/0/0 cannot be written: File too large\."):
        write_shard(tmp_path, "x", np.ones((4, 50_000), np.int16), 0, 4, 4)
    assert objects(tmp_path) == {"x/c/0/0": b"old"}
    assert hash_object(tmp_path, "x/c/0/0") == old
    write_shard(tmp_path, "x", np.ones((4, 50_000), np.int16), 0, 4, 4)
    assert list(objects(tmp_path)) == ["x/c/0/0"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"a file where a folder should be")
    with pytest.raises(
        DataError, match=r"x/c/0 cannot be written: .*free some space or correct the permissions, then run the same"
    ):
        write_file(tmp_path / "x" / "c" / "0", [b"content"])
    assert objects(tmp_path) == {"x": b"a file where a folder should be"}


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "file"

    def parts() -> Iterator[bytes]:
        yield b"first"
        assert not target.exists()
        yield b"second"

    write_file(target, parts())  # type: ignore[arg-type]
    assert target.read_bytes() == b"firstsecond"
    assert list(objects(tmp_path)) == ["file"]
