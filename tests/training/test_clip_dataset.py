"""Clips of a store as tensors: what is chosen, the same bytes whichever way, the same order whoever reads."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import torch
import zarr
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, Subset

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.store.store import Store, open_store
from mimiidg_build.training import clip_order, shard_readers
from mimiidg_build.training.clip_dataset import ClipDataset
from tests.plain_store import make_plain_store
from tests.small_store import (
    N_CLIPS,
    N_FRAMES,
    N_SAMPLES,
    SECTIONS,
    SHARD_CLIPS,
    make_store,
    record_files,
    write_array,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("root"), compressed=True)


@pytest.mark.parametrize(
    ("choice", "n_clips", "section_ids"),
    [
        ({}, 3 * N_CLIPS, SECTIONS),
        ({"machine_types": "fan"}, 2 * N_CLIPS, ("fan/00", "fan/01")),
        ({"machine_types": ["valve", "fan"], "sections": "00"}, 2 * N_CLIPS, ("fan/00", "valve/00")),
        ({"sections": ["fan/01"]}, N_CLIPS, ("fan/01",)),
        ({"split": "train"}, 3 * 9, SECTIONS),
        ({"split": "test", "conditions": "anomaly"}, 3 * 6, SECTIONS),
        ({"split": "test", "conditions": "normal", "domains": "target", "machine_types": "fan"}, 6, SECTIONS[:2]),
    ],
)
def test_what_is_chosen(store: Store, choice: dict[str, Any], n_clips: int, section_ids: tuple[str, ...]) -> None:
    clips = ClipDataset(store, **choice)
    assert len(clips) == n_clips
    assert tuple(map(str, clips.section_ids)) == section_ids
    every = clips[range(n_clips)]
    for number in range(n_clips):
        row = clips.clips.iloc[number]
        assert clips.section_ids[every["section"][number]] == (row["machine_type"], row["section"])
        assert every["is_target"][number] == (row["domain"] == "target")
        assert every["is_anomaly"][number] == (row["condition"] == "anomaly")
        stored = store.logmel(row["machine_type"], row["section"])[row["row"]]
        np.testing.assert_array_equal(every["features"][number], stored)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"machine_types": "pump"}, "no machine type 'pump'; it has fan, valve"),
        ({"sections": ["00", "02"]}, "no section '02'; it has 00, 01, fan/00"),
        ({"split": "dev"}, "no split 'dev'; it has test, train"),
        ({"domains": "goal"}, "no domain 'goal'"),
        ({"split": "train", "conditions": "anomaly"}, "no clip with split 'train', condition 'anomaly'"),
    ],
)
def test_what_is_not_there(store: Store, choice: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ClipDataset(store, **choice)


def test_few_files_are_open_however_many_shards_there_are(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapped shard keeps a descriptor, and a process has 1,024: a million clips have 15,000 shards."""
    monkeypatch.setattr(shard_readers, "OPEN_MAPS", 2)
    clips = ClipDataset(store, memory_budget_bytes=0)
    numbers = np.random.default_rng(0).permutation(len(clips))
    before = len(list(Path("/proc/self/fd").iterdir()))
    found = clips.read(numbers)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2
    assert torch.equal(found, ClipDataset(store).read(numbers))


@pytest.mark.parametrize("features", ["logmel", "audio"])
def test_three_ways_to_the_same_bytes(store: Store, compressed: Store, features: Any) -> None:
    held = ClipDataset(store, features=features)
    mapped = ClipDataset(store, features=features, memory_budget_bytes=0)
    zarred = ClipDataset(compressed, features=features, memory_budget_bytes=0)
    assert [clips.access for clips in (held, mapped, zarred)] == ["memory", "mapped", "zarr"]
    assert held.resident is not None and mapped.resident is None
    numbers = np.random.default_rng(0).permutation(len(held))[:40]
    expected = held.read(numbers)
    assert expected.dtype == {"logmel": torch.float32, "audio": torch.int16}[features]
    assert expected.shape[1:] == {"logmel": (N_FRAMES, 128), "audio": (N_SAMPLES,)}[features]
    assert expected.float().abs().min(dim=0).values.max() > 0
    assert torch.equal(mapped.read(numbers), expected)
    assert torch.equal(zarred.read(numbers), expected)


