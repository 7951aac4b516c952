"""The tail of a clip's name, what stands behind its index: the attributes, as pairs or as any other text."""

from __future__ import annotations

from functools import lru_cache

from mimiidg_build.datasets.clip_table.clips import Attributes
from mimiidg_build.datasets.truth import attribute_pairs


@lru_cache(maxsize=2**12)  # thousands of clips have some dozens of tails
def tail_attributes(tail: str) -> Attributes:
    """The attributes that a tail gives: pairs, or where it is no list of pairs one attribute, ``tail``.

    Examples
    --------
    >>> tail_attributes("vel_6_f-n_A"), tail_attributes("noAttribute"), tail_attributes("")
    ((('vel', '6'), ('f-n', 'A')), (), ())
    >>> tail_attributes("spd1000_BckgA")
    (('spd', '1000'), ('Bckg', 'A'))
    >>> tail_attributes("serial_no_000_water")
    (('tail', 'serial_no_000_water'),)
    """
    return tuple(attribute_pairs(tail))


def free_text(tail: str) -> Attributes:
    """The attribute that a tail of free text gives, none where it is empty.

    >>> free_text("pattern_01_no_pump"), free_text("")
    ((('tail', 'pattern_01_no_pump'),), ())
    """
    return (("tail", tail),) if tail else ()
