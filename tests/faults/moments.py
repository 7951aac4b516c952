"""Which of the moments at which a process is stopped a run of the tests tries: some by default, all others with slow.

A default run tries the first, the last and one of each kind; what each stop breaks is seen at one of them already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest

Moment = TypeVar("Moment")

SOME = "some"
MOMENTS = [SOME, pytest.param("all others", marks=pytest.mark.slow)]  # values of a parameter that is called `moments`


def chosen(moments: str, every: Sequence[Moment], kind: Callable[[Moment], object]) -> list[Moment]:
    """Of every moment in its order the first, the last and the first of each kind; or all others.

    Parameters
    ----------
    moments : str
        One of ``MOMENTS``.
    every : sequence
    kind : callable
        What a moment is alike in with others.

    Returns
    -------
    list

    Examples
    --------
    >>> chosen("some", ["a1", "a2", "b1", "b2", "a3"], lambda moment: moment[0])
    ['a1', 'b1', 'a3']
    >>> chosen("all others", ["a1", "a2", "b1", "b2", "a3"], lambda moment: moment[0])
    ['a2', 'b2']
    """
    kinds = [kind(moment) for moment in every]
    some = {0, len(every) - 1, *map(kinds.index, kinds)}
    return [moment for number, moment in enumerate(every) if (number in some) == (moments == SOME)]
