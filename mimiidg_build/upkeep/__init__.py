"""Looking after stores: verify, repair, prune, export.

In: finished stores, and the archives that they were built from. Out: findings, restored files, exported releases.
Imports: everything up to ``build``.
"""
