"""Which clips an index means: as numpy reads it for an array of one axis, and nothing that numpy would not take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

Numbers = npt.NDArray[np.int64]
Index = int | np.integer[Any] | slice | Sequence[int] | Sequence[bool] | npt.NDArray[Any] | Tensor


def clip_numbers(index: Index, n_clips: int, *, masks: bool = True) -> Numbers:
    """The numbers of the clips that an index means, none of them negative.

    Parameters
    ----------
    index : int, slice, or list, array or tensor of int or of bool [shape=(n,)]
        Numbers below 0 count from the end; booleans say of every clip whether it is meant.
    n_clips : int
        Clips there are.
    masks : bool
        False: booleans are refused, too.

    Returns
    -------
    np.ndarray [shape=(n,), or () for a single number]

    Raises
    ------
    IndexError
        There is no such clip, or there is not one boolean for every clip.
    TypeError
        It is something else: floats, one boolean, several axes.

    Examples
    --------
    >>> clip_numbers(-1, 6).item(), clip_numbers([0, -1], 6).tolist(), clip_numbers(slice(1, 6, 2), 6).tolist()
    (5, [0, 5], [1, 3, 5])
    >>> clip_numbers([False, False, True, True], 4).tolist()
    [2, 3]
    """
    if isinstance(index, slice):
        return np.arange(n_clips)[index].copy()  # a copy runs forward, as torch wants it
    found = _as_array(index)
    if found.dtype.kind == "b" and found.ndim == 1 and masks:
        if len(found) != n_clips:
            raise IndexError(f"a mask of {len(found)} booleans does not fit {n_clips} clips")
        return np.flatnonzero(found)
    if found.dtype.kind not in "iu" or found.ndim > 1:
        raise TypeError(
            "expected a clip's number, a slice, or a list or array of one axis of numbers"
            f"{', or one boolean for every clip' if masks else ''}; found {_described(index, found)}"
        )
    # before the conversion: a large unsigned number would become a negative one
    if (outside := (found < -n_clips) | (found >= n_clips)).any():
        raise IndexError(f"clip {found[outside].flat[0]} of {n_clips}")  # also what ends a plain loop over the dataset
    return np.asarray(found.astype(np.int64) % n_clips)


def _as_array(index: Any) -> npt.NDArray[Any]:
    """The index as an array; of objects where it cannot be one of numbers."""
    if isinstance(index, tuple):  # numpy would read one number for each axis, and clips have one axis
        return np.empty((), object)
    try:
        found = np.asarray(index)
    except ValueError:  # rows of several lengths
        return np.empty((), object)
    is_empty_list = not isinstance(index, np.ndarray | Tensor) and found.shape == (0,)
    return found.astype(np.int64) if is_empty_list else found  # numpy makes floats of no numbers at all


def _described(index: Any, found: npt.NDArray[Any]) -> str:
    what = f"{type(index).__module__}.{type(index).__qualname__}".removeprefix("builtins.")
    return what if found.dtype == object else f"{what} of {found.dtype} with shape {found.shape}"
