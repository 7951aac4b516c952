"""The layout of MIMII: machines' IDs in place of sections, folders in place of names, and no published split."""

from mimiidg_build.datasets.layouts.archive_names import machine_type_of
from mimiidg_build.datasets.layouts.members import no_attribute_tables as is_attribute_table
from mimiidg_build.datasets.layouts.mimii.read import read_clips

__all__ = ["is_attribute_table", "machine_type_of", "read_clips"]
