"""What a dataset is and holds: manifests, layouts, names, attribute tables, the clip table, findings, truth lists.

In: TOML manifests, members of archives, attribute tables. Out: a :class:`~mimiidg_build.datasets.release.Release`: one
validated row per clip, and what validation found. Nothing after this room knows a dataset's layout.
Imports: errors, schemas, storage, audio.

``manifest`` and ``variant`` read what people write (``toml_files``), ``synthetic`` what a synthetic release's name
means. ``layouts`` has one module for each way to name and place clips, ``clip_table`` what is common to all: rows,
rules and ``findings``. ``release`` brings it together. ``truth`` reads what is true of scored clips, ``rows`` CSV rows.
"""
