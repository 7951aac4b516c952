"""Which of a store's clips: by section, split, domain and condition."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimiidg_build.errors import UsageError
from mimiidg_build.schemas.sections import SectionId, section_names
from mimiidg_build.store.store import Store

Numbers = npt.NDArray[Any]
Choice = str | Iterable[str] | None  # of a column's values; None: all


def choose(
    store: Store, sections: SectionId | str | Iterable[SectionId | str] | None, **chosen: Choice
) -> pd.DataFrame:
    """Rows of a store's clip table.

    Parameters
    ----------
    store : Store
    sections : SectionId, str or iterable of them, optional
        Section numbers (``"00"``) or sections (``"fan/00"``, or a ``SectionId``); all by default.
    **chosen : str or iterable of str, optional
        Values of columns of the clip table, by the columns' names; all by default.

    Returns
    -------
    pd.DataFrame
        Sorted by machine type, section and row, with a new index.

    Raises
    ------
    UsageError
        A value that the store does not have, or no clip at all.
    """
    clips = store.clips
    wanted = pd.Series(True, index=clips.index)
    for column, values in chosen.items():
        if values is not None:
            names = _known(values, set(clips[column]), column.replace("_", " "), store)
            wanted &= clips[column].isin(names)
    if sections is not None:
        ids = section_names(clips)
        names = _known(sections, set(clips["section"]) | set(ids), "section", store)
        wanted &= clips["section"].isin(names) | ids.isin(names)
    if not wanted.any():
        choice = {"sections": sections, **chosen}
        words = ", ".join(f"{key} {value!r}" for key, value in choice.items() if value is not None)
        raise UsageError(f"{store.path} has no clip with {words}")
    return clips[wanted].sort_values(["machine_type", "section", "row"], ignore_index=True)


def leave_out(clips: pd.DataFrame, unwanted: pd.DataFrame) -> pd.DataFrame:
    """Clips without some others, with a new index; both are rows of one store's clip table."""
    return clips[~_keys(clips).isin(_keys(unwanted))].reset_index(drop=True)


def training_classes(clips: pd.DataFrame, wanted: Numbers) -> Numbers:
    """What is known of each clip as a class: its machine type, section, attributes and domain, all taken together.

    Parameters
    ----------
    clips : pd.DataFrame [shape=(n, ...)]
        Rows of a store's clip table.
    wanted : np.ndarray of bool [shape=(n,)]

    Returns
    -------
    np.ndarray of int64 [shape=(n,)]
        Numbers of the classes in the order in which they first come; -1 for a clip that is not wanted.
    """
    numbers = np.full(len(clips), -1, np.int64)
    keys = ["machine_type", "section", "attributes", "domain"]
    numbers[wanted] = clips.loc[wanted, keys].groupby(keys, sort=False).ngroup()
    return numbers


def _keys(clips: pd.DataFrame) -> pd.Index[Any]:
    """Identifies clips of a store: rows are numbered within a section."""
    return pd.MultiIndex.from_frame(clips[["machine_type", "section", "row"]])


def _known(values: SectionId | str | Iterable[SectionId | str], known: set[str], what: str, store: Store) -> list[str]:
    """The values asked for, each of which the store must have."""
    names = [str(values)] if isinstance(values, str | SectionId) else list(map(str, values))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"{store.path} has no {what} {unknown[0]!r}; it has {', '.join(sorted(known))}")
    return names
