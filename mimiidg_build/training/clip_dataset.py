"""Clips of a finished store as torch tensors: for training, scoring, and a ``DataLoader`` of your own.

Conventions
-----------
Log-mel is (clip, frame, mel) in dB, float32 or float16 as stored; audio is (clip, sample), int16, full scale 32768.
Clips are in the store's order: machine type, section, split, domain, condition, index. Clip ``i`` of a dataset is row
``i`` of its ``clips``.

Where the clips fit a given budget they are read once and held in memory. Otherwise batches come from memory-mapped
shards, or through zarr where a shard cannot be mapped; the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mimiidg_build.errors import counted
from mimiidg_build.models.base import Labels
from mimiidg_build.schemas.sections import SectionId, rows_by_section, section_names
from mimiidg_build.store.store import Store
from mimiidg_build.training import clip_order
from mimiidg_build.training.clip_choice import choose, leave_out, training_classes
from mimiidg_build.training.clip_length import FittedReader, open_fitted, time_axis
from mimiidg_build.training.clip_loader import Batch, ClipLoader
from mimiidg_build.training.clip_numbers import Index, Numbers, clip_numbers
from mimiidg_build.training.shard_readers import ArrayLayout, MappedReader, Reader, open_reader
from mimiidg_build.training.stacked_here import StackedHere

MEMORY_BUDGET_BYTES = 4 * 2**30  # the log-mels of all 18,000 clips of MIMII DG are 2.9 GB
CHUNK_BYTES = 256 * 2**20  # clips read at a time where they do not fit

Access = Literal["memory", "mapped", "zarr"]
Features = Literal["logmel", "stft", "audio"]
Sections = SectionId | str | Iterable[SectionId | str] | None


class ClipDataset(Dataset[Batch]):
    """A choice of a store's clips.

    An item is a dict:

    - ``features``, a tensor as stored;
    - ``section``, ``is_target``, ``is_anomaly`` and ``clip``, tensors without axes. ``section`` counts the chosen
      sections 0, 1, 2, ...; ``clip`` is the number asked for, the clip's row in ``clips``;
    - ``name`` and ``machine_type``, text;
    - ``attributes``, the clip table's JSON text of an object, ``{}`` where a clip has none.

    A batch is the same dict with a leading axis to every tensor, and a list of texts for every text. That is what
    ``torch.utils.data.default_collate`` makes of items, and what indexing gives that means several clips: a slice, a
    list or array of numbers, or one boolean for every clip, as numpy reads them. Their features are read at once.

    Parameters
    ----------
    store : Store
    machine_types : str or iterable of str, optional
        All by default; so are the others.
    sections : SectionId, str or iterable of them, optional
        Section numbers (``"00"``) or sections (``"fan/00"``).
    split : {"train", "test"}, optional
    domains : {"source", "target"} or iterable of them, optional
    conditions : {"normal", "anomaly"} or iterable of them, optional
    without : pd.DataFrame, optional
        Rows of the store's clip table that are left out.
    numbered : sequence of SectionId, optional
        The sections that ``section`` counts, in this order, where they are not the chosen ones; -1: none of them.
    length : int, optional
        Frames, or samples, of a clip: longer clips are cut to their beginning, shorter ones repeated from it. By
        default clips are as long as they are, and must be of one length.
    features : {"logmel", "stft", "audio"}
    memory_budget_bytes : int
        Clips are held in memory if they take no more than this.
    seed : int, 0 or larger
        Decides every order in which clips are read.

    Attributes
    ----------
    clips : pd.DataFrame
        The chosen clips' rows of the store's clip table.
    section_ids : tuple of SectionId
        The sections that ``section`` counts.
    access : {"memory", "mapped", "zarr"}
        How clips are read.

    Raises
    ------
    UsageError
        A name or array that the store does not have, no clip at all, or sections whose clips differ in shape.
    DataError
        A shard or an array's metadata cannot be read.
    """

    clips: pd.DataFrame
    section_ids: tuple[SectionId, ...]
    access: Access
    _reader: Reader
    _layout: ArrayLayout

    def __init__(
        self,
        store: Store,
        *,
        machine_types: str | Iterable[str] | None = None,
        sections: Sections = None,
        split: str | None = None,
        domains: str | Iterable[str] | None = None,
        conditions: str | Iterable[str] | None = None,
        without: pd.DataFrame | None = None,
        numbered: Sequence[SectionId] | None = None,
        length: int | None = None,
        features: Features = "logmel",
        memory_budget_bytes: int = MEMORY_BUDGET_BYTES,
        seed: int = 0,
    ) -> None:
        chosen = {"machine_type": machine_types, "split": split, "domain": domains, "condition": conditions}
        clips = choose(store, sections, **chosen)
        if without is not None:
            clips = leave_out(clips, without)
        self._label(clips, numbered or _sections_of(clips), split, seed)
        self._open(store, features, memory_budget_bytes, length)

    @classmethod
    def training_pool(
        cls,
        store: Store,
        *,
        machine_types: str | Iterable[str] | None = None,
        sections: Sections = None,
        outliers: bool = False,
        known_anomalies: pd.DataFrame | None = None,
        length: int | None = None,
        features: Features = "logmel",
        memory_budget_bytes: int = MEMORY_BUDGET_BYTES,
        seed: int = 0,
    ) -> ClipDataset:
        """The clips that a model is trained on: the training clips of the chosen sections, and others on demand.

        Parameters
        ----------
        store : Store
        machine_types : str or iterable of str, optional
            All by default; so are the sections.
        sections : SectionId, str or iterable of them, optional
            Section numbers (``"00"``) or sections (``"fan/00"``).
        outliers : bool
            The training clips of all other sections as well; their section is -1.
        known_anomalies : pd.DataFrame, optional
            Rows of the store's clip table: the only test clips that a training sees.
        length : int, optional
            As for ``ClipDataset``.
        features : {"logmel", "stft", "audio"}
        memory_budget_bytes : int
            Clips are held in memory if they take no more than this.
        seed : int, 0 or larger
            Decides every order in which clips are read.

        Returns
        -------
        ClipDataset

        Raises
        ------
        UsageError
            A name or array that the store does not have, no clip at all, or sections whose clips differ in shape.
        DataError
            A shard or an array's metadata cannot be read.
        """
        own = choose(store, sections, machine_type=machine_types, split="train")
        # First, so that the scope's sections have the lowest origins, as Labels promises.
        parts = [own]
        if outliers:
            every = choose(store, None, split="train")
            parts.append(every[~section_names(every).isin(set(section_names(own)))])
        if known_anomalies is not None:
            parts.append(known_anomalies)
        pool = cls.__new__(cls)  # __init__ chooses from one split; a pool may hold test clips
        pool._label(pd.concat(parts, ignore_index=True), _sections_of(own), "train", seed)
        pool._open(store, features, memory_budget_bytes, length)
        return pool

    def _label(self, clips: pd.DataFrame, sections: Sequence[SectionId], split: str | None, seed: int) -> None:
        """Take clips of a store; ``sections`` are those that are counted."""
        self.clips, self.split, self.seed = clips, split, seed
        self.section_ids = tuple(sections)
        number_of = {str(section): number for number, section in enumerate(self.section_ids)}
        self._section: Numbers = np.array([number_of.get(name, -1) for name in section_names(clips)], np.int64)
        self._is_target = (clips["domain"] == "target").to_numpy(bool)
        self._has_domain = (clips["domain"] != "").to_numpy(bool)
        self._is_anomaly = (clips["condition"] == "anomaly").to_numpy(bool)
        self._training_class = training_classes(clips, (self._section >= 0) & ~self._is_anomaly & (split == "train"))
        # as objects: single texts out of a column of pandas take ten times as long
        self._texts = {column: clips[column].to_numpy(object) for column in ("clip", "machine_type", "attributes")}

    def _open(self, store: Store, features: Features, memory_budget_bytes: int, length: int | None) -> None:
        """Find the shard and row of each clip, and read all clips if they fit the budget."""
        store.check_holds(features)
        self._hold = store.hold  # `mimiidg prune` leaves the store where it is while its clips are read
        names = section_names(self.clips)
        arrays = list(dict.fromkeys(names))
        paths = [f"{SectionId.parse(name).group}/{features}" for name in arrays]
        self._axis = time_axis(features)
        if length is None:
            self._reader, layouts = open_reader(store.recorded, paths)
            self._layout = layouts[0]
        else:
            self._reader, layouts, self._layout = open_fitted(store.recorded, paths, length, self._axis)
        self._origin: Numbers = np.array(names.map({name: number for number, name in enumerate(arrays)}), np.int64)
        # open_reader numbers the shards of all arrays consecutively.
        first_shard = np.cumsum([0, *(len(layout.shards()) for layout in layouts[:-1])])
        shard_rows = np.array([layout.shard_rows for layout in layouts])[self._origin]
        shard, self._row = np.divmod(self.clips["row"].to_numpy(np.int64), shard_rows)
        self._shard: Numbers = shard + first_shard[self._origin]
        self._resident: Tensor | None = None  # read() below looks at it
        maps = isinstance(self._reader, MappedReader) or (isinstance(self._reader, FittedReader) and self._reader.maps)
        self.access = "mapped" if maps else "zarr"
        if self.size_bytes <= memory_budget_bytes:
            self._resident = self.read(np.arange(len(self)))
            self.access = "memory"

    def __repr__(self) -> str:
        """A line."""
        clips, sections = counted(len(self), "clip"), counted(len(self.section_ids), "section")
        return f"<ClipDataset of {clips} of {sections}, access {self.access!r}>"

    def __len__(self) -> int:
        return len(self.clips)

    def by_section(self, values: Numbers) -> dict[str, list[Any]]:
        """Values, one a clip [shape=(n_clips,)], by section (``"fan/00"``)."""
        rows = rows_by_section(self.clips)
        return {str(section_id): values[rows.get(section_id, [])].tolist() for section_id in self.section_ids}

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
    def n_classes(self) -> int:
        """Classes of the training clips: see ``Labels.training_class``."""
        return 1 + int(self._training_class.max(initial=-1))

    @property
    def n_frames(self) -> int:
        """Frames of a clip's log-mel, or samples of its audio."""
        return self._layout.shape[self._axis]

    def read(self, index: Index) -> Tensor:
        """Features of some clips: Tensor [shape=(n, ...)], or of one; a copy. They are chosen as items are."""
        numbers = clip_numbers(index, len(self))
        features = self._read(np.atleast_1d(numbers))
        return features if numbers.ndim else features[0]

    def _read(self, numbers: Numbers) -> Tensor:
        if self._resident is not None:
            # numpy copies in this thread alone. torch would share even one clip among its threads, which wait for each
            # other longer than a copy takes, on a busy machine a hundred times as long.
            return torch.from_numpy(self._resident.numpy().take(numbers, axis=0))
        out = np.empty((len(numbers), *self._layout.shape[1:]), self._layout.dtype)
        self._reader.take(self._shard[numbers], self._row[numbers], out)
        return torch.from_numpy(out)

    def __getitem__(self, index: Index) -> Batch:
        numbers = clip_numbers(index, len(self))
        batch = self._batch(np.atleast_1d(numbers))
        return batch if numbers.ndim else _items(batch)[0]

    def __getitems__(self, numbers: Iterable[int]) -> list[Batch]:
        """Items, read at once: how a plain ``DataLoader`` and a ``Subset`` ask for the items of a batch."""
        batch = self._batch(np.atleast_1d(clip_numbers(list(numbers), len(self), masks=False)))
        return _items(batch | {"features": [part.as_subclass(StackedHere) for part in batch["features"]]})

    def _batch(self, numbers: Numbers) -> Batch:
        texts = {column: values.take(numbers).tolist() for column, values in self._texts.items()}
        return {
            "features": self._read(numbers),
            "section": torch.from_numpy(self._section.take(numbers)),
            "is_target": torch.from_numpy(self._is_target.take(numbers)),
            "is_anomaly": torch.from_numpy(self._is_anomaly.take(numbers)),
            "clip": torch.from_numpy(numbers),
            "name": texts["clip"],
            "machine_type": texts["machine_type"],
            "attributes": texts["attributes"],
        }

    def labels(self) -> Labels:
        """All clips' labels, as models take them; of clips that are not trained on, without their condition."""
        is_training = self.split == "train"
        known = self._is_anomaly.tolist() if is_training else None
        types = {name: number for number, name in enumerate(dict.fromkeys(s.machine_type for s in self.section_ids))}
        return Labels.of(
            self._section.tolist(),
            self._is_target.tolist(),
            is_training,
            known,
            self._origin.tolist(),
            self._has_domain.tolist(),
            [types.get(name, -1) for name in self._texts["machine_type"]],
            self._training_class.tolist(),
        )

    def chunks(self, chunk_bytes: int = CHUNK_BYTES) -> list[Numbers]:
        """Clip numbers in order, as many at a time as fit into ``chunk_bytes``."""
        return clip_order.in_order(len(self), chunk_bytes // self.clip_bytes)

    def shuffled_chunks(self, epoch: int, chunk_bytes: int = CHUNK_BYTES) -> list[Numbers]:
        """Clip numbers in an epoch's random order, as many at a time as fit; shard-wise where not held in memory."""
        per_chunk = chunk_bytes // self.clip_bytes
        if self._resident is not None:
            return list(clip_order.batches([clip_order.shuffled(len(self), self.seed, epoch)], max(1, per_chunk)))
        return clip_order.shardwise(self._shard, per_chunk, self.seed, epoch)

    def loader(self, batch_size: int, *, shuffle: bool = False, num_workers: int = 0, **options: Any) -> ClipLoader:
        """A ``DataLoader`` of whole batches; its order depends on the seed and the epoch, not on its workers.

        Parameters
        ----------
        batch_size : int
            Clips of a batch; the last may hold fewer.
        shuffle : bool
            A random order, another one for each epoch (``set_epoch``); otherwise the clips' own.
        num_workers : int
            Processes that read; 0: this one reads.
        **options
            ``DataLoader``'s own.
        """
        return ClipLoader(self, batch_size, shuffle, num_workers=num_workers, **options)


def _sections_of(clips: pd.DataFrame) -> tuple[SectionId, ...]:
    return tuple(map(SectionId.parse, dict.fromkeys(section_names(clips))))


def _items(batch: Batch) -> list[Batch]:
    """The items of a batch, each a view of its tensors."""
    names, columns = list(batch), [_items(v) if isinstance(v, dict) else list(v) for v in batch.values()]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
