"""A store's clips as embeddings, where something else than this package's features was computed of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mimiidg_build.schemas.sections import section_names
from mimiidg_build.store.store import Store
from mimiidg_build.training.clip_dataset import ClipDataset, Features

Embeddings = npt.NDArray[np.float32]


class EmbeddedClips(ClipDataset):
    """A choice of clips whose features are one vector each, all in memory.

    Parameters
    ----------
    store : Store
    embeddings : mapping of str to np.ndarray [shape=(n_clips, size)], float32
        By section (``"fan/00"``): of all its clips, in the order of their rows in the store's arrays.
    **choice
        As for ``ClipDataset``.
    """

    def __init__(self, store: Store, embeddings: Mapping[str, Embeddings], **choice: Any) -> None:
        self._embeddings = embeddings
        super().__init__(store, **choice)

    def _open(self, store: Store, features: Features, memory_budget_bytes: int, length: int | None) -> None:
        names = section_names(self.clips)
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        self._origin = np.array(names.map(numbers), np.int64)
        rows = zip(names, self.clips["row"], strict=True)
        self._resident = torch.from_numpy(np.stack([self._embeddings[name][row] for name, row in rows]))
        self.access = "memory"

    @property
    def clip_bytes(self) -> int:
        """Bytes of a clip's embedding."""
        return self.n_frames * np.dtype(np.float32).itemsize

    @property
    def n_frames(self) -> int:
        """Values of an embedding."""
        assert self._resident is not None
        return self._resident.shape[1]
