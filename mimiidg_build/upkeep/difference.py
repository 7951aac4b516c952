"""One thing in which two stores differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

THERE, ABSENT = "there", "absent"


@dataclass(frozen=True)
class Difference:
    """Something that differs.

    topic          what it is about: settings, versions, clips, noise, gains, audio, logmel, ...
    what           the setting, package, column, ... that differs
    values         its value in each store: of clips, sections and archives, that of the first that differs; none where
                   there are thousands
    n, of          how many differ, and of how many; 0 of 0 where a store has one value
    example        the first of them
    largest        of an array, the largest difference of two numbers
    unit           its unit
    """

    topic: str
    what: str
    values: Sequence[str] = ()
    n: int = 0
    of: int = 0
    example: str = ""
    largest: float | None = None
    unit: str = ""

    def __str__(self) -> str:
        """One line.

        >>> print(Difference("settings", "seed", ["0", "1"]))
        settings: seed: 0 | 1
        >>> print(Difference("noise", "noise_1_clip", ["0", "7"], 12, 60, "fan/00 section_00_0000"))
        noise: noise_1_clip: 12 of 60 differ, first fan/00 section_00_0000: 0 | 7
        >>> print(Difference("logmel", "values", n=1, of=60, example="fan/00 section_00_0000", largest=3.5, unit="dB"))
        logmel: values: 1 of 60 differs, first fan/00 section_00_0000; by 3.5 dB at most
        """
        line = f"{self.topic}: {self.what}"
        if self.n:
            line += f": {self.n:,} of {self.of:,} differ{'s' * (self.n == 1)}, first {self.example}"
        if self.values:
            line += f": {' | '.join(self.values)}"
        return line if self.largest is None else f"{line}; by {self.largest:.6g} {self.unit} at most"


def clip_name(row: pd.Series) -> str:
    """A clip as people write it.

    >>> clip_name(pd.Series({"machine_type": "fan", "section": "00", "clip": "section_00_0000"}))
    'fan/00 section_00_0000'
    """
    return f"{row['machine_type']}/{row['section']} {row['clip']}"
