"""Detection: a trained run on new recordings, and models to pass on.

In: the directory of a finished run, and recordings. Out: scores, decisions and percentiles, official score files, an
HTML page; or one file that holds features, network and threshold (``export``).
Imports: errors, schemas, progress, settings, storage, audio, datasets, features, evaluation, models, training,
benchmark, report.

From the top: ``detector`` (``Detector``: what a run makes of recordings), ``written`` (the files about them), ``page``
and ``differences`` (what sounds other than in training), ``export`` and ``torch_logmel``. Below: ``networks`` (one
trained network, from a run's files alone), ``recordings`` (samples as the store has them), ``sections`` (which section
a recording is from).
"""
