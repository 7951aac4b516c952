"""Benchmarking detectors on stores: plan the runs, train and score their networks, evaluate, combine seeds.

In: finished stores, names of models. Out: run directories under ROOT/runs, and results: AUCs with 95 % intervals.
Imports: errors, schemas, progress, storage, parallel, audio, datasets, features, store, build, evaluation, models,
training.

From the top: ``stages`` (the one list of stages: ``benchmark_models`` on a store, ``benchmark_variants`` on several),
``planning`` (which runs), ``suitability`` (which models a store suits), ``trainers`` (several networks at once, each in
a process), ``train_network`` (one of them), ``evaluate_runs``; ``finished_runs`` gives the same results, read from the
files of runs that were finished earlier. What they hand to each other: ``runs`` (a run's identity and where its files
lie), ``run_files`` (those that say what it is), ``tested`` (which sections are trained on, tested, evaluated),
``model_result`` and ``results`` (what was found), ``estimates``. For people: ``rows``, ``variant_rows``, ``plots``,
``published`` and ``beside_papers`` (the papers' numbers). ``encoders`` run a user's frozen networks on a store's clips.
``detection`` takes a finished run to new recordings.
"""
