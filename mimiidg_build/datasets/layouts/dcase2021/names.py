"""Names of clips: the grammar of DCASE Task 2 of 2021, and of MIMII DUE.

- ``section_SS_(source|target)_(train|test)_(normal|anomaly)_NNNN[_<text>].wav``; the text is free,
  ``strength_1_ambient``, ``pattern_01_no_pump``: no keys and values;
- ``section_SS_(source|target)_test_NNNN.wav``, a test clip of the evaluation sections, whose condition stands in the
  organisers' list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mimiidg_build.errors import DataError

GRAMMAR = (
    "section_SS_(source|target)_(train|test)_(normal|anomaly)_NNNN[_<text>].wav or "
    "section_SS_(source|target)_test_NNNN.wav"
)
_FULL = re.compile(
    r"section_([0-9]{2})_(source|target)_(train|test)_(normal|anomaly)_([0-9]{4})(?:_([A-Za-z0-9_.+-]*))?\.wav"
)
_HIDDEN = re.compile(r"section_([0-9]{2})_(source|target)_test_([0-9]{4})\.wav")


@dataclass(frozen=True, slots=True)
class ClipName:
    """What a clip's name says.

    Attributes
    ----------
    section : str, two digits
    domain : "source" or "target"
    split : "train" or "test"
    condition : "normal", "anomaly", or "" where the name hides it
    index : int, 0 to 9999
    text : what stands behind the index, None where nothing does

    Examples
    --------
    >>> ClipName.parse("section_00_source_train_normal_0050_strength_1_ambient.wav").text
    'strength_1_ambient'
    >>> ClipName("03", "target", "test", "", 12).file_name
    'section_03_target_test_0012.wav'
    """

    section: str
    domain: str
    split: str
    condition: str
    index: int
    text: str | None = None

    @classmethod
    def parse(cls, name: str) -> ClipName:
        """Read a file name; of a path, the base name alone.

        Raises
        ------
        DataError
            The base name does not fit the grammar.
        """
        base = name.rpartition("/")[2]
        if match := _FULL.fullmatch(base):
            section, domain, split, condition, index, text = match.groups()
            return cls(section, domain, split, condition, int(index), text)
        if match := _HIDDEN.fullmatch(base):
            return cls(match[1], match[2], "test", "", int(match[3]))
        raise DataError(f"{base!r} is not a clip name: expected {GRAMMAR}")

    @property
    def file_name(self) -> str:
        """The base name, suffix included: what ``parse`` reads back."""
        parts = [f"section_{self.section}", self.domain, self.split, self.condition, f"{self.index:04d}"]
        return "_".join([part for part in parts if part] + ([] if self.text is None else [self.text])) + ".wav"
