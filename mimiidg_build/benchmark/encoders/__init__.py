"""Frozen encoders that the user brings: read from their files, run on a store's clips, their embeddings cached.

``description`` (the TOML file: what an encoder is), ``loaded`` (the network: samples to embeddings), ``embeddings``
(those of a store's clips, computed once).
"""
