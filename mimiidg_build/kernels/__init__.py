"""Compiled code: what runs over every sample of a clip, with the same bits on every processor.

In: arrays of samples. Out: sums, mixtures, log-mel. What they mean stands with their callers in ``audio``,
``mixing`` and ``features``.
Imports: no other room.
"""