def test_budget_decides(store: Store) -> None:
    size = ClipDataset(store).size_bytes
    assert size == 3 * N_CLIPS * N_FRAMES * 128 * 4
    assert ClipDataset(store, memory_budget_bytes=size).access == "memory"
    assert ClipDataset(store, memory_budget_bytes=size - 1).access == "mapped"


def test_item_and_batch(store: Store) -> None:
    clips = ClipDataset(store, memory_budget_bytes=0)
    one, some = clips[5], clips[[5, 2, -1]]
    assert one["features"].shape == (N_FRAMES, 128) and one["clip"] == 5
    assert some["clip"].tolist() == [5, 2, len(clips) - 1]
    for name in ("features", "section", "is_target", "is_anomaly", "clip"):
        assert torch.equal(some[name][0], one[name]), name
    row = clips.clips.iloc[5]
    assert (one["name"], one["machine_type"]) == (row["clip"], row["machine_type"])
    assert one["attributes"] == row["attributes"]
    assert some["name"] == clips.clips["clip"].iloc[[5, 2, -1]].tolist() and some["machine_type"][2] == "valve"
    assert some["attributes"] == clips.clips["attributes"].iloc[[5, 2, -1]].tolist()
    with pytest.raises(IndexError, match=f"clip {len(clips)} of {len(clips)}"):
        clips[len(clips)]


INDICES = {
    "list": [3, 0, -1],
    "int32": np.array([3, 0, -1], np.int32),
    "uint8": np.array([3, 0], np.uint8),
    "tensor": torch.tensor([3, 0, -1]),
    "tensors": [torch.tensor(3), torch.tensor(0)],
    "range": range(2, 7, 2),
    "none": [],
    "slice": slice(2, 9, 3),
    "backward": slice(None, None, -5),
    "beyond": slice(30, 1000),
    "mask": np.arange(3 * N_CLIPS) % 7 == 5,
    "list of bool": [number in (3, 5) for number in range(3 * N_CLIPS)],
    "tensor of bool": torch.arange(3 * N_CLIPS) > 30,
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
@pytest.mark.parametrize("budget", [0, 2**30])
def test_indices_are_read_as_numpy_reads_them(store: Store, index: Any, budget: int) -> None:
    clips = ClipDataset(store, memory_budget_bytes=budget)
    as_numpy = index if isinstance(index, slice) or len(index) else np.zeros(0, int)  # numpy makes floats of []
    expected = np.arange(len(clips))[as_numpy].copy()
    batch = clips[index]
    assert batch["clip"].tolist() == expected.tolist()
    assert batch["name"] == clips.clips["clip"].iloc[expected].tolist()
    every = clips.read(slice(None))
    assert torch.equal(batch["features"], every[expected]) and torch.equal(clips.read(index), every[expected])


@pytest.mark.parametrize("one", [3, -1, np.int16(3), np.uint64(3), np.array(3), torch.tensor(-1)])
def test_one_clip_has_no_axis_of_clips(store: Store, one: Any) -> None:
    clips = ClipDataset(store)
    assert clips[one]["clip"].item() == int(one) % len(clips)
    assert torch.equal(clips.read(one), clips.read([int(one)])[0])


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (1.0, TypeError, "found float of float64"),
        (np.array([1.0, 2.0]), TypeError, "found numpy.ndarray of float64"),
        (torch.tensor([0.5]), TypeError, "found torch.Tensor of float32"),
        (np.zeros(0), TypeError, "found numpy.ndarray of float64"),
        (True, TypeError, "found bool of bool"),
        (None, TypeError, "found NoneType"),
        ("3", TypeError, "found str"),
        ((1, 2), TypeError, "found tuple"),
        ([[0], [1, 2]], TypeError, "found list"),
        ([[0, 1]], TypeError, r"found list of int64 with shape \(1, 2\)"),
        (slice(0.0, 3), TypeError, "slice indices must be integers"),
        ([True, False], IndexError, f"a mask of 2 booleans does not fit {3 * N_CLIPS} clips"),
        (np.ones(3 * N_CLIPS + 1, bool), IndexError, f"a mask of {3 * N_CLIPS + 1} booleans"),
        ([0, 3 * N_CLIPS], IndexError, f"clip {3 * N_CLIPS} of {3 * N_CLIPS}"),
        (-3 * N_CLIPS - 1, IndexError, f"clip -{3 * N_CLIPS + 1} of"),
        (np.array([2**64 - 1], np.uint64), IndexError, f"clip {2**64 - 1} of"),
    ],
)
def test_anything_else_is_refused(store: Store, index: Any, error: type[Exception], message: str) -> None:
    clips = ClipDataset(store)
    for ask in (clips.__getitem__, clips.read):
        with pytest.raises(error, match=message):
            ask(index)


