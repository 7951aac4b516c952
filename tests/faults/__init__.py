"""Faults, crashes and hostile input: nothing lost, nothing corrupt, one clear error.

``pytest tests/faults -m 'slow or not slow'`` runs all of it and prints how many cases of each fault were tried and how
many were survived. What takes long is marked ``slow`` and left out of the default run.
"""
