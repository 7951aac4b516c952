"""A section: what has its own power, its own SNR and its own AUC."""

from __future__ import annotations

from typing import NamedTuple


class SectionId(NamedTuple):
    """A machine type's section, as files and people name it: ``fan/00``.

    >>> SectionId("fan", "00").group, str(SectionId.parse("fan/00")), SectionId.parse("fan/00") == ("fan", "00")
    ('fan/section_00', 'fan/00', True)
    """

    machine_type: str
    section: str

    @classmethod
    def parse(cls, text: str) -> SectionId:
        """The section that ``fan/00`` names.

        Raises
        ------
        ValueError
            The text has no slash, or more than one.
        """
        machine_type, section = text.split("/")
        return cls(machine_type, section)

    def __str__(self) -> str:
        return f"{self.machine_type}/{self.section}"

    @property
    def group(self) -> str:
        """Path of the section's group within a store."""
        return f"{self.machine_type}/section_{self.section}"
