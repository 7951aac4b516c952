"""The clip table: one row per clip, validated, from what a dataset's layout reads.

- Rows are sorted by machine type, section, split (train, test), domain (source, target), condition (normal, anomaly)
  and index.
- The file name is right: it carries every attribute, and an attribute table that says otherwise is a warning.
- Faults are collected as findings (:mod:`mimiidg_build.datasets.findings`), never raised: on errors
  ``raise_on_errors`` raises, on warnings it does not. Where the release and the paper's Table 1 differ it is a warning.

``clips`` is what a layout hands over, ``rules`` judges one clip, ``sections`` a section as a whole, ``frame`` makes the
table, ``build`` brings it together.
"""
