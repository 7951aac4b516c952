"""Paths of clips: the grammar of MIMII, ``{machine}/id_SS/(normal|abnormal)/NNNNNNNN.wav``.

The names repeat from machine to machine and from folder to folder, so a clip is known by all of its path. The three
archives of a machine type, one for each SNR, hold the same paths: each SNR is a dataset of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mimiidg_build.errors import DataError

GRAMMAR = "{machine}/id_SS/(normal|abnormal)/NNNNNNNN.wav"
FOLDERS = {"normal": "normal", "anomaly": "abnormal"}  # by condition
_PATH = re.compile(r"(?:.*/)?(id_[0-9]{2})/(normal|abnormal)/([0-9]{8})\.wav")


@dataclass(frozen=True, slots=True)
class ClipPath:
    """What a clip's path says, the machine type left out.

    Examples
    --------
    >>> ClipPath.parse("fan/id_00/abnormal/00000007.wav")
    ClipPath(section='id_00', condition='anomaly', index=7)
    >>> ClipPath("id_02", "normal", 12).path, ClipPath("id_02", "normal", 12).clip
    ('id_02/normal/00000012.wav', 'id_02_normal_00000012')
    """

    section: str
    condition: str
    index: int

    @classmethod
    def parse(cls, path: str) -> ClipPath:
        """Read a path.

        Raises
        ------
        DataError
            The path does not fit the grammar.
        """
        if (match := _PATH.fullmatch(path)) is None:
            raise DataError(f"{path!r} is not the path of a clip: expected {GRAMMAR}")
        condition = next(condition for condition, folder in FOLDERS.items() if folder == match[2])
        return cls(match[1], condition, int(match[3]))

    @property
    def path(self) -> str:
        """The path below the machine type's folder: what ``parse`` reads back."""
        return f"{self.section}/{FOLDERS[self.condition]}/{self.index:08d}.wav"

    @property
    def clip(self) -> str:
        """A name for the clip that no other of its machine type has."""
        return f"{self.section}_{self.condition}_{self.index:08d}"
