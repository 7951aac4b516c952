"""Detection: a trained run on new recordings, and models to pass on.

In: the directory of a finished run, and recordings. Out: scores, decisions and percentiles;
or one file that holds features, network and threshold (``export``).

From the top: ``detector`` (``Detector``: what a run makes of recordings), ``export`` and ``torch_logmel``. Below:
``read_networks`` (a run's networks, checked), ``networks`` (one of them, from the run's files alone), ``recordings``
(samples as the store has them), ``sections`` (which section a recording is from). The files and the page about what was
found are ``mimiidg_build.report.detection``.
"""
