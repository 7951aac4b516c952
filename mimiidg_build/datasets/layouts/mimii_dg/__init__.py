"""The layout of MIMII DG and of the DCASE 2022 Task 2 evaluation set.

``members`` says what lies where in an archive, ``names`` is the grammar of the clips' names, ``attribute_table`` reads
``attributes_NN.csv``, ``full_names`` finds what a name hides, ``read`` brings it together.
"""

from mimiidg_build.datasets.layouts.mimii_dg.members import is_attribute_table, machine_type_of
from mimiidg_build.datasets.layouts.mimii_dg.read import read_clips, validate_tables

__all__ = ["is_attribute_table", "machine_type_of", "read_clips", "validate_tables"]
