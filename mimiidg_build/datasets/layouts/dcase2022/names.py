"""Names of clips: the grammar of MIMII DG and of DCASE Task 2 from 2022 on.

Two sorts of name, both of the base name alone (a folder called ``source`` says nothing about a domain):

- ``section_SS_(source|target)_(train|test)_(normal|anomaly)_NNNN[_<tail>].wav``; the tail is a list of pairs,
  ``<key>_<value>[_<key>_<value>...]``, the word ``noAttribute``, empty, or other words (``spd1000_BckgA``);
- ``section_SS_NNNN.wav``, a test clip of the evaluation sections, whose truth stands in its attribute table or in a
  truth list.

SS is the section and NNNN the index, in digits. Words of the tail hold letters, digits, ``.``, ``+`` and ``-``, never
``_``; no key stands twice. Values are strings: ``1.0``, ``0.10``, ``00``, ``40V`` and ``bs-c`` stay as written.

Source: the released file names of MIMII DG and of DCASE Task 2, 2022 to 2026.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from mimiidg_build.datasets.clip_table.clips import Attributes
from mimiidg_build.datasets.layouts.tails import tail_attributes
from mimiidg_build.errors import DataError

GRAMMAR = "section_SS_(source|target)_(train|test)_(normal|anomaly)_NNNN[_<key>_<value>...].wav or section_SS_NNNN.wav"

_WORD = "[A-Za-z0-9.+-]+"
_FULL = re.compile(
    rf"section_([0-9]{{2}})_(source|target)_(train|test)_(normal|anomaly)_([0-9]{{4}})(?:_((?:{_WORD}(?:_{_WORD})*)?))?\.wav"
)
_HIDDEN = re.compile(r"section_([0-9]{2})_([0-9]{4})\.wav")

_Fields = tuple[str, str | None, str, str | None, int, str | None]


class _Name(NamedTuple):
    """The fields of a name: a class with a base of its own may check what it is made of."""

    section: str
    domain: str | None
    split: str
    condition: str | None
    index: int  # type: ignore[assignment]  # a tuple's method of that name is not asked for
    tail: str | None


class ClipName(_Name):
    """What a clip's name says. A name that the grammar cannot write is never made: ValueError.

    Attributes
    ----------
    section : str, two digits
    domain : "source", "target", or None where the name hides it
    split : "train" or "test"
    condition : "normal", "anomaly", or None where the name hides it
    index : int, 0 to 9999
    tail : what stands behind the index, ``""`` in ``..._0000_.wav``, None where nothing does

    Examples
    --------
    >>> name = ClipName.parse("section_01_target_test_anomaly_0007_pat_05_panel_bs-c.wav")
    >>> name.domain, name.index, name.attributes
    ('target', 7, (('pat', '05'), ('panel', 'bs-c')))
    >>> ClipName("03", None, "test", None, 12).file_name
    'section_03_0012.wav'
    """

    __slots__ = ()

    def __new__(
        cls,
        section: str,
        domain: str | None,
        split: str,
        condition: str | None,
        index: int,
        tail: str | None = None,
    ) -> ClipName:
        """A name of these fields, if the grammar can write it."""
        fields = (section, domain, split, condition, index, tail)
        name = tuple.__new__(cls, fields)
        if _fields(name.file_name) != fields:
            raise ValueError(f"no clip name can say {fields}; expected what fits {GRAMMAR}, with no key twice")
        return name

    @classmethod
    def parse(cls, name: str) -> ClipName:
        """Read a file name; of a path, the base name alone.

        Raises
        ------
        DataError
            The base name does not fit the grammar.

        Examples
        --------
        >>> ClipName.parse("source/fan/test/section_00_target_test_normal_0001_m-n_Y.wav").domain
        'target'
        """
        base = name.rpartition("/")[2]
        fields = _fields(base)
        if fields is None:
            raise DataError(f"{base!r} is not a clip name: expected {GRAMMAR}, with no key twice")
        return tuple.__new__(cls, fields)  # what was read can be written: not checked again, in 18,000 names

    @property
    def is_hidden(self) -> bool:
        """Whether the name hides domain, condition and attributes."""
        return self.domain is None

    @property
    def attributes(self) -> Attributes:
        """Pairs (key, value) in the order of the name; empty where it has none, or hides them."""
        return tail_attributes(self.tail or "")

    @property
    def file_name(self) -> str:
        """The base name, suffix included: what ``parse`` reads back."""
        if self.is_hidden:
            return f"section_{self.section}_{self.index:04d}.wav"
        tail = "" if self.tail is None else f"_{self.tail}"
        return f"section_{self.section}_{self.domain}_{self.split}_{self.condition}_{self.index:04d}{tail}.wav"


def _fields(base: str) -> _Fields | None:
    """The fields of a base name, None where it does not fit the grammar."""
    if match := _FULL.fullmatch(base):
        section, domain, split, condition, index, tail = match.groups()
        return (section, domain, split, condition, int(index), tail) if _has_each_key_once(tail or "") else None
    if match := _HIDDEN.fullmatch(base):
        return match[1], None, "test", None, int(match[2]), None
    return None


@lru_cache(maxsize=2**12)  # thousands of clips have some dozens of tails
def _has_each_key_once(tail: str) -> bool:
    words = tail.split("_")
    keys = words[::2] if len(words) % 2 == 0 else []
    return len(set(keys)) == len(keys)
