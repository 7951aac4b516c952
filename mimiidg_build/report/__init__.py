"""The report: a self-contained HTML page about a store and its benchmarks; and figures of where a network looks.

In: a finished store, the archives it was built from if they are still there, the runs on it. Out: an HTML page, PNGs.
Imports: errors, schemas, progress, storage, parallel, audio, datasets, fetch, features, store, evaluation,
models, training, benchmark.

``page`` puts the page together from ``headline`` (what the first screen says), ``tables``, ``result_tables`` and
``heat_maps`` (of ``cells``, each also as CSV), ``data_charts`` and ``score_charts`` (drawn by ``svg``), ``gallery``
(spectrograms with sound), ``sweeps`` (results on other variants, or that differ in one thing only) and ``written``
(date, machine, versions). ``leaderboard`` is a page of its own, of all systems on a store. ``detection`` writes what a
run makes of new recordings. ``attention_maps`` and ``attention_figures`` are what ``mimiidg explain`` shows.
"""
