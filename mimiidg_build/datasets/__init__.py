"""What a dataset is and holds: manifests, layouts, names, attribute tables, the clip table, findings, truth lists.

In: TOML manifests, members of archives, attribute tables. Out: a :class:`~mimiidg_build.datasets.release.Release`: one
validated row per clip, and what validation found. Nothing after this room knows a dataset's layout.
Imports: errors, schemas, storage, audio.
"""