def same(one: Any, other: Any) -> bool:
    """Whether two batches are alike: the same keys, types and values."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_plain_dataloader_gives_the_same_batches(store: Store, num_workers: int) -> None:
    clips = ClipDataset(store, memory_budget_bytes=0)
    batches = list(DataLoader(clips, batch_size=4, num_workers=num_workers))
    assert len(batches) == 16 and all(same(batch, clips[batch["clip"]]) for batch in batches)
    assert all(map(same, batches, clips.loader(4)))
    few = Subset(clips, [9, -2, 0])
    (batch,) = DataLoader(few, batch_size=3)
    assert same(batch, clips[[9, -2, 0]]) and few[0]["name"] == clips[9]["name"]


def test_a_plain_dataloader_reads_a_batch_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = ClipDataset(store, memory_budget_bytes=0)
    taken, take = [], clips._reader.take
    monkeypatch.setattr(clips._reader, "take", lambda *given: (taken.append(len(given[0])), take(*given)))
    for _ in DataLoader(clips, batch_size=16, shuffle=True):
        pass
    assert taken == [16, 16, 16, 15]


class Large(TorchDispatchMode):
    """Notes the functions of torch that copy features, for which it would start threads."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor) and found.numel() >= N_FRAMES * 128 and not func.is_view:
            self.seen.append(func.name())
        return found


@pytest.mark.parametrize("budget", [0, 2**30])
def test_a_plain_dataloader_starts_no_threads(store: Store, budget: int) -> None:
    clips = ClipDataset(store, memory_budget_bytes=budget)
    with Large() as large:
        batches = list(DataLoader(clips, batch_size=8))
        assert large.seen == []
        torch.stack([clips[0]["features"], clips[1]["features"]])
        assert large.seen == ["aten::stack"], "what it would have been"
    assert {type(batch["features"]) for batch in batches} == {torch.Tensor}


def test_items_stack_as_any_tensors_do(store: Store) -> None:
    clips = ClipDataset(store)
    parts = [item["features"] for item in clips.__getitems__([4, 1])]
    expected = clips.read([4, 1])
    for dim in (0, 1, -1):
        assert torch.equal(torch.stack(parts, dim), torch.stack(list(expected), dim))
    stacked = torch.stack(parts)
    stacked.zero_()
    assert torch.equal(parts[0] + 0, expected[0]) and type(parts[0] + 0) is torch.Tensor
    out = torch.empty_like(expected)
    assert torch.stack(parts, out=out) is out and torch.equal(out, expected)
    parts[0].requires_grad_()
    assert torch.stack(parts).requires_grad


def test_a_subset_of_a_mask_is_refused(store: Store) -> None:
    """A Subset takes numbers; booleans would be taken for 0 and 1."""
    clips = ClipDataset(store)
    few = Subset(clips, (np.arange(len(clips)) % 2 == 0).tolist())
    for ask in (lambda: few[0], lambda: next(iter(DataLoader(few, batch_size=len(few))))):
        with pytest.raises(TypeError, match="expected a clip's number"):
            ask()


