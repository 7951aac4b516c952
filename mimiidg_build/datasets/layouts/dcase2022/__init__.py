"""The layout of MIMII DG and of DCASE Task 2 from 2022 on.

``names`` is the grammar of the clips' names, ``attribute_table`` reads ``attributes_NN.csv``, ``full_names`` finds what
a name hides, ``read`` brings it together.
"""

from mimiidg_build.datasets.layouts.archive_names import machine_type_of
from mimiidg_build.datasets.layouts.dcase2022.read import is_attribute_table, read_clips, validate_tables

__all__ = ["is_attribute_table", "machine_type_of", "read_clips", "validate_tables"]
