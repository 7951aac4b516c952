"""What a layout makes of the archives: clips with nothing hidden, the table row of each, and what it found wrong.

Nothing after this module depends on which layout the clips came from. Clips, their files and rows are tuples: a release
has 18,000 of each, and a frozen dataclass takes four times as long to make.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from mimiidg_build.datasets.findings import Finding
from mimiidg_build.schemas.sections import SectionId

Attributes = tuple[tuple[str, str], ...]
"""Pairs (key, value) in the order of the name or table that gives them."""


class TableRow(NamedTuple):
    """One row of an attribute table; ``full_name`` is ``""`` where the table has none."""

    table: str
    section_id: SectionId
    line: int
    file_name: str
    attributes: Attributes
    full_name: str

    def finding(self, severity: str, kind: str, message: str, column: str, value: str, expected: str) -> Finding:
        """A finding in this row.

        Parameters
        ----------
        severity : "error" or "warning"
        kind, message, column, value, expected : str
            As in :class:`~mimiidg_build.datasets.findings.Finding`.

        Returns
        -------
        Finding
            With the row's table and line.
        """
        return Finding(severity, kind, self.table, message, self.line, column, value, expected)


class ClipFile(NamedTuple):
    """A clip's file: ``member`` of ``archive``. ``folder`` is the split that its folder says.

    ``path`` is where a release would have it, as attribute tables name it: ``member``, but for an extra folder that
    everything was packed into, and ``.wav`` where the archive says ``.WAV``.
    """

    machine_type: str
    folder: str
    archive: str
    member: str
    path: str

    def error(
        self, row: TableRow | None, kind: str, message: str, expected: str = "", value: str | None = None
    ) -> Finding:
        """An error at this clip: in its table row where it has one, else in its archive.

        Parameters
        ----------
        row : TableRow or None
        kind, message, expected : str
        value : str, optional
            What was found; the member's name by default.

        Returns
        -------
        Finding
        """
        value = self.member if value is None else value
        if row is None:
            return Finding("error", kind, self.archive, message, 0, "file_name", value, expected)
        return row.finding("error", kind, message, "file_name", value, expected)


class Clip(NamedTuple):
    """One clip. ``full_name`` is its file name with nothing hidden, which may differ from the file's own.

    ``is_hidden``: the file's own name does not tell the condition. ``clip`` is what the clip table calls it where the
    stem of the file's name is not unique within the machine type.
    """

    file: ClipFile
    section_id: SectionId
    split: str
    domain: str
    condition: str
    index: int  # type: ignore[assignment]  # as the clip table calls it; nobody asks a clip for a tuple's index
    attributes: Attributes
    full_name: str
    row: TableRow | None = None
    is_hidden: bool = False
    clip: str = ""

    @property
    def base_name(self) -> str:
        """The file's own base name."""
        return self.file.path.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The clip's name in the clip table: the file's base name without ``.wav``, or ``clip``."""
        return self.clip or self.base_name.removesuffix(".wav")


class ClipReading(NamedTuple):
    """A clip's file as read; ``clip`` is None where the name cannot be read, or what tells of it is wrong."""

    clip: Clip | None
    findings: list[Finding]


@dataclass(slots=True)
class Reading:
    """Everything that a layout reads from a release.

    ``findings`` are about members and tables, ``missing_tables`` about sections whose attribute table is not there.
    """

    clips: list[ClipReading] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    missing_tables: list[Finding] = field(default_factory=list)

    def read_clips(self) -> list[Clip]:
        """The clips whose names could be read, in order."""
        return [reading.clip for reading in self.clips if reading.clip is not None]
