"""Mixing: levels of clips, noise banks, the mix plan, and the mix itself.

In: clips, noise recordings, Table 1. Out: a plan (one row says everything about one clip) and, from a row, samples.
The plan opens no audio; the mix is a pure function of one row.
Imports: errors, schemas, progress, storage, parallel, kernels, audio, datasets.
"""
