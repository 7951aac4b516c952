"""Compiled code: what runs over every sample of a clip, with the same bits on every processor.

``level`` and ``mixing`` are loops over samples; ``logmel`` is a log-mel spectrogram, made of ``frames`` (samples into
frames), ``fft`` (frames into power), its own mel product and the logarithm of ``decibels``, over the memory that
``layout`` draws; ``mel`` and ``decibels`` are the end of log-mel spectrograms of other settings, and of those that
are made of two channels; ``bands`` sums a spectrogram over its frames.
``entries`` has all of them as Python calls them: ``machine_code`` loads them from ``cache``, and has ``compilation``
make what is not there. What the results mean stands with the callers.

In: arrays of samples, whose types ``entries`` checks and whose lengths callers check. Out: sums, mixtures, log-mel.
Imports: settings.
"""
