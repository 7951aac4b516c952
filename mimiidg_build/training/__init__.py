"""Training: clips of a store as torch tensors, one loop for every model, scoring.

In: a finished store and a model. Out: weights, loss curves, official score files.
Imports: errors, schemas, progress, storage, parallel, store, evaluation, models.
"""
