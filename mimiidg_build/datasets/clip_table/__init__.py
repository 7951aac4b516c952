"""The clip table: one row per clip, from the names in the archives and the attribute tables, validated.

Nothing is opened here: the caller hands over members' names and sizes, and the bytes of the attribute tables.

- Layout of an archive: ``{machine}/{train,test}/*.wav`` and ``{machine}/attributes_NN.csv``.
- The file name is right: it carries every attribute, and an attribute table that says otherwise is a warning. Where
  the name hides the truth (evaluation test clips), the table's last column, the full name, gives it.
- Rows are sorted by machine type, section, split (train, test), domain (source, target), condition (normal, anomaly)
  and index.
- Faults are collected as findings (`mimiidg_build.datasets.findings`), never raised: errors stop whoever calls
  `raise_on_errors`, warnings do not. Where the release and the paper's Table 1 differ it is a warning.

`layout` sorts the members, `rules` judges one clip, `sections` judges a section as a whole, `build` brings it together.
"""

from mimiidg_build.datasets.clip_table.build import build_clip_table, validate_tables
from mimiidg_build.datasets.clip_table.layout import is_attribute_table

__all__ = ["build_clip_table", "is_attribute_table", "validate_tables"]
