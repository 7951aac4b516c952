"""The layout of DCASE Task 2 of 2021, and of MIMII DUE: test clips by domain, free text in place of attributes."""

from mimiidg_build.datasets.layouts.archive_names import machine_type_of
from mimiidg_build.datasets.layouts.dcase2021.read import read_clips
from mimiidg_build.datasets.layouts.members import no_attribute_tables as is_attribute_table

__all__ = ["is_attribute_table", "machine_type_of", "read_clips"]