def test_what_is_given_is_a_copy(store: Store) -> None:
    clips = ClipDataset(store)
    expected = clips.read(slice(None)).clone()
    for given in (clips[3], clips[[3, 4]], *clips.__getitems__([3, 4]), clips[2:5]):
        given["features"] += 1
    clips.read(3).zero_()
    assert torch.equal(clips.read(slice(None)), expected)


def test_held_clips_are_shuffled_in_chunks_that_fit(store: Store) -> None:
    """They may fit this machine's memory, and not a GPU's."""
    clips = ClipDataset(store)
    whole, chunks = clips.shuffled_chunks(1), clips.shuffled_chunks(1, 10 * clips.clip_bytes)
    assert clips.access == "memory" and len(whole) == 1
    assert [len(chunk) for chunk in chunks] == [10] * 6 + [3]
    assert np.concatenate(chunks).tolist() == whole[0].tolist()


def test_labels(store: Store) -> None:
    clips = ClipDataset(store, machine_types="fan", split="train")
    labels = clips.labels()
    assert labels.section.tolist() == [0] * 9 + [1] * 9
    assert labels.is_target.tolist() == ([False] * 6 + [True] * 3) * 2
    assert labels.training_row.tolist() == list(range(18))
    assert set(ClipDataset(store, split="test").labels().training_row.tolist()) == {-1}


def pass_over(clips: ClipDataset, num_workers: int, epoch: int, **options: Any) -> list[list[int]]:
    loader = clips.loader(5, shuffle=True, num_workers=num_workers, **options)
    loader.set_epoch(epoch)
    seen = []
    for batch in loader:
        assert torch.equal(batch["features"], clips.read(batch["clip"].numpy()))
        seen.append(batch["clip"].tolist())
    assert len(seen) == len(loader)
    return seen


@pytest.mark.parametrize("budget", [0, 2**30])
def test_order_is_the_seeds_alone(store: Store, budget: int) -> None:
    """Not the workers', nor that of earlier passes; every clip once; another one for another seed or epoch."""
    clips = ClipDataset(store, memory_budget_bytes=budget, seed=3)
    first = pass_over(clips, 0, epoch=0)
    numbers = [number for batch in first for number in batch]
    assert sorted(numbers) == list(range(len(clips))) != numbers
    assert pass_over(clips, 2, epoch=0) == first, "the number of workers changed the order"
    assert pass_over(clips, 0, epoch=1) != first
    assert pass_over(ClipDataset(store, memory_budget_bytes=budget, seed=4), 0, epoch=0) != first


# spawned, which imports torch anew, by default in tests/storage/test_object_storage.py
@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_however_they_start(store: Store, compressed: Store, context: str) -> None:
    """Maps and caches that were used before the workers start must not follow them."""
    for opened in (store, compressed) if context == "fork" else (store,):
        clips = ClipDataset(opened, memory_budget_bytes=0)
        expected = pass_over(clips, 0, epoch=0)
        options = {"multiprocessing_context": multiprocessing.get_context(context), "pin_memory": False}
        assert pass_over(clips, 1, epoch=0, **options) == expected


@pytest.mark.parametrize("compress", [False, True])
def test_pickles_without_what_it_read(store: Store, compressed: Store, compress: bool) -> None:
    clips = ClipDataset(compressed if compress else store, memory_budget_bytes=0)
    before = len(pickle.dumps(clips))
    expected = clips.read(range(len(clips)))
    assert len(pickle.dumps(clips)) == before < clips.size_bytes
    assert torch.equal(pickle.loads(pickle.dumps(clips)).read(range(len(clips))), expected)


