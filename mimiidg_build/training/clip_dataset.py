"""Clips of a finished store as torch tensors: for training, scoring, and anybody's ``DataLoader``.

Conventions
-----------
Log-mel is (clip, frame, mel) in dB, float32 or float16 as stored; audio is (clip, sample), int16, full scale 32768.
Clips stand in the store's order: machine type, section, split, domain, condition, index. Clip ``i`` of a dataset is row
``i`` of its ``clips``.

Where the clips fit a stated budget they are read once and held in memory. Otherwise batches come from memory-mapped
shards, or through zarr where a shard cannot be mapped; the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mimiidg_build.errors import UsageError
from mimiidg_build.models.base import Labels
from mimiidg_build.storage.places import is_local
from mimiidg_build.store.store import Store, section_path
from mimiidg_build.training import order
from mimiidg_build.training.reading import ArrayLayout, MappedReader, Reader, Shard, ZarrReader, array_layout

MEMORY_BUDGET_BYTES = 4 * 2**30  # the log-mels of all 18,000 clips of MIMII DG are 2.9 GB
CHUNK_BYTES = 256 * 2**20  # clips read at a time where they do not fit

Access = Literal["memory", "mapped", "zarr"]
Batch = dict[str, Tensor]
Numbers = npt.NDArray[np.int64]


class ClipDataset(Dataset[Batch]):
    """A choice of a store's clips.

    An item is ``{"features", "section", "is_target", "is_anomaly", "clip"}``; indexed with a sequence of numbers, the
    same with a leading axis, read at once. ``section`` counts the chosen sections 0, 1, 2, ...; ``clip`` is the number
    asked for.

    Parameters
    ----------
    store : Store
    machine_types : str or iterable of str, optional
        All by default; so are the others.
    sections : iterable of str, optional
        Section numbers (``"00"``) or names (``"fan/00"``).
    split : {"train", "test"}, optional
    domains, conditions : str or iterable of str, optional
    without : pd.DataFrame, optional
        Rows of the store's clip table that are left out.
    features : {"logmel", "audio"}
    memory_budget_bytes : int
        Clips are held in memory if they take no more than this.
    seed : int
        Decides every order in which clips are read.

    Attributes
    ----------
    clips : pd.DataFrame
        The chosen clips' rows of the store's clip table.
    section_ids : tuple of str
        The sections that ``section`` counts: ``("fan/00", ...)``.
    access : {"memory", "mapped", "zarr"}
        How clips are read.

    Raises
    ------
    UsageError
        A name that the store does not know, or no clip at all.
    """

    clips: pd.DataFrame
    section_ids: tuple[str, ...]

    def __init__(
        self,
        store: Store,
        *,
        machine_types: str | Iterable[str] | None = None,
        sections: str | Iterable[str] | None = None,
        split: str | None = None,
        domains: str | Iterable[str] | None = None,
        conditions: str | Iterable[str] | None = None,
        without: pd.DataFrame | None = None,
        features: Literal["logmel", "audio"] = "logmel",
        memory_budget_bytes: int = MEMORY_BUDGET_BYTES,
        seed: int = 0,
    ) -> None:
        chosen = {"machine_type": machine_types, "split": split, "domain": domains, "condition": conditions}
        clips = choose(store, sections, **chosen)
        if without is not None:
            clips = clips[~_keys(clips).isin(_keys(without))].reset_index(drop=True)
        self._open(store, clips, clips, split, features, memory_budget_bytes, seed)

    def _open(
        self,
        store: Store,
        clips: pd.DataFrame,
        own: pd.DataFrame,
        split: str | None,
        features: str,
        memory_budget_bytes: int,
        seed: int,
    ) -> None:
        """Take clips of a store; ``own`` are those whose sections are counted."""
        self.clips, self.split, self.seed = clips, split, seed
        self._hold = store.hold  # `mimiidg prune` leaves the store where it is while its clips are read
        ids = clips["machine_type"] + "/" + clips["section"]
        self.section_ids = tuple(dict.fromkeys(own["machine_type"] + "/" + own["section"]))
        counted = {name: n for n, name in enumerate(self.section_ids)}
        self._section: Numbers = np.array([counted.get(name, -1) for name in ids], np.int64)
        names = list(dict.fromkeys(ids))
        self._reader, layouts = open_reader([store.path / section_path(*name.split("/")) / features for name in names])
        self._layout = layouts[0]
        array = np.array(ids.map({name: n for n, name in enumerate(names)}), np.int64)
        self._origin: Numbers = array
        first_shard = np.cumsum([0, *(len(layout.shards()) for layout in layouts[:-1])])
        shard, self._row = np.divmod(
            clips["row"].to_numpy(np.int64), np.array([layout.shard_rows for layout in layouts])[array]
        )
        self._shard: Numbers = shard + first_shard[array]
        self._is_target = torch.tensor((clips["domain"] == "target").tolist())
        self._is_anomaly = torch.tensor((clips["condition"] == "anomaly").tolist())
        self._resident: Tensor | None = None
        self.access: Access = "mapped" if isinstance(self._reader, MappedReader) else "zarr"
        if self.size_bytes <= memory_budget_bytes:
            self._resident = self.read(np.arange(len(self)))
            self.access = "memory"

    @classmethod
    def training_pool(
        cls,
        store: Store,
        *,
        machine_types: str | Iterable[str] | None = None,
        sections: str | Iterable[str] | None = None,
        outliers: bool = False,
        known_anomalies: pd.DataFrame | None = None,
        features: Literal["logmel", "audio"] = "logmel",
        memory_budget_bytes: int = MEMORY_BUDGET_BYTES,
        seed: int = 0,
    ) -> ClipDataset:
        """What a model is trained on: the training clips of the chosen sections, and more on demand.

        Parameters
        ----------
        outliers : bool
            The training clips of all other sections as well; their section is -1.
        known_anomalies : pd.DataFrame, optional
            Rows of the store's clip table: the only test clips that a training sees.

        The other parameters are those of ``ClipDataset``.
        """
        own = choose(store, sections, machine_type=machine_types, split="train")
        parts = [own]
        if outliers:
            every = choose(store, None, split="train")
            ids = every["machine_type"] + "/" + every["section"]
            parts.append(every[~ids.isin(set(own["machine_type"] + "/" + own["section"]))])
        if known_anomalies is not None:
            parts.append(known_anomalies)
        pool = cls.__new__(cls)
        pool._open(store, pd.concat(parts, ignore_index=True), own, "train", features, memory_budget_bytes, seed)
        return pool

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def clip_bytes(self) -> int:
        """Bytes of a clip's features."""
        return self._layout.row_bytes

    @property
    def size_bytes(self) -> int:
        """Bytes of all clips' features."""
        return self.clip_bytes * len(self)

    @property
    def resident(self) -> Tensor | None:
        """All features [shape=(n_clips, ...)], where they are held in memory."""
        return self._resident

    @property
    def n_frames(self) -> int:
        """Frames of a clip's log-mel, or samples of its audio."""
        return self._layout.shape[1]

    def read(self, numbers: Sequence[int] | Numbers) -> Tensor:
        """Features of some clips: Tensor [shape=(n, ...)], a copy."""
        chosen = np.asarray(numbers, dtype=np.int64)
        if self._resident is not None:
            return self._resident.index_select(0, torch.from_numpy(chosen))
        out = np.empty((len(chosen), *self._layout.shape[1:]), self._layout.dtype)
        self._reader.take(self._shard[chosen], self._row[chosen], out)
        return torch.from_numpy(out)

    def __getitem__(self, index: int | Sequence[int] | Numbers) -> Batch:
        is_one = isinstance(index, int | np.integer)
        numbers = np.atleast_1d(np.asarray(index, dtype=np.int64))
        if ((numbers < -len(self)) | (numbers >= len(self))).any():
            raise IndexError(f"clip {index} of {len(self)}")
        numbers = numbers % len(self)
        rows = torch.from_numpy(numbers)
        batch = {
            "features": self.read(numbers),
            "section": torch.from_numpy(self._section)[rows],
            "is_target": self._is_target[rows],
            "is_anomaly": self._is_anomaly[rows],
            "clip": rows,
        }
        return {name: values[0] for name, values in batch.items()} if is_one else batch

    def labels(self) -> Labels:
        """All clips' labels, as models take them; of clips that are not trained on, without their condition."""
        training = self.split == "train"
        known = self._is_anomaly.tolist() if training else None
        return Labels.of(self._section.tolist(), self._is_target.tolist(), training, known, self._origin.tolist())

    def chunks(self, chunk_bytes: int = CHUNK_BYTES) -> list[Numbers]:
        """Clip numbers in order, as many at a time as fit."""
        return order.in_order(len(self), chunk_bytes // self.clip_bytes)

    def shuffled_chunks(self, epoch: int, chunk_bytes: int = CHUNK_BYTES) -> list[Numbers]:
        """Clip numbers in an epoch's random order, as many at a time as fit; shard-wise where not held in memory."""
        if self._resident is not None:
            return [order.shuffled(len(self), self.seed, epoch)]
        return order.shardwise(self._shard, chunk_bytes // self.clip_bytes, self.seed, epoch)

    def loader(self, batch_size: int, *, shuffle: bool = False, num_workers: int = 0, **options: Any) -> ClipLoader:
        """A ``DataLoader`` of whole batches; its order depends on the seed and the epoch, not on its workers.

        Further options are ``DataLoader``'s own.
        """
        return ClipLoader(self, batch_size, shuffle, num_workers=num_workers, **options)


class ClipLoader(DataLoader[Batch]):
    """Batches of clips, each read at once. ``set_epoch`` chooses the order of the next pass."""

    def __init__(self, dataset: ClipDataset, batch_size: int, shuffle: bool, **options: Any) -> None:
        self.order = _Batches(dataset, batch_size, shuffle)
        # Without a batch size of its own, a DataLoader asks the dataset for whatever its sampler yields: whole batches.
        options = {"pin_memory": torch.cuda.is_available()} | options
        super().__init__(dataset, batch_size=None, sampler=self.order, **options)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass."""
        self.order.epoch = epoch


class _Batches(Sampler[Numbers]):
    """Batches of clip numbers. It runs in the process that iterates, so workers cannot change the order."""

    def __init__(self, dataset: ClipDataset, batch_size: int, shuffle: bool) -> None:
        self.dataset, self.batch_size, self.shuffle, self.epoch = dataset, batch_size, shuffle, 0

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[Numbers]:
        dataset = self.dataset
        chunks = dataset.shuffled_chunks(self.epoch) if self.shuffle else dataset.chunks()
        return order.batches(chunks, self.batch_size)


def open_reader(paths: Sequence[Any]) -> tuple[Reader, list[ArrayLayout]]:
    """One reader over the shards of several arrays: mapped where all of them can be, and lie on this machine."""
    layouts = [array_layout(path) for path in paths]
    kinds = {(layout.shape[1:], layout.dtype) for layout in layouts}
    if len(kinds) > 1:
        raise UsageError(f"sections of different shapes or types cannot be one dataset: {sorted(map(str, kinds))}")
    shards: list[Shard] = [shard for layout in layouts for shard in layout.shards()]
    can_map = all(layout.is_plain and is_local(layout.path) for layout in layouts)
    if can_map and len({layout.shard_rows for layout in layouts}) == 1:
        return MappedReader(layouts[0], shards), layouts
    return ZarrReader(shards), layouts


def choose(store: Store, sections: str | Iterable[str] | None, **chosen: str | Iterable[str] | None) -> pd.DataFrame:
    """Rows of the clip table by section and by the values of columns.

    Raises
    ------
    UsageError
        A value that the store does not have, or no clip at all.
    """
    clips = store.clips
    wanted = pd.Series(True, index=clips.index)
    for column, values in chosen.items():
        if values is not None:
            names = _named(values, set(clips[column]), column.replace("_", " "), store)
            wanted &= clips[column].isin(names)
    if sections is not None:
        ids = clips["machine_type"] + "/" + clips["section"]
        names = _named(sections, set(clips["section"]) | set(ids), "section", store)
        wanted &= clips["section"].isin(names) | ids.isin(names)
    if not wanted.any():
        asked = {"sections": sections, **chosen}
        words = ", ".join(f"{key} {value!r}" for key, value in asked.items() if value is not None)
        raise UsageError(f"{store.path} has no clip with {words}")
    return clips[wanted].sort_values(["machine_type", "section", "row"], ignore_index=True)


def _keys(clips: pd.DataFrame) -> pd.Index[Any]:
    """What tells clips of a store apart."""
    return pd.MultiIndex.from_frame(clips[["machine_type", "section", "row"]])


def _named(values: str | Iterable[str], known: set[str], what: str, store: Store) -> list[str]:
    names = [values] if isinstance(values, str) else list(values)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"{store.path} has no {what} {unknown[0]!r}; it has {', '.join(sorted(known))}")
    return names
