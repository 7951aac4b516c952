"""Names of clips: the grammar of DCASE Task 2 of 2020.

- ``(normal|anomaly)_id_SS_NNNNNNNN.wav``
- ``id_SS_NNNNNNNN.wav``, a test clip of the evaluation set, whose condition stands in the organisers' list.

``id_SS`` is the machine and stands for the section. Training and test clips are numbered by themselves, so one name may
be that of a training clip and of a test clip.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mimiidg_build.errors import DataError

GRAMMAR = "(normal|anomaly)_id_SS_NNNNNNNN.wav or id_SS_NNNNNNNN.wav"
_NAME = re.compile(r"(?:(normal|anomaly)_)?(id_[0-9]{2})_([0-9]{8})\.wav")


@dataclass(frozen=True, slots=True)
class ClipName:
    """What a clip's name says; ``condition`` is ``""`` where it hides it.

    Examples
    --------
    >>> ClipName.parse("fan/test/anomaly_id_04_00000261.wav")
    ClipName(section='id_04', condition='anomaly', index=261)
    >>> ClipName("id_01", "", 7).file_name
    'id_01_00000007.wav'
    """

    section: str
    condition: str
    index: int

    @classmethod
    def parse(cls, name: str) -> ClipName:
        """Read a file name; of a path, the base name alone.

        Raises
        ------
        DataError
            The base name does not fit the grammar.
        """
        base = name.rpartition("/")[2]
        if (match := _NAME.fullmatch(base)) is None:
            raise DataError(f"{base!r} is not a clip name: expected {GRAMMAR}")
        return cls(match[2], match[1] or "", int(match[3]))

    @property
    def file_name(self) -> str:
        """The base name, suffix included: what ``parse`` reads back."""
        prefix = f"{self.condition}_" if self.condition else ""
        return f"{prefix}{self.section}_{self.index:08d}.wav"
