"""Stores: the format, its shards, opening, listing, checking. Immutable zarr v3 groups.

In: the path of a variant or of a store. Out: a :class:`~mimiidg_build.store.store.Store`: arrays, tables, attributes.
Imports: errors, schemas, progress, storage.
"""
