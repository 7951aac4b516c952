"""Building a variant: read what decides its bytes, decide, plan, render, publish.

In: a variant and fetched archives. Out: a finished store, or the one that exists already.
Imports: errors, progress, schemas, storage, parallel, audio, datasets, fetch, features, mixing, store.
"""
