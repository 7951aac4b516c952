"""A section: what has its own power, its own SNR and its own AUC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

from pydantic import Field

if TYPE_CHECKING:
    import pandas as pd

# Any word that a file name can hold (ToyCar, 3DPrinter).
MACHINE_TYPE = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
# As file names write it: two digits (DCASE 2021 on), a machine's ID ("id_00": MIMII, DCASE 2020), or a user's word.
SECTION = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$"

MachineType = Annotated[str, Field(pattern=MACHINE_TYPE, max_length=100)]
SectionName = Annotated[str, Field(pattern=SECTION, max_length=100)]


class SectionId(NamedTuple):
    """A machine type's section, as file names and people write it: ``fan/00``, ``fan/id_00``.

    >>> SectionId("fan", "00").group, str(SectionId.parse("fan/00")), SectionId.parse("fan/00") == ("fan", "00")
    ('fan/section_00', 'fan/00', True)
    >>> SectionId("fan", "id_00").group
    'fan/id_00'
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
        is_number = len(self.section) == 2 and self.section.isdecimal()
        return f"{self.machine_type}/section_{self.section}" if is_number else str(self)


def section_names(table: pd.DataFrame) -> pd.Series[str]:
    """The section of each row: ``"fan/00"``."""
    return table["machine_type"] + "/" + table["section"]


def rows_by_section(table: pd.DataFrame) -> dict[SectionId, Any]:
    """The numbers of each section's rows, ascending, as an array.

    All in one pass: a mask for each section goes through the whole table again, of a million clips 360 times.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"machine_type": ["fan", "valve", "fan"], "section": "00"})
    >>> {str(section_id): rows.tolist() for section_id, rows in rows_by_section(table).items()}
    {'fan/00': [0, 2], 'valve/00': [1]}
    """
    groups = table.groupby(["machine_type", "section"], sort=False)
    return {SectionId(*key): rows for key, rows in cast(dict[Any, Any], groups.indices).items()}
