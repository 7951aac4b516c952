"""The report: a self-contained HTML page about a store and its benchmarks; and figures of where a network looks.

In: a finished store, the archives it was built from if they are still there, the runs on it. Out: an HTML page, PNGs.
Imports: errors, settings, schemas, progress, storage, parallel, audio, datasets, fetch, features, store, build,
evaluation, models, training, benchmark.

``page`` puts the page together from ``tables`` (of ``cells``), ``data_charts`` and ``score_charts`` (drawn by ``svg``),
``gallery`` (spectrograms with sound) and ``sweeps`` (results that differ in one thing only). ``attention_maps`` and
``attention_figures`` are what ``mimiidg explain`` shows.
"""