def test_streaming_reads_shard_after_shard(compressed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shuffled pass decodes every shard once, and only mixes clips of shards that are read together."""
    clips = ClipDataset(compressed, memory_budget_bytes=0)
    chunk_bytes = 2 * SHARD_CLIPS * clips.clip_bytes
    chunks = clips.shuffled_chunks(0, chunk_bytes)
    assert sorted(np.concatenate(chunks).tolist()) == list(range(len(clips)))
    assert max(len(chunk) for chunk in chunks) <= 2 * SHARD_CLIPS
    reads, original = [], zarr.Array.__getitem__

    def counted(self: Any, key: Any) -> Any:
        reads.append((str(self.store_path), str(key)))
        return original(self, key)

    monkeypatch.setattr(zarr.Array, "__getitem__", counted)
    for chunk in chunks:
        clips.read(chunk)
    n_shards = 3 * -(-N_CLIPS // SHARD_CLIPS)
    assert len(reads) == len(set(reads)) == n_shards


def test_shardwise_keeps_shards_whole() -> None:
    shard = np.repeat(np.arange(10), 3)
    chunks = clip_order.shardwise(shard, 7, seed=1, epoch=2)
    shards = [set(shard[chunk].tolist()) for chunk in chunks]
    assert [len(held) for held in shards] == [2] * 5
    assert sorted(n for held in shards for n in held) == list(range(10))
    assert any(shard[chunk].tolist() != sorted(shard[chunk].tolist()) for chunk in chunks)


def damage_index(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-10] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def shorten_data(file: Path) -> None:
    content = file.read_bytes()
    index = 16 * SHARD_CLIPS + 4
    file.write_bytes(content[:-index][:1000] + content[-index:])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_index, "the index at its end is damaged"),
        (cut, "the index at its end is damaged"),
        (shorten_data, "names chunks that it does not hold"),
        (Path.unlink, "missing"),
        (lambda file: file.write_bytes(b""), "cannot be read"),
    ],
)
def test_damaged_shards_are_named(store: Store, tmp_path: Path, damage: Any, message: str) -> None:
    """Also where the digest does not tell: a shard that was recorded as it is must still be one."""
    shutil.copytree(store.path, tmp_path / "small.zarr")
    damage(file := tmp_path / "small.zarr/fan/section_00/logmel/c/1/0/0")
    if file.exists():
        record_files(tmp_path / "small.zarr")
    clips = ClipDataset(open_store(tmp_path / "small.zarr"), memory_budget_bytes=0)
    clips.read([0])
    with pytest.raises(DataError, match=rf"logmel/c/1/0/0.* {message}|logmel/c/1/0/0: {message}"):
        clips.read([SHARD_CLIPS])


def test_chunks_in_another_order_are_still_mapped(store: Store, tmp_path: Path) -> None:
    """zarr itself may write a shard's chunks in any order; the index tells."""
    shutil.copytree(store.path, tmp_path / "small.zarr")
    file = tmp_path / "small.zarr/fan/section_00/logmel/c/0/0/0"
    content, size = file.read_bytes(), N_FRAMES * 128 * 4
    parts = [content[k * size : (k + 1) * size] for k in range(SHARD_CLIPS)]
    index = np.array([[(SHARD_CLIPS - 1 - k) * size, size] for k in range(SHARD_CLIPS)], "<u8").tobytes()
    file.write_bytes(b"".join(parts[::-1]) + index + struct.pack("<I", google_crc32c.value(index)))
    record_files(tmp_path / "small.zarr")
    again = open_store(tmp_path / "small.zarr")
    np.testing.assert_array_equal(again.logmel("fan", "00")[:], store.logmel("fan", "00")[:])
    clips = ClipDataset(again, memory_budget_bytes=0)
    assert clips.access == "mapped"
    assert torch.equal(clips.read(range(8)), ClipDataset(store).read(range(8)))


def test_sections_of_different_lengths_are_refused(tmp_path: Path) -> None:
    small = make_store(tmp_path)
    group = zarr.open_group(small.path, mode="a")
    del group["fan/section_01/logmel"]
    write_array(small.path, group, "fan/section_01/logmel", np.zeros((N_CLIPS, 10, 128), np.float32), False)
    with pytest.raises(UsageError, match="different shapes"):
        ClipDataset(small)


def test_training_pool_adds_outliers_and_known_anomalies(store: Store) -> None:
    anomalies = store.clips[(store.clips["split"] == "test") & (store.clips["condition"] == "anomaly")]
    known = anomalies[anomalies["section"] == "01"].iloc[[2, 0]]
    pool = ClipDataset.training_pool(store, machine_types="fan", sections="01", outliers=True, known_anomalies=known)
    labels = pool.labels()
    assert pool.split == "train" and pool.section_ids == (("fan", "01"),)
    assert labels.section.tolist() == [0] * 9 + [-1] * 18 + [0] * 2
    assert labels.known_anomaly.tolist() == [False] * 27 + [True] * 2
    assert labels.is_normal.tolist() == [True] * 9 + [False] * 20
    assert set(pool.clips["split"][:27]) == {"train"} and pool.clips["clip"][27:].tolist() == known["clip"].tolist()
    every = {f"{machine_type}/00" for machine_type in ("fan", "valve")}
    assert set(pool.clips["machine_type"][9:27] + "/" + pool.clips["section"][9:27]) == every
    for number in (0, 12, 20, 28):  # of this section, of others, of the anomalies
        row = pool.clips.iloc[number]
        expected = store.logmel(row["machine_type"], row["section"])[row["row"]]
        np.testing.assert_array_equal(pool.read([number])[0].numpy(), expected)


def test_clips_to_test_do_not_tell_their_condition(store: Store) -> None:
    test = ClipDataset(store, split="test")
    assert test.clips["condition"].eq("anomaly").any()
    assert not test.labels().known_anomaly.any()


def test_without_some_clips(store: Store) -> None:
    test = ClipDataset(store, machine_types="fan", split="test")
    left_out = test.clips.iloc[[0, 13]]
    rest = ClipDataset(store, machine_types="fan", split="test", without=left_out)
    assert len(rest) == len(test) - 2
    left = test.clips.drop(index=[0, 13]).reset_index(drop=True)
    assert rest.clips.equals(left), "the same row number in another section stays"


@pytest.mark.parametrize("budget", [10**9, 0])
@pytest.mark.parametrize(("features", "lengths"), [("logmel", (32, 63)), ("audio", (16_000, 32_000))])
def test_sections_of_different_lengths_are_brought_to_one(
    tmp_path: Path, features: Any, lengths: tuple[int, int], budget: int
) -> None:
    """Longer clips are cut to their beginning, shorter ones repeated from it; the store's order stays."""
    plain = make_plain_store(tmp_path, {"ToyCar/id_01": 2.0, "fan/id_00": 1.0, "fan/id_02": 2.0})
    with pytest.raises(UsageError, match="different shapes"):
        ClipDataset(plain, features=features)
    stored = {name: getattr(plain, features)(*name.split("/"))[:] for name in plain.sections}
    for length in (lengths[0], lengths[1], lengths[1] + 5):
        clips = ClipDataset(plain, features=features, length=length, memory_budget_bytes=budget)
        assert clips.access == ("memory" if budget else "mapped") and clips.n_frames == length
        again = pickle.loads(pickle.dumps(clips))
        order = np.random.default_rng(0).permutation(len(clips))
        read = again.read(order).numpy()
        for clip, number in zip(read, order, strict=True):
            row = clips.clips.iloc[number]
            own = stored[f"{row['machine_type']}/{row['section']}"][row["row"]]
            np.testing.assert_array_equal(clip, own[np.arange(length) % len(own)])


def test_sections_are_numbered_as_elsewhere(store: Store) -> None:
    """Test clips of some sections, with the numbers that a training gives them."""
    training = ClipDataset(store, machine_types="fan", split="train")
    test = ClipDataset(store, sections="fan/01", split="test", numbered=training.section_ids)
    assert set(test.labels().section.tolist()) == {1} and test.section_ids == training.section_ids


def test_labels_know_clips_without_a_domain(store: Store, tmp_path: Path) -> None:
    assert ClipDataset(store).labels().has_domain.all()
    labels = ClipDataset(make_plain_store(tmp_path, {"fan/id_00": 0.5})).labels()
    assert not labels.has_domain.any() and not labels.is_target.any()
