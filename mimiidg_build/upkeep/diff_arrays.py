"""In which clips the arrays of two stores differ, and by how much. Shards of equal digests are not read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mimiidg_build.progress import OnProgress, Reporter
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.store.store import Store
from mimiidg_build.upkeep.difference import ABSENT, THERE, Difference, clip_name

UNITS = {"audio": "steps of 16 bits", "logmel": "dB", "stft": "of full scale"}


def compare_arrays(first: Store, second: Store, rows: pd.DataFrame, reporter: Reporter) -> Iterator[Difference]:
    """The arrays that one store lacks, and for the others how many clips differ in shape or values.

    Parameters
    ----------
    first, second : Store
    rows : pd.DataFrame
        Of the clips that both have, columns machine_type, section, clip, ``row|1`` and ``row|2``.
    reporter : Reporter
        Shows the clips that were compared.
    """
    names = [("audio", *store.attributes.variant.features.arrays) for store in (first, second)]
    common = [name for name in names[0] if name in names[1]]
    for name in dict.fromkeys(names[0] + names[1]):
        if name not in common:
            yield Difference(name, "array", [THERE if name in own else ABSENT for own in names])
    on_progress = reporter.step("compare", len(rows) * len(common))
    for name in common:
        found = _Found()
        for key, own in rows.groupby(["machine_type", "section"], sort=False):
            pair = _Pair(first, second, SectionId(*map(str, key)), name)
            found.compare(pair, own, on_progress)
        yield from found.differences(name, len(rows))


@dataclass(frozen=True)
class _Pair:
    """An array of one section in both stores."""

    first: Store
    second: Store
    section: SectionId
    name: str

    @property
    def arrays(self) -> list[Any]:
        """As zarr opens them."""
        return [getattr(store, self.name)(*self.section) for store in (self.first, self.second)]

    def is_recorded_equal(self, shard: int, n_axes: int) -> bool:
        """Whether a shard has the same digest in both stores."""
        path = f"{self.section.group}/{self.name}/c/{shard}" + "/0" * (n_axes - 1)
        records = [store.attributes.objects.get(path) for store in (self.first, self.second)]
        return records[0] is not None and records[0] == records[1]


@dataclass
class _Found:
    """What differs of one array, section after section."""

    forms: list[tuple[str, list[str], int]] = field(default_factory=list)  # section, form in each store, clips
    odd: list[str] = field(default_factory=list)  # clips of other values
    largest: float = 0.0

    def compare(self, pair: _Pair, rows: pd.DataFrame, on_progress: OnProgress) -> None:
        """Compare the clips of one section, shard by shard of the first store."""
        arrays = pair.arrays
        forms = [f"{array.dtype} {tuple(array.shape[1:])}" for array in arrays]
        if forms[0] != forms[1]:
            self.forms.append((str(pair.section), forms, len(rows)))
        if arrays[0].shape[1:] != arrays[1].shape[1:]:
            on_progress(len(rows))
            return
        shard_rows = (arrays[0].shards or arrays[0].chunks)[0]
        for shard, own in rows.sort_values("row|1").groupby(rows["row|1"] // shard_rows):
            same_rows = bool((own["row|1"] == own["row|2"]).all())
            if not (same_rows and pair.is_recorded_equal(int(shard), arrays[0].ndim)):
                self._compare_values(arrays, own)
            on_progress(len(own))

    def _compare_values(self, arrays: list[Any], rows: pd.DataFrame) -> None:
        first, second = (
            np.asarray(array.oindex[rows[f"row|{number}"].to_numpy()]) for number, array in enumerate(arrays, start=1)
        )
        differs = (first != second).reshape(len(rows), -1).any(axis=1)
        for number in np.flatnonzero(differs):
            self.odd.append(clip_name(rows.iloc[number]))
            difference = np.abs(first[number].astype(np.float64) - second[number])
            self.largest = max(self.largest, float(difference.max()))

    def differences(self, name: str, n_clips: int) -> Iterator[Difference]:
        """For all sections together."""
        if self.forms:
            section, form, _ = self.forms[0]
            n = sum(count for *_, count in self.forms)
            yield Difference(name, "type and shape", form, n=n, of=n_clips, example=section)
        if self.odd:
            n, example = len(self.odd), self.odd[0]
            yield Difference(name, "values", n=n, of=n_clips, example=example, largest=self.largest, unit=UNITS[name])
